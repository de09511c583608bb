//! The one owner of the jobmanager's state: receive a message, decide, carry out, repeat.
//!
//! Nothing here waits for anything but the next message: sources and sinks are asked before a job gets here
//! ([`crate::submit`]) or beside the loop ([`crate::discovery`]), and commands to taskmanagers leave without waiting. What a
//! job does is decided by [`stream_core::job`]; `effects.rs` carries it out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stream_core::checkpoint;
use stream_core::ids::{JobId, TaskManagerId};
use stream_core::job::{Event, Job};
use stream_core::pipeline::Split;
use stream_core::plan::slots_needed;
use stream_core::slot::SlotPool;
use stream_core::time::{Timestamp, millis};
use stream_runtime::clock::Clock;
use stream_runtime::connector::Connectors;
use stream_runtime::store::{ObjectStore, Stores};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::beside::Beside;
use crate::coordination::Coordination;
use crate::discovery::Discovery;
use crate::handle::{
    AcceptError, CancelError, CheckpointError, ClusterRecord, Handle, Message, ShuttingDown, Submission,
    TaskManagerRecord,
};
use crate::job_ids::JobIds;
use crate::jobs::{JobRecord, Jobs};
use crate::options::Options;
use crate::protocol::{Command, Registration, Report, SubtaskCounters, TaskRef};
use crate::redaction::redact;
use crate::savepoints::{Stopping, Waiter};
use crate::taskmanagers::{Connection, Session, TaskManagers};

/// How often deadlines are looked at: well below the shortest of them, well above what it costs.
const TICK: Duration = Duration::from_millis(50);

