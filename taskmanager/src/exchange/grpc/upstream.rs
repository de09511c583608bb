//! The calling side: opens a stream for each remote channel and carries its messages.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use proto::v1::data_exchange_client::DataExchangeClient;
use proto::{limits, v1};
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};

use crate::exchange::directory::ChannelKey;
use crate::exchange::error::{ExchangeError, Peer};
use crate::exchange::grpc::{PeerSaid, frame};
use crate::exchange::remote::RemoteChannel;

/// The connections to other taskmanagers: one each, however many streams it carries.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    connections: Mutex<BTreeMap<String, Channel>>,
}

/// A remote channel and where it leads.
#[derive(Debug)]
pub(crate) struct Link {
    /// The sending end.
    pub(crate) channel: Arc<RemoteChannel>,
    /// Its name on the wire.
    pub(crate) key: ChannelKey,
    /// The upstream subtask's name, for logs.
    pub(crate) from: String,
    /// The downstream subtask.
    pub(crate) to: Peer,
    /// Its taskmanager's exchange.
    pub(crate) address: String,
}

impl Peers {
    /// The connection to an exchange; made when it is first used, and made again when it broke.
    ///
    /// # Errors
    /// If the address is none.
    fn connection(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut connections = self.connections.lock().expect("no code panics while it holds the connections");
        if let Some(connection) = connections.get(address) {
            return Ok(connection.clone());
        }
        let endpoint = limits::endpoint(Endpoint::from_shared(format!("http://{address}"))?);
        Ok(connections.entry(address.to_owned()).or_insert(endpoint.connect_lazy()).clone())
    }
}

/// Carries a channel's messages until its end is confirmed, or the stream breaks, which fails the channel.
///
/// # Cancel safety
/// Dropping it breaks the stream; the other side takes this subtask for lost.
pub(crate) async fn carry(link: Link, peers: &Peers) {
    if let Err(cause) = try_carry(&link, peers).await {
        link.channel.fail(ExchangeError::LostDownstream { peer: link.to, cause: Some(cause) });
    }
}

async fn try_carry(link: &Link, peers: &Peers) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut client = DataExchangeClient::new(peers.connection(&link.address)?)
        .max_encoding_message_size(limits::EXCHANGE_MESSAGE_BYTES)
        .max_decoding_message_size(limits::EXCHANGE_MESSAGE_BYTES);
    let frames = Frames { open: Some(open_frame(link.key)), channel: Arc::clone(&link.channel) };
    let mut credits = client.open(frames).await.map_err(PeerSaid::from)?.into_inner();
    tracing::info!(
        job_id = %link.key.job_id,
        attempt = %link.key.attempt,
        from = %link.from,
        to = %link.to.subtask,
        peer = %link.to.taskmanager,
        address = %link.address,
        "exchange stream opened"
    );
    while let Some(credit) = credits.message().await.map_err(PeerSaid::from)? {
        link.channel.grant(credit.bytes);
    }
    Ok(link.channel.confirm()?)
}

fn open_frame(key: ChannelKey) -> v1::Frame {
    let open = v1::OpenChannel {
        version: proto::VERSION.to_owned(),
        job_id: key.job_id.to_string(),
        attempt: key.attempt.0,
        from: Some(key.from.into()),
        to: Some(key.to.into()),
    };
    v1::Frame { frame: Some(v1::frame::Frame::Open(open)) }
}

/// The frames of a channel. tonic pulls them as the connection takes them; nothing is queued in between.
#[derive(Debug)]
struct Frames {
    open: Option<v1::Frame>,
    channel: Arc<RemoteChannel>,
}

impl Stream for Frames {
    type Item = v1::Frame;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<v1::Frame>> {
        if let Some(open) = self.open.take() {
            return Poll::Ready(Some(open));
        }
        self.channel.poll_next(context).map(|message| message.as_ref().map(frame::encode))
    }
}
