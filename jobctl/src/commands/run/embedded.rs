//! A jobmanager and a taskmanager in this process.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use connectors::{RealConnectors, RealStores};
use stream_runtime::clock::{Clock, SystemClock};
use stream_runtime::connector::Connectors;
use stream_runtime::store::Stores;
use telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;

/// How often counters reach the progress bar.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
/// How long the taskmanager may take to register.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often that is looked at.
const START_POLL: Duration = Duration::from_millis(1);
/// How long both may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The cluster.
pub(super) struct Embedded {
    address: String,
    slots: NonZeroU32,
    shutdown: CancellationToken,
    /// The two services; one that ends before `shutdown` has failed.
    services: JoinSet<Result<(), Failure>>,
}

impl Embedded {
    /// Starts the cluster on ports that the system chooses.
    pub(super) async fn start(slots: NonZeroU32, clock: SystemClock) -> Result<Self, Failure> {
        let connectors: Arc<dyn Connectors> = Arc::new(RealConnectors::new(Handle::current()));
        let stores: Arc<dyn Stores> = Arc::new(RealStores::from_env());
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let shutdown = CancellationToken::new();
        let rpc = listen().await?;
        let exchange = listen().await?;
        let address = rpc.local_addr().map_err(no_port)?.to_string();
        let exchange_address = exchange.local_addr().map_err(no_port)?.to_string();

        let jobmanager = jobmanager::start(
            jobmanager::Options { heartbeat_interval: HEARTBEAT_INTERVAL, ..jobmanager::Options::default() },
            Arc::clone(&connectors),
            Arc::clone(&stores),
            Arc::clone(&clock),
            Telemetry::off(),
            rpc,
            shutdown.clone(),
        );
        let taskmanager = taskmanager::start(
            taskmanager::Options::new(&address, slots.get(), exchange_address),
            taskmanager::Parts { jobs: jobs::registry(), connectors, stores, clock, telemetry: Telemetry::off() },
            exchange,
            shutdown.clone(),
        );
        let mut services = JoinSet::new();
        services.spawn(async { jobmanager.await.map_err(|error| Failure::failed("the jobmanager failed", &error)) });
        services.spawn(async { taskmanager.await.map_err(|error| Failure::failed("the taskmanager failed", &error)) });
        Ok(Embedded { address, slots, shutdown, services })
    }

    /// A client, once every slot is there.
    pub(super) async fn client(&mut self) -> Result<Client, Failure> {
        let address = self.address.clone();
        let slots = self.slots.get();
        let ready = async move {
            let mut client = Client::connect(&address).await?;
            while client.cluster().await?.slots < slots {
                tokio::time::sleep(START_POLL).await;
            }
            Ok(client)
        };
        tokio::select! {
            biased;
            failure = self.failed() => Err(failure),
            client = tokio::time::timeout(START_TIMEOUT, ready) => client.unwrap_or_else(|_| {
                Err(Failure::new(Exit::Failed, "the taskmanager in this process did not register: run with GAPWISE_LOG=info"))
            }),
        }
    }

    /// Waits until a service fails, which none should.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(super) async fn failed(&mut self) -> Failure {
        match self.services.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Err(panic)) => Failure::failed("a service of this process panicked", &panic),
            Some(Ok(Ok(()))) | None => Failure::new(Exit::Failed, "a service of this process ended before the job"),
        }
    }

    /// Stops both; what does not stop in time ends with the process.
    pub(super) async fn stop(mut self) {
        self.shutdown.cancel();
        let all = async { while self.services.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_TIMEOUT, all).await;
    }
}

async fn listen() -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)
}

fn no_port(error: std::io::Error) -> Failure {
    Failure::failed("cannot open a port on the loopback interface", &error)
}
