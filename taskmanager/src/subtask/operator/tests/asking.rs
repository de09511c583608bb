//! Look-ups: what is asked and answered between batches, and which barriers wait for it.

use std::sync::Mutex;

use stream_core::operator::Answer;

use super::*;

/// Asks about each event, and gives it out when it is answered. Two may wait.
#[derive(Default)]
struct Asker {
    waiting: Vec<String>,
    questions: Vec<Vec<u8>>,
    written: u64,
    forgotten: u64,
}

impl Operator for Asker {
    fn on_events(&mut self, events: &EventBatch, _out: &mut Collector) -> Result<(), Refusal> {
        for event in events.iter() {
            self.waiting.push(String::from_utf8(event.key.to_vec()).unwrap());
            self.questions.push(event.key.to_vec());
        }
        Ok(())
    }
    fn on_watermark(&mut self, _watermark: Watermark, _out: &mut Collector) {}
    fn take_questions(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.questions)
    }
    fn on_answer(&mut self, key: &[u8], answer: Answer, out: &mut Collector) {
        let key = std::str::from_utf8(key).unwrap();
        let Answer::Found(answer) = answer else { panic!("{answer:?}") };
        self.waiting.retain(|waiting| waiting != key);
        self.written += 1;
        out.row(TableIndex::RESULT, 1).text(Some(&format!("{key}={answer}")));
    }
    fn forget_answers(&mut self) {
        self.forgotten += 1;
    }
    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
    fn is_full(&self) -> bool {
        self.waiting.len() >= 2
    }
    fn counters(&self) -> OperatorCounters {
        let open_events = self.waiting.len() as u64;
        OperatorCounters {
            late: self.forgotten,
            open_events,
            fired_events: self.written,
            ..OperatorCounters::default()
        }
    }
    fn begin_snapshot(&mut self, _kind: SnapshotKind) {}
    fn continue_snapshot(&mut self, _keys: usize) -> Option<KeyedSnapshot> {
        None
    }
    fn restore(&mut self, _watermark: Watermark, _newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        Ok(())
    }
}

/// Knows at once what begins with `now`; notes all that it is asked.
#[derive(Clone, Default)]
struct Oracle {
    asked: Arc<Mutex<Vec<String>>>,
    has_changed: Arc<Mutex<bool>>,
}

impl Lookup for Oracle {
    fn ask(&mut self, key: &[u8]) -> Option<Answer> {
        let key = String::from_utf8(key.to_vec()).unwrap();
        let answer = key.starts_with("now").then(|| Answer::Found("at once".to_owned()));
        self.asked.lock().unwrap().push(key);
        answer
    }
    fn has_changed(&mut self) -> bool {
        std::mem::take(&mut *self.has_changed.lock().unwrap())
    }
}

fn asking() -> (Fixture, Oracle) {
    let oracle = Oracle::default();
    (fixture_of(Box::<Asker>::default(), Box::new(oracle.clone()), None), oracle)
}

fn answer(f: &Fixture, key: &str) {
    let answer = Answer::Found("later".to_owned());
    f.mailbox.put(Letter::Answered { key: key.as_bytes().to_vec(), answer });
}

/// Where events stood at the barriers that were acknowledged: given out, and waiting.
fn acknowledged(f: &mut Fixture) -> Vec<(u64, u64)> {
    let told = f.told.take().into_iter();
    told.map(|change| match change {
        Change::Acknowledged(Acknowledgement { snapshot: TaskSnapshot::Operator { fired, open, .. }, .. }) => {
            (fired, open)
        }
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn what_is_answered_at_once_or_by_mail_goes_out_without_further_input() {
    let (mut f, oracle) = asking();
    f.push(0, event("now"));
    f.push(0, event("a"));
    assert_eq!(f.run(), Step::AwaitingInput);
    assert_eq!(f.received(), ["now=at once"]);
    assert_eq!(*oracle.asked.lock().unwrap(), ["now", "a"]);
    answer(&f, "a");
    assert_eq!(f.run(), Step::AwaitingInput);
    assert_eq!(f.received(), ["a=later"]);
    assert_eq!(f.counters.snapshot().operator.fired_events, 2);
}

#[test]
fn barrier_waits_for_no_answer() {
    let (mut f, _) = asking();
    f.push(0, event("a"));
    f.cut(barrier(1, 0));
    assert_eq!(f.received(), ["barrier 1"]);
    assert_eq!(acknowledged(&mut f), [(0, 1)], "what waits is in the snapshot");
    answer(&f, "a");
    f.run();
    assert_eq!(f.received(), ["a=later"]);
}

#[test]
fn last_barrier_and_those_behind_the_end_of_event_time_wait_for_every_answer() {
    for (progress, cut) in [(7, last_barrier(1, 0)), (i64::MAX, barrier(1, 0))] {
        let (mut f, _) = asking();
        f.push(0, event("a"));
        for channel in 0..2 {
            f.push(channel, active(progress));
            f.push(channel, Message::Barrier(cut));
        }
        f.push(0, event("b"));
        assert_eq!(f.run(), Step::AwaitingInput);
        assert_eq!(f.received(), [format!("progress {progress}")]);
        assert_eq!(acknowledged(&mut f), []);
        answer(&f, "a");
        f.run();
        assert_eq!(f.received(), ["a=later", "barrier 1"], "and what came behind it is asked only now");
        assert_eq!(acknowledged(&mut f), [(1, 0)]);
        answer(&f, "b");
        f.run();
        assert_eq!(f.received(), ["b=later"]);
    }
}

#[test]
fn end_comes_behind_a_barrier_that_waits() {
    let (mut f, _) = asking();
    f.push(0, event("a"));
    for channel in 0..2 {
        f.push(channel, Message::Barrier(last_barrier(1, 0)));
        f.push(channel, Message::End);
    }
    assert_eq!(f.run(), Step::AwaitingInput);
    assert_eq!(f.received(), [""; 0]);
    answer(&f, "a");
    assert_eq!(f.run(), Step::Finished);
    assert_eq!(f.received(), ["a=later", "barrier 1", "End"]);
}

#[test]
fn full_operator_takes_no_input_until_it_is_answered() {
    let (mut f, oracle) = asking();
    ["a", "b", "c"].into_iter().for_each(|key| f.push(0, event(key)));
    assert_eq!(f.run(), Step::AwaitingInput);
    assert_eq!(*oracle.asked.lock().unwrap(), ["a", "b"]);
    answer(&f, "b");
    assert_eq!(f.run(), Step::AwaitingInput);
    assert_eq!(f.received(), ["b=later"]);
    assert_eq!(*oracle.asked.lock().unwrap(), ["a", "b", "c"]);
}

#[test]
fn answers_are_forgotten_once_where_they_may_have_changed() {
    let (mut f, oracle) = asking();
    f.run();
    *oracle.has_changed.lock().unwrap() = true;
    f.run();
    f.run();
    assert_eq!(f.counters.snapshot().operator.late, 1, "the probe's count of it");
}
