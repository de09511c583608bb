//! A cluster for tests: real taskmanagers over real connections, a jobmanager that does what the test says, sources and
//! sinks in memory, and two toy jobs.
#![allow(clippy::unwrap_used, dead_code, reason = "each test program uses its part")]

pub(crate) mod jobmanager;
pub(crate) mod memory;
pub(crate) mod toy_jobs;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::{Exchange, Pipeline, SinkSpec, SourceSpec, Stage, StageKind, StartPosition};
use stream_core::row::{Column, ColumnType};
use stream_runtime::clock::SystemClock;
use taskmanager::{Error, Options};
use telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::jobmanager::JobManager;
use self::memory::Memory;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A jobmanager and its taskmanagers.
pub(crate) struct Cluster {
    pub(crate) jobmanager: JobManager,
    pub(crate) taskmanagers: Vec<TaskManager>,
}

/// A taskmanager in this process.
pub(crate) struct TaskManager {
    pub(crate) id: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinSet<Result<(), Error>>,
}

impl Cluster {
    /// `count` taskmanagers of four slots each, registered, that share sources and sinks.
    pub(crate) async fn start(count: usize, memory: &Memory, channel_bytes: usize) -> Cluster {
        let mut jobmanager = JobManager::start("127.0.0.1:0", None).await;
        let mut taskmanagers = Vec::new();
        for index in 0..count {
            taskmanagers
                .push(TaskManager::start(&format!("tm-{index}"), &jobmanager.address, memory, channel_bytes).await);
            jobmanager.wait_for_registrations(index + 1).await;
        }
        Cluster { jobmanager, taskmanagers }
    }

    /// Ends everything in good order.
    pub(crate) async fn stop(self) {
        for taskmanager in self.taskmanagers {
            taskmanager.stop().await.unwrap();
        }
    }
}

impl TaskManager {
    pub(crate) async fn start(id: &str, jobmanager: &str, memory: &Memory, channel_bytes: usize) -> TaskManager {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = Options::new(jobmanager, 4, listener.local_addr().unwrap().to_string());
        options.channel_bytes = channel_bytes;
        // This jobmanager releases nobody by itself.
        options.leave_timeout = Duration::ZERO;
        Self::start_with(options, id, memory, listener)
    }

    pub(crate) fn start_with(mut options: Options, id: &str, memory: &Memory, listener: TcpListener) -> TaskManager {
        options.id = stream_core::ids::TaskManagerId(id.to_owned());
        let shutdown = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(taskmanager::start(
            options,
            taskmanager::Parts {
                jobs: toy_jobs::registry(&memory.operator_gate),
                connectors: Arc::new(memory.clone()),
                stores: Arc::new(memory.clone()),
                clock: Arc::new(SystemClock::new()),
                telemetry: Telemetry::off(),
            },
            listener,
            shutdown.clone(),
        ));
        TaskManager { id: id.to_owned(), shutdown, serving }
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.shutdown.cancel();
        self.wait().await
    }

    /// Whether it is over.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.serving.try_join_next().is_some()
    }

    pub(crate) async fn wait(mut self) -> Result<(), Error> {
        tokio::time::timeout(DEADLINE, self.serving.join_next()).await.unwrap().unwrap().unwrap()
    }
}

/// source → `job` (hash) → sink (gather), with text columns.
pub(crate) fn pipeline(job: &str, parallelism: u32, is_bounded: bool) -> Pipeline {
    let stage = |name: &str, kind, input| Stage { name: name.to_owned(), kind, input };
    Pipeline {
        job: job.to_owned(),
        options: String::new(),
        parallelism: NonZeroU32::new(parallelism).unwrap(),
        max_parallelism: MaxParallelism::DEFAULT,
        source: SourceSpec {
            uri: "memory:".to_owned(),
            from: StartPosition::Earliest,
            is_bounded,
            watermark_delay: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            close_when_idle: Duration::ZERO,
            max_future: Duration::ZERO,
            max_drift: Duration::ZERO,
            properties: [].into(),
            secrets: [].into(),
        },
        sink: SinkSpec {
            uri: "memory:".to_owned(),
            table: String::new(),
            side_tables: Vec::new(),
            columns: vec![
                Column { name: "key".to_owned(), column_type: ColumnType::Text },
                Column { name: "count".to_owned(), column_type: ColumnType::BigInt },
            ],
            properties: [].into(),
            secrets: [].into(),
        },
        lookup: None,
        stages: vec![
            stage("source", StageKind::Source, None),
            stage("count", StageKind::Operator, Some(Exchange::Hash)),
            stage("sink", StageKind::Sink, Some(Exchange::Gather)),
        ],
        checkpoints: stream_core::pipeline::CheckpointSpec::default(),
    }
}
