//! Limits of every gRPC connection, set explicitly at both ends: left alone, tonic sends messages of any size and takes
//! any number of streams.

use std::time::Duration;

/// The largest message of the control services, both ways. A deployment of 1,000 splits is well below 1 MiB.
pub const CONTROL_MESSAGE_BYTES: usize = 8 << 20;
/// The largest exchange frame: a full batch is a few hundred KiB ([`stream_core::collector::BATCH_BYTES`]), but one record's
/// key may be as large as a Kafka record.
pub const EXCHANGE_MESSAGE_BYTES: usize = 32 << 20;
/// Streams that one peer may have open at once: an exchange needs one for each pair of subtasks, at most 128 × 128 / peers.
pub const CONCURRENT_STREAMS: u32 = 4096;
/// Unread bytes of one stream; the exchange's own credit is below it, so that HTTP/2 never blocks a stream first.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Unread bytes of one connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// How often a silent connection is probed; a peer that vanished is noticed after this and [`KEEP_ALIVE_TIMEOUT`].
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a probe may stay unanswered.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The header list of one request.
pub const HEADER_LIST_BYTES: u32 = 16 << 10;

/// A client's endpoint with these limits.
pub fn endpoint(endpoint: tonic::transport::Endpoint) -> tonic::transport::Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
}

/// A server with these limits.
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
}
