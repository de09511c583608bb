//! The connection to the jobmanager: makes it, keeps it, makes it again; and its messages in our own types.
//!
//! Runs as one task beside the service, which it tells everything through one bounded queue. The jobmanager's state, and
//! what to do about a lost connection, are the service's business.

mod convert;

use std::time::Duration;

use proto::v1::cluster_client::ClusterClient;
use proto::{limits, v1};
use stream_core::time::Timestamp;
use stream_runtime::retry::Backoff;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Code, Streaming};

use crate::exchange::grpc::PeerSaid;
use crate::options::Options;
use crate::report::{LinkEvent, Report, RunningTask};

/// Reports that wait to be sent: a burst of state changes of every task of a large taskmanager. One that is full means
/// that the jobmanager takes nothing any more.
const REPORTS: usize = 1024;
/// How long the jobmanager may take to answer a registration.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(2);

/// Joins the jobmanager, for ever again, each time with the tasks that run then, by `running`. Logs each change once. Returns when it is refused for good, nobody listens any more, or a connection has ended after `shutdown`:
/// where the whole cluster stops, the jobmanager may be the faster.
///
/// # Cancel safety
/// Dropping it breaks the connection.
pub(crate) async fn keep_joined(
    options: Options,
    endpoint: Endpoint,
    events: mpsc::Sender<LinkEvent>,
    running: watch::Receiver<Vec<RunningTask>>,
    shutdown: CancellationToken,
) {
    while let Ok(joined) = join_patiently(&options, &endpoint, &events, &running).await {
        tracing::info!(jobmanager = %options.jobmanager, id = %options.id, slots = options.slots, "registered");
        let Ok(reason) = relay(joined, &events).await else { return };
        if events.send(LinkEvent::Lost(reason)).await.is_err() || shutdown.is_cancelled() {
            return;
        }
    }
}

/// Tries until it works.
async fn join_patiently(
    options: &Options,
    endpoint: &Endpoint,
    events: &mpsc::Sender<LinkEvent>,
    running: &watch::Receiver<Vec<RunningTask>>,
) -> Result<Joined, NobodyListens> {
    let mut backoff = Backoff::new(FIRST_RETRY, MAX_RETRY);
    let mut was_told = false;
    loop {
        let attempt = tokio::select! {
            biased;
            () = events.closed() => return Err(NobodyListens),
            attempt = join(options, endpoint, running) => attempt,
        };
        match attempt {
            Ok(joined) => return Ok(joined),
            Err(JoinError::Refused(reason)) => {
                // Whether it is taken or not, this is the last thing to be said.
                let _ = events.send(LinkEvent::Refused(reason)).await;
                return Err(NobodyListens);
            }
            Err(JoinError::Unreachable(error)) => {
                if !std::mem::replace(&mut was_told, true) {
                    tracing::warn!(jobmanager = %options.jobmanager, reason = %error, "no jobmanager yet: trying on");
                }
            }
        }
        tokio::select! {
            () = events.closed() => return Err(NobodyListens),
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

/// A connection that was just made.
struct Joined {
    reports: mpsc::Sender<Report>,
    heartbeat_interval: Duration,
    jobmanager_started: Timestamp,
    commands: Streaming<v1::JobManagerMessage>,
}

/// Why there is no connection.
enum JoinError {
    /// Later there may be one.
    Unreachable(PeerSaid),
    /// Never, as things are.
    Refused(String),
}

/// The service is gone, or has heard all it needs.
struct NobodyListens;

async fn join(
    options: &Options,
    endpoint: &Endpoint,
    running: &watch::Receiver<Vec<RunningTask>>,
) -> Result<Joined, JoinError> {
    let timed_out = |_| JoinError::Unreachable(PeerSaid::new("it did not answer in time"));
    tokio::time::timeout(limits::CONNECT_TIMEOUT + REGISTER_TIMEOUT, register(options, endpoint, running))
        .await
        .map_err(timed_out)?
        .map_err(JoinError::from)
}

async fn register(
    options: &Options,
    endpoint: &Endpoint,
    running: &watch::Receiver<Vec<RunningTask>>,
) -> Result<Joined, tonic::Status> {
    let channel = endpoint.connect().await.map_err(|error| tonic::Status::from_error(error.into()))?;
    let mut client = ClusterClient::new(channel)
        .max_encoding_message_size(limits::CONTROL_MESSAGE_BYTES)
        .max_decoding_message_size(limits::CONTROL_MESSAGE_BYTES);
    let (reports, queued) = mpsc::channel(REPORTS);
    let registration = tokio_stream::once(convert::registration(options, &running.borrow()));
    let messages = registration.chain(ReceiverStream::new(queued).map(convert::report));
    let mut commands = client.join(messages).await?.into_inner();
    let answer = commands.message().await?.and_then(|message| message.message);
    match answer {
        Some(v1::job_manager_message::Message::Registered(registered)) => {
            let interval = Duration::from_millis(registered.heartbeat_interval_ms.max(1));
            let jobmanager_started = Timestamp(registered.started_ms);
            Ok(Joined { reports, heartbeat_interval: interval, jobmanager_started, commands })
        }
        _ => Err(tonic::Status::failed_precondition(
            "the jobmanager did not answer the registration as this version does",
        )),
    }
}

/// Hands on what the jobmanager sends until the connection ends; returns why it did.
async fn relay(joined: Joined, events: &mpsc::Sender<LinkEvent>) -> Result<String, NobodyListens> {
    let Joined { reports, heartbeat_interval, jobmanager_started, mut commands } = joined;
    let joined = LinkEvent::Joined { reports, heartbeat_interval, jobmanager_started };
    events.send(joined).await.map_err(|_| NobodyListens)?;
    loop {
        let message = match commands.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok("it closed the connection".to_owned()),
            Err(status) => return Ok(PeerSaid::from(status).to_string()),
        };
        match convert::command(message) {
            Ok(Some(command)) => events.send(LinkEvent::Command(command)).await.map_err(|_| NobodyListens)?,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "passed over a message of the jobmanager"),
        }
    }
}

impl From<tonic::Status> for JoinError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            // Another version, or a registration that no jobmanager of this version takes.
            Code::FailedPrecondition | Code::InvalidArgument => JoinError::Refused(status.message().to_owned()),
            _ => JoinError::Unreachable(status.into()),
        }
    }
}
