//! What passes between this taskmanager and the jobmanager, in our own types; [`crate::grpc`] puts it on the wire.

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Accounts, Cut};
use stream_core::ids::{AttemptNumber, CheckpointId, JobId, SubtaskId};
use stream_core::job::{TaskFailure, TaskState};
use stream_core::log_line::LogLine;
use stream_core::operator::QueryError;
use stream_core::pipeline::Split;
use stream_core::time::Timestamp;
use stream_core::watermark::Watermark;

use crate::counters::Snapshot;
use crate::deployment::Deployment;
use crate::slot::Holder;
use crate::subtask::event::Acknowledgement;

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
    Cancel(Holder),
    /// Send this barrier from every source.
    Trigger(Holder, Barrier),
    /// A checkpoint is complete: publish its epoch.
    Complete {
        /// Whose.
        holder: Holder,
        /// Which.
        checkpoint: CheckpointId,
        /// The epoch before it.
        prev: CheckpointId,
        /// The accounts at its cut.
        accounts: Accounts,
        /// The cut.
        cut: Option<Cut>,
    },
    /// Nobody waits for a checkpoint any more.
    Abort(Holder, CheckpointId),
    /// Stop reading, or go on.
    Pause(Holder, bool),
    /// How far the slowest split of the other sources is.
    Pace(TaskRef, Watermark),
    /// End event time and read no more.
    Drain(Holder),
    /// Stop: nobody needs this taskmanager, which is leaving, any more.
    Release,
    /// Ask every operator subtask of an attempt about its state.
    Query {
        /// Whose.
        holder: Holder,
        /// The number under which the answers are awaited.
        number: u64,
        /// The question, in the job's own form.
        query: String,
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
        /// Why it failed, if it did.
        failure: TaskFailure,
        /// Its last counters, where it has ended.
        counters: Option<Snapshot>,
    },
    /// A task's part of a checkpoint is stored.
    Acknowledged {
        /// Whose.
        task: TaskRef,
        /// What it holds and cost.
        acknowledgement: Acknowledgement,
    },
    /// A task's part of a checkpoint could not be stored.
    Declined {
        /// Whose.
        task: TaskRef,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
    },
    /// An epoch is visible in the sink.
    Published {
        /// Who published it.
        task: TaskRef,
        /// Which.
        epoch: CheckpointId,
    },
    /// A source is at the end of its input.
    Drained(TaskRef),
    /// This taskmanager was told to stop, and waits to be released.
    Leaving,
    /// How far a source's slowest split is.
    Pace {
        /// Whose.
        task: TaskRef,
        /// Its watermark.
        slowest: Watermark,
    },
    /// A task's answer to a question about its state.
    Answered {
        /// Whose.
        task: TaskRef,
        /// The question's number.
        query: u64,
        /// The answer, in the job's own form.
        result: Result<String, QueryError>,
    },
    /// What was logged about a job since it was told last.
    Logs {
        /// Which.
        job_id: JobId,
        /// In their order.
        lines: Vec<Arc<LogLine>>,
        /// How many before them could not be kept until now.
        missed: u64,
    },
    /// A sign of life.
    Heartbeat {
        /// The counters of all tasks.
        tasks: Vec<(TaskRef, Snapshot)>,
        /// Resident memory of this process.
        rss_bytes: u64,
    },
}

/// A task that runs, as a jobmanager learns of it that did not deploy it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunningTask {
    /// Which.
    pub(crate) task: TaskRef,
    /// Its slot.
    pub(crate) slot: u32,
    /// Its state.
    pub(crate) state: TaskState,
    /// The newest barrier that its attempt was told to send from here.
    pub(crate) last_barrier: Option<Barrier>,
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
        /// When that jobmanager started.
        jobmanager_started: Timestamp,
    },
    /// The jobmanager wants something.
    Command(Command),
    /// The connection is gone; another is being made.
    Lost(String),
    /// The jobmanager does not want this taskmanager, and trying again would not help.
    Refused(String),
}
