//! What the jobmanager and its taskmanagers tell each other, in `stream-core`'s terms; `grpc::cluster` puts it on the wire.

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Accounts, Cost, Cut, TaskSnapshot};
use stream_core::ids::{AttemptNumber, CheckpointId, JobId, SubtaskId, TaskManagerId};
use stream_core::job::{TaskFailure, TaskState};
use stream_core::log_line::LogLine;
use stream_core::operator::QueryError;
use stream_core::pipeline::{Pipeline, Split};
use stream_core::plan::PlannedTask;
use stream_core::time::Timestamp;
use stream_core::watermark::Watermark;

use telemetry::Spread;

use crate::preparation::Start;

/// Counters as the taskmanager sent them. The jobmanager reads hardly any and hands them on to clients as they are, so
/// they stay in the form of the wire.
pub(crate) use proto::v1::SubtaskCounters;

/// How a taskmanager introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    /// Its name.
    pub(crate) taskmanager: TaskManagerId,
    /// The slots that it brings.
    pub(crate) slots: u32,
    /// Where other taskmanagers reach its exchange, `HOST:PORT`.
    pub(crate) exchange_address: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Its tasks that run on from before it lost the jobmanager.
    pub(crate) running: Vec<RunningTask>,
}

/// A task that runs on while its taskmanager has no jobmanager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunningTask {
    /// Which.
    pub(crate) task: TaskRef,
    /// In which of the taskmanager's slots.
    pub(crate) slot: u32,
    /// How far it is.
    pub(crate) state: TaskState,
    /// The newest barrier that its taskmanager was told to send.
    pub(crate) last_barrier: Option<Barrier>,
}

/// A task of one attempt of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskRef {
    /// The job.
    pub(crate) job: JobId,
    /// The attempt.
    pub(crate) attempt: AttemptNumber,
    /// The task.
    pub(crate) subtask: SubtaskId,
}

/// What a registered taskmanager tells.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// It is alive, and how far its tasks have come.
    Heartbeat {
        /// The resident memory of its process, in bytes.
        rss_bytes: u64,
        /// The counters of its tasks.
        tasks: Vec<(TaskRef, SubtaskCounters)>,
    },
    /// A task came into another state.
    TaskStateChanged {
        /// Which.
        task: TaskRef,
        /// What it is now.
        state: TaskState,
        /// Why it failed, if it did.
        failure: TaskFailure,
        /// Its last counters, once it has ended.
        counters: Option<SubtaskCounters>,
    },
    /// A task's part of a checkpoint is stored.
    Acknowledged {
        /// Whose.
        task: TaskRef,
        /// Of which.
        checkpoint: CheckpointId,
        /// What it holds.
        snapshot: TaskSnapshot,
        /// What it cost.
        cost: Cost,
        /// A source: when the records were written that it read since the barrier before.
        arrivals: Spread,
    },
    /// A task could not store its part of a checkpoint.
    Declined {
        /// Whose.
        task: TaskRef,
        /// Of which.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
    },
    /// An epoch is visible in the sink.
    Published {
        /// The committer.
        task: TaskRef,
        /// Which.
        epoch: CheckpointId,
    },
    /// How far a source's slowest split is.
    Pace {
        /// Whose.
        task: TaskRef,
        /// Its watermark.
        slowest: Watermark,
    },
    /// An operator subtask's answer to a question about its state.
    Answered {
        /// Whose.
        task: TaskRef,
        /// The question's number.
        query: u64,
        /// The answer, in the job's own form.
        result: Result<String, QueryError>,
    },
    /// What it logged about a job.
    Logs {
        /// Which.
        job: JobId,
        /// In their order.
        lines: Vec<LogLine>,
        /// How many before them it could not keep.
        missed: u64,
    },
    /// A source subtask is at the end of its input.
    Drained {
        /// Which.
        task: TaskRef,
    },
    /// It was told to stop, and waits to be released.
    Leaving,
}

/// What a taskmanager is told.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// It is in; how often to send a heartbeat, and when this jobmanager started.
    Registered { heartbeat_interval: Duration, started: Timestamp },
    /// A heartbeat was received.
    AcknowledgeHeartbeat,
    /// Run these tasks.
    Deploy(Deployment),
    /// Cancel all tasks of an attempt.
    CancelTasks { job: JobId, attempt: AttemptNumber },
    /// Read these splits too.
    AssignSplits { task: TaskRef, splits: Vec<Split> },
    /// Sources: send this barrier behind what was read.
    TriggerCheckpoint { job: JobId, attempt: AttemptNumber, barrier: Barrier },
    /// A checkpoint is complete; the committer publishes its epoch.
    CompleteCheckpoint {
        job: JobId,
        attempt: AttemptNumber,
        checkpoint: CheckpointId,
        prev: CheckpointId,
        accounts: Accounts,
        cut: Option<Cut>,
    },
    /// Nobody waits for this checkpoint any more.
    AbortCheckpoint { job: JobId, attempt: AttemptNumber, checkpoint: CheckpointId },
    /// Sources: stop reading, or go on.
    PauseSources { job: JobId, attempt: AttemptNumber, is_paused: bool },
    /// Sources: raise the watermark to the end and read no more.
    DrainSources { job: JobId, attempt: AttemptNumber },
    /// A source: this far is the slowest split of the others.
    AlignSource { task: TaskRef, slowest: Watermark },
    /// Operators: answer a question about the state, in the job's own form.
    QueryState { job: JobId, attempt: AttemptNumber, number: u64, query: String },
    /// A taskmanager that is leaving may go.
    Release,
}

/// The tasks of one attempt that one taskmanager is to run.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    /// The job.
    pub(crate) job: JobId,
    /// As users call it.
    pub(crate) name: String,
    /// The attempt.
    pub(crate) attempt: AttemptNumber,
    /// What runs, with its secrets.
    pub(crate) pipeline: Arc<Pipeline>,
    /// The taskmanager's own tasks.
    pub(crate) tasks: Vec<PlannedTask>,
    /// Where every task of the attempt runs.
    pub(crate) locations: Vec<TaskLocation>,
    /// What the attempt begins with.
    pub(crate) start: Arc<Start>,
    /// The checkpoint store's URI, where there is one.
    pub(crate) checkpoint_store: Option<String>,
}

/// Where a task runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskLocation {
    /// Which.
    pub(crate) subtask: SubtaskId,
    /// On whom.
    pub(crate) taskmanager: TaskManagerId,
    /// Where that one's exchange listens, `HOST:PORT`.
    pub(crate) exchange_address: String,
}
