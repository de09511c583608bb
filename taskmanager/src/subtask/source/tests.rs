#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::slice;
use std::sync::Mutex;

use stream_core::checkpoint::{SplitSnapshot, TaskSnapshot};
use stream_core::collector::Collector;
use stream_core::ids::SubtaskIndex;
use stream_core::key_group::MaxParallelism;
use stream_core::operator::Record;
use stream_core::source_splits::Idleness;
use stream_core::watermark::Watermark;
use stream_core::watermark_alignment::Alignment;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, SourceVisitor};

use super::*;
use crate::exchange::gate::{Gate, Input};
use crate::exchange::message::Message;
use crate::exchange::outputs::{Outputs, Sender};
use crate::subtask::testing::{KeyAtTime, ManualClock, ScriptedReader, Tell, Told, barrier, keys, last_barrier, split};

mod following;

const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_millis(5);

/// A source subtask before one downstream subtask whose gate the test empties.
struct Fixture {
    source: SourceSubtask,
    gate: Arc<Gate>,
    clock: ManualClock,
    added: Arc<Mutex<Vec<Split>>>,
    mailbox: Arc<Mailbox>,
    told: Told,
    counters: Arc<Counters>,
}

fn fixture(splits: &[&str], is_bounded: bool, script: impl IntoIterator<Item = Tell>) -> Fixture {
    fixture_with_room(splits, is_bounded, script, 1 << 20)
}

fn fixture_with_room(
    splits: &[&str],
    is_bounded: bool,
    script: impl IntoIterator<Item = Tell>,
    channel_bytes: usize,
) -> Fixture {
    let mut source_splits = SourceSplits::new(0, Idleness { timeout: IDLE_TIMEOUT, advance: Duration::ZERO });
    source_splits.add(&splits.iter().map(|id| split(id)).collect::<Vec<_>>());
    fixture_of(source_splits, is_bounded, script, channel_bytes)
}

fn fixture_of(
    splits: SourceSplits,
    is_bounded: bool,
    script: impl IntoIterator<Item = Tell>,
    channel_bytes: usize,
) -> Fixture {
    fixture_but(splits, is_bounded, script, channel_bytes, |_| {})
}

/// The same, made of other parts.
fn fixture_but(
    splits: SourceSplits,
    is_bounded: bool,
    script: impl IntoIterator<Item = Tell>,
    channel_bytes: usize,
    change: impl FnOnce(&mut SourceParts),
) -> Fixture {
    let clock = ManualClock::default();
    let script: VecDeque<Tell> = script.into_iter().collect();
    let added = Arc::default();
    let reader = ScriptedReader {
        script: Arc::new(Mutex::new(script)),
        added: Arc::clone(&added),
        clock: clock.clone(),
        offset: 0,
    };
    let gate = Arc::new(Gate::new(1, channel_bytes));
    let outputs = Outputs::new(vec![Sender::Local(Arc::clone(&gate), 0)]);
    let counters = Arc::new(Counters::default());
    let mailbox = Arc::new(Mailbox::default());
    let (teller, told) = Told::new();
    let mut parts = SourceParts {
        reader: Box::new(reader),
        decoder: Box::new(KeyAtTime),
        splits,
        trace_sample: None,
        mailbox: Arc::clone(&mailbox),
        teller,
        emitter: Emitter::new(
            SubtaskIndex(0),
            Collector::new(MaxParallelism::DEFAULT, 1),
            outputs,
            Arc::clone(&counters),
        ),
        is_bounded,

        max_future: Duration::ZERO,
        is_alone: true,
        linger: LINGER,
        clock: Arc::new(clock.clone()),
        counters: Arc::clone(&counters),
    };
    change(&mut parts);
    Fixture { source: SourceSubtask::new(parts), gate, clock, added, mailbox, told, counters }
}

impl Fixture {
    fn steps(&mut self, count: usize) -> Step {
        (0..count).map(|_| self.source.step().unwrap()).last().unwrap()
    }

