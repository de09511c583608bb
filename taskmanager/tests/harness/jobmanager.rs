//! A jobmanager that deploys and checkpoints as a test says, and remembers what it is told.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use proto::v1;
use proto::v1::cluster_server::{Cluster, ClusterServer};
use stream_core::barrier::Barrier;
use stream_core::ids::{CheckpointId, JobId, Nonce, StageIndex, SubtaskId, SubtaskIndex};
use stream_core::key_group::KeyGroupRange;
use stream_core::pipeline::{Pipeline, Split, StageKind};
use stream_core::time::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::DEADLINE;

/// The states and last counters of the tasks of all jobs, by (job, attempt, stage, index).
pub(crate) type Tasks = BTreeMap<(String, u32, u32, u32), Task>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    pub(crate) states: Vec<v1::TaskState>,
    pub(crate) causes: Vec<String>,
    pub(crate) counters: v1::SubtaskCounters,
}

impl Task {
    pub(crate) fn state(&self) -> v1::TaskState {
        self.states.last().copied().unwrap_or(v1::TaskState::Unspecified)
    }
}

/// Where each taskmanager by its id is told what to do.
type Commands = Arc<Mutex<BTreeMap<String, mpsc::Sender<Result<v1::JobManagerMessage, Status>>>>>;

/// The jobmanager; dropping it ends it.
pub(crate) struct JobManager {
    pub(crate) address: String,
    seen: watch::Receiver<Seen>,
    commands: Commands,
    serving: JoinSet<()>,
}

/// What it has been told.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) registrations: Vec<v1::Register>,
    pub(crate) tasks: Tasks,
    /// By (job, attempt, checkpoint).
    pub(crate) acks: BTreeMap<(String, u32, u64), Vec<v1::CheckpointAck>>,
    pub(crate) declines: Vec<v1::CheckpointDecline>,
    pub(crate) published: Vec<v1::EpochPublished>,
    pub(crate) drained: Vec<v1::SourceDrained>,
    /// How many taskmanagers said that they leave.
    pub(crate) leaving: usize,
}

/// What an attempt begins with.
#[derive(Clone, Default)]
pub(crate) struct Start {
    pub(crate) store: String,
    pub(crate) restore: Option<v1::Restore>,
    pub(crate) last_epoch: u64,
}

