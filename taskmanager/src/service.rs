//! The loop that owns this taskmanager's slots and attempts.
//!
//! It learns of everything as a message: from the jobmanager, from its tasks, from the user who stops it. A lost jobmanager
//! ends nothing: the tasks go on, and the next one learns of them when this taskmanager registers, to adopt or to cancel
//! them. Only if there is none for long, they are canceled. A taskmanager that is told to stop says so first, and goes on until its
//! jobs have a last checkpoint.

mod commands;
mod leaving;
mod link;
mod telling_logs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::limits;
use stream_core::ids::{AttemptNumber, CheckpointId, JobId};
use stream_core::job::{TaskFailure, TaskState};
use stream_runtime::clock::Clock;
use stream_runtime::connector::Connectors;
use stream_runtime::fail_point::{self, Point};
use stream_runtime::jobs::Jobs;
use stream_runtime::shutdown::SERVER_TIMEOUT;
use stream_runtime::store::Stores;
use telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Endpoint;

use crate::attempt::{Attempt, Environment};
use crate::exchange::directory::{DEPLOY_WAIT, Directory};
use crate::exchange::grpc::downstream;
use crate::exchange::grpc::health::Health;
use crate::exchange::grpc::upstream::Peers;
use crate::grpc;
use crate::metrics::{PARTITIONS, TASKS};
use crate::observed::Observed;
use crate::options::Options;
use crate::recorders::Recorders;
use crate::report::{LinkEvent, Report, RunningTask, TaskRef};
use crate::service::link::Link;
use crate::service::telling_logs::TellingLogs;
use crate::slot::{Holder, Slots};
use crate::snapshotting::Snapshotting;
use crate::subtask::event::{Change, TaskEvent};
use crate::subtask::mail::Letter;
use crate::subtask::thread::Outcome;