    /// What was acknowledged: checkpoint, splits, events, bad records.
    fn acknowledged(&mut self) -> Vec<(u64, Vec<SplitSnapshot>, u64, u64)> {
        let acknowledged = self.told.take().into_iter().filter_map(|change| match change {
            Change::Acknowledged(Acknowledgement { checkpoint, snapshot, .. }) => match snapshot {
                TaskSnapshot::Source { splits, events, bad } => Some((checkpoint.0, splits, events, bad)),
                other => panic!("{other:?}"),
            },
            _ => None,
        });
        acknowledged.collect()
    }

    /// What the gate received, as text: keys of events, `W…`, `idle`, `end`.
    fn received(&self) -> Vec<String> {
        std::iter::from_fn(|| match self.gate.try_pop().unwrap() {
            Input::Message(_, message) => Some(shown(&message)),
            Input::Empty | Input::Closed => None,
        })
        .collect()
    }
}

fn shown(message: &Message) -> String {
    match message {
        Message::Events(events) => keys(events).join("+"),
        Message::Progress(Progress::Active(Watermark::END)) => "Wend".to_owned(),
        Message::Progress(Progress::Active(Watermark::NONE)) => "Wnone".to_owned(),
        Message::Progress(Progress::Active(Watermark(ms))) => format!("W{ms}"),
        Message::Progress(Progress::Idle(Watermark::NONE)) => "idle".to_owned(),
        Message::Progress(Progress::Idle(Watermark(ms))) => format!("idle{ms}"),
        Message::End => "end".to_owned(),
        Message::Barrier(barrier) => format!("B{}", barrier.checkpoint.0),
        Message::Traced(traced) => format!("follow {}", String::from_utf8_lossy(&traced.key)),
        Message::Rows(_) => panic!("{message:?}"),
    }
}

#[test]
fn bounded_source_ends_event_time_and_waits_for_the_last_checkpoint() {
    let mut f = fixture(&["f"], true, [Tell::Records(0, &["a@10", "b@20"]), Tell::Finished(0)]);
    f.steps(2);
    assert_eq!(f.received(), ["a+b", "Wend"]);
    assert_eq!(f.steps(3), Step::AwaitingInput);
    assert_eq!(f.told.take(), [Change::Drained], "told once");

    f.mailbox.put(Letter::Trigger(barrier(1, 0)));
    f.steps(1);
    assert_eq!(f.received(), ["B1"]);
    f.mailbox.put(completed(1));
    f.mailbox.put(Letter::Trigger(last_barrier(2, 1)));
    assert_eq!(f.steps(2), Step::AwaitingInput);
    assert_eq!(f.received(), ["B2"]);
    let finished = SplitSnapshot {
        split: Split { start: 2, ..split("f") },
        watermark: Some(W20),
        is_finished: true,
        begun: vec![0],
    };
    assert_eq!(f.acknowledged(), [(1, vec![finished.clone()], 2, 0), (2, vec![finished], 2, 0)]);

    f.mailbox.put(completed(1));
    assert_eq!(f.steps(2), Step::AwaitingInput, "that was not the last one");
    f.mailbox.put(completed(2));
    assert_eq!(f.steps(1), Step::WORKED, "there is nothing more to wait for");
    assert_eq!(f.received(), ["end"]);
    assert_eq!(f.steps(1), Step::Finished);
}

const W20: Watermark = Watermark(20);

fn completed(checkpoint: u64) -> Letter {
    Letter::Completed {
        checkpoint: CheckpointId(checkpoint),
        prev: CheckpointId(0),
        accounts: stream_core::checkpoint::Accounts::default(),
        cut: None,
    }
}