impl JobManager {
    /// One that listens on `address`, and refuses everybody with `refusal` if there is one.
    pub(crate) async fn start(address: &str, refusal: Option<Status>) -> JobManager {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen_sender, seen) = watch::channel(Seen::default());
        let commands = Arc::default();
        let service = Service { seen: Arc::new(seen_sender), commands: Arc::clone(&commands), refusal };
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            proto::limits::server()
                .add_service(ClusterServer::new(service))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        JobManager { address, seen, commands, serving }
    }

    /// Ends it abruptly, with all connections.
    pub(crate) async fn kill(mut self) {
        // The listener first: who is cut off tries again at once, and must not find this one.
        self.serving.shutdown().await;
        self.commands.lock().unwrap().clear();
    }

    /// Waits until what it was told meets a condition.
    pub(crate) async fn wait_until(&mut self, what: &str, mut is_met: impl FnMut(&Seen) -> bool) -> Seen {
        let met = tokio::time::timeout(DEADLINE, self.seen.wait_for(|seen| is_met(seen))).await;
        match met.map(|seen| seen.unwrap().clone()) {
            Ok(seen) => seen,
            Err(_) => panic!("waited for {what}, but the tasks are {:#?}", self.seen.borrow().tasks),
        }
    }

    pub(crate) async fn wait_for_registrations(&mut self, count: usize) -> Seen {
        self.wait_until("registrations", |seen| seen.registrations.len() >= count).await
    }

    /// Waits until all tasks of an attempt that were ever heard of, `count` of them, have ended.
    pub(crate) async fn wait_for_end(&mut self, job: JobId, attempt: u32, count: usize) -> Tasks {
        let seen = self.wait_until("the end of all tasks", |seen| {
            let ended = of_attempt(seen, job, attempt).filter(|(_, task)| is_terminal(task.state()));
            ended.count() == count
        });
        of_attempt(&seen.await, job, attempt).map(|(key, task)| (key.clone(), task.clone())).collect()
    }

    pub(crate) async fn wait_for_running(&mut self, job: JobId, attempt: u32, count: usize) {
        self.wait_until("all tasks running", |seen| {
            let running = of_attempt(seen, job, attempt).filter(|(_, task)| task.state() == v1::TaskState::Running);
            running.count() == count
        })
        .await;
    }

    pub(crate) async fn send(&self, taskmanager: &str, message: v1::job_manager_message::Message) {
        let sender = self.commands.lock().unwrap().get(taskmanager).unwrap().clone();
        sender.send(Ok(v1::JobManagerMessage { message: Some(message) })).await.unwrap();
    }

    pub(crate) async fn cancel(&self, job: JobId, attempt: u32) {
        let cancel = v1::CancelTasks { job_id: job.to_string(), attempt };
        self.send_to_all(v1::job_manager_message::Message::CancelTasks(cancel)).await;
    }

    pub(crate) async fn send_to_all(&self, message: v1::job_manager_message::Message) {
        let taskmanagers: Vec<_> = self.commands.lock().unwrap().keys().cloned().collect();
        for id in taskmanagers {
            self.send(&id, message.clone()).await;
        }
    }

    /// Sends a barrier from all sources.
    pub(crate) async fn trigger(&self, job: JobId, attempt: u32, barrier: Barrier) {
        let (job_id, barrier) = (job.to_string(), Some(barrier.into()));
        let trigger = v1::TriggerCheckpoint { job_id, attempt, barrier };
        self.send_to_all(v1::job_manager_message::Message::TriggerCheckpoint(trigger)).await;
    }

    /// Takes a checkpoint of all `count` tasks; what an attempt would begin with that begins with it.
    pub(crate) async fn checkpoint(&mut self, job: JobId, attempt: u32, barrier: Barrier, count: usize) -> v1::Restore {
        self.trigger(job, attempt, barrier).await;
        let key = (job.to_string(), attempt, barrier.checkpoint.0);
        let seen =
            self.wait_until("acknowledgements", |seen| seen.acks.get(&key).is_some_and(|acks| acks.len() == count));
        restore_from(&seen.await.acks[&key], barrier)
    }

    pub(crate) async fn complete(&self, job: JobId, attempt: u32, barrier: Barrier) {
        let complete = v1::CompleteCheckpoint {
            job_id: job.to_string(),
            attempt,
            checkpoint_id: barrier.checkpoint.0,
            prev: barrier.prev.0,
            accounts: Some(v1::Accounts::default()),
            cut: None,
        };
        self.send_to_all(v1::job_manager_message::Message::CompleteCheckpoint(complete)).await;
    }

    pub(crate) async fn abort(&self, job: JobId, attempt: u32, checkpoint_id: u64) {
        let abort = v1::AbortCheckpoint { job_id: job.to_string(), attempt, checkpoint_id };
        self.send_to_all(v1::job_manager_message::Message::AbortCheckpoint(abort)).await;
    }

    pub(crate) async fn wait_for_published(&mut self, epoch: u64) {
        self.wait_until("a publication", |seen| seen.published.iter().any(|published| published.epoch == epoch)).await;
    }

    /// Waits until all `sources` are at their end, takes the last checkpoint, and waits until all `count` tasks have ended.
    pub(crate) async fn finish(
        &mut self,
        job: JobId,
        attempt: u32,
        (sources, count): (u32, usize),
        last: Barrier,
    ) -> Tasks {
        let job_id = job.to_string();
        self.wait_until("drained sources", |seen| {
            let tasks = seen.drained.iter().filter_map(|drained| drained.task.as_ref());
            let mut drained: Vec<_> = tasks.filter(|task| task.job_id == job_id && task.attempt == attempt).collect();
            drained.dedup();
            drained.len() >= sources as usize
        })
        .await;
        self.checkpoint(job, attempt, last, count).await;
        self.complete(job, attempt, last).await;
        self.wait_for_end(job, attempt, count).await
    }

    pub(crate) async fn deploy(&self, job: JobId, attempt: u32, pipeline: &Pipeline, splits: &[Split]) -> usize {
        self.deploy_with(job, attempt, pipeline, splits, &Start::default()).await
    }

    /// Deploys a pipeline with subtask i of each stage on taskmanager i, in turn, in slot i; returns how many tasks.
    pub(crate) async fn deploy_with(
        &self,
        job: JobId,
        attempt: u32,
        pipeline: &Pipeline,
        splits: &[Split],
        start: &Start,
    ) -> usize {
        let registered = self.seen.borrow().registrations.clone();
        let (mut deploys, mut locations) = (BTreeMap::<usize, v1::Deploy>::new(), Vec::new());
        for (stage, spec) in (0_u32..).zip(&pipeline.stages) {
            let parallelism = pipeline.stage_parallelism(StageIndex(stage));
            for index in 0..parallelism {
                let home = index as usize % registered.len();
                let subtask = SubtaskId { stage: StageIndex(stage), index: SubtaskIndex(index) };
                let range = KeyGroupRange::of_subtask(pipeline.max_parallelism, parallelism, SubtaskIndex(index));
                let own = splits.iter().skip(index as usize).step_by(parallelism as usize);
                let is_source = spec.kind == StageKind::Source;
                deploys.entry(home).or_default().tasks.push(v1::TaskDeployment {
                    subtask: Some(subtask.into()),
                    slot: index / u32::try_from(registered.len()).unwrap(),
                    key_groups: (spec.kind == StageKind::Operator).then(|| range.into()),
                    splits: own.filter(|_| is_source).map(Into::into).collect(),
                });
                locations.push(v1::TaskLocation {
                    subtask: Some(subtask.into()),
                    taskmanager_id: registered[home].taskmanager_id.clone(),
                    exchange_address: registered[home].exchange_address.clone(),
                });
            }
        }
        for (home, mut deploy) in deploys {
            deploy.job_id = job.to_string();
            deploy.attempt = attempt;
            deploy.pipeline = Some(pipeline.into());
            deploy.locations = locations.clone();
            deploy.token = attempt;
            deploy.nonce = proto::nonce_bytes(Nonce(u128::from(attempt)));
            deploy.checkpoint_store = start.store.clone();
            deploy.restore = start.restore.clone();
            deploy.last_epoch = start.last_epoch;
            let id = registered[home].taskmanager_id.clone();
            self.send(&id, v1::job_manager_message::Message::Deploy(deploy)).await;
        }
        locations.len()
    }
}

