//! Metrics for Prometheus to fetch: text at `/metrics`.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Listens for Prometheus, if anywhere.
///
/// # Errors
/// If that address cannot be had.
pub async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, ListenError> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|cause| ListenError { address, cause })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics are at /metrics");
    }
    Ok(Some(listener))
}

/// There is no listening for Prometheus.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}` for Prometheus: choose another --metrics-address")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    cause: std::io::Error,
}

/// Serves until `shutdown`.
///
/// # Errors
/// If the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    registry: Registry,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let metrics = move || {
        let text = text(&registry);
        async move { text }
    };
    let router = Router::new().route("/metrics", get(metrics));
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn text(registry: &Registry) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