#[test]
fn barrier_travels_behind_what_was_read_and_tells_its_positions() {
    let mut f = fixture(&["t/0", "t/1"], false, [Tell::Records(0, &["a@20", "bad"]), Tell::Records(0, &["b@30"])]);
    f.steps(1);
    f.mailbox.put(Letter::Trigger(barrier(1, 0)));
    f.steps(1);
    f.mailbox.put(Letter::Trigger(barrier(1, 0)));
    f.steps(1);
    assert_eq!(f.received(), ["a", "B1", "b"], "and a trigger that is told twice sends one barrier");
    let read = SplitSnapshot {
        split: Split { start: 2, ..split("t/0") },
        watermark: Some(W20),
        ..SplitSnapshot::unread(split("t/0"))
    };
    let unread = SplitSnapshot::unread(split("t/1"));
    assert_eq!(f.acknowledged(), [(1, vec![read, unread], 1, 1)]);
}

#[test]
fn source_reads_no_more_behind_its_last_barrier_unless_another_checkpoint_follows() {
    let mut f = fixture(&["t/0"], false, [Tell::Records(0, &["a@10"]), Tell::Records(0, &["b@20"])]);
    f.mailbox.put(Letter::Trigger(last_barrier(1, 0)));
    assert_eq!(f.steps(5), Step::AwaitingInput);
    assert_eq!(f.received(), ["B1"]);
    f.mailbox.put(Letter::Aborted(CheckpointId(1)));
    f.mailbox.put(Letter::Trigger(barrier(2, 0)));
    f.steps(2);
    f.mailbox.put(Letter::Trigger(last_barrier(3, 2)));
    f.steps(2);
    assert_eq!(f.received(), ["B2", "a+b", "W20", "B3"]);
    f.mailbox.put(completed(3));
    f.steps(1);
    assert_eq!(f.received(), ["end"]);
}

#[test]
fn drained_source_ends_event_time_and_reads_no_more() {
    let mut f = fixture(&["t/0"], false, [Tell::Records(0, &["a@10"]), Tell::Records(0, &["b@20"])]);
    f.steps(1);
    f.mailbox.put(Letter::Drain);
    f.mailbox.put(Letter::Drain);
    assert_eq!(f.steps(5), Step::AwaitingInput);
    assert_eq!(f.received(), ["a", "Wend"]);
    assert_eq!(f.told.take(), [Change::Drained]);
    f.mailbox.put(Letter::Splits(vec![split("t/1")]));
    f.mailbox.put(Letter::Trigger(barrier(1, 0)));
    assert_eq!(f.steps(5), Step::AwaitingInput);
    assert_eq!(f.received(), ["B1"], "an aborted last checkpoint does not make it read again, nor do new splits");
}

#[test]
fn paused_source_reads_nothing_lets_barriers_pass_and_is_not_idle() {
    let mut f = fixture(&["t/0", "t/1"], false, [Tell::Records(0, &["a@50"]), Tell::EndForNow(1)]);
    f.steps(2);
    f.mailbox.put(Letter::Pause(true));
    for _ in 0..5 {
        f.clock.advance(IDLE_TIMEOUT);
        assert_eq!(f.steps(1), Step::AwaitingInput);
    }
    f.mailbox.put(Letter::Trigger(barrier(1, 0)));
    f.steps(1);
    assert_eq!(f.received(), ["a", "B1"]);
    f.mailbox.put(Letter::Pause(false));
    f.clock.advance(IDLE_TIMEOUT);
    f.steps(3);
    assert_eq!(f.received(), [""; 0], "the split was not read, so it is not idle");
    f.steps(60);
    assert_eq!(f.received(), ["W50"]);
}

