//! What probes are told, by the standard protocol (`grpc.health.v1`) on the port of the exchange.

use proto::v1::data_exchange_server::SERVICE_NAME;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::server::HealthReporter;

/// The state that probes see: the process as a whole serves while it lives; its service, `gapwise.v1.DataExchange`, while it is
/// joined to a jobmanager, so that tasks can be deployed here.
#[derive(Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    is_ready: bool,
}

impl Health {
    /// Alive and not ready, and the service that says so.
    pub(crate) async fn new() -> (Self, HealthServer<impl HealthService>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter.set_service_status(SERVICE_NAME, ServingStatus::NotServing).await;
        (Health { reporter, is_ready: false }, service)
    }

    /// Whether tasks can be deployed here.
    pub(crate) async fn set_ready(&mut self, is_ready: bool) {
        if std::mem::replace(&mut self.is_ready, is_ready) == is_ready {
            return;
        }
        let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(SERVICE_NAME, status).await;
    }
}
