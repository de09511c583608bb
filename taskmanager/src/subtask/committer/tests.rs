#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use stream_core::checkpoint::Accounts;
use stream_core::event_batch::EventBatch;
use stream_core::table::RowCounts;
use stream_core::watermark::Watermark;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, PublishError};

use super::*;
use crate::snapshotting::testing::TestStore;
use crate::subtask::testing::{ManualClock, Publications, RecordingPublisher, Told, barrier, last_barrier, schemas};

/// A committer of two inputs.
struct Fixture {
    committer: Committer,
    gate: Arc<Gate>,
    mailbox: Arc<Mailbox>,
    told: Told,
    clock: ManualClock,
    published: Arc<Mutex<Publications>>,
    counters: Arc<Counters>,
}

fn fixture(store: Option<&TestStore>, pending: Vec<SealedEpoch>) -> Fixture {
    let (gate, clock, counters) = (Arc::new(Gate::new(2, 16 << 20)), ManualClock::default(), Arc::default());
    let mailbox = Arc::new(Mailbox::new(Some(Arc::clone(&gate))));
    let (teller, told) = Told::new();
    let publisher = RecordingPublisher::default();
    let published = Arc::clone(&publisher.0);
    let committer = Committer::start(CommitterParts {
        name: "sink[0]".to_owned(),
        gate: Arc::clone(&gate),
        inputs: 2,
        open: Box::new(move || Ok(Box::new(publisher))),
        schemas: schemas(),
        files: store.map(TestStore::files),
        token: Token(1),
        last_epoch: CheckpointId::ROOT,
        pending,
        mailbox: Arc::clone(&mailbox),
        teller,
        clock: Arc::new(clock.clone()),
        recorders: JobRecorders::default(),
        counters: Arc::clone(&counters),
    });
    Fixture { committer: committer.unwrap(), gate, mailbox, told, clock, published, counters }
}

fn row(text: &str) -> Message {
    let mut rows = RowBatch::default();
    rows.row(1).text(Some(text));
    Message::Rows(rows)
}

fn side_row(text: &str) -> Message {
    let mut rows = RowBatch::of(TableIndex(1));
    rows.row(1).text(Some(text));
    Message::Rows(rows)
}

impl Fixture {
    fn push(&self, channel: usize, message: Message) {
        self.gate.try_push(channel, message).unwrap();
    }

    fn cut(&mut self, barrier: Barrier) {
        self.push(0, Message::Barrier(barrier));
        self.push(1, Message::Barrier(barrier));
        self.run();
    }

    fn complete(&self, checkpoint: u64, prev: u64) {
        let (checkpoint, prev) = (CheckpointId(checkpoint), CheckpointId(prev));
        self.mailbox.put(Letter::Completed { checkpoint, prev, accounts: Accounts::default(), cut: None });
    }

    fn run(&mut self) -> Step {
        loop {
            let step = self.committer.step().unwrap();
            if step != Step::WORKED {
                return step;
            }
        }
    }

    /// Works until it has told something.
    fn run_until_told(&mut self) -> Vec<Change> {
        loop {
            self.run();
            let told = self.told.take();
            if !told.is_empty() {
                return told;
            }
            self.committer.wait_for_input(Duration::from_secs(10));
        }
    }