/// Events of tasks that wait for the service: two of each task at once are rare, and a thread that waits here has
/// nothing better to do.
const TASK_EVENTS: usize = 256;
/// Messages of the jobmanager that wait for the service.
const LINK_EVENTS: usize = 64;
/// How often a heartbeat is due until the jobmanager has said so.
const FIRST_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Why a taskmanager ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be one.
    #[error("`{address}` is not the address of a jobmanager: write HOST:PORT")]
    JobManagerAddress {
        /// As given.
        address: String,
        /// What tonic says.
        #[source]
        cause: tonic::transport::Error,
    },
    /// The jobmanager does not want this taskmanager.
    #[error("the jobmanager at `{address}` refuses this taskmanager: {reason}")]
    Refused {
        /// The jobmanager's.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The exchange cannot take connections any more.
    #[error("the exchange failed")]
    Exchange(#[source] tonic::transport::Error),
    /// Tasks that were canceled did not end.
    #[error("gave up waiting for tasks to end: {}", .0.join(", "))]
    TasksStuck(Vec<String>),
}

/// What a taskmanager is made of, apart from its settings.
pub struct Parts {
    /// The jobs that it can run.
    pub jobs: Jobs,
    /// Sources, sinks and look-ups.
    pub connectors: Arc<dyn Connectors>,
    /// Checkpoint stores.
    pub stores: Arc<dyn Stores>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where it tells of itself.
    pub telemetry: Telemetry,
}

/// Runs a taskmanager until `shutdown` is canceled; then its tasks have ended and its threads are joined.
///
/// # Errors
/// If the jobmanager refuses it for good, the exchange fails, or tasks do not end within the shutdown timeout.
///
/// # Cancel safety
/// Not to be dropped before it returns: its threads would go on. Cancel `shutdown` instead.
pub async fn start(
    options: Options,
    parts: Parts,
    exchange_listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Parts { jobs, connectors, stores, clock, telemetry } = parts;
    let endpoint = Endpoint::from_shared(format!("http://{}", options.jobmanager))
        .map_err(|cause| Error::JobManagerAddress { address: options.jobmanager.clone(), cause })?;
    let directory = Arc::new(Directory::new(DEPLOY_WAIT));
    let (task_sender, task_events) = mpsc::channel(TASK_EVENTS);
    let (link_sender, link_events) = mpsc::channel(LINK_EVENTS);
    let (running, running_receiver) = watch::channel(Vec::new());
    let uploads = TaskTracker::new();
    let observed = observe(&telemetry, &clock);
    let environment = Environment {
        connectors,
        snapshotting: Snapshotting::new(stores, tokio::runtime::Handle::current(), uploads.clone()),
        clock,
        directory: Arc::clone(&directory),
        peers: Arc::new(Peers::default()),
        channel_bytes: options.channel_bytes,
        linger: options.linger,
        events: task_sender,
        streams: TaskTracker::new(),
        observed,
        recorders: Recorders::new(&telemetry),
        spans: telemetry.spans().clone(),
        trace_sample: options.trace_sample,
    };
    let (health, health_service) = Health::new().await;
    let exchange_stop = CancellationToken::new();
    let mut exchange = JoinSet::new();
    exchange.spawn(downstream::serve(exchange_listener, directory, health_service, exchange_stop.clone()));
    let mut link = JoinSet::new();
    link.spawn(grpc::keep_joined(
        options.clone(),
        limits::endpoint(endpoint),
        link_sender,
        running_receiver,
        shutdown.clone(),
    ));

    let streams = environment.streams.clone();
    let slots = Slots::new(options.slots);
    let telling_logs = TellingLogs::new(Arc::clone(&options.logs));
    let service = Service {
        options,
        jobs,
        environment,
        slots,
        attempts: BTreeMap::new(),
        link: Link::default(),
        telling_logs,
        health,
        leaving_until: None,
        is_released: false,
        running,
        task_events,
        link_events,
    };
    let result = service.run(&mut exchange, shutdown).await;
    exchange_stop.cancel();
    streams.close();
    uploads.close();
    let all_stopped = async {
        // The last reports leave before the connection does.
        link.join_next().await;
        streams.wait().await;
        uploads.wait().await;
        exchange.join_next().await;
    };
    // What is still open then waits for another process; dropping it here ends it.
    let _ = tokio::time::timeout(SERVER_TIMEOUT, all_stopped).await;
    result
}

/// Shows the tasks that will run here.
fn observe(telemetry: &Telemetry, clock: &Arc<dyn Clock>) -> Observed {
    let observed = Observed::default();
    let (tasks, clock_of_tasks) = (observed.clone(), Arc::clone(clock));
    telemetry.observe(&TASKS, move || tasks.tasks(clock_of_tasks.now()));
    let (partitions, clock) = (observed.clone(), Arc::clone(clock));
    telemetry.observe(&PARTITIONS, move || partitions.partitions(clock.now()));
    observed
}

struct Service {
    options: Options,
    jobs: Jobs,
    environment: Environment,
    slots: Slots,
    attempts: BTreeMap<(JobId, AttemptNumber), Attempt>,
    link: Link,
    telling_logs: TellingLogs,
    /// What probes are told.
    health: Health,
    /// Until when it goes on although it was told to stop.
    leaving_until: Option<tokio::time::Instant>,
    /// Whether the jobmanager has let it go.
    is_released: bool,
    /// Tells the connection which tasks run, for the next registration.
    running: watch::Sender<Vec<RunningTask>>,
    task_events: mpsc::Receiver<TaskEvent>,
    link_events: mpsc::Receiver<LinkEvent>,
}

/// The task that serves the exchange.
type ExchangeTask = JoinSet<Result<(), tonic::transport::Error>>;

impl Service {
    async fn run(mut self, exchange: &mut ExchangeTask, shutdown: CancellationToken) -> Result<(), Error> {
        let mut heartbeat = every(FIRST_HEARTBEAT_INTERVAL);
        let result = loop {
            let (orphaned_until, leaving_until) = (self.link.orphaned_until(), self.leaving_until);
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if leaving_until.is_none() => self.begin_leaving(),
                Some(event) = self.task_events.recv() => self.on_task_event(event),
                Some(event) = self.link_events.recv() => match event {
                    LinkEvent::Joined { reports, heartbeat_interval, jobmanager_started } => {
                        self.telling_logs.on_joined(jobmanager_started);
                        self.on_joined(reports);
                        heartbeat = every(heartbeat_interval);
                    }
                    LinkEvent::Command(command) => self.on_command(command),
                    LinkEvent::Lost(reason) => self.on_lost_jobmanager(&reason),
                    LinkEvent::Refused(reason) => {
                        break Err(Error::Refused { address: self.options.jobmanager.clone(), reason });
                    }
                },
                Some(ended) = exchange.join_next() => {
                    break ended.expect("the exchange neither panics nor is aborted").map_err(Error::Exchange);
                }
                () = sleep_until(orphaned_until), if orphaned_until.is_some() => self.end_orphanage(),
                () = sleep_until(leaving_until), if leaving_until.is_some() => {
                    tracing::warn!(waited = ?self.options.leave_timeout, "stopping without a last checkpoint");
                    break Ok(());
                }
                _ = heartbeat.tick() => self.send_heartbeat(),
            }
            if self.leaving_until.is_some() && self.has_nothing_to_wait_for() {
                break Ok(());
            }
            self.health.set_ready(self.link.is_joined() && self.leaving_until.is_none()).await;
            self.running.send_replace(self.attempts.values().flat_map(Attempt::running).collect());
        };
        let stopped = self.stop().await;
        result.and(stopped)
    }

    fn on_task_event(&mut self, event: TaskEvent) {
        let TaskEvent { holder, subtask, change } = event;
        let key = (holder.job_id, holder.attempt);
        let Some(attempt) = self.attempts.get_mut(&key) else { return };
        if let Change::Ended(Outcome::Failed(failure)) = &change {
            let (reason, subtask) = (failure.causes.join(": "), attempt.name(subtask));
            tracing::warn!(job_id = %holder.job_id, attempt = %holder.attempt, subtask, reason, "task failed");
        }
        attempt.on_change(subtask, &change);
        let counters = attempt.counters(subtask);
        if attempt.has_ended() {
            self.end_attempt(holder);
        }
        let task = TaskRef { job_id: holder.job_id, attempt: holder.attempt, subtask };
        let (state, failure) = match change {
            Change::Running => return self.report_state(task, TaskState::Running),
            Change::Acknowledged(acknowledgement) => {
                self.report(Report::Acknowledged { task, acknowledgement });
                if let Some(name) = self.attempts.get(&key).and_then(|attempt| attempt.name(subtask)) {
                    fail_point::reach_as(Point::AcknowledgementSent, name);
                }
                return;
            }
            Change::Declined { checkpoint, reason } => {
                return self.report(Report::Declined { task, checkpoint, reason });
            }
            Change::Published(epoch) => return self.report(Report::Published { task, epoch }),
            Change::Pace(slowest) => return self.report(Report::Pace { task, slowest }),
            Change::Answered { query, result } => return self.report(Report::Answered { task, query, result }),
            Change::Drained => return self.report(Report::Drained(task)),
            Change::Ended(Outcome::Finished) => (TaskState::Finished, TaskFailure::default()),
            Change::Ended(Outcome::Canceled) => (TaskState::Canceled, TaskFailure::default()),
            Change::Ended(Outcome::Failed(failure)) => (TaskState::Failed, failure),
        };
        self.report(Report::StateChange { task, state, failure, counters });
    }

    fn end_attempt(&mut self, holder: Holder) {
        if let Some(mut attempt) = self.attempts.remove(&(holder.job_id, holder.attempt)) {
            // Its threads have ended; this ends what is left of its streams.
            attempt.cancel();
        }
        self.environment.directory.remove(holder.job_id, holder.attempt);
        self.environment.observed.remove(holder);
        self.slots.release(holder);
        tracing::info!(job_id = %holder.job_id, attempt = %holder.attempt, "all tasks have ended");
        self.forget_secrets_of(holder.job_id);
    }

    /// Unless another attempt of the job is here.
    fn forget_secrets_of(&self, job: JobId) {
        if !self.attempts.keys().any(|(job_id, _)| *job_id == job) {
            self.options.logs.forget_secrets(job);
        }
    }

    /// A jobmanager is there: it is told what happened without one, and how things are.
    fn on_joined(&mut self, reports: mpsc::Sender<Report>) {
        self.link.on_joined(reports);
        self.attempts.values().for_each(|attempt| attempt.write_to_all(|| Letter::Orphaned(false)));
        let attempts = self.attempts.values();
        let state = |running: RunningTask| state_change(running.task, running.state);
        let states: Vec<Report> = attempts.clone().flat_map(Attempt::running).map(state).collect();
        let drained = attempts.clone().flat_map(Attempt::drained).map(Report::Drained);
        let published = attempts.filter_map(Attempt::last_published);
        let published = published.map(|(task, epoch): (TaskRef, CheckpointId)| Report::Published { task, epoch });
        let reports: Vec<Report> = states.into_iter().chain(drained).chain(published).collect();
        reports.into_iter().for_each(|report| self.report(report));
    }

    fn on_lost_jobmanager(&mut self, reason: &str) {
        let (jobmanager, tasks) = (&self.options.jobmanager, self.running.borrow().len());
        if self.leaving_until.is_none() {
            tracing::warn!(%jobmanager, reason, tasks, "lost the jobmanager: its tasks go on, joining again");
        }
        self.link.on_lost(tokio::time::Instant::now() + self.options.orphan_timeout);
        self.attempts.values().for_each(|attempt| attempt.write_to_all(|| Letter::Orphaned(true)));
    }

    fn end_orphanage(&mut self) {
        self.link.end_orphanage();
        if !self.attempts.is_empty() {
            let waited = self.options.orphan_timeout;
            tracing::warn!(jobmanager = %self.options.jobmanager, ?waited, "no jobmanager came back: canceling its tasks");
            self.cancel_all();
        }
    }

    fn cancel_all(&mut self) {
        self.attempts.values_mut().for_each(Attempt::cancel);
    }

    /// Cancels everything and waits for the threads.
    async fn stop(&mut self) -> Result<(), Error> {
        self.cancel_all();
        let deadline = tokio::time::Instant::now() + self.options.shutdown_timeout;
        while !self.attempts.is_empty() {
            match tokio::time::timeout_at(deadline, self.task_events.recv()).await {
                Ok(Some(event)) => self.on_task_event(event),
                Ok(None) => break,
                Err(_) => {
                    let stuck = self.attempts.values().flat_map(Attempt::unfinished);
                    return Err(Error::TasksStuck(stuck.map(str::to_owned).collect()));
                }
            }
        }
        self.telling_logs.tell(&self.link);
        Ok(())
    }

    fn send_heartbeat(&mut self) {
        let tasks = self.attempts.iter().flat_map(|(&(job_id, attempt), running)| {
            let tasks = running.all_counters();
            tasks.map(move |(subtask, counters)| (TaskRef { job_id, attempt, subtask }, counters))
        });
        let rss_bytes = stream_runtime::memory::resident_bytes();
        let heartbeat = Report::Heartbeat { tasks: tasks.collect(), rss_bytes };
        self.options.huge_pages.allow_for(rss_bytes);
        // One that finds no room is not missed: the next is never far.
        let _ = self.link.send_if_there_is_room(heartbeat);
        self.telling_logs.tell(&self.link);
        fail_point::reach(Point::Heartbeat);
    }

    fn report_state(&mut self, task: TaskRef, state: TaskState) {
        self.report(state_change(task, state));
    }

    fn report_failure(&mut self, task: TaskRef, causes: Vec<String>) {
        let failure = TaskFailure { causes, is_final: false };
        self.report(Report::StateChange { task, state: TaskState::Failed, failure, counters: None });
    }

    fn report(&mut self, report: Report) {
        if !self.link.send(report) {
            self.on_lost_jobmanager("it takes no reports");
        }
    }
}

/// A state that needs no further words.
fn state_change(task: TaskRef, state: TaskState) -> Report {
    Report::StateChange { task, state, failure: TaskFailure::default(), counters: None }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

/// Ticks now and then every `interval`; late ticks are not made up for.
fn every(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}
