//! The jobmanager as a process: settings from flags and environment, the real connectors, one port, an exit code.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use connectors::{RealConnectors, RealStores};
use stream_runtime::clock::SystemClock;
use stream_runtime::memory::HugePages;
use stream_runtime::recent_logs::RecentLogs;
use stream_runtime::{duration, fail_point, hostname, logging, shutdown};
use telemetry::{Exporters, Telemetry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Options;

/// The control plane needs little: one thread works while another waits for a name server.
const WORKER_THREADS: usize = 2;

/// What the process tells whoever started it; clap ends it with 2 on a wrong command line.
#[derive(Clone, Copy, Debug)]
enum Exit {
    /// It was told to stop and did.
    Stopped = 0,
    /// It could not begin, or could not go on.
    Failed = 1,
}

/// The control plane of a Gapwise cluster: taskmanagers register with it, jobctl submits jobs to it.
#[derive(Debug, Parser)]
#[command(name = "jobmanager", version = stream_runtime::VERSION, after_help = "Logs: GAPWISE_LOG=debug, GAPWISE_LOG_FORMAT=json.")]
struct Args {
    /// Where clients and taskmanagers reach it. There is no authentication: keep it inside a trusted network.
    #[arg(long, env = "GAPWISE_JOBMANAGER_RPC_ADDRESS", value_name = "HOST:PORT", default_value = "127.0.0.1:6123")]
    rpc_address: String,

    /// How often taskmanagers send a heartbeat.
    #[arg(long, env = "GAPWISE_HEARTBEAT_INTERVAL", value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    heartbeat_interval: Duration,

    /// After how long without a heartbeat a taskmanager is lost.
    #[arg(long, env = "GAPWISE_HEARTBEAT_TIMEOUT", value_name = "DURATION", default_value = "3s", value_parser = duration::parse)]
    heartbeat_timeout: Duration,

    /// How often to look for new partitions of a topic; 0 for never.
    #[arg(long, env = "GAPWISE_DISCOVERY_INTERVAL", value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    discovery_interval: Duration,

    /// Where checkpoints and jobs are stored: a folder or `s3://BUCKET/PREFIX`, which every taskmanager reaches too. Without it
    /// a job that fails is not restarted.
    #[arg(long, env = "GAPWISE_CHECKPOINT_DIR", value_name = "URI")]
    checkpoint_dir: Option<String>,

    /// How long a checkpoint is kept once a newer one is published: so far a restored backup of the sink may lie behind.
    #[arg(long, env = "GAPWISE_CHECKPOINT_RETENTION", value_name = "DURATION", default_value = "10m", value_parser = duration::parse)]
    checkpoint_retention: Duration,

    /// How many bytes of rows may wait to be published before the sources of a job pause, as while the sink is away
    /// [default: 1 GiB, which is in the checkpoint folder; without one 256 MiB, in memory].
    #[arg(long, env = "GAPWISE_UNPUBLISHED_BUDGET", value_name = "BYTES")]
    unpublished_budget: Option<u64>,

    /// Where Prometheus finds metrics, at /metrics [default: nowhere]. OpenTelemetry is set up by OTEL_EXPORTER_OTLP_ENDPOINT and the
    /// like.
    #[arg(long, env = "GAPWISE_METRICS_ADDRESS", value_name = "IP:PORT")]
    metrics_address: Option<SocketAddr>,
}

/// Runs the program on the process's arguments and environment.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let exit = match run(&args) {
        Ok(()) => Exit::Stopped,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            Exit::Failed
        }
    };
    ExitCode::from(exit as u8)
}

/// `HOSTNAME:PORT`: the address alone is the same in every container.
fn instance(rpc_address: &str) -> String {
    let host = hostname().unwrap_or_else(|| "jobmanager".to_owned());
    rpc_address.rsplit_once(':').map_or_else(|| host.clone(), |(_, port)| format!("{host}:{port}"))
}

fn run(args: &Args) -> anyhow::Result<()> {
    // The control plane never holds much.
    let _ = HugePages::hold_back();
    let logs = Arc::new(RecentLogs::new(Options::LOG_BYTES));
    let options = Options {
        heartbeat_interval: args.heartbeat_interval,
        heartbeat_timeout: args.heartbeat_timeout,
        discovery_interval: args.discovery_interval,
        checkpoint_store: args.checkpoint_dir.clone(),
        unpublished_budget: args.unpublished_budget,
        retention: args.checkpoint_retention,
        logs: Arc::clone(&logs),
        ..Options::default()
    };
    options.check()?;
    // Which of several TLS implementations is used must not depend on which crates happen to be linked.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("jobmanager")
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let settings = telemetry::Settings {
        service: "gapwise-jobmanager",
        instance: instance(&args.rpc_address),
        otlp: telemetry::Otlp::from_env()?,
        is_scraped: args.metrics_address.is_some(),
    };
    let (telemetry, exporters) = {
        let _within = runtime.enter();
        telemetry::start(&settings)?
    };
    logging::init(None, exporters.log_layer(), Some(logs));
    fail_point::arm_by_environment()?;
    let outcome = runtime.block_on(serve(args, options, telemetry, &exporters));
    exporters.shutdown(shutdown::TELEMETRY_TIMEOUT);
    // A client library's call that hangs must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(args: &Args, options: Options, telemetry: Telemetry, exporters: &Exporters) -> anyhow::Result<()> {
    let address = &args.rpc_address;
    let metrics_listener = telemetry::listen(args.metrics_address).await?;
    let listener = TcpListener::bind(address).await.map_err(|error| listen_error(address, &error))?;
    let connectors = Arc::new(RealConnectors::new(tokio::runtime::Handle::current()));
    let stop = CancellationToken::new();
    let jobmanager = Box::pin(crate::start(
        options,
        connectors,
        Arc::new(RealStores::from_env()),
        Arc::new(SystemClock::new()),
        telemetry,
        listener,
        stop.clone(),
    ));
    tokio::select! {
        outcome = jobmanager => Ok(outcome?),
        Err(error) = exporters.serve_metrics(metrics_listener, stop.clone()) => Err(error).context("cannot serve /metrics"),
        signals = shutdown::cancel_on_signal(stop.clone()) => signals.context("cannot listen for signals"),
    }
}

fn listen_error(address: &str, error: &std::io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "the port is taken, by another jobmanager perhaps; stop it, or choose another `--rpc-address`"
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose another `--rpc-address`",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need root; choose another `--rpc-address`",
        _ => {
            return anyhow::anyhow!(
                "cannot listen on `{address}`: {error}; check `--rpc-address`, which is `HOST:PORT`"
            );
        }
    };
    anyhow::anyhow!("cannot listen on `{address}`: {advice}")
}

/// An error and its causes in one line; a cause that repeats the line above it is left out.
fn chain(error: &anyhow::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain().map(<dyn Error>::to_string) {
        if !messages.last().is_some_and(|last| last.ends_with(&cause)) {
            messages.push(cause);
        }
    }
    messages.join(": ")
}