    fn run_until_acknowledged(&mut self) -> (u64, Vec<FileRef>, u64) {
        match self.run_until_told().pop() {
            Some(Change::Acknowledged(Acknowledgement { checkpoint, snapshot, .. })) => match snapshot {
                TaskSnapshot::Sink { files, rows } => (checkpoint.0, files, rows.total()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn published(&self) -> Vec<(u64, String)> {
        let published = self.published.lock().unwrap();
        published.epochs.iter().map(|(epoch, rows)| (*epoch, rows.join("+"))).collect()
    }
}

fn passing() -> PublishError {
    PublishError::Passing(ConnectorError::new(ConnectorErrorKind::Unreachable, "the sink restarts"))
}

fn epoch(epoch: u64, rows: &str) -> (u64, String) {
    (epoch, rows.to_owned())
}

#[test]
fn rows_are_published_once_their_checkpoint_is_complete_and_not_before() {
    let store = TestStore::new();
    let mut f = fixture(Some(&store), Vec::new());
    f.push(0, row("a"));
    f.push(1, row("b"));
    f.run();
    f.cut(barrier(1, 0));
    f.push(0, row("c"));
    let (checkpoint, files, rows) = f.run_until_acknowledged();
    assert_eq!((checkpoint, files.len(), rows, store.objects.lock().unwrap().len()), (1, 1, 2, 1));
    f.run();
    assert!(f.published().is_empty());
    assert!(f.counters.snapshot().unpublished_bytes > 0);
    f.complete(1, 0);
    assert_eq!(f.run_until_told(), [Change::Published(CheckpointId(1))]);
    assert_eq!(f.published(), [epoch(1, "a+b")]);
    let counted = f.counters.snapshot();
    assert_eq!((counted.records_in, counted.records_out), (3, 2));
}

#[test]
fn rows_of_an_aborted_checkpoint_are_a_part_of_the_next() {
    let store = TestStore::new();
    let mut f = fixture(Some(&store), Vec::new());
    for (checkpoint, text) in [(1, "a"), (2, "b"), (3, "c")] {
        f.push(0, row(text));
        f.cut(barrier(checkpoint, 0));
        let (acknowledged, files, rows) = f.run_until_acknowledged();
        assert_eq!((acknowledged, files.len() as u64, rows), (checkpoint, checkpoint, checkpoint));
    }
    f.complete(2, 0);
    f.complete(3, 0);
    f.complete(3, 0);
    assert_eq!(f.run_until_told(), [Change::Published(CheckpointId(3))]);
    assert_eq!(f.published(), [epoch(3, "a+b+c")]);
}

#[test]
fn epoch_whose_completion_is_still_under_way_is_left_alone() {
    let mut f = fixture(None, Vec::new());
    f.push(0, row("a"));
    f.cut(barrier(1, 0));
    f.push(0, row("b"));
    f.cut(barrier(2, 1));
    f.complete(1, 0);
    f.complete(2, 1);
    let mut told = f.told.take();
    while told.len() < 4 {
        told.extend(f.run_until_told());
    }
    assert_eq!(told[2..], [Change::Published(CheckpointId(1)), Change::Published(CheckpointId(2))]);
    assert_eq!(f.published(), [epoch(1, "a"), epoch(2, "b")]);
}

#[test]
fn epoch_without_rows_is_published_all_the_same() {
    let mut f = fixture(None, Vec::new());
    f.cut(barrier(1, 0));
    f.complete(1, 0);
    f.run_until_told();
    f.run_until_told();
    assert_eq!(f.published(), [epoch(1, "")]);
}

#[test]
fn restored_epochs_wait_until_every_task_runs_and_are_published_first_from_the_store() {
    let store = TestStore::new();
    let mut before = fixture(Some(&store), Vec::new());
    before.push(0, row("a"));
    before.cut(barrier(1, 0));
    let (_, files, rows) = before.run_until_acknowledged();
    drop(before);
    let (checkpoint, accounts) = (CheckpointId(1), Accounts::default());
    let pending = SealedEpoch {
        epoch: checkpoint,
        prev: CheckpointId::ROOT,
        files,
        rows: RowCounts::of_result(rows),
        accounts,
        cut: None,
    };
    let mut f = fixture(Some(&store), vec![pending]);
    f.push(0, row("b"));
    f.cut(barrier(2, 1));
    let (sealed, ..) = f.run_until_acknowledged();
    assert_eq!((sealed, f.published()), (2, Vec::new()));
    // The jobmanager repeats it once all tasks run.
    f.complete(1, 0);
    assert_eq!(f.run_until_told(), [Change::Published(CheckpointId(1))]);
    f.complete(2, 1);
    assert_eq!(f.run_until_told(), [Change::Published(CheckpointId(2))]);
    assert_eq!(f.published(), [epoch(1, "a"), epoch(2, "b")]);
    assert_eq!(f.counters.snapshot().unpublished_bytes, 0);
}

#[test]
fn sink_that_fails_for_a_while_is_tried_until_it_works_while_input_is_taken() {
    let mut f = fixture(None, Vec::new());
    f.published.lock().unwrap().failures.extend([passing(), passing()]);
    f.push(0, row("a"));
    f.cut(barrier(1, 0));
    f.complete(1, 0);
    f.run();
    f.push(0, row("b"));
    f.run();
    assert_eq!(f.counters.snapshot().records_in, 2);
    f.told.take();
    assert_eq!(f.run_until_told(), [Change::Published(CheckpointId(1))]);
}

#[test]
fn fenced_publisher_ends_the_task_with_its_cause() {
    let mut f = fixture(None, Vec::new());
    f.published.lock().unwrap().failures.push_back(PublishError::Fenced { token: Token(9) });
    f.cut(barrier(1, 0));
    f.complete(1, 0);
    let error = loop {
        match f.committer.step() {
            Ok(_) => f.committer.wait_for_input(Duration::from_secs(10)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "another attempt of the job has taken the sink over (token 9)");
}

#[test]
fn committer_finishes_once_the_last_epoch_is_visible() {
    let mut f = fixture(None, Vec::new());
    f.push(0, row("a"));
    f.cut(last_barrier(1, 0));
    f.push(0, Message::End);
    f.push(1, Message::End);
    assert_eq!(f.run(), Step::AwaitingInput, "whoever completes the last checkpoint may tell the sources first");
    f.complete(1, 0);
    while f.run() != Step::Finished {
        f.committer.wait_for_input(Duration::from_secs(10));
    }
    assert_eq!(f.published(), [epoch(1, "a")]);
    assert!(f.published.lock().unwrap().is_finished);
}

#[test]
fn rows_that_could_not_be_stored_decline_the_checkpoint_and_are_stored_later() {
    let store = TestStore::new();
    *store.failures.lock().unwrap() = 1;
    let mut f = fixture(Some(&store), Vec::new());
    f.push(0, row("a"));
    f.cut(barrier(1, 0));
    let declined = Change::Declined { checkpoint: CheckpointId(1), reason: "the store is full".to_owned() };
    assert_eq!(f.run_until_told(), [declined]);
    f.clock.advance(STORE_RETRY);
    assert_eq!(f.run_until_acknowledged().0, 1);
    f.cut(barrier(2, 0));
    let (checkpoint, files, rows) = f.run_until_acknowledged();
    assert_eq!((checkpoint, files.len(), rows), (2, 1, 1));
}

#[test]
fn store_that_does_not_follow_stops_the_input_before_memory_is_full() {
    let store = TestStore::new();
    store.is_shut.send_replace(true);
    let mut f = fixture(Some(&store), Vec::new());
    let mut taken = 0;
    while f.gate.try_push(0, row(&"x".repeat(1 << 20))).is_ok() {
        taken += 1;
        f.run();
    }
    let limit = UNSTORED_LIMIT >> 20;
    assert!((limit..limit + 17).contains(&taken), "{taken} MiB, with 16 in the gate");
    assert_eq!(f.committer.step().unwrap(), Step::Backpressured, "not idle: there is input that it does not take");
    store.is_shut.send_replace(false);
    while f.counters.snapshot().records_in < taken {
        f.run();
        f.committer.wait_for_room(Duration::from_secs(10));
    }
}

#[test]
fn canceled_committer_drops_its_publisher_and_what_ends_too_early_is_an_error() {
    let mut f = fixture(None, Vec::new());
    f.published.lock().unwrap().failures.extend([passing(), passing(), passing(), passing()]);
    f.cut(barrier(1, 0));
    f.complete(1, 0);
    f.run();
    f.gate.close();
    assert_eq!(f.committer.step().unwrap(), Step::Closed);
    drop(f.committer);
    let published = f.published.lock().unwrap();
    assert!(published.is_dropped && !published.is_finished);
    drop(published);

    let mut f = fixture(None, Vec::new());
    f.push(0, Message::End);
    f.push(1, Message::Progress(Progress::Active(Watermark::END)));
    f.push(1, Message::End);
    f.run_to_error("all input ended before the last barrier: this is a bug, please report it");
    let mut f = fixture(None, Vec::new());
    f.push(0, Message::Events(EventBatch::default()));
    f.run_to_error("the stage before sent events, which this stage cannot take: this is a bug, please report it");
}

impl Fixture {
    fn run_to_error(&mut self, expected: &str) {
        let error = std::iter::repeat_with(|| self.committer.step()).take(4).find_map(Result::err);
        assert_eq!(error.unwrap().to_string(), expected);
    }
}

#[test]
fn stored_rows_stay_in_memory_within_a_budget_only() {
    let mut rows = RowBatch::default();
    rows.row(1).text(Some("abcd"));
    let bytes = rows.as_bytes().len() as u64;
    let mut epochs = Epochs::new(true, bytes, Vec::new());
    for checkpoint in [1, 2] {
        epochs.gather(rows.clone());
        epochs.seal(barrier(checkpoint, checkpoint - 1));
        assert_eq!((epochs.unstored_bytes(), epochs.take_acknowledged()), (bytes, vec![]));
        for (ticket, _) in epochs.take_unstored() {
            let file = FileRef { name: ticket.to_string(), bytes, checksum: 0 };
            assert_eq!(epochs.on_stored(ticket, Ok(file)), None);
        }
        assert_eq!((epochs.unstored_bytes(), epochs.take_acknowledged().len()), (0, 1));
        epochs.complete(CheckpointId(checkpoint), CheckpointId(checkpoint - 1), Accounts::default(), None);
    }
    let mut is_held = || {
        let held = epochs.next_ready().unwrap().pieces[0].rows.is_some();
        (epochs.on_published(), held)
    };
    assert_eq!((is_held(), is_held()), ((1, true), (1, false)));
    assert!(epochs.are_published());
    assert_eq!(epochs.unpublished_bytes(), 0);
}

#[test]
fn rows_of_side_tables_are_sealed_and_published_with_the_result_one_table_behind_the_other() {
    let store = TestStore::new();
    let mut f = fixture(Some(&store), Vec::new());
    f.push(0, side_row("late"));
    f.push(0, row("a"));
    f.push(1, side_row("bad"));
    f.push(1, row("b"));
    f.run();
    f.cut(barrier(1, 0));
    let (checkpoint, files, rows) = f.run_until_acknowledged();
    assert_eq!((checkpoint, files.len(), rows), (1, 2, 4), "a file for each table");
    f.complete(1, 0);
    f.run_until_told();
    assert_eq!(f.published(), [epoch(1, "a+b+late+bad")]);
}
