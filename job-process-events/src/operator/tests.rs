use proptest::prelude::*;
use stream_core::event_batch::KeyedEvent;
use stream_core::origin::Origin;

use super::*;
use crate::testing::shown;

const MAX: MaxParallelism = MaxParallelism::DEFAULT;

struct Probe {
    operator: LocateOperator,
    out: Collector,
}

impl Probe {
    fn new(cached_ips: u32) -> Self {
        let cached_ips = NonZeroU32::new(cached_ips).expect("not zero");
        Probe { operator: LocateOperator::new(cached_ips, MAX), out: Collector::new(MAX, 1) }
    }

    /// Events of these ips at these times, of which the url says the time, too.
    fn events(&mut self, events: &[(Option<&str>, i64)]) {
        let mut batch = EventBatch::default();
        let mut bytes = Vec::new();
        for &(ip, time) in events {
            let url = time.to_string();
            let hash = Record { ip, url: Some(&url), ..Record::default() }.encode(&mut bytes);
            batch.push(KeyedEvent { hash, time: EventTime(time), count: 1, key: &bytes, origin: Origin::default() });
        }
        self.operator.on_events(&batch, &mut self.out).expect("nothing is late");
    }

    fn answer(&mut self, ip: &str, answer: Answer) {
        self.operator.on_answer(ip.as_bytes(), answer, &mut self.out);
    }

    fn questions(&mut self) -> Vec<String> {
        let questions = self.operator.take_questions().into_iter();
        questions.map(|question| String::from_utf8(question).expect("an ip")).collect()
    }

    /// Of each row the ip, the time and the location.
    fn rows(&mut self) -> Vec<(String, i64, String)> {
        let rows = self.out.take_rows(TableIndex::RESULT).unwrap_or_default();
        let row = |row: String| {
            let columns: Vec<&str> = row.split(" | ").collect();
            (columns[0].to_owned(), columns[4].parse().expect("a time"), columns[5].to_owned())
        };
        shown(&rows).into_iter().map(row).collect()
    }

    /// An operator that was restored from a snapshot of this one.
    fn restored(&mut self) -> Probe {
        self.operator.begin_snapshot(SnapshotKind::Delta);
        let snapshot = self.operator.continue_snapshot(1).expect("taken at once");
        assert_eq!(snapshot.kind, SnapshotKind::Full);
        let mut after = Probe::new(2);
        after.operator.restore(snapshot.watermark, &[]).expect("nothing to read");
        for section in &snapshot.sections {
            after.operator.restore(snapshot.watermark, &[section]).expect("own records");
        }
        after
    }
}

fn found(location: &str) -> Answer {
    Answer::Found(location.to_owned())
}

fn row(ip: &str, time: i64, location: &str) -> (String, i64, String) {
    (ip.to_owned(), time, location.to_owned())
}

#[test]
fn row_has_every_field_and_null_where_there_is_none() {
    let mut probe = Probe::new(1);
    let mut bytes = Vec::new();
    let record = Record { ip: None, host: Some("a.io"), referrer: None, url: Some("/x") };
    let hash = record.encode(&mut bytes);
    let mut batch = EventBatch::default();
    let time = EventTime(1_736_874_072_232);
    batch.push(KeyedEvent { hash, time, count: 1, key: &bytes, origin: Origin::default() });
    probe.operator.on_events(&batch, &mut probe.out).expect("nothing is late");
    let rows = probe.out.take_rows(TableIndex::RESULT).expect("a row");
    assert_eq!(shown(&rows), ["NULL | 2025-01-14 17:01:12.232 | NULL | a.io | /x | {}"]);
    assert_eq!(probe.questions(), [""; 0], "nobody is asked about NULL");
}

#[test]
fn an_ip_is_asked_about_once_and_its_events_wait_in_their_order() {
    let mut probe = Probe::new(2);
    probe.events(&[(Some("a"), 1), (Some("b"), 2), (Some("a"), 3)]);
    assert_eq!(probe.questions(), ["a", "b"]);
    probe.events(&[(Some("a"), 4)]);
    assert_eq!(probe.questions(), [""; 0]);
    assert_eq!((probe.operator.counters().open_events, probe.operator.counters().open), (4, 2));
    probe.answer("a", found("A"));
    assert_eq!(probe.rows(), [row("a", 1, "A"), row("a", 3, "A"), row("a", 4, "A")]);
    probe.events(&[(Some("a"), 5), (Some("b"), 6)]);
    assert_eq!(probe.rows(), [row("a", 5, "A")]);
    probe.answer("b", Answer::Nothing);
    assert_eq!(probe.rows(), [row("b", 2, "{}"), row("b", 6, "{}")]);
    assert_eq!(
        probe.operator.counters(),
        OperatorCounters { late: 0, open: 0, open_events: 0, fired_events: 6, unanswered: 0 }
    );
}

#[test]
fn failure_is_counted_and_the_next_event_asks_again() {
    let mut probe = Probe::new(2);
    probe.events(&[(Some("a"), 1), (Some("a"), 2)]);
    assert_eq!(probe.questions(), ["a"]);
    probe.answer("a", Answer::Failed);
    assert_eq!(probe.rows(), [row("a", 1, "{}"), row("a", 2, "{}")]);
    assert_eq!((probe.operator.counters().unanswered, probe.operator.counters().fired_events), (2, 2));
    probe.events(&[(Some("a"), 3)]);
    assert_eq!(probe.questions(), ["a"]);
    probe.answer("a", found("A"));
    assert_eq!(probe.rows(), [row("a", 3, "A")]);
}

