//! The loop that owns this taskmanager's slots and attempts.
//!
//! It learns of everything as a message: from the jobmanager, from its tasks, from the user who stops it. In this step
//! a lost jobmanager ends what it had deployed; the tasks are canceled before this taskmanager registers again, so that
//! the slots which it offers are free.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::limits;
use stream_core::ids::{AttemptNumber, JobId};
use stream_core::job::TaskState;
use stream_runtime::clock::Clock;
use stream_runtime::connector::{Connectors, cause_chain};
use stream_runtime::jobs::Jobs;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Endpoint;

use crate::attempt::{Attempt, Change, Environment, TaskEvent};
use crate::deployment::Deployment;
use crate::exchange::directory::{DEPLOY_WAIT, Directory};
use crate::exchange::grpc::downstream;
use crate::exchange::grpc::upstream::Peers;
use crate::grpc;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::report::{Command, LinkEvent, Report, TaskRef};
use crate::slot::{Holder, Slots};
use crate::subtask::thread::Outcome;

/// Events of tasks that wait for the service: two of each task at once are rare, and a thread that waits here has
/// nothing better to do.
const TASK_EVENTS: usize = 256;
/// Messages of the jobmanager that wait for the service.
const LINK_EVENTS: usize = 64;
/// How long connections may take to end in good order once no task is left.
const NETWORK_STOP_TIMEOUT: Duration = Duration::from_secs(1);
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

/// Runs a taskmanager until `shutdown` is canceled; then its tasks have ended and its threads are joined.
///
/// # Errors
/// If the jobmanager refuses it for good, the exchange fails, or tasks do not end within the shutdown timeout.
///
/// # Cancel safety
/// Not to be dropped before it returns: its threads would go on. Cancel `shutdown` instead.
pub async fn start(
    options: Options,
    jobs: Jobs,
    connectors: Arc<dyn Connectors>,
    clock: Arc<dyn Clock>,
    exchange_listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let endpoint = Endpoint::from_shared(format!("http://{}", options.jobmanager))
        .map_err(|cause| Error::JobManagerAddress { address: options.jobmanager.clone(), cause })?;
    let directory = Arc::new(Directory::new(DEPLOY_WAIT));
    let (task_sender, task_events) = mpsc::channel(TASK_EVENTS);
    let (link_sender, link_events) = mpsc::channel(LINK_EVENTS);
    let (is_free, free_receiver) = watch::channel(true);
    let environment = Environment {
        connectors,
        clock,
        directory: Arc::clone(&directory),
        peers: Arc::new(Peers::default()),
        channel_bytes: options.channel_bytes,
        linger: options.linger,
        events: task_sender,
        streams: TaskTracker::new(),
    };
    let exchange_stop = CancellationToken::new();
    let mut exchange = JoinSet::new();
    exchange.spawn(downstream::serve(exchange_listener, directory, exchange_stop.clone()));
    let mut link = JoinSet::new();
    link.spawn(grpc::keep_joined(
        options.clone(),
        limits::endpoint(endpoint),
        link_sender,
        free_receiver,
        shutdown.clone(),
    ));

    let streams = environment.streams.clone();
    let slots = Slots::new(options.slots);
    let service = Service {
        options,
        jobs,
        environment,
        slots,
        attempts: BTreeMap::new(),
        reports: None,
        is_free,
        task_events,
        link_events,
    };
    let result = service.run(&mut exchange, shutdown).await;
    exchange_stop.cancel();
    streams.close();
    let all_stopped = async {
        // The last reports leave before the connection does.
        link.join_next().await;
        streams.wait().await;
        exchange.join_next().await;
    };
    // What is still open then waits for another process; dropping it here ends it.
    let _ = tokio::time::timeout(NETWORK_STOP_TIMEOUT, all_stopped).await;
    result
}

struct Service {
    options: Options,
    jobs: Jobs,
    environment: Environment,
    slots: Slots,
    attempts: BTreeMap<(JobId, AttemptNumber), Attempt>,
    /// Where reports go, while there is a jobmanager.
    reports: Option<mpsc::Sender<Report>>,
    /// Tells the connection whether no task is left, so that it may register.
    is_free: watch::Sender<bool>,
    task_events: mpsc::Receiver<TaskEvent>,
    link_events: mpsc::Receiver<LinkEvent>,
}

/// The task that serves the exchange.
type ExchangeTask = JoinSet<Result<(), tonic::transport::Error>>;

