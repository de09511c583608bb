//! The one owner of the jobmanager's state: receive a message, decide, carry out, repeat.
//!
//! Nothing here waits for anything but the next message: sources and sinks are asked before a job gets here
//! ([`crate::submit`]) or beside the loop ([`crate::discovery`]), and commands to taskmanagers leave without waiting. What a
//! job does is decided by [`stream_core::job`]; `effects.rs` carries it out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stream_core::checkpoint;
use stream_core::ids::{AttemptNumber, JobId};
use stream_core::job::{Event, Job};
use stream_core::plan::slots_needed;
use stream_core::slot::SlotPool;
use stream_core::time::{Timestamp, millis};
use stream_runtime::clock::Clock;
use stream_runtime::connector::Connectors;
use stream_runtime::store::{ObjectStore, Stores};
use telemetry::Telemetry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::adoption::Adoptions;
use crate::beside::Beside;
use crate::coordination::Coordination;
use crate::discovery::Discovery;
use crate::handle::{AcceptError, CancelError, CheckpointError, Handle, Message, ShuttingDown, Submission};
use crate::job_ids::JobIds;
use crate::job_store::{JobStore, StoredJob, Superseded};
use crate::jobs::{JobRecord, Jobs};
use crate::last_checkpoints::Leaver;
use crate::observing::Observing;
use crate::options::Options;
use crate::pacing::Paces;
use crate::queries::Queries;
use crate::records::Then;
use crate::savepoints::{Stopping, Waiter};
use crate::taskmanagers::TaskManagers;

/// How often deadlines are looked at: well below the shortest of them, well above what it costs.
const TICK: Duration = Duration::from_millis(50);
/// How often while no job lives: taskmanagers may still fall silent, which nothing waits for.
const IDLE_TICK: Duration = Duration::from_millis(500);

/// What a service is built from, apart from its settings.
pub(crate) struct Parts {
    /// Sources and sinks.
    pub(crate) connectors: Arc<dyn Connectors>,
    /// Where savepoints go.
    pub(crate) stores: Arc<dyn Stores>,
    /// Where checkpoints go.
    pub(crate) store: Option<Arc<dyn ObjectStore>>,
    /// Where jobs go.
    pub(crate) job_store: Option<JobStore>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// New ids.
    pub(crate) job_ids: Box<dyn JobIds>,
    /// Where the jobmanager tells of itself.
    pub(crate) telemetry: Telemetry,
}

/// The control plane.
pub(crate) struct Service {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) taskmanagers: TaskManagers,
    pub(crate) slots: SlotPool,
    pub(crate) jobs: Jobs,
    pub(crate) discovery: Discovery,
    pub(crate) connectors: Arc<dyn Connectors>,
    pub(crate) stores: Arc<dyn Stores>,
    pub(crate) store: Option<Arc<dyn ObjectStore>>,
    pub(crate) beside: Beside,
    /// The checkpoints of each attempt that runs.
    pub(crate) coordinations: BTreeMap<JobId, Coordination>,
    /// Requests for checkpoints so far, and who waits for which.
    pub(crate) requests: u64,
    pub(crate) waiters: BTreeMap<u64, Waiter>,
    pub(crate) stopping: Vec<Stopping>,
    /// Who goes once which request for a checkpoint is answered.
    pub(crate) leavers: BTreeMap<u64, Leaver>,
    /// Whether slots came free and those who wait for them are still to be told.
    pub(crate) are_slots_released: bool,
    pub(crate) rescaling: BTreeMap<JobId, oneshot::Sender<Result<(), CheckpointError>>>,
    /// The jobs as a later jobmanager finds them; `None` where nothing is stored.
    pub(crate) job_store: Option<JobStore>,
    /// Records written so far.
    pub(crate) record_sequence: u32,
    /// Records that are being written.
    pub(crate) records_under_way: u32,
    /// Who has taken the store over.
    pub(crate) superseded: Option<Superseded>,
    pub(crate) adoptions: Adoptions,
    pub(crate) queries: Queries,
    /// How far the sources of each attempt are.
    pub(crate) paces: BTreeMap<JobId, Paces>,
    pub(crate) job_ids: Box<dyn JobIds>,
    pub(crate) observing: Observing,
    messages: mpsc::Receiver<Message>,
    pub(crate) started: Timestamp,
    /// By when, on the steady clock, jobs must have ended once the jobmanager stops.
    pub(crate) drain_deadline: Option<Duration>,
}

