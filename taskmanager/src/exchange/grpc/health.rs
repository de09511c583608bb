//! What probes are told, by the standard protocol (`grpc.health.v1`) on the port of the exchange.

use proto::v1::data_exchange_server::DataExchangeServer;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::server::HealthReporter;

use super::downstream::Exchange;

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
        reporter.set_not_serving::<DataExchangeServer<Exchange>>().await;
        (Health { reporter, is_ready: false }, service)
    }

    /// Whether tasks can be deployed here.
    pub(crate) async fn set_ready(&mut self, is_ready: bool) {
        if std::mem::replace(&mut self.is_ready, is_ready) == is_ready {
            return;
        }
        match is_ready {
            true => self.reporter.set_serving::<DataExchangeServer<Exchange>>().await,
            false => self.reporter.set_not_serving::<DataExchangeServer<Exchange>>().await,
        }
    }
}