impl Service {
    async fn run(mut self, exchange: &mut ExchangeTask, shutdown: CancellationToken) -> Result<(), Error> {
        let mut heartbeat = every(FIRST_HEARTBEAT_INTERVAL);
        let result = loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(event) = self.task_events.recv() => self.on_task_event(event),
                Some(event) = self.link_events.recv() => match event {
                    LinkEvent::Joined { reports, heartbeat_interval } => {
                        self.reports = Some(reports);
                        heartbeat = every(heartbeat_interval);
                    }
                    LinkEvent::Command(command) => self.on_command(command),
                    LinkEvent::Lost => self.on_lost_jobmanager(),
                    LinkEvent::Refused(reason) => {
                        break Err(Error::Refused { address: self.options.jobmanager.clone(), reason });
                    }
                },
                Some(ended) = exchange.join_next() => {
                    break ended.expect("the exchange neither panics nor is aborted").map_err(Error::Exchange);
                }
                _ = heartbeat.tick() => self.send_heartbeat(),
            }
        };
        let stopped = self.stop().await;
        result.and(stopped)
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Deploy(deployment) => self.deploy(*deployment),
            Command::Undeployable { tasks, causes } => {
                for task in tasks {
                    self.report_failure(task, causes.clone());
                }
            }
            Command::Cancel { job_id, attempt } => {
                tracing::info!(%job_id, %attempt, "canceling");
                if let Some(attempt) = self.attempts.get_mut(&(job_id, attempt)) {
                    attempt.cancel();
                }
            }
            Command::AssignSplits { task, splits } => {
                if let Some(attempt) = self.attempts.get(&(task.job_id, task.attempt)) {
                    attempt.assign_splits(task.subtask, splits);
                }
            }
        }
    }

    fn deploy(&mut self, deployment: Deployment) {
        let (job_id, attempt) = (deployment.job_id, deployment.attempt);
        if self.attempts.contains_key(&(job_id, attempt)) {
            // Refusing would report tasks as failed that run.
            return tracing::warn!(%job_id, %attempt, "passed over a deployment of what runs already");
        }
        let task_refs = deployment.tasks.keys().map(|&subtask| TaskRef { job_id, attempt, subtask });
        let task_refs: Vec<TaskRef> = task_refs.collect();
        let names = deployment.tasks.keys().map(|&subtask| deployment.name(subtask)).collect::<Vec<_>>().join(" ");
        match self.try_deploy(deployment) {
            Ok(()) => {
                tracing::info!(%job_id, %attempt, tasks = names, "deployed");
                for task in task_refs {
                    self.report_state(task, TaskState::Initializing);
                }
            }
            Err(refusal) => {
                let causes = cause_chain(&refusal);
                tracing::warn!(%job_id, %attempt, tasks = names, reason = causes.join(": "), "refused a deployment");
                for task in task_refs {
                    self.report_failure(task, causes.clone());
                }
            }
        }
    }

    fn try_deploy(&mut self, deployment: Deployment) -> Result<(), Refusal> {
        deployment.check()?;
        let name = &deployment.pipeline.job;
        let definition = self
            .jobs
            .find(name)
            .ok_or_else(|| Refusal::UnknownJob { job: name.clone(), known: self.jobs.names().join("`, `") })?;
        let holder = Holder { job_id: deployment.job_id, attempt: deployment.attempt };
        let slots: Vec<u32> = deployment.tasks.values().map(|task| task.slot).collect();
        self.slots.take(&slots, holder)?;
        match Attempt::start(deployment, definition, &self.environment) {
            Ok(attempt) => {
                self.attempts.insert((holder.job_id, holder.attempt), attempt);
                self.is_free.send_replace(false);
                Ok(())
            }
            Err(error) => {
                self.environment.directory.remove(holder.job_id, holder.attempt);
                self.slots.release(holder);
                Err(Refusal::Thread(error))
            }
        }
    }

    fn on_task_event(&mut self, event: TaskEvent) {
        let TaskEvent { holder, subtask, change } = event;
        let key = (holder.job_id, holder.attempt);
        let Some(attempt) = self.attempts.get_mut(&key) else { return };
        attempt.on_change(subtask, &change);
        let counters = attempt.counters(subtask);
        if attempt.has_ended() {
            self.end_attempt(holder);
        }
        let task = TaskRef { job_id: holder.job_id, attempt: holder.attempt, subtask };
        let (state, causes) = match change {
            Change::Running => return self.report_state(task, TaskState::Running),
            Change::Ended(Outcome::Finished) => (TaskState::Finished, Vec::new()),
            Change::Ended(Outcome::Canceled) => (TaskState::Canceled, Vec::new()),
            Change::Ended(Outcome::Failed(causes)) => {
                let reason = causes.join(": ");
                tracing::warn!(job_id = %task.job_id, attempt = %task.attempt, subtask = ?task.subtask, reason, "task failed");
                (TaskState::Failed, causes)
            }
        };
        self.report(Report::StateChange { task, state, causes, counters });
    }

    fn end_attempt(&mut self, holder: Holder) {
        if let Some(mut attempt) = self.attempts.remove(&(holder.job_id, holder.attempt)) {
            // Its threads have ended; this ends what is left of its streams.
            attempt.cancel();
        }
        self.environment.directory.remove(holder.job_id, holder.attempt);
        self.slots.release(holder);
        self.is_free.send_replace(self.attempts.is_empty());
        tracing::info!(job_id = %holder.job_id, attempt = %holder.attempt, "all tasks have ended");
    }

    fn on_lost_jobmanager(&mut self) {
        self.reports = None;
        self.cancel_all();
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
        Ok(())
    }

    fn send_heartbeat(&mut self) {
        let tasks = self.attempts.iter().flat_map(|(&(job_id, attempt), running)| {
            let tasks = running.all_counters();
            tasks.map(move |(subtask, counters)| (TaskRef { job_id, attempt, subtask }, counters))
        });
        let heartbeat =
            Report::Heartbeat { tasks: tasks.collect(), rss_bytes: stream_runtime::memory::resident_bytes() };
        // One that finds no room is not missed: the next is never far.
        if let Some(reports) = &self.reports {
            let _ = reports.try_send(heartbeat);
        }
    }

    fn report_state(&mut self, task: TaskRef, state: TaskState) {
        self.report(Report::StateChange { task, state, causes: Vec::new(), counters: None });
    }

    fn report_failure(&mut self, task: TaskRef, causes: Vec<String>) {
        self.report(Report::StateChange { task, state: TaskState::Failed, causes, counters: None });
    }

    /// A state change must not be lost: a jobmanager that does not take it counts as lost itself.
    fn report(&mut self, report: Report) {
        let is_taken = self.reports.as_ref().is_none_or(|reports| reports.try_send(report).is_ok());
        if !is_taken {
            self.on_lost_jobmanager();
        }
    }
}

/// Ticks now and then every `interval`; late ticks are not made up for.
fn every(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}
