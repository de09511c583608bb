//! The contents of a checkpoint, as data: references to files, and what is small enough to stand here itself.

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptNumber, CheckpointId, JobId, Nonce, SubtaskId, Token};
use crate::key_group::{KeyGroupRange, MaxParallelism};
use crate::pipeline::Split;
use crate::table::RowCounts;
use crate::time::Timestamp;
use crate::watermark::Watermark;

/// The version of all that is stored; a reader refuses what is newer.
pub const FORMAT_VERSION: u32 = 1;

/// A completed checkpoint. It exists once this is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u32,
    /// The job.
    pub job_id: JobId,
    /// The checkpoint, and the epoch that it closes.
    pub checkpoint: CheckpointId,
    /// The attempt that took it.
    pub attempt: AttemptNumber,
    /// The attempt's token.
    pub token: Token,
    /// The attempt's nonce.
    pub nonce: Nonce,
    /// When it was triggered, by the jobmanager's clock.
    pub triggered: Timestamp,
    /// When the last acknowledgement came.
    pub completed: Timestamp,
    /// Whether a user asked for it and owns it.
    pub is_savepoint: bool,
    /// Subtasks of each stage that is not gathered.
    pub parallelism: u32,
    /// Key groups.
    pub max_parallelism: MaxParallelism,
    /// Where every split is to be read on.
    pub splits: Vec<SplitSnapshot>,
    /// The state of every operator subtask.
    pub operators: Vec<OperatorSnapshot>,
    /// Every epoch that is not known to be published, oldest first; this checkpoint's own is the last.
    pub pending: Vec<SealedEpoch>,
    /// What was read and what became of it, from the job's beginning to this cut.
    pub accounts: Accounts,
}

/// How far a split was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSnapshot {
    /// Which, with the bounds it was given at submit; `start` is where to read on.
    pub split: Split,
    /// Its watermark, if it had one.
    pub watermark: Option<Watermark>,
    /// Whether it was read to its end.
    pub is_finished: bool,
    /// Where the job began to read it, and then each place at which it went on behind a drain: a window reaches over none of
    /// these. Empty in a checkpoint of a version that did not keep it.
    #[serde(default)]
    pub begun: Vec<u64>,
}

/// What an epoch is the result of: all that was read up to its barrier, and how far event time had come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The operators' watermark at the barrier, which decides what has fired.
    pub watermark: Watermark,
    /// How far each split was read.
    pub splits: Vec<SplitSnapshot>,
}

/// The state of one operator subtask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorSnapshot {
    /// Whose.
    pub subtask: SubtaskId,
    /// The key groups that it owned.
    pub key_groups: KeyGroupRange,
    /// Its watermark; equal for all subtasks of a stage, since every one has seen the same up to the barrier.
    pub watermark: Watermark,
    /// How much of that the clock had made.
    #[serde(default)]
    pub by_clock: Watermark,
    /// A full snapshot and the deltas since, oldest first; none where there was no state yet.
    pub files: Vec<FileRef>,
}

/// An epoch whose rows are fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedEpoch {
    /// Which.
    pub epoch: CheckpointId,
    /// The epoch published before it.
    pub prev: CheckpointId,
    /// Its rows, each file of one table.
    pub files: Vec<FileRef>,
    /// How many rows they hold.
    #[serde(flatten)]
    pub rows: RowCounts,
    /// The accounts at its cut.
    pub accounts: Accounts,
    /// Its cut; none in a checkpoint of a version that did not keep it.
    #[serde(default)]
    pub cut: Option<Cut>,
}

/// An immutable file beside the manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileRef {
    /// Its name within the job's folder.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// XXH3-64 of its bytes.
    pub checksum: u64,
}

/// What was read and what became of it. Every term is counted on its own, so that the sum means something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// Events and bad records read.
    pub read: u64,
    /// Records that could not be read.
    pub bad: u64,
    /// Events that came too late.
    pub late: u64,
    /// Events in windows that have fired.
    pub in_sessions: u64,
    /// Events in windows that have not fired.
    pub open: u64,
}

/// What a task acknowledges a checkpoint with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskSnapshot {
    /// A source.
    Source {
        /// Its splits.
        splits: Vec<SplitSnapshot>,
        /// Events decoded by this attempt's subtask up to the barrier.
        events: u64,
        /// Bad records, likewise.
        bad: u64,
    },
    /// An operator.
    Operator {
        /// Its state.
        state: OperatorSnapshot,
        /// Late events of this attempt's subtask up to the barrier.
        late: u64,
        /// Events whose windows fired for the first time, likewise.
        fired: u64,
        /// Events now in windows that have not fired.
        open: u64,
    },
    /// The committer.
    Sink {
        /// The rows of the epoch; empty for an attempt without a checkpoint folder, which keeps them in memory.
        files: Vec<FileRef>,
        /// How many there are.
        rows: RowCounts,
    },
}

impl Accounts {
    /// Whether everything that was read is accounted for exactly once (invariant I1).
    pub fn balance(&self) -> bool {
        self.read == self.bad + self.late + self.in_sessions + self.open
    }
}

impl SplitSnapshot {
    /// A split of which nothing was read.
    pub fn unread(split: Split) -> Self {
        SplitSnapshot { watermark: None, is_finished: false, begun: vec![split.start], split }
    }
}

impl Manifest {
    /// The names of all files that it needs.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.file_refs().map(|file| file.name.as_str())
    }

    /// All files that it needs; one may be named twice.
    pub fn file_refs(&self) -> impl Iterator<Item = &FileRef> {
        let state = self.operators.iter().flat_map(|operator| &operator.files);
        state.chain(self.pending.iter().flat_map(|epoch| &epoch.files))
    }
}
