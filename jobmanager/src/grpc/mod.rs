//! The edge: two gRPC services and the health service on one port. Only this folder speaks tonic and the wire's types.

mod client;
mod cluster;
mod convert;
mod reading_logs;
mod status;
mod watching;

use std::time::Duration;

use proto::limits::{self, CONTROL_MESSAGE_BYTES};
use proto::v1::cluster_server::ClusterServer;
use proto::v1::job_manager_server::JobManagerServer;
use stream_runtime::shutdown::SERVER_TIMEOUT;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpIncoming;

pub(crate) use reading_logs::LogReader;

use crate::handle::Handle;
use crate::submit::Submitter;

/// Serving failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve gRPC")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves until `stop`, then until open connections have ended or the stop timeout is over.
pub(crate) async fn serve(
    listener: TcpListener,
    watch_interval: Duration,
    handle: Handle,
    submitter: Submitter,
    logs: LogReader,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    // Connections' receivers and watch streams: each ends by itself once its client or the service has gone.
    let tasks = TaskTracker::new();
    let (health, health_service) = tonic_health::server::health_reporter();
    let client = client::Service::new(handle.clone(), submitter, watch_interval, logs, tasks.clone());
    let cluster = cluster::Service::new(handle, tasks.clone());
    let client = JobManagerServer::new(client)
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES);
    let cluster = ClusterServer::new(cluster)
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES);
    health.set_serving::<JobManagerServer<client::Service>>().await;
    health.set_serving::<ClusterServer<cluster::Service>>().await;

    let serving = limits::server()
        .add_service(health_service)
        .add_service(client)
        .add_service(cluster)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.clone().cancelled_owned(),
        );
    let served = tokio::select! {
        served = serving => served,
        () = give_up(stop) => Ok(()),
    };
    tasks.close();
    // What is left after this ends with the runtime.
    let _ = tokio::time::timeout(SERVER_TIMEOUT, tasks.wait()).await;
    Ok(served?)
}

async fn give_up(stop: CancellationToken) {
    stop.cancelled().await;
    // An idle client holds its connection open.
    tokio::time::sleep(SERVER_TIMEOUT).await;
}
