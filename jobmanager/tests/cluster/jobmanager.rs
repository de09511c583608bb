//! A jobmanager on a free port, its client, and the pipelines that tests submit.

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jobmanager::{Error, Options};
use proto::v1;
use proto::v1::job_manager_client::JobManagerClient;
use stream_core::job::{ExponentialDelay, RestartStrategy};
use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::{Exchange, Pipeline, SinkSpec, SourceSpec, Stage, StageKind, StartPosition};
use stream_core::secret::Secret;
use stream_runtime::clock::SystemClock;
use telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::connectors::FakeConnectors;
use crate::stores::{FakeStores, STORE};

/// Longer than anything takes on the slowest machine; nothing waits for it unless it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// A secret that must turn up nowhere.
pub(crate) const PASSWORD: &str = "hunter2";

pub(crate) struct Jobmanager {
    pub(crate) address: SocketAddr,
    pub(crate) client: JobManagerClient<Channel>,
    pub(crate) shutdown: CancellationToken,
    running: JoinSet<Result<(), Error>>,
}

/// Patient, as a loaded machine needs it.
pub(crate) fn options() -> Options {
    Options { heartbeat_timeout: DEADLINE, discovery_interval: Duration::ZERO, ..Options::default() }
}

/// The same, with a store; failed jobs are restarted almost at once, and nobody is waited for at the end.
pub(crate) fn stored() -> Options {
    let delay = ExponentialDelay { initial: Duration::from_millis(10), ..ExponentialDelay::default() };
    Options {
        checkpoint_store: Some(STORE.to_owned()),
        restart: RestartStrategy::ExponentialDelay(delay),
        drain_timeout: Duration::from_millis(100),
        ..options()
    }
}

impl Jobmanager {
    pub(crate) async fn start(options: Options, connectors: Arc<FakeConnectors>) -> Self {
        Self::start_with(options, connectors, Arc::default()).await
    }

    pub(crate) async fn start_with(options: Options, connectors: Arc<FakeConnectors>, stores: Arc<FakeStores>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let clock = Arc::new(SystemClock::new());
        running.spawn(jobmanager::start(
            options,
            connectors,
            stores,
            clock,
            Telemetry::off(),
            listener,
            shutdown.clone(),
        ));
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let client = JobManagerClient::new(proto::limits::endpoint(endpoint).connect_lazy());
        Jobmanager { address, client, shutdown, running }
    }

    /// Submits under the name of the job type.
    pub(crate) async fn submit(&mut self, pipeline: &Pipeline) -> Result<String, Status> {
        self.submit_as("", pipeline).await
    }

    pub(crate) async fn submit_as(&mut self, name: &str, pipeline: &Pipeline) -> Result<String, Status> {
        let request =
            v1::SubmitJobRequest { name: name.to_owned(), pipeline: Some(pipeline.into()), ..Default::default() };
        Ok(self.client.submit_job(request).await?.into_inner().job_id)
    }

    pub(crate) async fn describe(&mut self, job: &str) -> Result<v1::JobDetails, Status> {
        Ok(self.client.describe_job(v1::DescribeJobRequest { job: job.to_owned() }).await?.into_inner())
    }

    pub(crate) async fn cancel(&mut self, job: &str) -> Result<(), Status> {
        self.client.cancel_job(v1::CancelJobRequest { job: job.to_owned() }).await.map(drop)
    }

    pub(crate) async fn summary(&mut self, job: &str) -> v1::JobSummary {
        self.describe(job).await.unwrap().summary.unwrap()
    }

    /// Waits until the job is in this state.
    pub(crate) async fn wait_for(&mut self, job: &str, state: v1::JobState) -> v1::JobDetails {
        let mut client = self.client.clone();
        let request = v1::WatchJobRequest { job: job.to_owned(), interval_ms: 10 };
        within(async {
            let mut details = client.watch_job(request).await.unwrap().into_inner();
            loop {
                let now = details.message().await.unwrap().expect("the job ended otherwise");
                if now.summary.as_ref().unwrap().state() == state {
                    return now;
                }
            }
        })
        .await
    }

    pub(crate) async fn taskmanagers(&mut self) -> Vec<v1::TaskManagerDetails> {
        self.client.list_task_managers(v1::ListTaskManagersRequest {}).await.unwrap().into_inner().taskmanagers
    }

    pub(crate) async fn cluster(&mut self) -> v1::ClusterInfo {
        self.client.get_cluster_info(v1::GetClusterInfoRequest {}).await.unwrap().into_inner()
    }

    /// Waits until `holds` does of the cluster's figures.
    pub(crate) async fn wait_for_cluster(&mut self, holds: impl Fn(&v1::ClusterInfo) -> bool) {
        within(async {
            while !holds(&self.cluster().await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until it has stopped by itself or after `shutdown`.
    pub(crate) async fn stopped(mut self) -> Result<(), Error> {
        within(self.running.join_next()).await.unwrap().unwrap()
    }
}

/// The outcome, or a failed test.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing happened until the deadline")
}

/// The code and message of what must have been refused.
pub(crate) fn refusal<T>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.map(drop).expect_err("must be refused");
    (status.code(), status.message().to_owned())
}

/// source → window (hashed) → sink (gathered), without end, with secrets.
pub(crate) fn pipeline(parallelism: u32) -> Pipeline {
    let stage = |name: &str, kind, input| Stage { name: name.to_owned(), kind, input };
    Pipeline {
        job: "toy".to_owned(),
        options: r#"{"gap_ms":300000}"#.to_owned(),
        parallelism: NonZeroU32::new(parallelism).unwrap(),
        max_parallelism: MaxParallelism::DEFAULT,
        source: SourceSpec {
            uri: "kafka://127.0.0.1:9092/events".to_owned(),
            from: StartPosition::Latest,
            is_bounded: false,
            watermark_delay: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            close_when_idle: Duration::ZERO,
            max_future: Duration::ZERO,
            max_drift: Duration::ZERO,
            properties: [].into(),
            secrets: [("sasl.password".to_owned(), Secret::new(PASSWORD))].into(),
        },
        sink: SinkSpec {
            uri: "postgres://127.0.0.1:5432/postgres".to_owned(),
            table: "sessions".to_owned(),
            side_tables: Vec::new(),
            columns: Vec::new(),
            properties: [].into(),
            secrets: [("password".to_owned(), Secret::new(PASSWORD))].into(),
        },
        lookup: None,
        stages: vec![
            stage("source", StageKind::Source, None),
            stage("window", StageKind::Operator, Some(Exchange::Hash)),
            stage("sink", StageKind::Sink, Some(Exchange::Gather)),
        ],
        checkpoints: stream_core::pipeline::CheckpointSpec::default(),
    }
}
