//! Is a process ready? Asked by the standard protocol (`grpc.health.v1`), for probes that can only run a program. Kubernetes' own
//! gRPC probes ask the same.

use std::time::Duration;

use proto::v1::{data_exchange_server, job_manager_server};
use serde_json::json;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Context;
use crate::client;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long a process that is well may take to say so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the jobmanager, or the taskmanager whose exchange listens there.
pub(super) async fn health(context: &Context, taskmanager: Option<&str>) -> Result<Exit, Failure> {
    let (what, option, address, service) = match taskmanager {
        Some(address) => ("taskmanager", "--taskmanager", address, data_exchange_server::SERVICE_NAME),
        None => ("jobmanager", "--jobmanager", context.jobmanager.as_str(), job_manager_server::SERVICE_NAME),
    };
    let silent = || Failure::new(Exit::NoJobManager, format!("no {what} answers at {address}: look at its log"));
    let channel = client::endpoint(option, address)?.connect().await.map_err(|_| silent())?;
    let mut request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
    request.set_timeout(ANSWER_TIMEOUT);
    let answer = HealthClient::new(channel).check(request).await.map_err(|_| silent())?;
    if answer.into_inner().status() != ServingStatus::Serving {
        let message = format!("the {what} at {address} is not ready: it has no jobmanager, or is stopping");
        return Err(Failure::new(Exit::Failed, message));
    }
    context
        .show(&json!({ "address": address, "is_ready": true }), |_| format!("the {what} at {address} is ready\n"))?;
    Ok(Exit::Done)
}