#[test]
fn restored_source_goes_on_from_its_positions_and_leaves_out_what_was_finished() {
    let at = |id, start, watermark, is_finished| SplitSnapshot {
        split: Split { start, end: Some(9), ..split(id) },
        watermark,
        is_finished,
        begun: vec![1, 3],
    };
    let (done, open) = (at("f/0", 9, Some(W20), true), at("f/1", 4, Some(Watermark(7)), false));
    let mut splits = SourceSplits::new(0, Idleness { timeout: IDLE_TIMEOUT, advance: Duration::ZERO });
    assert_eq!(splits.restore(vec![done.clone(), open.clone()]), slice::from_ref(&open.split));
    let mut f = fixture_of(splits, true, [Tell::Records(0, &["a@3"]), Tell::Finished(0)], 1 << 20);
    f.mailbox.put(Letter::Trigger(barrier(1, 0)));
    f.steps(1);
    f.mailbox.put(Letter::Splits(vec![split("f/0"), split("f/1")]));
    f.steps(1);
    assert_eq!(f.received(), ["W7", "B1", "a", "Wend"]);
    assert!(f.added.lock().unwrap().is_empty());
    assert_eq!(f.acknowledged(), [(1, vec![open, done], 0, 0)]);
    let shown = f.counters.snapshot().splits;
    assert_eq!((shown.len(), shown.iter().all(|split| split.is_finished)), (2, true));
}

#[test]
fn source_that_is_ahead_of_others_waits_for_mail_and_keeps_nothing_back_of_what_it_took() {
    let mut splits = SourceSplits::new(0, Idleness { timeout: IDLE_TIMEOUT, advance: Duration::ZERO })
        .aligned(Alignment::new(Duration::from_millis(10)));
    splits.add(&[split("t/0")]);
    let mut f = fixture_of(splits, false, [Tell::Records(0, &["a@100"; 70]), Tell::EndForNow(0)], 1 << 20);
    f.mailbox.put(Letter::Pace(Watermark(50)));
    assert_eq!(f.steps(1), Step::AwaitingInput, "the reader must not wait where the mail is not heard");
    assert_eq!(f.received(), [["a"; 64].join("+"), "W100".to_owned()]);
    f.clock.advance(IDLE_TIMEOUT);
    f.mailbox.put(Letter::Trigger(barrier(1, 0)));
    assert_eq!(f.steps(1), Step::AwaitingInput);
    assert_eq!(f.received(), ["B1"]);
    let (_, taken, events, _) = f.acknowledged().remove(0);
    assert_eq!((taken[0].split.start, events, f.counters.snapshot().records_in), (64, 64, 64));

    f.mailbox.put(Letter::Pace(Watermark(90)));
    f.steps(3);
    assert_eq!(f.received(), [["a"; 6].join("+")]);
}

#[test]
fn open_batch_travels_once_nothing_more_comes() {
    let mut f = fixture(&["t/0"], false, [Tell::Records(0, &["a@10"])]);
    f.steps(1);
    assert_eq!(f.received(), [""; 0], "it may wait for others to travel with");
    f.steps(1);
    assert_eq!(f.received(), ["a", "W10"]);
    assert!(f.clock.monotonic() <= LINGER, "the reader waits no longer than an event may");
}

#[test]
fn open_batch_travels_after_the_linger_even_if_more_comes() {
    let more = || Tell::Records(0, &["a@10"]);
    let mut f = fixture(&["t/0"], false, [more(), more(), more()]);
    f.steps(2);
    f.clock.advance(LINGER);
    f.steps(1);
    assert_eq!(f.received(), ["a+a+a", "W10"]);
}

#[test]
fn watermark_is_the_minimum_over_the_splits() {
    let script = [Tell::Records(0, &["a@50"]), Tell::Records(1, &["b@20"])];
    let mut f = fixture(&["t/0", "t/1"], false, script);
    f.steps(3);
    assert_eq!(f.received(), ["a+b", "W20"]);
}

#[test]
fn silent_split_at_its_end_is_left_out_after_the_idle_timeout() {
    let mut f = fixture(&["t/0", "t/1"], false, [Tell::Records(0, &["a@50"]), Tell::EndForNow(1)]);
    f.steps(3);
    assert_eq!(f.received(), ["a"]);
    f.steps(60);
    assert_eq!(f.received(), ["W50"]);
    assert!(f.counters.snapshot().splits[1].is_idle);
}

