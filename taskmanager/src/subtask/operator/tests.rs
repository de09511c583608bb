#![allow(clippy::unwrap_used)]

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Chain, OperatorSnapshot, TaskSnapshot};
use stream_core::collector::Collector;
use stream_core::event_batch::KeyedEvent;
use stream_core::ids::{CheckpointId, StageIndex, SubtaskId, SubtaskIndex, TableIndex};
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::operator::{OperatorCounters, Refusal};
use stream_core::origin::Origin;
use stream_core::row::RowBatch;
use stream_core::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::EventTime;

use stream_runtime::lookup::NoLookup;

use super::*;
use crate::exchange::outputs::{Outputs, Sender};
use crate::snapshotting::testing::TestStore;
use crate::snapshotting::{self, JobFiles};
use crate::subtask::event::{Acknowledgement, Change};
use crate::subtask::testing::{Echo, ManualClock, Told, barrier, last_barrier, texts};

mod asking;
mod barriers;

/// An operator subtask of two inputs, and the gate of the sink behind it.
struct Fixture {
    operator: OperatorSubtask,
    input: Arc<Gate>,
    output: Arc<Gate>,
    mailbox: Arc<Mailbox>,
    told: Told,
    counters: Arc<Counters>,
}

const SUBTASK: SubtaskId = SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) };
const KEY_GROUPS: KeyGroupRange = KeyGroupRange { start: 0, end: 128 };

fn fixture() -> Fixture {
    fixture_with(None)
}

fn fixture_with(files: Option<JobFiles>) -> Fixture {
    fixture_of(Box::new(Echo::default()), Box::new(NoLookup), files)
}

fn fixture_of(operator: Box<dyn Operator>, lookup: Box<dyn Lookup>, files: Option<JobFiles>) -> Fixture {
    fixture_behind(Chain::default(), operator, lookup, files)
}

fn fixture_behind(
    chain: Chain,
    operator: Box<dyn Operator>,
    lookup: Box<dyn Lookup>,
    files: Option<JobFiles>,
) -> Fixture {
    let (input, output) = (Arc::new(Gate::new(2, 1 << 20)), Arc::new(Gate::new(1, 1 << 20)));
    let outputs = Outputs::new(vec![Sender::Local(Arc::clone(&output), 0)]);
    let counters = Arc::new(Counters::default());
    let emitter =
        Emitter::new(SubtaskIndex(0), Collector::new(MaxParallelism::DEFAULT, 1), outputs, Arc::clone(&counters));
    let mailbox = Arc::new(Mailbox::new(Some(Arc::clone(&input))));
    let (teller, told) = Told::new();
    let clock = Arc::new(ManualClock::default());
    let operator = OperatorSubtask::new(OperatorParts {
        gate: Arc::clone(&input),
        inputs: 2,
        operator,
        lookup,
        watermarks: (Watermark::NONE, Watermark::NONE),
        snapshots: SnapshotParts {
            subtask: SUBTASK,
            key_groups: KEY_GROUPS,
            files,
            chain,
            mailbox: Arc::clone(&mailbox),
            teller,
            clock,
            counters: Arc::clone(&counters),
        },
        emitter,
        counters: Arc::clone(&counters),
    });
    Fixture { operator, input, output, mailbox, told, counters }
}

impl Fixture {
    fn push(&self, channel: usize, message: Message) {
        self.input.try_push(channel, message).unwrap();
    }

    fn run(&mut self) -> Step {
        loop {
            let step = self.operator.step().unwrap();
            if step != Step::WORKED && !self.operator.snapshots.is_copying() {
                return step;
            }
        }
    }

    /// Sends a barrier on both inputs and works until there is nothing more to do.
    fn cut(&mut self, barrier: Barrier) {
        self.push(0, Message::Barrier(barrier));
        self.push(1, Message::Barrier(barrier));
        self.run();
    }

