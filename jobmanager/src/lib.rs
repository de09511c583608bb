//! The control plane: knows the taskmanagers and their slots, plans jobs over them, deploys, watches and cancels.
//!
//! [`start`] runs a jobmanager until it is told to stop; `process` does so with the real connectors, `jobctl run` inside
//! its own. What a job may do next is decided in [`stream_core::job`], who gets which slot in [`stream_core::slot`], what
//! runs where in [`stream_core::plan`]; this crate is the thin layer that waits and talks:
//!
//! ```text
//!  clients ──> grpc::client ──> submit ──┐                                ┌──> stream_core::{slot, plan, job}
//!                                        ├──> handle ══> service (1 loop) ┤
//!  taskmanagers <──> grpc::cluster ──────┘                                └──> effects ──> taskmanagers
//! ```
//!
//! Sinks, sources and stores are asked beside the loop (`beside`): `preparation` takes over the sink and chooses the checkpoint
//! of an attempt, `coordination` carries out what a running attempt's checkpoint coordinator decides, `savepoints` serves
//! users' wishes, `queries` their questions about state, `last_checkpoints` processes that are told to stop. With a checkpoint store, `job_store` keeps the jobs and `adoption` finds them again.
//!
//! It knows no job type: a client sends a pipeline as data, and a taskmanager refuses a job that it does not have. Without
//! a checkpoint store it stores nothing: jobs end with their jobmanager.
//!
//! Unit tests stand beside the code; `tests/` speaks real gRPC to a whole jobmanager, with taskmanagers, sources and sinks
//! played by the test.

mod adoption;
mod attempts;
mod beside;
mod checkpoint_store;
mod coordination;
mod discovery;
mod effects;
mod grpc;
mod handle;
mod job_ids;
mod job_store;
mod jobs;
mod last_checkpoints;
pub mod metrics;
mod observing;
mod options;
mod pacing;
mod preparation;
#[cfg(feature = "connectors")]
pub mod process;
mod protocol;
mod queries;
mod records;
mod redaction;
mod reports;
mod savepoints;
mod service;
mod submit;
mod sweeping;
mod taskmanagers;
#[cfg(test)]
mod testing;
mod views;

use std::sync::Arc;

pub use grpc::ServeError;
pub use job_store::Superseded;
pub use options::{Options, OptionsError};
use stream_runtime::clock::Clock;
use stream_runtime::connector::Connectors;
use stream_runtime::store::{StoreError, Stores};
use telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use grpc::LogReader;
use job_ids::RandomJobIds;
use job_store::JobStore;
use service::{Parts, Service};
use submit::Submitter;

/// A jobmanager could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// There is nothing to make job ids from.
    #[error("cannot open the system's generator of random numbers")]
    JobIds(#[source] std::io::Error),
    /// The checkpoint store cannot be used.
    #[error("cannot open the checkpoint store")]
    Store(#[source] StoreError),
    /// Another jobmanager uses the same store.
    #[error(transparent)]
    Superseded(#[from] Superseded),
    /// The port could not be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Runs a jobmanager on `listener` until `shutdown`, and returns with every connection closed. With a checkpoint store it begins
/// with the jobs that it finds there, and leaves its jobs running, behind a last checkpoint; without one it cancels them. It waits
/// for either up to [`Options::drain_timeout`].
///
/// # Errors
/// If it cannot begin or cannot serve, or another jobmanager takes the checkpoint store over.
pub async fn start(
    options: Options,
    connectors: Arc<dyn Connectors>,
    stores: Arc<dyn Stores>,
    clock: Arc<dyn Clock>,
    telemetry: Telemetry,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    options.check()?;
    let job_ids = Box::new(RandomJobIds::new().map_err(Error::JobIds)?);
    let store = options.checkpoint_store.as_deref().map(|uri| stores.open(uri)).transpose().map_err(Error::Store)?;
    let (job_store, jobs) = match &store {
        Some(store) => {
            store.check().await.map_err(Error::Store)?;
            let (job_store, jobs) = JobStore::take_over(Arc::clone(store)).await.map_err(Error::Store)?;
            (Some(job_store), jobs)
        }
        None => (None, Vec::new()),
    };
    let parts = Parts {
        job_store,
        connectors: Arc::clone(&connectors),
        stores: Arc::clone(&stores),
        store: store.clone(),
        clock: Arc::clone(&clock),
        job_ids,
        telemetry,
    };
    let connector_timeout = options.connector_timeout;
    let watch_interval = options.watch_interval;
    let logs = LogReader::new(Arc::clone(&options.logs), options.heartbeat_interval);
    let (service, handle) = Service::new(options, parts);
    let submitter = Submitter::new(handle.clone(), connectors, stores, store, clock, connector_timeout);
    tracing::info!(address = listener.local_addr().ok().map(tracing::field::display), "jobmanager is up");

    // The server outlives the service: while jobs are canceled, taskmanagers and watchers stay connected.
    let stop_serving = CancellationToken::new();
    let stop_service = shutdown.child_token();
    let serving = async {
        let served = grpc::serve(listener, watch_interval, handle, submitter, logs, stop_serving.clone()).await;
        stop_service.cancel();
        served
    };
    let working = async {
        let outcome = service.run(jobs, stop_service.clone()).await;
        stop_serving.cancel();
        outcome
    };
    let (served, worked) = tokio::join!(serving, working);
    worked?;
    Ok(served?)
}
