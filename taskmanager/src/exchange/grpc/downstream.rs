//! The answering side: takes streams in and fills the gates they are meant for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use proto::v1::data_exchange_server::{DataExchange, DataExchangeServer};
use proto::{limits, required, v1};
use stream_core::ids::AttemptNumber;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::exchange::directory::{ChannelKey, Directory, Inlet};
use crate::exchange::error::{ExchangeError, FrameError};
use crate::exchange::gate::{Credit, Gate, Rejected};
use crate::exchange::grpc::{PeerSaid, frame};
use crate::exchange::message::Message;

/// How long a caller may take to say what its stream is for.
const OPEN_WAIT: Duration = Duration::from_secs(5);

/// Serves the exchange until `stop` is canceled and the streams have ended.
///
/// # Errors
/// If the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    directory: Arc<Directory>,
    health: HealthServer<impl Health>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let readers = TaskTracker::new();
    let exchange = Exchange { directory, readers: readers.clone(), stop: stop.clone() };
    let service = DataExchangeServer::new(exchange)
        .max_decoding_message_size(limits::EXCHANGE_MESSAGE_BYTES)
        .max_encoding_message_size(limits::EXCHANGE_MESSAGE_BYTES);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = limits::server()
        .add_service(health)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stop.cancelled())
        .await;
    readers.close();
    readers.wait().await;
    served
}

/// The service.
struct Exchange {
    directory: Arc<Directory>,
    readers: TaskTracker,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl DataExchange for Exchange {
    type OpenStream = Credits;

    async fn open(&self, request: Request<Streaming<v1::Frame>>) -> Result<Response<Credits>, Status> {
        let mut frames = request.into_inner();
        let key = tokio::time::timeout(OPEN_WAIT, read_open(&mut frames))
            .await
            .map_err(|_| Status::deadline_exceeded("the stream was not opened in time"))??;
        let inlet = self.directory.find(key).await.map_err(|error| Status::failed_precondition(error.to_string()))?;
        inlet.gate.attach_remote(inlet.channel).map_err(|error| Status::already_exists(error.to_string()))?;
        tracing::debug!(from = %inlet.upstream, to = ?key.to, "exchange stream accepted");
        let credits = Credits { gate: Arc::clone(&inlet.gate), channel: inlet.channel, is_over: false };
        let stop = self.stop.clone();
        // If it fails, the gate learns it; if it is canceled, so is everything else.
        self.readers.spawn(async move {
            let attempt_stop = inlet.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = attempt_stop.cancelled() => {}
                () = fill(inlet, frames) => {}
            }
        });
        Ok(Response::new(credits))
    }
}

async fn read_open(frames: &mut Streaming<v1::Frame>) -> Result<ChannelKey, Status> {
    let first = frames.message().await?.and_then(|frame| frame.frame);
    let Some(v1::frame::Frame::Open(open)) = first else {
        return Err(Status::invalid_argument("the first frame must be `open`"));
    };
    if open.version != proto::VERSION {
        return Err(Status::failed_precondition(format!(
            "version `{}` cannot exchange data with version `{}`: run one version in the whole cluster",
            open.version,
            proto::VERSION
        )));
    }
    Ok(ChannelKey {
        job_id: open.job_id.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?,
        attempt: AttemptNumber(open.attempt),
        from: required(open.from, "open.from")?.into(),
        to: required(open.to, "open.to")?.into(),
    })
}

/// Puts what arrives into the gate. Never waits for room: what was granted fits.
async fn fill(inlet: Inlet, mut frames: Streaming<v1::Frame>) {
    let peer = || inlet.upstream.clone();
    let mut has_ended = false;
    loop {
        let frame = match frames.message().await {
            Ok(Some(frame)) => frame,
            Ok(None) if has_ended => return,
            Ok(None) => return inlet.gate.fail(ExchangeError::LostUpstream { peer: peer(), cause: None }),
            // After the end the connection may go as it likes.
            Err(_) if has_ended => return,
            Err(status) => {
                let cause = Some(PeerSaid::from(status).into());
                return inlet.gate.fail(ExchangeError::LostUpstream { peer: peer(), cause });
            }
        };
        if let Err(cause) = accept(frame, &inlet, &mut has_ended) {
            return inlet.gate.fail(ExchangeError::Damaged { peer: peer(), cause });
        }
    }
}

fn accept(frame: v1::Frame, inlet: &Inlet, has_ended: &mut bool) -> Result<(), FrameError> {
    let message = frame::decode(frame, &inlet.payload)?;
    if std::mem::replace(has_ended, *has_ended || message == Message::End) {
        return Err(FrameError::AfterEnd);
    }
    match inlet.gate.try_push(inlet.channel, message) {
        // A closed gate ends this stream by its attempt's token.
        Ok(()) | Err(Rejected::Closed) => Ok(()),
        Err(Rejected::Full(_)) => Err(FrameError::BeyondCredit),
    }
}

/// What the upstream subtask is granted, as the gate's subtask takes data in.
struct Credits {
    gate: Arc<Gate>,
    channel: usize,
    is_over: bool,
}

impl Stream for Credits {
    type Item = Result<v1::Credit, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.gate.poll_credit(self.channel, context).map(|credit| match credit {
            Credit::Grant(bytes) => Some(Ok(v1::Credit { bytes: bytes as u64 })),
            Credit::Ended => None,
            Credit::Closed => {
                self.is_over = true;
                Some(Err(Status::cancelled("its attempt was canceled")))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stream_core::watermark::{Progress, Watermark};

    use super::*;
    use crate::exchange::directory::Payload;
    use crate::exchange::error::Peer;
    use crate::exchange::message::CONTROL_BYTES;

    fn inlet() -> Inlet {
        Inlet {
            gate: Arc::new(Gate::new(1, 3 * CONTROL_BYTES)),
            channel: 0,
            payload: Payload { has_events: true, schemas: Arc::default() },
            upstream: Peer { subtask: "source[0]".to_owned(), taskmanager: "tm".to_owned() },
            stop: CancellationToken::new(),
        }
    }

    fn watermark(ms: i64) -> v1::Frame {
        frame::encode(&Message::Progress(Progress::Active(Watermark(ms))))
    }

    #[test]
    fn more_than_was_granted_is_refused() {
        let inlet = inlet();
        for ms in 0..3 {
            accept(watermark(ms), &inlet, &mut false).unwrap();
        }
        assert!(matches!(accept(watermark(3), &inlet, &mut false), Err(FrameError::BeyondCredit)));
    }

    #[test]
    fn nothing_may_follow_the_end() {
        let (inlet, mut has_ended) = (inlet(), false);
        accept(frame::encode(&Message::End), &inlet, &mut has_ended).unwrap();
        assert!(matches!(accept(watermark(1), &inlet, &mut has_ended), Err(FrameError::AfterEnd)));
    }
}
