//! The only way in to the [`crate::service::Service`]: a cheap handle that sends messages and waits for their answers.

use std::sync::Arc;
use std::time::Duration;

use stream_core::ids::{CheckpointId, JobId};
use stream_core::job::JobState;
use stream_core::pipeline::{Pipeline, Split};
use stream_core::slot::{NoFreeSlot, SlotCount};
use stream_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::job_store::WriteError;
use crate::jobs::{FindJobError, JobRecord};
use crate::preparation::Savepoint;
use crate::protocol::{Registration, Report};
use crate::queries::{QueryReply, QueryStateError};
use crate::savepoints::SavepointReply;
use crate::taskmanagers::{Connection, Session};

/// Messages that may wait for the service, which answers each within microseconds. Whoever finds the queue full waits, and
/// so does the connection behind it.
const WAITING_MESSAGES: usize = 1024;

/// A job whose source and sink have been checked.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    /// As users will call it.
    pub(crate) name: String,
    /// What to run.
    pub(crate) pipeline: Pipeline,
    /// The source's splits.
    pub(crate) splits: Vec<Split>,
    /// What it begins with.
    pub(crate) savepoint: Option<Savepoint>,
    /// When the client asked for it, by the steady clock.
    pub(crate) asked: Duration,
}

/// A savepoint that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SavepointRecord {
    /// Which checkpoint.
    pub(crate) checkpoint: CheckpointId,
    /// Where it lies; empty where nothing is stored.
    pub(crate) folder: String,
}

/// A taskmanager as clients are shown it.
#[derive(Clone, Debug)]
pub(crate) struct TaskManagerRecord {
    /// What it told of itself.
    pub(crate) registration: Registration,
    /// Its slots, and those that no job holds.
    pub(crate) slots: SlotCount,
    /// When it registered.
    pub(crate) registered: Timestamp,
    /// When it was last heard.
    pub(crate) last_heartbeat: Timestamp,
    /// How long ago that is, by the steady clock.
    pub(crate) silent: Duration,
    /// The resident memory of its process, in bytes.
    pub(crate) rss_bytes: u64,
}

/// The cluster in figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterRecord {
    /// When the jobmanager started.
    pub(crate) started: Timestamp,
    /// Taskmanagers that are connected.
    pub(crate) taskmanagers: usize,
    /// Their slots.
    pub(crate) slots: SlotCount,
    /// Jobs that have not ended.
    pub(crate) live_jobs: usize,
    /// How often taskmanagers send a heartbeat.
    pub(crate) heartbeat_interval: Duration,
}

/// What the service is asked or told.
#[derive(Debug)]
pub(crate) enum Message {
    Register(Registration, Connection, oneshot::Sender<Result<Session, ShuttingDown>>),
    Report(Session, Report),
    Disconnected(Session, String),
    CheckFree(u32, oneshot::Sender<Result<(), NoFreeSlot>>),
    Submit(Box<Submission>, oneshot::Sender<Result<JobId, AcceptError>>),
    ListJobs(oneshot::Sender<Vec<JobRecord>>),
    DescribeJob(String, oneshot::Sender<Result<JobRecord, FindJobError>>),
    CancelJob(String, oneshot::Sender<Result<(), CancelError>>),
    WatchJob(String, oneshot::Sender<Result<watch::Receiver<Arc<JobRecord>>, FindJobError>>),
    TriggerSavepoint { job: String, target: String, reply: SavepointReply },
    StopJob { job: String, is_drain: bool, target: String, reply: SavepointReply },
    RescaleJob { job: String, parallelism: u32, reply: oneshot::Sender<Result<(), CheckpointError>> },
    QueryState { job: String, query: String, reply: QueryReply },
    CheckNotLive(JobId, oneshot::Sender<Result<(), AcceptError>>),
    ListTaskManagers(oneshot::Sender<Vec<TaskManagerRecord>>),
    DescribeCluster(oneshot::Sender<ClusterRecord>),
}

/// The jobmanager stops and takes nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the jobmanager is shutting down: start it again, then repeat the request")]
pub(crate) struct ShuttingDown;