#[test]
fn source_is_idle_once_all_its_splits_are_and_wakes_before_the_next_event() {
    let mut f = fixture(&["t/0"], false, [Tell::Records(0, &["a@50"]), Tell::EndForNow(0)]);
    f.steps(60);
    assert_eq!(f.received(), ["a", "W50", "idle"]);
    f.source.reader.poll(Duration::ZERO, &mut f.source.ingest).unwrap();
    f.source.ingest.on_records(0, &[Record { payload: Some(b"b@40"), offset: 1 }], 2);
    f.steps(2);
    assert_eq!(f.received(), ["W50", "b"]);
}

#[test]
fn time_without_room_downstream_does_not_make_a_split_idle() {
    // A gate of one message.
    let mut f = fixture_with_room(&["t/0", "t/1"], false, [Tell::Records(0, &["a@50"]), Tell::EndForNow(1)], 64);
    f.steps(2);
    assert_eq!(f.source.emitter_is_stuck(), Step::Backpressured);
    f.clock.advance(IDLE_TIMEOUT * 10);
    f.steps(1);
    assert_eq!(f.received(), ["a"]);
    f.steps(1);
    assert_eq!(f.received(), ["x"]);
    f.steps(3);
    assert_eq!(f.received(), [""; 0], "the split was not read, so it is not idle");
    f.steps(60);
    assert_eq!(f.received(), ["W50"]);
}

impl SourceSubtask {
    /// Sends events until the gate is full, so that the next step finds no room.
    fn emitter_is_stuck(&mut self) -> Step {
        self.ingest.on_records(0, &[Record { payload: Some(b"x@1"), offset: 1 }], 2);
        self.ingest.emitter.send_all();
        self.step().unwrap()
    }
}

#[test]
fn source_without_splits_is_idle_until_it_gets_one() {
    let mut f = fixture(&[], false, [Tell::Records(0, &["a@10"])]);
    assert_eq!(f.steps(2), Step::AwaitingInput);
    assert_eq!(f.received(), ["idle"]);
    f.mailbox.put(Letter::Splits(vec![split("t/7"), split("t/7")]));
    f.steps(2);
    assert_eq!(f.received(), ["Wnone", "a", "W10"]);
    assert_eq!(*f.added.lock().unwrap(), [split("t/7")]);
}

#[test]
fn bounded_source_without_splits_is_at_its_end_at_once() {
    let mut f = fixture(&[], true, []);
    f.steps(1);
    assert_eq!(f.received(), ["Wend"]);
    assert_eq!(f.told.take(), [Change::Drained]);
}

#[test]
fn bad_records_are_counted_and_passed_over() {
    let mut f = fixture(&["f"], true, [Tell::Records(0, &["nonsense", "a@10", "@@"]), Tell::Finished(0)]);
    f.steps(2);
    assert_eq!(f.received(), ["a", "Wend"]);
    let counted = f.counters.snapshot();
    assert_eq!((counted.records_in, counted.bytes_in, counted.bad, counted.records_out), (3, 14, 2, 1));
    assert_eq!((counted.splits[0].position, counted.splits[0].is_finished), (3, true));
}

#[test]
fn source_takes_no_more_in_while_downstream_takes_nothing() {
    let many = || Tell::Records(0, &["a@10"; 3000]);
    let mut f = fixture_with_room(&["f"], true, [many(), many(), many(), many()], 1);
    f.steps(1);
    assert_eq!(f.steps(50), Step::Backpressured);
    assert_eq!(f.counters.snapshot().records_in, 6000, "one batch in the gate, one kept, nothing beyond");
}

#[test]
fn reader_that_fails_fails_the_task() {
    let error = ConnectorError::new(ConnectorErrorKind::NotFound, "the topic is gone");
    let mut f = fixture(&["t/0"], false, [Tell::Fail(error)]);
    assert_eq!(f.source.step().unwrap_err().to_string(), "the topic is gone");
}