impl Service {
    /// A service with no taskmanager and no job, and the way in to it.
    pub(crate) fn new(options: Options, parts: Parts) -> (Self, Handle) {
        let (handle, messages) = Handle::new();
        let service = Service {
            discovery: Discovery::new(
                Arc::clone(&parts.connectors),
                options.discovery_interval,
                options.connector_timeout,
            ),
            started: parts.clock.now(),
            clock: parts.clock,
            taskmanagers: TaskManagers::default(),
            slots: SlotPool::default(),
            jobs: Jobs::default(),
            connectors: parts.connectors,
            stores: parts.stores,
            store: parts.store,
            beside: Beside::default(),
            coordinations: BTreeMap::new(),
            requests: 0,
            waiters: BTreeMap::new(),
            stopping: Vec::new(),
            leavers: BTreeMap::new(),
            are_slots_released: false,
            rescaling: BTreeMap::new(),
            job_store: parts.job_store,
            record_sequence: 0,
            records_under_way: 0,
            superseded: None,
            adoptions: Adoptions::default(),
            queries: Queries::default(),
            paces: BTreeMap::new(),
            job_ids: parts.job_ids,
            observing: Observing::new(&parts.telemetry),
            messages,
            drain_deadline: None,
            options,
        };
        (service, handle)
    }

