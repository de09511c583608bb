//! Checkpoints: what one holds, which one an attempt may begin with, and when each is triggered, completed or given up.
//!
//! `docs/design/0002-exactly-once.md` has the protocol and why it is safe.

mod adopt;
mod chain;
mod choose;
mod coordinator;
mod history;
mod manifest;
mod pending;
mod retention;
mod standing;
mod sweep;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use adopt::{Adopted, Unclear, adopt};
pub use chain::Chain;
pub use choose::{Choice, Refusal, choose, choose_savepoint, is_token_new};
pub use coordinator::{BrokenInvariant, Coordinator};
pub use history::{CheckpointState, Entry};
pub use manifest::{
    Accounts, Cut, FORMAT_VERSION, FileRef, Manifest, OperatorSnapshot, SealedEpoch, SplitSnapshot, TaskSnapshot,
};

pub use standing::{LedgerEntry, Standing, standing};
pub use sweep::{Listed, ListedKind, orphans};

use crate::barrier::Barrier;
use crate::ids::{AttemptNumber, CheckpointId, JobId, Nonce, SubtaskId, Token};
use crate::key_group::MaxParallelism;
use crate::pipeline::Split;

/// How often checkpoints are taken and how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From one trigger to the next.
    pub interval: Duration,
    /// After which a checkpoint that is not complete is given up.
    pub timeout: Duration,
    /// How long a checkpoint is kept after a newer one was published: a database that was set back may need it.
    pub retention: Duration,
}

/// The attempt whose checkpoints are coordinated.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The job.
    pub job_id: JobId,
    /// Its try.
    pub attempt: AttemptNumber,
    /// Its token.
    pub token: Token,
    /// Its nonce.
    pub nonce: Nonce,
    /// Subtasks of each stage that is not gathered.
    pub parallelism: u32,
    /// Key groups.
    pub max_parallelism: MaxParallelism,
    /// Its source subtasks.
    pub sources: Vec<SubtaskId>,
    /// Its operator subtasks.
    pub operators: Vec<SubtaskId>,
    /// Its committer.
    pub sink: SubtaskId,
    /// The epoch published last when it began.
    pub last_epoch: CheckpointId,
    /// What it had to publish first, oldest first.
    pub pending: Vec<SealedEpoch>,
    /// The accounts at the cut it began with: its own tasks count from there.
    pub base: Accounts,
    /// The splits as they were at that cut.
    pub splits: Vec<SplitSnapshot>,
    /// Every manifest that is stored, oldest first; of an adopted attempt, its own too.
    pub stored: Vec<Manifest>,
    /// The highest sequence number that was used under its token: 0, unless the attempt is adopted.
    pub last_sequence: u32,
    /// What the wall clock shows when the steady one, by which events are timed, shows 0; in milliseconds.
    pub wall_offset_ms: i64,
}

/// What a coordinator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Every task of the attempt runs.
    Running,
    /// The attempt runs since before this coordinator was: what it begins with is [`adopt`]'s answer.
    Adopted {
        /// The checkpoint that was under way.
        under_way: Option<CheckpointId>,
    },
    /// A task's part of a checkpoint is stored.
    Acknowledged {
        /// Of which checkpoint.
        checkpoint: CheckpointId,
        /// Whose.
        subtask: SubtaskId,
        /// What it holds.
        snapshot: TaskSnapshot,
        /// What it cost.
        cost: Cost,
    },
    /// A task could not store its part.
    Declined {
        /// Of which checkpoint.
        checkpoint: CheckpointId,
        /// Whose.
        subtask: SubtaskId,
        /// Why, for the user.
        reason: String,
    },
    /// The manifest is durable: the checkpoint exists.
    Stored {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// The manifest could not be stored, or nobody knows.
    NotStored {
        /// Which.
        checkpoint: CheckpointId,
        /// Why, for the user.
        reason: String,
    },
    /// An epoch is visible in the sink.
    Published {
        /// Which.
        epoch: CheckpointId,
    },
    /// A source subtask is at the end of its input.
    SourceDrained {
        /// Which.
        subtask: SubtaskId,
    },
    /// A user, or a rescale, wants a checkpoint now.
    Requested(Request),
    /// The attempt is over; whoever waits is told so.
    Ended {
        /// Why, for the user.
        reason: String,
    },
    /// Time passed.
    Tick,
}

/// What a task's part of a checkpoint cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// What was written for it.
    pub written_bytes: u64,
    /// The longest that the task stood still for it.
    pub pause: Duration,
    /// From the first barrier to the last.
    pub alignment: Duration,
}

/// A checkpoint that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's own number, given back with the answer.
    pub number: u64,
    /// What is wanted.
    pub kind: RequestKind,
}

/// What somebody wants of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// An ordinary one, now.
    Checkpoint,
    /// A full one, which the user will own.
    Savepoint,
    /// A savepoint behind which the sources end.
    Stop,
    /// The same, after event time was raised to its end.
    Drain,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the barrier to every source subtask.
    Trigger(Barrier),
    /// Tell every source subtask to raise its watermark to the end and to read no more.
    Drain,
    /// Store the manifest; answered by [`Event::Stored`] or [`Event::NotStored`].
    Store(Box<Manifest>),
    /// Tell every task that a checkpoint is complete; the committer publishes its epoch.
    Complete {
        /// Which.
        checkpoint: CheckpointId,
        /// The epoch before it.
        prev: CheckpointId,
        /// The accounts at its cut.
        accounts: Accounts,
        /// The cut.
        cut: Option<Cut>,
    },
    /// Tell every task that nobody waits for a checkpoint any more.
    Abort {
        /// Which.
        checkpoint: CheckpointId,
        /// Why, for the user.
        reason: String,
    },
    /// Tell the source's tools how far was read.
    CommitPositions(Vec<Split>),
    /// Remove manifests that nothing can need any more, and then the files that only they name.
    Discard {
        /// The checkpoints.
        checkpoints: Vec<CheckpointId>,
        /// The files.
        files: Vec<String>,
    },
    /// Remove the files of attempts with lower tokens that no manifest names ([`orphans`]); once for each attempt.
    Sweep {
        /// The attempt's own.
        below: Token,
    },
    /// Answer a request: the checkpoint is complete (of a stop: and published), or will not be.
    Answer {
        /// The caller's number.
        number: u64,
        /// The checkpoint, or why there is none, for the user.
        result: Result<CheckpointId, String>,
    },
}