    /// Works until it has told something.
    fn run_until_told(&mut self) -> Vec<Change> {
        loop {
            self.run();
            let told = self.told.take();
            if !told.is_empty() {
                return told;
            }
            self.operator.wait_for_input(Duration::from_secs(10));
        }
    }

    /// The state that was acknowledged, which must be all that was told.
    fn run_until_acknowledged(&mut self) -> (u64, OperatorSnapshot) {
        match self.run_until_told().pop() {
            Some(Change::Acknowledged(Acknowledgement { checkpoint, snapshot, .. })) => match snapshot {
                TaskSnapshot::Operator { state, .. } => (checkpoint.0, state),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn received(&self) -> Vec<String> {
        std::iter::from_fn(|| match self.output.try_pop().unwrap() {
            Input::Message(_, Message::Rows(rows)) => Some(texts(&rows).join("+")),
            Input::Message(_, Message::Progress(Progress::Active(Watermark(ms)))) => Some(format!("progress {ms}")),
            Input::Message(_, Message::Barrier(barrier)) => Some(format!("barrier {}", barrier.checkpoint.0)),
            Input::Message(_, message) => Some(format!("{message:?}")),
            Input::Empty | Input::Closed => None,
        })
        .collect()
    }
}

fn event(key: &str) -> Message {
    let key = key.as_bytes();
    let mut events = EventBatch::default();
    events.push(KeyedEvent { hash: hash_key(key), time: EventTime(0), count: 1, key, origin: Origin::default() });
    Message::Events(events)
}

const fn active(ms: i64) -> Message {
    Message::Progress(Progress::Active(Watermark(ms)))
}

#[test]
fn watermark_is_the_minimum_of_the_inputs_and_follows_the_rows_it_fired() {
    let mut f = fixture();
    f.push(0, active(10));
    assert_eq!(f.run(), Step::AwaitingInput);
    assert_eq!(f.received(), [""; 0]);
    f.push(1, event("a"));
    f.push(1, active(7));
    f.run();
    assert_eq!(f.received(), ["a+W7", "progress 7"]);
    assert_eq!(f.counters.snapshot().watermark, Some(Watermark(7)));
}

#[test]
fn rows_that_no_watermark_follows_travel_when_there_is_nothing_else_to_do() {
    let mut f = fixture();
    f.push(0, event("a"));
    f.run();
    assert_eq!(f.received(), ["a"]);
}

#[test]
fn end_follows_the_last_barrier_and_the_end_of_every_input() {
    let mut f = fixture();
    for channel in 0..2 {
        f.push(channel, active(i64::MAX));
        f.push(channel, Message::Barrier(last_barrier(1, 0)));
        f.push(channel, Message::End);
    }
    assert_eq!(f.run(), Step::Finished);
    let (row, progress) = (format!("W{}", i64::MAX), format!("progress {}", i64::MAX));
    assert_eq!(f.received(), [row.as_str(), progress.as_str(), "barrier 1", "End"]);
}

#[test]
fn idle_inputs_are_left_out_and_idleness_is_passed_on() {
    let mut f = fixture();
    f.push(0, active(10));
    f.push(1, Message::Progress(Progress::Idle(Watermark::NONE)));
    f.run();
    assert_eq!(f.received(), ["W10", "progress 10"]);
    f.push(0, Message::Progress(Progress::Idle(Watermark::NONE)));
    f.run();
    assert_eq!(f.received(), ["Progress(Idle(Watermark(-9223372036854775808)))"]);
}

#[test]
fn counters_tell_what_went_through_and_what_the_operator_tells() {
    let mut f = fixture();
    f.push(0, event("a"));
    f.push(1, event("b"));
    f.run();
    let counted = f.counters.snapshot();
    assert_eq!((counted.records_in, counted.records_out), (2, 2));
    assert_eq!(counted.operator, OperatorCounters { late: 1, open: 2, open_events: 2, fired_events: 3, unanswered: 0 });
}

#[test]
fn what_cannot_be_is_an_error() {
    let mut f = fixture();
    f.push(0, Message::End);
    f.push(1, Message::End);
    f.operator.step().unwrap();
    assert!(matches!(f.operator.step(), Err(TaskError::EndedBeforeLast)));
}

#[test]
fn input_whose_barrier_came_waits_for_the_others() {
    let mut f = fixture();
    f.push(0, Message::Barrier(barrier(1, 0)));
    f.push(0, event("behind"));
    f.push(1, event("before"));
    f.run();
    assert_eq!(f.received(), ["before"]);
    assert_eq!(f.told.take(), []);
    f.push(1, Message::Barrier(barrier(1, 0)));
    f.run();
    assert_eq!(f.received(), ["barrier 1", "behind"]);
    let told = f.told.take();
    let [Change::Acknowledged(acknowledged)] = told.as_slice() else { panic!("{told:?}") };
    let TaskSnapshot::Operator { state, late, fired, open } = &acknowledged.snapshot else { panic!("{told:?}") };
    assert_eq!((*late, *fired, *open), (1, 3, 1), "as they were at the barrier");
    let nothing = OperatorSnapshot {
        subtask: SUBTASK,
        key_groups: KEY_GROUPS,
        watermark: Watermark::NONE,
        by_clock: Watermark::NONE,
        files: Vec::new(),
    };
    assert_eq!(*state, nothing);
}

#[test]
fn aborted_checkpoint_and_a_lost_jobmanager_let_inputs_go_on() {
    let mut f = fixture();
    f.push(0, Message::Barrier(barrier(1, 0)));
    f.push(0, event("a"));
    f.run();
    assert_eq!(f.received(), [""; 0]);
    f.mailbox.put(Letter::Aborted(CheckpointId(1)));
    f.run();
    assert_eq!(f.received(), ["a"]);
    f.push(1, Message::Barrier(barrier(1, 0)));
    f.push(1, event("b"));
    f.run();
    assert_eq!(f.received(), ["b"], "its barrier holds back nobody any more");

    f.push(0, Message::Barrier(barrier(2, 0)));
    f.push(0, event("c"));
    f.run();
    f.mailbox.put(Letter::Orphaned(true));
    f.push(1, Message::Barrier(barrier(2, 0)));
    f.run();
    assert_eq!((f.received(), f.told.take()), (vec!["c".to_owned()], vec![]));
    f.mailbox.put(Letter::Orphaned(false));
    f.cut(barrier(3, 0));
    assert_eq!(f.received(), ["barrier 3"]);
}

#[test]
fn state_is_copied_in_slices_while_the_barrier_goes_on_at_once() {
    let store = TestStore::new();
    let mut f = fixture_with(Some(store.files()));
    f.push(0, event("a"));
    f.push(0, Message::Barrier(barrier(1, 0)));
    f.push(1, Message::Barrier(barrier(1, 0)));
    for _ in 0..3 {
        assert_eq!(f.operator.step().unwrap(), Step::WORKED);
    }
    assert_eq!(f.received(), ["a", "barrier 1"]);
    assert!(f.told.take().is_empty() && store.objects.lock().unwrap().is_empty());
    let (checkpoint, state) = f.run_until_acknowledged();
    assert_eq!((checkpoint, state.files.len(), store.objects.lock().unwrap().len()), (1, 1, 1));
}

#[test]
fn copying_begins_when_memory_for_it_is_there() {
    let store = TestStore::new();
    let mut f = fixture_of(Box::new(Echo::wanting(3)), Box::new(NoLookup), Some(store.files()));
    f.push(0, event("a"));
    f.cut(barrier(1, 0));
    assert_eq!(f.received(), ["a", "barrier 1"]);
    assert_eq!(f.run_until_acknowledged().1.files.len(), 1);
    f.push(0, event("b"));
    f.cut(barrier(2, 1));
    assert_eq!(f.run_until_acknowledged().1.files.len(), 2);
}

#[test]
fn deltas_follow_a_full_snapshot_and_all_of_them_are_restored_newest_first() {
    let store = TestStore::new();
    let mut f = fixture_with(Some(store.files()));
    for (checkpoint, keys) in [(1, vec!["a", "b", "c"]), (2, vec!["d"])] {
        keys.into_iter().for_each(|key| f.push(0, event(key)));
        f.cut(barrier(checkpoint, checkpoint - 1));
        let (_, state) = f.run_until_acknowledged();
        assert_eq!(state.files.len() as u64, checkpoint, "the whole chain");
    }
    let (_, state) = (f.cut(barrier(3, 2)), f.run_until_acknowledged().1);
    assert_eq!(state.files.len(), 2, "where nothing changed there is nothing to write");
    let mut restored = Restored::default();
    let restore = |restored: &mut Restored, key_groups| {
        let (states, clock) = (std::slice::from_ref(&state), ManualClock::default());
        snapshotting::restore(restored, key_groups, states, &[], &store.files(), &clock)
    };
    let watermarks = restore(&mut restored, KEY_GROUPS).unwrap();
    assert_eq!(watermarks, Some((Watermark::NONE, Watermark::NONE)));
    assert_eq!(restored.0, [vec![], vec!["d", "a"], vec!["b"], vec!["c"]]);
    let elsewhere = KeyGroupRange { start: 1, end: 2 };
    let mut restored = Restored::default();
    restore(&mut restored, elsewhere).unwrap();
    assert_eq!(restored.0, [vec![], vec!["b"]]);
}

#[test]
fn restored_subtask_goes_on_with_a_delta_behind_the_files_it_was_restored_from() {
    let store = TestStore::new();
    let mut f = fixture_with(Some(store.files()));
    f.push(0, event("a"));
    f.cut(barrier(1, 0));
    let (_, before) = f.run_until_acknowledged();
    let chain = Chain::restored(std::slice::from_ref(&before), KEY_GROUPS);
    let mut f = fixture_behind(chain, Box::new(Echo::default()), Box::new(NoLookup), Some(store.files()));
    f.push(0, event("b"));
    f.cut(barrier(2, 1));
    let (_, state) = f.run_until_acknowledged();
    assert_eq!((state.files.len(), &state.files[0]), (2, &before.files[0]));
}

#[test]
fn more_files_than_are_read_ahead_come_in_their_order_and_one_that_is_missing_is_told() {
    let store = TestStore::new();
    let mut f = fixture_with(Some(store.files()));
    // The first is long, and cannot be compressed to less than the others: they are deltas to it.
    let long: String = (1..10_000_u32).map(|number| format!("{:x}", number.wrapping_mul(0x9e37_79b1))).collect();
    let short = (b'a'..=b'z').map(|letter| char::from(letter).to_string());
    let keys: Vec<String> = std::iter::once(long.to_uppercase()).chain(short).collect();
    for (checkpoint, key) in (1..).zip(&keys) {
        f.push(0, event(key));
        f.cut(barrier(checkpoint, checkpoint - 1));
        f.run_until_acknowledged();
    }
    f.cut(barrier(28, 27));
    let (_, state) = f.run_until_acknowledged();
    assert_eq!(state.files.len(), keys.len());
    let restore = |restored: &mut Restored| {
        let (states, clock) = (std::slice::from_ref(&state), ManualClock::default());
        snapshotting::restore(restored, KEY_GROUPS, states, &[], &store.files(), &clock)
    };
    let mut restored = Restored::default();
    restore(&mut restored).unwrap();
    let of_groups = restored.0.iter().filter(|keys| !keys.is_empty());
    assert!(of_groups.clone().all(|keys| keys.is_sorted_by(|newer, older| newer > older)));
    assert_eq!(of_groups.map(Vec::len).sum::<usize>(), keys.len());
    store.objects.lock().unwrap().retain(|name, _| !name.ends_with(&state.files[13].name));
    assert!(restore(&mut Restored::default()).is_err());
}

/// Notes what it is restored from.
#[derive(Default)]
struct Restored(Vec<Vec<String>>);

impl Operator for Restored {
    fn on_events(&mut self, _events: &EventBatch, _out: &mut Collector) -> Result<(), Refusal> {
        Ok(())
    }
    fn on_watermark(&mut self, _watermark: Watermark, _out: &mut Collector) {}
    fn counters(&self) -> OperatorCounters {
        OperatorCounters::default()
    }
    fn begin_snapshot(&mut self, _kind: SnapshotKind) {}
    fn continue_snapshot(&mut self, _keys: usize) -> Option<KeyedSnapshot> {
        None
    }
    fn restore(&mut self, _watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        let text = |section: &&Section| String::from_utf8(section.bytes.clone()).unwrap();
        self.0.push(newest_first.iter().map(text).collect());
        Ok(())
    }
}

#[test]
fn store_that_fails_declines_the_checkpoint_and_makes_the_next_snapshot_full() {
    let store = TestStore::new();
    let mut f = fixture_with(Some(store.files()));
    f.push(0, event("a"));
    f.cut(barrier(1, 0));
    f.run_until_acknowledged();
    *store.failures.lock().unwrap() = 1;
    f.push(0, event("b"));
    f.cut(barrier(2, 1));
    let declined = Change::Declined { checkpoint: CheckpointId(2), reason: "the store is full".to_owned() };
    assert_eq!(f.run_until_told(), [declined]);
    f.push(0, event("c"));
    f.cut(barrier(3, 1));
    let (checkpoint, state) = f.run_until_acknowledged();
    assert_eq!((checkpoint, state.files.len()), (3, 1), "a chain of one file is a full snapshot");
}

#[test]
fn slow_store_declines_what_it_cannot_take_and_loses_no_change() {
    let store = TestStore::new();
    store.is_shut.send_replace(true);
    let mut f = fixture_with(Some(store.files()));
    f.push(0, event("a"));
    f.cut(barrier(1, 0));
    f.cut(barrier(2, 0));
    let reason = "the state of checkpoint 0.1 is still being stored".to_owned();
    assert_eq!(f.run_until_told(), [Change::Declined { checkpoint: CheckpointId(2), reason }]);
    store.is_shut.send_replace(false);
    assert_eq!(f.run_until_acknowledged().0, 1, "late, but true: the file belongs to the chain");
    f.push(0, event("b"));
    f.cut(barrier(3, 0));
    assert_eq!(f.run_until_acknowledged().1.files.len(), 2);
}

#[test]
fn newer_barrier_gives_up_the_copy_of_the_older_one() {
    let store = TestStore::new();
    let mut f = fixture_with(Some(store.files()));
    f.push(0, event("a"));
    f.push(0, Message::Barrier(barrier(1, 0)));
    f.push(1, Message::Barrier(barrier(1, 0)));
    assert!((0..3).all(|_| f.operator.step().unwrap() == Step::WORKED));
    f.cut(barrier(2, 0));
    assert_eq!(f.run_until_acknowledged().0, 2, "nothing is told of the first");
}

#[test]
fn rows_of_the_stage_before_are_handed_on_in_order() {
    let mut f = fixture();
    let mut rows = RowBatch::of(TableIndex(1));
    rows.row(1).text(Some("bad"));
    f.push(0, Message::Rows(rows.clone()));
    f.push(0, Message::Barrier(barrier(1, 0)));
    f.push(1, Message::Barrier(barrier(1, 0)));
    f.run();
    assert_eq!(f.output.try_pop().unwrap(), Input::Message(0, Message::Rows(rows)));
    assert_eq!(f.output.try_pop().unwrap(), Input::Message(0, Message::Barrier(barrier(1, 0))));
}