    /// Goes on with the jobs of the jobmanager before, and runs until `shutdown`; then until every job is canceled or, where jobs are
    /// stored and run on without it, has a last checkpoint, or the drain timeout is over. On return all connections to taskmanagers are
    /// closed.
    ///
    /// # Errors
    /// If another jobmanager has taken the store over.
    pub(crate) async fn run(mut self, jobs: Vec<StoredJob>, shutdown: CancellationToken) -> Result<(), Superseded> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle_ticks = tokio::time::interval(IDLE_TICK);
        idle_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.recover(jobs);
        while !self.is_drained() {
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if self.drain_deadline.is_none() => self.on_shutdown(),
                Some(message) = self.messages.recv() => self.on_message(message),
                outcome = self.beside.next() => self.on_outcome(outcome),
                (job, splits) = self.discovery.next() => self.on_splits(job, splits),
                _ = ticks.tick(), if self.has_deadlines() => self.on_tick(),
                _ = idle_ticks.tick() => self.on_tick(),
            }
            if let Some(superseded) = self.superseded {
                return Err(superseded);
            }
        }
        tracing::info!("stopped");
        Ok(())
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Register(registration, connection, reply) => {
                answer(reply, self.on_register(registration, connection));
            }
            Message::Report(session, report) => self.on_report(&session, report),
            Message::Disconnected(session, reason) => {
                if self.taskmanagers.is_current(&session) {
                    self.lose_taskmanager(&session.taskmanager, &reason);
                }
            }
            Message::CheckFree(needed, reply) => answer(reply, self.slots.check_free(needed)),
            Message::Submit(submission, reply) => match self.on_submit(*submission) {
                Ok(job) => self.store_job(job, Then::Submission(reply)),
                Err(error) => answer(reply, Err(error)),
            },
            Message::ListJobs(reply) => answer(reply, self.jobs.in_order().into_iter().cloned().collect()),
            Message::DescribeJob(text, reply) => {
                let found = self.jobs.find(&text);
                answer(reply, found.map(|id| self.jobs.get(id).expect("it was just found").clone()));
            }
            Message::CancelJob(text, reply) => answer(reply, self.on_cancel(&text)),
            Message::WatchJob(text, reply) => {
                let found = self.jobs.find(&text);
                answer(reply, found.map(|id| self.jobs.watch(id).expect("it was just found")));
            }
            Message::CheckNotLive(id, reply) => answer(reply, self.check_not_live(id)),
            Message::TriggerSavepoint { job, target, reply } => self.on_savepoint(&job, target, reply),
            Message::StopJob { job, is_drain, target, reply } => self.on_stop(&job, is_drain, target, reply),
            Message::RescaleJob { job, parallelism, reply } => self.on_rescale(&job, parallelism, reply),
            Message::QueryState { job, query, reply } => self.on_query(&job, &query, reply),
            Message::ListTaskManagers(reply) => answer(reply, self.taskmanager_records()),
            Message::DescribeCluster(reply) => answer(reply, self.cluster_record()),
        }
    }

    fn on_submit(&mut self, submission: Submission) -> Result<JobId, AcceptError> {
        if self.drain_deadline.is_some() {
            return Err(ShuttingDown.into());
        }
        let Submission { name, pipeline, splits, savepoint, asked } = submission;
        let id = match &savepoint {
            Some(savepoint) => savepoint.manifest.job_id,
            None => self.job_ids.next_id()?,
        };
        self.check_not_live(id)?;
        let reserved = self.slots.allocate(id, slots_needed(&pipeline))?;
        self.options.logs.hide(id, pipeline.redaction());
        tracing::info!(
            job_id = %id, name, job = pipeline.job, parallelism = pipeline.parallelism, splits = splits.len(),
            source = pipeline.source.uri, sink = pipeline.sink.uri, "job submitted"
        );
        if !pipeline.source.is_bounded {
            self.discovery.watch(id, &pipeline.source, self.clock.monotonic());
        }
        // What may be left of the job that took the savepoint must not be taken for a task of this one.
        let before = self.jobs.get(id).map(|record| record.job.attempt());
        let last = before.max(savepoint.as_ref().map(|savepoint| savepoint.manifest.attempt));
        let job = Job::new(self.options.job(), seed(id)).following(last.unwrap_or(AttemptNumber(0)));
        let record = JobRecord::new(id, name, self.clock.now(), pipeline, job);
        self.jobs.insert(JobRecord { splits, savepoint, reserved, ..record });
        self.observing.on_submitted(id, asked, self.clock.monotonic());
        Ok(id)
    }

    fn check_not_live(&self, id: JobId) -> Result<(), AcceptError> {
        let is_live = self.jobs.get(id).is_some_and(JobRecord::is_live);
        if is_live { Err(AcceptError::Live(id)) } else { Ok(()) }
    }

    fn on_cancel(&mut self, text: &str) -> Result<(), CancelError> {
        let id = self.jobs.find(text)?;
        let state = self.jobs.get(id).expect("it was just found").state();
        if state.is_terminal() {
            return Err(CancelError::Ended { id, state });
        }
        self.apply(id, Event::CancelRequested);
        Ok(())
    }

    fn on_tick(&mut self) {
        let timeout = self.options.heartbeat_timeout;
        for silent in self.taskmanagers.silent(self.clock.monotonic(), timeout) {
            self.lose_taskmanager(&silent, &format!("no heartbeat for {timeout:?}"));
        }
        self.give_up_late_adoptions();
        self.give_up_late_queries();
        for job in self.jobs.live() {
            self.apply(job, Event::Tick);
            self.coordinate(job, checkpoint::Event::Tick);
        }
        self.discovery.start_due(self.clock.monotonic());
        self.refresh_shown();
    }

    /// Whether anything may be due before long; each wake-up of an idle cluster costs its machine.
    fn has_deadlines(&self) -> bool {
        self.drain_deadline.is_some() || self.jobs.has_live()
    }

    fn on_shutdown(&mut self) {
        let live = self.jobs.live();
        if self.job_store.is_some() {
            tracing::info!(jobs = live.len(), "stopping: the jobs run on, and the next jobmanager finds them");
            self.drain_deadline = Some(self.clock.monotonic() + self.options.drain_timeout);
            return self.request_last_checkpoints();
        }
        tracing::info!(jobs = live.len(), "stopping: canceling all jobs");
        self.drain_deadline = Some(self.clock.monotonic() + self.options.drain_timeout);
        for job in live {
            self.apply(job, Event::CancelRequested);
        }
    }

    fn is_drained(&self) -> bool {
        // Stored jobs run on; what is being written of them is still written.
        let is_all_stored = self.records_under_way == 0 && self.leavers.is_empty();
        let is_done = if self.job_store.is_some() { is_all_stored } else { self.jobs.live().is_empty() };
        self.drain_deadline.is_some_and(|deadline| is_done || self.clock.monotonic() >= deadline)
    }

    /// The steady clock as the state machines take it: deadlines must not move when somebody sets the wall clock.
    pub(crate) fn steady(&self) -> Timestamp {
        Timestamp(millis(self.clock.monotonic()))
    }
}

/// The seed of a job's jitter: its id is random.
pub(crate) fn seed(id: JobId) -> u64 {
    (id.0 >> 64) as u64
}

/// Answers a request. Whoever asked may have gone; what was asked is done all the same.
pub(crate) fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}
