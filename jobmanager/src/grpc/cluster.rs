//! The service that taskmanagers join: one connection each, whose end is the taskmanager's loss.

use std::time::Duration;

use proto::v1;
use proto::v1::task_manager_message::Message;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use crate::handle::Handle;
use crate::protocol::Command;
use crate::taskmanagers::{Connection, Session};

/// How long a new connection may take to introduce itself.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// The gRPC service `Cluster`.
pub(super) struct Service {
    handle: Handle,
    tasks: TaskTracker,
}

/// Commands on their way to one taskmanager.
type Commands =
    tokio_stream::adapters::Map<ReceiverStream<Command>, fn(Command) -> Result<v1::JobManagerMessage, Status>>;

impl Service {
    pub(super) fn new(handle: Handle, tasks: TaskTracker) -> Self {
        Service { handle, tasks }
    }
}

#[tonic::async_trait]
impl v1::cluster_server::Cluster for Service {
    type JoinStream = Commands;

    async fn join(
        &self,
        request: Request<Streaming<v1::TaskManagerMessage>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        let mut messages = request.into_inner();
        let first = tokio::time::timeout(REGISTER_TIMEOUT, messages.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no registration came"))??;
        let Some(Message::Register(register)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be a registration"));
        };
        check_version(&register)?;
        let registration = convert::registration(register)?;
        let (connection, commands, closed) = Connection::new();
        let session = self.handle.register(registration, connection).await?;
        self.tasks.spawn(receive(messages, self.handle.clone(), session, closed));
        let to_wire: fn(Command) -> Result<v1::JobManagerMessage, Status> = |command| Ok(command.into());
        Ok(Response::new(ReceiverStream::new(commands).map(to_wire)))
    }
}

fn check_version(register: &v1::Register) -> Result<(), Status> {
    if register.version == proto::VERSION {
        return Ok(());
    }
    let (theirs, ours) = (&register.version, proto::VERSION);
    tracing::warn!(taskmanager = register.taskmanager_id, version = theirs, "refused a taskmanager of another version");
    Err(Status::failed_precondition(format!(
        "taskmanager `{}` has version `{theirs}`, the jobmanager has `{ours}`: run one version in a cluster",
        register.taskmanager_id
    )))
}

/// Hands on what a taskmanager tells until either side ends the connection, which is then told too.
async fn receive(
    mut messages: Streaming<v1::TaskManagerMessage>,
    handle: Handle,
    session: Session,
    closed: CancellationToken,
) {
    let reason = loop {
        let message = tokio::select! {
            biased;
            // The service has closed the connection: it knows.
            () = closed.cancelled() => return,
            message = messages.message() => message,
        };
        let report = match message {
            Ok(Some(message)) => convert::report(message),
            Ok(None) => break "it closed its connection".to_owned(),
            Err(status) => break format!("its connection broke: {}", status.message()),
        };
        let told = match report {
            Ok(report) => handle.report(session.clone(), report).await,
            Err(error) => break error.to_string(),
        };
        if told.is_err() {
            return;
        }
    };
    // The service has stopped: nobody is left to be told.
    let _ = handle.disconnected(session, reason).await;
}
