//! What passes between this taskmanager and the jobmanager, in our own types; [`crate::grpc`] puts it on the wire.

use std::time::Duration;

use stream_core::ids::{AttemptNumber, JobId, SubtaskId};
use stream_core::job::TaskState;
use stream_core::pipeline::Split;

use crate::counters::Snapshot;
use crate::deployment::Deployment;

/// A subtask of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskRef {
    /// The job.
    pub(crate) job_id: JobId,
    /// Its try.
    pub(crate) attempt: AttemptNumber,
    /// Which subtask.
    pub(crate) subtask: SubtaskId,
}

/// What the jobmanager wants.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run these tasks.
    Deploy(Box<Deployment>),
    /// Run these tasks, said in a way that cannot be carried out.
    Undeployable {
        /// The tasks, as far as they are readable.
        tasks: Vec<TaskRef>,
        /// What is wrong, outermost first.
        causes: Vec<String>,
    },
    /// Stop all tasks of an attempt.
    Cancel {
        /// The job.
        job_id: JobId,
        /// Its try.
        attempt: AttemptNumber,
    },
    /// Read these splits, too.
    AssignSplits {
        /// The source.
        task: TaskRef,
        /// What it reads from now on, beside what it has.
        splits: Vec<Split>,
    },
}

/// What the jobmanager is told.
#[derive(Debug)]
pub(crate) enum Report {
    /// A task's new state.
    StateChange {
        /// Whose.
        task: TaskRef,
        /// What it is now.
        state: TaskState,
        /// Why it failed, outermost first.
        causes: Vec<String>,
        /// Its last counters, where it has ended.
        counters: Option<Snapshot>,
    },
    /// A sign of life.
    Heartbeat {
        /// The counters of all tasks.
        tasks: Vec<(TaskRef, Snapshot)>,
        /// Resident memory of this process.
        rss_bytes: u64,
    },
}

/// What becomes of the connection to the jobmanager.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// This taskmanager is registered.
    Joined {
        /// Where reports go from now on.
        reports: tokio::sync::mpsc::Sender<Report>,
        /// How often the jobmanager wants a heartbeat.
        heartbeat_interval: Duration,
    },
    /// The jobmanager wants something.
    Command(Command),
    /// The connection is gone; another is being made.
    Lost,
    /// The jobmanager does not want this taskmanager, and trying again would not help.
    Refused(String),
}