/// A job that was checked could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// Too few slots are free.
    #[error(transparent)]
    NoFreeSlot(#[from] NoFreeSlot),
    /// The savepoint's job runs.
    #[error("job `{0}`, whose savepoint this is, runs already: stop it first")]
    Live(JobId),
    /// The job store did not take it.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// No new id could be made.
    #[error("the system's generator of random numbers failed")]
    JobId(#[from] std::io::Error),
    /// The jobmanager stops.
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// A checkpoint that was asked for and did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// Which job is meant is not clear.
    #[error(transparent)]
    Find(#[from] FindJobError),
    /// There is nothing to take a checkpoint of.
    #[error("job `{id}` is {state}: wait until it is running")]
    NotRunning {
        /// The job.
        id: JobId,
        /// What it is.
        state: JobState,
    },
    /// There is nowhere to store it.
    #[error("the jobmanager stores no checkpoints: start it with `--checkpoint-dir`")]
    NoStore,
    /// More subtasks than key groups, or none.
    #[error("parallelism {parallelism} is not from 1 to {max}, the job's max parallelism")]
    Parallelism {
        /// Asked for.
        parallelism: u32,
        /// The number of key groups.
        max: u16,
    },
    /// Too few slots are free.
    #[error(transparent)]
    NoFreeSlot(#[from] NoFreeSlot),
    /// The checkpoint was given up, or the job ended.
    #[error("{0}")]
    Failed(String),
    /// The jobmanager stops.
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// A job that could not be canceled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CancelError {
    /// Which job is meant is not clear.
    #[error(transparent)]
    Find(#[from] FindJobError),
    /// There is nothing left to cancel.
    #[error("job `{id}` is {state} already")]
    Ended {
        /// The job.
        id: JobId,
        /// How it ended.
        state: JobState,
    },
    /// The jobmanager stops, which cancels every job.
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// Sends messages to the service. Dropping an unanswered request is safe: it was carried out, or will be.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    messages: mpsc::Sender<Message>,
}

impl Handle {
    /// A handle and the service's end of the queue.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(WAITING_MESSAGES);
        (Handle { messages }, receiver)
    }

    /// A taskmanager came.
    pub(crate) async fn register(
        &self,
        registration: Registration,
        connection: Connection,
    ) -> Result<Session, ShuttingDown> {
        self.ask(|reply| Message::Register(registration, connection, reply)).await?
    }

    /// A taskmanager told something.
    pub(crate) async fn report(&self, session: Session, report: Report) -> Result<(), ShuttingDown> {
        self.messages.send(Message::Report(session, report)).await.map_err(|_| ShuttingDown)
    }

    /// A taskmanager's connection ended, for this reason.
    pub(crate) async fn disconnected(&self, session: Session, reason: String) -> Result<(), ShuttingDown> {
        self.messages.send(Message::Disconnected(session, reason)).await.map_err(|_| ShuttingDown)
    }

    /// Whether this many slots are free now.
    pub(crate) async fn check_free(&self, needed: u32) -> Result<Result<(), NoFreeSlot>, ShuttingDown> {
        self.ask(|reply| Message::CheckFree(needed, reply)).await
    }

    /// Plans and deploys a job.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<JobId, AcceptError> {
        self.ask(|reply| Message::Submit(Box::new(submission), reply)).await?
    }

    /// All jobs, in the order in which they were submitted.
    pub(crate) async fn jobs(&self) -> Result<Vec<JobRecord>, ShuttingDown> {
        self.ask(Message::ListJobs).await
    }

    /// The job that a user means.
    pub(crate) async fn job(&self, text: String) -> Result<Result<JobRecord, FindJobError>, ShuttingDown> {
        self.ask(|reply| Message::DescribeJob(text, reply)).await
    }

    /// Begins to cancel a job.
    pub(crate) async fn cancel(&self, text: String) -> Result<(), CancelError> {
        self.ask(|reply| Message::CancelJob(text, reply)).await?
    }

    /// Whether no job of this id lives.
    pub(crate) async fn check_not_live(&self, id: JobId) -> Result<(), AcceptError> {
        self.ask(|reply| Message::CheckNotLive(id, reply)).await?
    }

    /// Takes a savepoint.
    pub(crate) async fn savepoint(&self, job: String, target: String) -> Result<SavepointRecord, CheckpointError> {
        self.ask(|reply| Message::TriggerSavepoint { job, target, reply }).await?
    }

    /// Ends a job with everything published, and waits for that.
    pub(crate) async fn stop(
        &self,
        job: String,
        is_drain: bool,
        target: String,
    ) -> Result<SavepointRecord, CheckpointError> {
        self.ask(|reply| Message::StopJob { job, is_drain, target, reply }).await?
    }

    /// Goes on with another parallelism.
    pub(crate) async fn rescale(&self, job: String, parallelism: u32) -> Result<(), CheckpointError> {
        self.ask(|reply| Message::RescaleJob { job, parallelism, reply }).await?
    }

    /// What a job's operators answer to a question about their state.
    pub(crate) async fn query_state(&self, job: String, query: String) -> Result<Vec<String>, QueryStateError> {
        self.ask(|reply| Message::QueryState { job, query, reply }).await?
    }

    /// A job's record now and after each change.
    pub(crate) async fn watch(
        &self,
        text: String,
    ) -> Result<Result<watch::Receiver<Arc<JobRecord>>, FindJobError>, ShuttingDown> {
        self.ask(|reply| Message::WatchJob(text, reply)).await
    }

    /// Everybody who is connected, by name.
    pub(crate) async fn taskmanagers(&self) -> Result<Vec<TaskManagerRecord>, ShuttingDown> {
        self.ask(Message::ListTaskManagers).await
    }

    /// The cluster in figures.
    pub(crate) async fn cluster(&self) -> Result<ClusterRecord, ShuttingDown> {
        self.ask(Message::DescribeCluster).await
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, ShuttingDown> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.map_err(|_| ShuttingDown)?;
        answer.await.map_err(|_| ShuttingDown)
    }
}
