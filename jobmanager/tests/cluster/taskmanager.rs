//! A taskmanager that does what the test says.

use std::net::SocketAddr;
use std::time::Duration;

use proto::v1;
use proto::v1::cluster_client::ClusterClient;
use proto::v1::job_manager_message::Message as Command;
use proto::v1::task_manager_message::Message;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::jobmanager::within;

pub(crate) struct TaskManager {
    messages: mpsc::Sender<v1::TaskManagerMessage>,
    commands: Streaming<v1::JobManagerMessage>,
    heartbeats: JoinSet<()>,
    /// What each operator's state is in; nothing without.
    pub(crate) state_file: Option<v1::FileRef>,
}

pub(crate) fn register(id: &str, slots: u32) -> v1::Register {
    v1::Register {
        version: proto::VERSION.to_owned(),
        taskmanager_id: id.to_owned(),
        slots,
        exchange_address: format!("{id}.example:7000"),
        pid: 42,
        running: Vec::new(),
    }
}

impl TaskManager {
    /// Joins, and goes on to send heartbeats.
    pub(crate) async fn join(address: SocketAddr, id: &str, slots: u32) -> Self {
        Self::join_as(address, register(id, slots)).await
    }

    /// The same, with tasks that run on from before.
    pub(crate) async fn join_as(address: SocketAddr, register: v1::Register) -> Self {
        let mut taskmanager = Self::try_join(address, Message::Register(register)).await.unwrap();
        let Command::Registered(registered) = taskmanager.next_command().await.unwrap() else {
            panic!("the first answer is `Registered`")
        };
        assert!(registered.heartbeat_interval_ms > 0);
        let messages = taskmanager.messages.clone();
        taskmanager.heartbeats.spawn(async move {
            while messages.send(message(Message::Heartbeat(v1::Heartbeat::default()))).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        taskmanager
    }

    /// Joins with this first message.
    pub(crate) async fn try_join(address: SocketAddr, first: Message) -> Result<Self, Status> {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let (messages, receiver) = mpsc::channel(16);
        messages.send(message(first)).await.unwrap();
        let answer = within(ClusterClient::new(channel).join(ReceiverStream::new(receiver))).await?;
        Ok(TaskManager { messages, commands: answer.into_inner(), heartbeats: JoinSet::new(), state_file: None })
    }

    /// The next command that is no heartbeat's acknowledgment; `None` once the jobmanager closed the connection.
    pub(crate) async fn next_command(&mut self) -> Option<Command> {
        within(async {
            loop {
                match self.commands.message().await {
                    Ok(Some(v1::JobManagerMessage { message: Some(Command::HeartbeatAck(_)) })) => {}
                    Ok(Some(command)) => return Some(command.message.expect("a command is never empty")),
                    Ok(None) | Err(_) => return None,
                }
            }
        })
        .await
    }

    pub(crate) async fn next_deploy(&mut self) -> v1::Deploy {
        match self.next_command().await {
            Some(Command::Deploy(deploy)) => deploy,
            other => panic!("a deployment was expected: {other:?}"),
        }
    }

    pub(crate) async fn next_cancel(&mut self) -> v1::CancelTasks {
        match self.next_command().await {
            Some(Command::CancelTasks(cancel)) => cancel,
            other => panic!("a cancel was expected: {other:?}"),
        }
    }

    pub(crate) async fn tell(&self, what: Message) {
        self.messages.send(message(what)).await.unwrap();
    }

    /// Tells the state of all its tasks of a deployment.
    pub(crate) async fn tell_all(&self, deploy: &v1::Deploy, state: v1::TaskState) {
        for task in &deploy.tasks {
            let counters = v1::SubtaskCounters { records_in: 10, records_out: 3, ..Default::default() };
            self.tell(change(deploy, task, state, &[], Some(counters))).await;
        }
    }

    /// Goes on with the connection open, but is not heard any more.
    pub(crate) fn fall_silent(&mut self) {
        self.heartbeats.abort_all();
    }
}

/// The tasks of a deployment as they run on without a jobmanager.
pub(crate) fn running(deploy: &v1::Deploy, last_barrier: Option<v1::Barrier>) -> Vec<v1::RunningTask> {
    let running = |task: &v1::TaskDeployment| v1::RunningTask {
        task: Some(task_ref(deploy, task)),
        slot: task.slot,
        state: v1::TaskState::Running.into(),
        last_barrier,
    };
    deploy.tasks.iter().map(running).collect()
}

/// A task's new state.
pub(crate) fn change(
    deploy: &v1::Deploy,
    task: &v1::TaskDeployment,
    state: v1::TaskState,
    causes: &[&str],
    counters: Option<v1::SubtaskCounters>,
) -> Message {
    Message::TaskStateChange(v1::TaskStateChange {
        task: Some(task_ref(deploy, task)),
        state: state.into(),
        causes: causes.iter().map(|&cause| cause.to_owned()).collect(),
        counters,
        is_final: false,
    })
}

pub(crate) fn task_ref(deploy: &v1::Deploy, task: &v1::TaskDeployment) -> v1::TaskRef {
    v1::TaskRef { job_id: deploy.job_id.clone(), attempt: deploy.attempt, subtask: task.subtask }
}

fn message(message: Message) -> v1::TaskManagerMessage {
    v1::TaskManagerMessage { message: Some(message) }
}

/// What each task of a deployment acknowledges: four records read, one of them in a window that is open; a row of the others.
fn snapshot(task: &v1::TaskDeployment, state_file: Option<&v1::FileRef>) -> v1::TaskSnapshot {
    use v1::task_snapshot::Snapshot;
    let subtask = task.subtask.unwrap();
    let read = |split: &v1::Split| v1::SplitSnapshot {
        split: Some(v1::Split { start: split.start + 4, ..split.clone() }),
        watermark_ms: Some(7),
        is_finished: false,
        begun: vec![split.start],
    };
    let snapshot = match subtask.stage {
        0 => Snapshot::Source(v1::SourceTaskSnapshot {
            splits: task.splits.iter().map(read).collect(),
            events: 4,
            bad: 0,
        }),
        1 => Snapshot::Operator(v1::OperatorTaskSnapshot {
            state: Some(v1::OperatorSnapshot {
                subtask: task.subtask,
                key_groups: task.key_groups,
                watermark_ms: 7,
                by_clock_ms: None,
                files: state_file.cloned().into_iter().collect(),
            }),
            late: 0,
            fired: 3,
            open: 1,
        }),
        _ => Snapshot::Sink(v1::SinkTaskSnapshot::default()),
    };
    v1::TaskSnapshot { snapshot: Some(snapshot) }
}

impl TaskManager {
    /// All its tasks come to run.
    pub(crate) async fn run(&self, deploy: &v1::Deploy) {
        self.tell_all(deploy, v1::TaskState::Initializing).await;
        self.tell_all(deploy, v1::TaskState::Running).await;
    }

    /// The next barrier that is triggered.
    pub(crate) async fn next_trigger(&mut self) -> v1::Barrier {
        match self.next_command().await {
            Some(Command::TriggerCheckpoint(trigger)) => trigger.barrier.unwrap(),
            other => panic!("a trigger was expected: {other:?}"),
        }
    }

    /// The next checkpoint that is complete.
    pub(crate) async fn next_complete(&mut self) -> v1::CompleteCheckpoint {
        match self.next_command().await {
            Some(Command::CompleteCheckpoint(complete)) => complete,
            other => panic!("a completed checkpoint was expected: {other:?}"),
        }
    }

    /// Acknowledges a checkpoint for all its tasks.
    pub(crate) async fn acknowledge(&self, deploy: &v1::Deploy, checkpoint_id: u64) {
        for task in &deploy.tasks {
            let ack = v1::CheckpointAck {
                task: Some(task_ref(deploy, task)),
                checkpoint_id,
                snapshot: Some(snapshot(task, self.state_file.as_ref())),
                written_bytes: 100,
                pause_us: 50,
                alignment_us: 10,
                arrivals: Vec::new(),
            };
            self.tell(Message::CheckpointAck(ack)).await;
        }
    }

    /// Takes part in the next checkpoint until it is complete.
    pub(crate) async fn checkpoint(&mut self, deploy: &v1::Deploy) -> v1::CompleteCheckpoint {
        let barrier = self.next_trigger().await;
        self.acknowledge(deploy, barrier.checkpoint_id).await;
        self.next_complete().await
    }

    /// The committer has published an epoch.
    pub(crate) async fn publish(&self, deploy: &v1::Deploy, epoch: u64) {
        let sink = deploy.tasks.iter().find(|task| task.subtask.unwrap().stage == 2).unwrap();
        self.tell(Message::EpochPublished(v1::EpochPublished { task: Some(task_ref(deploy, sink)), epoch })).await;
    }

    /// One of its tasks fails, and the others are canceled.
    pub(crate) async fn fail(&mut self, deploy: &v1::Deploy) {
        self.fail_with(deploy, "disk full").await;
    }

    /// The same, with this cause.
    pub(crate) async fn fail_with(&mut self, deploy: &v1::Deploy, cause: &str) {
        self.tell(change(deploy, &deploy.tasks[0], v1::TaskState::Failed, &[cause], None)).await;
        self.next_cancel().await;
        self.tell_all(deploy, v1::TaskState::Canceled).await;
    }
}