/// The barrier of a checkpoint of attempt `token`, behind the completed checkpoint `prev`.
pub(crate) const fn barrier(checkpoint: CheckpointId, prev: CheckpointId, is_last: bool) -> Barrier {
    Barrier { checkpoint, prev, triggered: Timestamp(0), is_full: false, is_last }
}

fn restore_from(acks: &[v1::CheckpointAck], barrier: Barrier) -> v1::Restore {
    use v1::task_snapshot::Snapshot;
    let mut restore = v1::Restore { checkpoint_id: barrier.checkpoint.0, ..v1::Restore::default() };
    for ack in acks {
        match ack.snapshot.clone().unwrap().snapshot.unwrap() {
            Snapshot::Source(source) => restore.splits.extend(source.splits),
            Snapshot::Operator(operator) => restore.operators.extend(operator.state),
            Snapshot::Sink(sink) => restore.pending.push(v1::SealedEpoch {
                epoch: barrier.checkpoint.0,
                prev: barrier.prev.0,
                files: sink.files,
                rows: sink.rows,
                side_rows: sink.side_rows,
                accounts: Some(v1::Accounts::default()),
                cut: None,
            }),
        }
    }
    restore
}

pub(crate) fn is_terminal(state: v1::TaskState) -> bool {
    matches!(state, v1::TaskState::Finished | v1::TaskState::Canceled | v1::TaskState::Failed)
}

