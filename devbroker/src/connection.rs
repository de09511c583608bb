//! One client's connection: frames in, frames out, one request after another, as Kafka orders them.
//!
//! What a client sends is not to be trusted: a frame's length is checked before memory is reserved, memory grows with
//! what has arrived, and whatever cannot be understood closes the connection with one line in the log.
//! Tested in `tests/hostile.rs`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::dispatch;
use crate::node::Node;

/// Longest frame accepted, in bytes: Kafka's default `socket.request.max.bytes`.
const MAX_FRAME_BYTES: usize = 100 << 20;
/// Memory reserved for a frame before its bytes arrive: a usual Produce request fits.
const FIRST_RESERVE_BYTES: usize = 1 << 20;

#[derive(Debug, Error)]
enum Error {
    #[error(
        "a frame of `{length}` bytes is not possible, at most `{MAX_FRAME_BYTES}` is; is this a Kafka client, without TLS?"
    )]
    Length { length: i32 },
    #[error("the connection ended within a frame, after `{read}` of `{length}` bytes")]
    Truncated { read: usize, length: usize },
    #[error(transparent)]
    Request(#[from] dispatch::Error),
    #[error("the connection broke")]
    Io(#[from] io::Error),
}

/// Serves a client until it leaves, misbehaves or `stopping` is called.
pub(crate) async fn serve(mut stream: TcpStream, peer: SocketAddr, node: Arc<Node>, stopping: CancellationToken) {
    match exchange(&mut stream, &node, &stopping).await {
        Ok(()) => debug!(%peer, "disconnected"),
        Err(Error::Io(e)) => debug!(%peer, error = %e, "disconnected"),
        Err(e) => {
            let cause = std::error::Error::source(&e).map(ToString::to_string);
            warn!(%peer, error = %e, cause, "connection closed");
        }
    }
}

async fn exchange(stream: &mut TcpStream, node: &Arc<Node>, stopping: &CancellationToken) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    loop {
        let frame = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ok(()),
            frame = read_frame(stream) => frame?,
        };
        let Some(frame) = frame else { return Ok(()) };
        let request = dispatch::decode(frame)?;
        // Once begun, a request is answered even if the broker is stopping; a waiting fetch is cut short.
        if let Some(response) = dispatch::answer(node, request, stopping).await? {
            stream.write_all(&response).await?;
        }
    }
}

/// The next frame without its length; `None` if the client has left.
async fn read_frame(stream: &mut TcpStream) -> Result<Option<Bytes>, Error> {
    let mut prefix = BytesMut::with_capacity(4);
    while prefix.len() < 4 {
        let missing = 4 - prefix.len() as u64;
        if (&mut *stream).take(missing).read_buf(&mut prefix).await? == 0 {
            return if prefix.is_empty() { Ok(None) } else { Err(Error::Truncated { read: prefix.len(), length: 4 }) };
        }
    }
    let length = i32::from_be_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
    let bytes = usize::try_from(length).ok().filter(|b| *b <= MAX_FRAME_BYTES).ok_or(Error::Length { length })?;
    let mut frame = BytesMut::with_capacity(bytes.min(FIRST_RESERVE_BYTES));
    while frame.len() < bytes {
        let missing = bytes - frame.len();
        if frame.len() == frame.capacity() {
            frame.reserve(missing.min(frame.len().max(FIRST_RESERVE_BYTES)));
        }
        if (&mut *stream).take(missing as u64).read_buf(&mut frame).await? == 0 {
            return Err(Error::Truncated { read: frame.len(), length: bytes });
        }
    }
    Ok(Some(frame.freeze()))
}
