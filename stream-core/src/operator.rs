//! The small traits through which the data plane runs a job's code: always a batch at a time.
//!
//! Everything here is synchronous and pure: records in, events or rows out into a [`Collector`]. Threads, queues and
//! sockets are the taskmanager's business.

use crate::collector::Collector;
use crate::event_batch::EventBatch;
use crate::ids::SplitId;
use crate::key_group::KeyHash;
use crate::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use crate::time::EventTime;
use crate::watermark::Watermark;

/// A record as a source read it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its bytes; `None` for a record without a value (a Kafka tombstone).
    pub payload: Option<&'a [u8]>,
    /// Its place in its split: a Kafka offset, a byte or line number of a file.
    pub offset: u64,
}

/// Records of one split, in their order.
#[derive(Clone, Copy, Debug)]
pub struct SplitRecords<'a> {
    /// The split.
    pub split: &'a SplitId,
    /// The records.
    pub records: &'a [Record<'a>],
    /// The latest event time that is believed: what is beyond is in the future.
    pub not_after: EventTime,
    /// From which event time on they are to be left for later.
    pub hold: Hold,
}

/// Where a split has to wait for others: events beyond a time are left for later, together with all that follows in the split.
///
/// A split that is not ahead itself may still have some taken: they raise its watermark, without which the others could not come near. So what
/// is left is left because it *and* the split are ahead, and one event with a wrong clock holds up nothing that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The time.
    pub beyond: EventTime,
    /// How many beyond it may still be taken.
    pub spare: u32,
}

impl Hold {
    /// Nothing is left.
    pub const NEVER: Hold = Hold { beyond: EventTime(i64::MAX), spare: 0 };

    /// Whether the next event is to be left.
    pub fn leaves(&mut self, time: EventTime) -> bool {
        if time <= self.beyond {
            return false;
        }
        let leaves = self.spare == 0;
        self.spare = self.spare.saturating_sub(1);
        leaves
    }
}

/// What a job was told not to go on behind: a late event, a bad record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// A question about an operator's state that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub String);

/// What became of a batch of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The latest event time among them, which raises the split's watermark.
    pub latest: Option<EventTime>,
    /// Events put into the collector.
    pub events: u64,
    /// Records that could not be read: not the format, or without a valid time. They are counted, whether or not they are kept.
    pub bad: u64,
    /// What was left for later, see [`Hold`]; `None`: nothing.
    pub left: Option<Left>,
}

/// The last records of a batch, of which nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// How many.
    pub records: usize,
    /// The event time of the first.
    pub time: EventTime,
}

/// Turns a source's records into events or rows. One for each source subtask, used by one thread.
pub trait Decoder: Send {
    /// Decodes records of one split, in their order. What is to be left it is given again.
    ///
    /// # Errors
    /// If one is bad, and the job is to fail then.
    fn decode(&mut self, records: SplitRecords<'_>, out: &mut Collector) -> Result<Decoded, Refusal>;
}

/// What an operator tells of itself, for `describe` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorCounters {
    /// Events that came too late and changed nothing.
    pub late: u64,
    /// Windows now in state, or keys being looked up.
    pub open: u64,
    /// Events in windows that have not fired, or that wait for an answer.
    pub open_events: u64,
    /// Events in windows that have fired, each counted once, or given out one by one.
    pub fired_events: u64,
    /// Events that were given out without what was to be looked up, because nobody could tell.
    pub unanswered: u64,
}

/// What came of a question to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This is known of it.
    Found(String),
    /// Nothing is known of it, and nothing will be.
    Nothing,
    /// Nobody could tell. Asked again, somebody may.
    Failed,
}

/// A keyed operator. One for each subtask, used by one thread.
///
/// An operator may ask the outside about keys ([`Operator::take_questions`]). Events that wait for an answer are keyed state
/// like any other: they are in every snapshot, and what was not answered before it is asked again behind a restore.
pub trait Operator: Send {
    /// Takes a batch of events of its key groups.
    ///
    /// # Errors
    /// If one is late, and the job is to fail then.
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) -> Result<(), Refusal>;

    /// The subtask's watermark rose; [`Watermark::END`] is the end of a bounded input.
    fn on_watermark(&mut self, watermark: Watermark, out: &mut Collector);

    /// The clock, and not events, made the subtask's watermark what it is now: [`Operator::on_watermark`] was called if it rose. It
    /// is a promise that an event may break. Also called behind a restore.
    fn on_clock_watermark(&mut self, _by_clock: Watermark) {}

    /// Takes out the keys that are to be looked up, each of which will be answered once. Asked for after each batch and behind a
    /// restore.
    fn take_questions(&mut self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// The answer to a question, in any order and at any time; [`Answer::Nothing`] for all of them in a job without look-ups.
    fn on_answer(&mut self, _key: &[u8], _answer: Answer, _out: &mut Collector) {}

    /// What it was told before may not be what it would be told now.
    fn forget_answers(&mut self) {}

    /// Whether any event waits for an answer.
    fn is_waiting(&self) -> bool {
        false
    }

    /// Whether an event of this key and time, which it was given, still waits for what becomes of it: in a window that has not
    /// fired, say. Asked about a few events that are traced.
    fn holds(&self, _hash: KeyHash, _key: &[u8], _time: EventTime) -> bool {
        self.is_waiting()
    }

    /// Whether so many events wait that it takes no more for now. Only answers change that.
    fn is_full(&self) -> bool {
        false
    }

    /// A barrier came on every input, and the state as it is now is its checkpoint's: what is written here is the last of the epoch that
    /// it closes. Called at every barrier, right before [`Operator::begin_snapshot`] if a snapshot is taken. Rows for it should be no more
    /// than what changed since the barrier before.
    fn on_barrier(&mut self, _out: &mut Collector) {}

    /// What it tells of itself.
    fn counters(&self) -> OperatorCounters;

    /// Begins a snapshot of the state as it is now, in constant time; what comes later does not show in it. One that was
    /// begun before and not finished is given up, and the next must be full.
    fn begin_snapshot(&mut self, kind: SnapshotKind);

    /// How many empty blocks of [`BLOCK_BYTES`](crate::snapshot::BLOCK_BYTES) the snapshot that was begun can do with. Memory that is
    /// touched for the first time costs the thread that does; so its owner prepares them elsewhere.
    fn blocks_wanted(&self) -> usize {
        0
    }

    /// Gives the snapshot that was begun blocks to write into. It allocates where there are too few, and hands
    /// out with the snapshot what is left.
    fn lend(&mut self, _blocks: Vec<Vec<u8>>) {}

    /// Copies up to `keys` more keys of the snapshot that was begun; the snapshot, once all are copied. Nothing without one.
    fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot>;

    /// Begins to answer a question about the state that is asked in the job's own form. One that was begun before and is not
    /// answered is given up.
    ///
    /// # Errors
    /// If the operator does not understand it; one that answers none understands none.
    fn begin_query(&mut self, _query: &str) -> Result<(), QueryError> {
        Err(QueryError("this job answers no questions about its state".to_owned()))
    }

    /// Looks at up to `keys` more keys for the question that was begun; the answer, once it has looked at all that it need look
    /// at. A key is answered for as it is when it is looked at, not as at one instant. Nothing without a question.
    fn continue_query(&mut self, _keys: usize) -> Option<String> {
        None
    }

    /// Takes in the stored records of one key group of its range, newest section first, as they were at `watermark`, which is
    /// the same for all groups. Called before anything else.
    ///
    /// # Errors
    /// If a section is not what this operator writes.
    fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError>;
}
