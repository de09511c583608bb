//! What the jobmanager and its taskmanagers tell each other, in `stream-core`'s terms; `grpc::cluster` puts it on the wire.

use std::sync::Arc;
use std::time::Duration;

use stream_core::ids::{AttemptNumber, JobId, SubtaskId, TaskManagerId};
use stream_core::job::TaskState;
use stream_core::pipeline::{Pipeline, Split};
use stream_core::plan::PlannedTask;

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
        /// Why it failed, outermost first.
        causes: Vec<String>,
        /// Its last counters, once it has ended.
        counters: Option<SubtaskCounters>,
    },
}

/// What a taskmanager is told.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// It is in; how often to send a heartbeat.
    Registered { heartbeat_interval: Duration },
    /// A heartbeat was received.
    AcknowledgeHeartbeat,
    /// Run these tasks.
    Deploy(Deployment),
    /// Cancel all tasks of an attempt.
    CancelTasks { job: JobId, attempt: AttemptNumber },
    /// Read these splits too.
    AssignSplits { task: TaskRef, splits: Vec<Split> },
}

/// The tasks of one attempt that one taskmanager is to run.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    /// The job.
    pub(crate) job: JobId,
    /// The attempt.
    pub(crate) attempt: AttemptNumber,
    /// What runs, with its secrets.
    pub(crate) pipeline: Arc<Pipeline>,
    /// The taskmanager's own tasks.
    pub(crate) tasks: Vec<PlannedTask>,
    /// Where every task of the attempt runs.
    pub(crate) locations: Vec<TaskLocation>,
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
