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
}

pub(crate) fn register(id: &str, slots: u32) -> v1::Register {
    v1::Register {
        version: proto::VERSION.to_owned(),
        taskmanager_id: id.to_owned(),
        slots,
        exchange_address: format!("{id}.example:7000"),
        pid: 42,
    }
}

impl TaskManager {
    /// Joins, and goes on to send heartbeats.
    pub(crate) async fn join(address: SocketAddr, id: &str, slots: u32) -> Self {
        let mut taskmanager = Self::try_join(address, Message::Register(register(id, slots))).await.unwrap();
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
        Ok(TaskManager { messages, commands: answer.into_inner(), heartbeats: JoinSet::new() })
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
    })
}

pub(crate) fn task_ref(deploy: &v1::Deploy, task: &v1::TaskDeployment) -> v1::TaskRef {
    v1::TaskRef { job_id: deploy.job_id.clone(), attempt: deploy.attempt, subtask: task.subtask }
}

fn message(message: Message) -> v1::TaskManagerMessage {
    v1::TaskManagerMessage { message: Some(message) }
}