/// What a service is built from, apart from its settings.
pub(crate) struct Parts {
    /// Sources and sinks.
    pub(crate) connectors: Arc<dyn Connectors>,
    /// Where savepoints go.
    pub(crate) stores: Arc<dyn Stores>,
    /// Where checkpoints go.
    pub(crate) store: Option<Arc<dyn ObjectStore>>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// New ids.
    pub(crate) job_ids: Box<dyn JobIds>,
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
    /// Whether slots came free and those who wait for them are still to be told.
    pub(crate) are_slots_released: bool,
    pub(crate) rescaling: BTreeMap<JobId, oneshot::Sender<Result<(), CheckpointError>>>,
    pub(crate) job_ids: Box<dyn JobIds>,
    messages: mpsc::Receiver<Message>,
    started: Timestamp,
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
            are_slots_released: false,
            rescaling: BTreeMap::new(),
            job_ids: parts.job_ids,
            messages,
            drain_deadline: None,
            options,
        };
        (service, handle)
    }

    /// Runs until `shutdown`, then until every job is canceled or the drain timeout is over. On return all connections to
    /// taskmanagers are closed.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_drained() {
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if self.drain_deadline.is_none() => self.on_shutdown(),
                Some(message) = self.messages.recv() => self.on_message(message),
                outcome = self.beside.next() => self.on_outcome(outcome),
                (job, splits) = self.discovery.next() => self.on_splits(job, splits),
                _ = ticks.tick() => self.on_tick(),
            }
        }
        tracing::info!("stopped");
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
            Message::Submit(submission, reply) => answer(reply, self.on_submit(*submission)),
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
            Message::ListTaskManagers(reply) => answer(reply, self.taskmanager_records()),
            Message::DescribeCluster(reply) => answer(reply, self.cluster_record()),
        }
    }

    fn on_register(&mut self, registration: Registration, connection: Connection) -> Result<Session, ShuttingDown> {
        if self.drain_deadline.is_some() {
            return Err(ShuttingDown);
        }
        let id = registration.taskmanager.clone();
        self.lose_taskmanager(&id, "it registered again, without its tasks");
        let Registration { slots, exchange_address, pid, .. } = &registration;
        tracing::info!(taskmanager = %id, slots, exchange_address, pid, "taskmanager registered");
        self.slots.register(id.clone(), *slots);
        let session = self.taskmanagers.insert(registration, connection, self.clock.now(), self.clock.monotonic());
        self.command(&id, Command::Registered { heartbeat_interval: self.options.heartbeat_interval });
        self.wake_jobs_without_slots();
        Ok(session)
    }

    fn on_report(&mut self, session: &Session, report: Report) {
        if !self.taskmanagers.is_current(session) {
            return;
        }
        let id = &session.taskmanager;
        match report {
            Report::Heartbeat { rss_bytes, tasks } => {
                self.taskmanagers.on_heartbeat(id, self.clock.now(), self.clock.monotonic(), rss_bytes);
                self.on_counters(id, tasks);
                self.command(id, Command::AcknowledgeHeartbeat);
            }
            Report::TaskStateChanged { task, state, causes, counters } => {
                if !self.runs(id, &task) {
                    return;
                }
                self.on_counters(id, counters.map(|counters| (task, counters)));
                let Some(record) = self.jobs.get(task.job) else { return };
                let causes = causes.into_iter().map(|cause| redact(cause, &record.pipeline)).collect();
                let (attempt, subtask) = (task.attempt, task.subtask);
                self.apply(task.job, Event::TaskStateChanged { attempt, subtask, state, causes });
                self.notice_running(task.job);
            }
            Report::Acknowledged { task, checkpoint, snapshot, cost } => {
                let subtask = task.subtask;
                self.on_checkpoint_word(
                    id,
                    &task,
                    checkpoint::Event::Acknowledged { checkpoint, subtask, snapshot, cost },
                );
            }
            Report::Declined { task, checkpoint, reason } => {
                let Some(record) = self.jobs.get(task.job) else { return };
                let (subtask, reason) = (task.subtask, redact(reason, &record.pipeline));
                self.on_checkpoint_word(id, &task, checkpoint::Event::Declined { checkpoint, subtask, reason });
            }
            Report::Published { task, epoch } => {
                self.on_checkpoint_word(id, &task, checkpoint::Event::Published { epoch });
            }
            Report::Drained { task } => {
                let subtask = task.subtask;
                self.on_checkpoint_word(id, &task, checkpoint::Event::SourceDrained { subtask });
            }
        }
    }

    fn on_checkpoint_word(&mut self, from: &TaskManagerId, task: &TaskRef, event: checkpoint::Event) {
        if self.runs(from, task) {
            self.coordinate(task.job, event);
        }
    }

    /// A source was asked again. What is new is kept: an attempt that follows reads it too.
    fn on_splits(&mut self, job: JobId, splits: Vec<Split>) {
        let Some(record) = self.jobs.get_mut(job) else { return };
        let known = &mut record.splits;
        for split in &splits {
            if !known.iter().any(|old| old.id == split.id) {
                known.push(split.clone());
            }
        }
        self.apply(job, Event::SplitsDiscovered(splits));
    }

    fn on_counters(&mut self, from: &TaskManagerId, tasks: impl IntoIterator<Item = (TaskRef, SubtaskCounters)>) {
        let mut changed = BTreeMap::new();
        for (task, counters) in tasks {
            if !self.runs(from, &task) {
                continue;
            }
            if let Some(record) = self.jobs.get_mut(task.job).filter(|record| record.is_live()) {
                record.counters.insert(task.subtask, counters);
                changed.insert(task.job, ());
            }
        }
        for job in changed.into_keys() {
            self.jobs.publish(job);
            self.pause_sources_if_behind(job);
        }
    }

    /// Whether this is a task of a current attempt and the taskmanager is who runs it.
    fn runs(&self, taskmanager: &TaskManagerId, task: &TaskRef) -> bool {
        let Some(record) = self.jobs.get(task.job).filter(|record| record.job.attempt() == task.attempt) else {
            return false;
        };
        record.job.plan().task(task.subtask).is_some_and(|planned| planned.slot.taskmanager == *taskmanager)
    }

    fn on_submit(&mut self, submission: Submission) -> Result<JobId, AcceptError> {
        if self.drain_deadline.is_some() {
            return Err(ShuttingDown.into());
        }
        let Submission { name, pipeline, splits, savepoint } = submission;
        let id = match &savepoint {
            Some(savepoint) => savepoint.manifest.job_id,
            None => self.job_ids.next_id()?,
        };
        self.check_not_live(id)?;
        let reserved = self.slots.allocate(id, slots_needed(&pipeline))?;
        tracing::info!(
            job_id = %id, name, job = pipeline.job, parallelism = pipeline.parallelism, splits = splits.len(),
            source = pipeline.source.uri, sink = pipeline.sink.uri, "job submitted"
        );
        if !pipeline.source.is_bounded {
            self.discovery.watch(id, &pipeline.source, self.clock.monotonic());
        }
        let job = Job::new(self.options.job(), seed(id));
        let record = JobRecord::new(id, name, self.clock.now(), pipeline, job);
        self.jobs.insert(JobRecord { splits, savepoint, reserved, ..record });
        self.apply(id, Event::Submitted);
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
        for job in self.jobs.live() {
            self.apply(job, Event::Tick);
            self.coordinate(job, checkpoint::Event::Tick);
        }
        self.discovery.start_due(self.clock.monotonic());
    }

    fn on_shutdown(&mut self) {
        let live = self.jobs.live();
        tracing::info!(jobs = live.len(), "stopping: canceling all jobs");
        self.drain_deadline = Some(self.clock.monotonic() + self.options.drain_timeout);
        for job in live {
            self.apply(job, Event::CancelRequested);
        }
    }

    fn is_drained(&self) -> bool {
        self.drain_deadline.is_some_and(|deadline| self.jobs.live().is_empty() || self.clock.monotonic() >= deadline)
    }

    /// The steady clock as the state machines take it: deadlines must not move when somebody sets the wall clock.
    pub(crate) fn steady(&self) -> Timestamp {
        Timestamp(millis(self.clock.monotonic()))
    }

    fn taskmanager_records(&self) -> Vec<TaskManagerRecord> {
        let record = |taskmanager: &crate::taskmanagers::TaskManager| TaskManagerRecord {
            registration: taskmanager.registration.clone(),
            slots: self.slots.count_of(&taskmanager.registration.taskmanager),
            registered: taskmanager.registered,
            last_heartbeat: taskmanager.last_heartbeat,
            rss_bytes: taskmanager.rss_bytes,
        };
        self.taskmanagers.iter().map(record).collect()
    }

    fn cluster_record(&self) -> ClusterRecord {
        ClusterRecord {
            started: self.started,
            taskmanagers: self.taskmanagers.iter().count(),
            slots: self.slots.count(),
            live_jobs: self.jobs.live().len(),
        }
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