#[test]
fn what_was_told_is_forgotten_where_it_may_have_changed() {
    let mut probe = Probe::new(2);
    probe.events(&[(Some("a"), 1)]);
    probe.answer("a", found("A"));
    probe.questions();
    probe.operator.forget_answers();
    probe.events(&[(Some("a"), 2)]);
    assert_eq!(probe.questions(), ["a"]);
}

#[test]
fn waiting_events_are_in_a_snapshot_and_asked_about_behind_a_restore() {
    let mut before = Probe::new(2);
    before.operator.on_watermark(Watermark(7), &mut before.out);
    before.events(&[(Some("a"), 1), (Some("b"), 2), (Some("a"), 3)]);
    let mut after = before.restored();
    let mut asked = after.questions();
    asked.sort();
    assert_eq!(asked, ["a", "b"]);
    assert_eq!(after.operator.counters().open_events, 3);
    after.events(&[(Some("a"), 4)]);
    after.answer("a", found("A"));
    assert_eq!(after.rows(), [row("a", 1, "A"), row("a", 3, "A"), row("a", 4, "A")]);
    assert_eq!(after.operator.counters().fired_events, 3, "what was written before is not counted again");
}

#[test]
fn snapshot_does_not_show_what_comes_after_its_barrier() {
    let mut probe = Probe::new(2);
    probe.events(&[(Some("a"), 1)]);
    probe.operator.begin_snapshot(SnapshotKind::Full);
    probe.answer("a", found("A"));
    let snapshot = probe.operator.continue_snapshot(1).expect("taken at once");
    assert_eq!(snapshot.sections.iter().map(|section| section.records).sum::<u64>(), 1);
    assert!(probe.operator.continue_snapshot(1).is_none());
}

#[test]
fn no_more_events_are_taken_while_too_many_wait() {
    let mut probe = Probe::new(2);
    let url = "x".repeat(MAX_WAITING_BYTES / 2);
    let mut batch = EventBatch::default();
    let mut bytes = Vec::new();
    let hash = Record { ip: Some("a"), url: Some(&url), ..Record::default() }.encode(&mut bytes);
    batch.push(KeyedEvent { hash, time: EventTime(1), count: 1, key: &bytes, origin: Origin::default() });
    for is_full in [false, true] {
        probe.operator.on_events(&batch, &mut probe.out).expect("nothing is late");
        assert_eq!(probe.operator.is_full(), is_full);
    }
    probe.answer("a", Answer::Nothing);
    assert!(!probe.operator.is_full() && !probe.operator.is_waiting());
}

#[derive(Clone, Debug)]
enum Act {
    Event(u8),
    Answer(u8, bool),
    Restore,
}

proptest! {
    /// Whatever comes when: each event gives one row, those of an ip in their order, with its location or with none.
    #[test]
    fn each_event_is_written_once_in_the_order_of_its_ip(acts in prop::collection::vec(
        prop_oneof![
            6 => (0_u8..5).prop_map(Act::Event),
            3 => (0_u8..5, any::<bool>()).prop_map(|(ip, is_known)| Act::Answer(ip, is_known)),
            1 => Just(Act::Restore),
        ],
        0..120,
    )) {
        let mut probe = Probe::new(2);
        let mut written = Vec::new();
        let mut sent = Vec::new();
        let mut asked = std::collections::BTreeSet::new();
        for (time, act) in (0..).zip(acts) {
            match act {
                Act::Event(ip) => {
                    let ip = ip.to_string();
                    probe.events(&[(Some(&ip), time)]);
                    sent.push((ip, time));
                }
                Act::Answer(ip, is_known) => {
                    let ip = ip.to_string();
                    if asked.remove(&ip) {
                        probe.answer(&ip, if is_known { found(&format!("L{ip}")) } else { Answer::Failed });
                    }
                }
                Act::Restore => {
                    // Rows before the barrier were published; nobody answers the questions of the attempt before.
                    written.extend(probe.rows());
                    probe = probe.restored();
                    asked.clear();
                }
            }
            for question in probe.questions() {
                prop_assert!(asked.insert(question), "asked twice");
            }
        }
        for ip in asked {
            probe.answer(&ip, found(&format!("L{ip}")));
        }
        written.extend(probe.rows());
        prop_assert!(!probe.operator.is_waiting());
        for ip in 0..5_u8 {
            let ip = ip.to_string();
            let of = |(key, time): &(String, i64)| (*key == ip).then_some(*time);
            let sent: Vec<i64> = sent.iter().filter_map(of).collect();
            let rows: Vec<i64> = written.iter().filter(|row| row.0 == ip).map(|row| row.1).collect();
            prop_assert_eq!(rows, sent);
        }
        let is_right = |(ip, _, location): &(String, i64, String)| *location == format!("L{ip}") || location == "{}";
        prop_assert!(written.iter().all(is_right));
    }
}