fn of_attempt(seen: &Seen, job: JobId, attempt: u32) -> impl Iterator<Item = (&(String, u32, u32, u32), &Task)> {
    let job = job.to_string();
    seen.tasks.iter().filter(move |(key, _)| key.0 == job && key.1 == attempt)
}

struct Service {
    seen: Arc<watch::Sender<Seen>>,
    commands: Commands,
    refusal: Option<Status>,
}

#[tonic::async_trait]
impl Cluster for Service {
    type JoinStream = Pin<Box<dyn Stream<Item = Result<v1::JobManagerMessage, Status>> + Send>>;

    async fn join(
        &self,
        request: Request<Streaming<v1::TaskManagerMessage>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let mut messages = request.into_inner();
        let first = messages.message().await?.unwrap().message.unwrap();
        let v1::task_manager_message::Message::Register(register) = first else { panic!("{first:?}") };
        let (sender, commands) = mpsc::channel(64);
        let registered = v1::Registered { heartbeat_interval_ms: 20, started_ms: 1 };
        let answer = v1::job_manager_message::Message::Registered(registered);
        sender.send(Ok(v1::JobManagerMessage { message: Some(answer) })).await.unwrap();
        self.commands.lock().unwrap().insert(register.taskmanager_id.clone(), sender);
        self.seen.send_modify(|seen| seen.registrations.push(register));
        let seen = Arc::clone(&self.seen);
        // The answer's own stream drives the reading, so that nothing is left behind when it is dropped.
        let told = messages.map(move |message| {
            if let Ok(v1::TaskManagerMessage { message: Some(message) }) = message {
                seen.send_modify(|seen| note(seen, message));
            }
            None
        });
        // A connection outlives its server's task: what ends it is an error as the last word.
        let killed = tokio_stream::once(Some(Err(Status::unavailable("killed"))));
        let commands = ReceiverStream::new(commands).map(Some).chain(killed);
        Ok(Response::new(Box::pin(told.merge(commands).filter_map(|message| message))))
    }
}

fn note(seen: &mut Seen, message: v1::task_manager_message::Message) {
    match message {
        v1::task_manager_message::Message::TaskStateChange(change) => {
            let state = change.state();
            let task = entry(seen, change.task);
            task.states.push(state);
            task.causes = change.causes;
            task.counters = change.counters.unwrap_or(std::mem::take(&mut task.counters));
        }
        v1::task_manager_message::Message::Heartbeat(heartbeat) => {
            for report in heartbeat.tasks {
                entry(seen, report.task).counters = report.counters.unwrap();
            }
        }
        v1::task_manager_message::Message::CheckpointAck(ack) => {
            let task = ack.task.clone().unwrap();
            seen.acks.entry((task.job_id, task.attempt, ack.checkpoint_id)).or_default().push(ack);
        }
        v1::task_manager_message::Message::CheckpointDecline(decline) => seen.declines.push(decline),
        v1::task_manager_message::Message::EpochPublished(published) => seen.published.push(published),
        v1::task_manager_message::Message::SourcePace(_) | v1::task_manager_message::Message::QueryAnswer(_) => {}
        v1::task_manager_message::Message::JobLogs(_) => {}
        v1::task_manager_message::Message::SourceDrained(drained) => seen.drained.push(drained),
        v1::task_manager_message::Message::Leaving(_) => seen.leaving += 1,
        other @ v1::task_manager_message::Message::Register(_) => panic!("{other:?}"),
    }
}

fn entry(seen: &mut Seen, task: Option<v1::TaskRef>) -> &mut Task {
    let task = task.unwrap();
    let subtask = task.subtask.unwrap();
    seen.tasks.entry((task.job_id, task.attempt, subtask.stage, subtask.index)).or_default()
}
