//! The taskmanager process: options from the command line and the environment, real connectors, signals, exit code.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use stream_core::ids::TaskManagerId;
use stream_runtime::clock::SystemClock;
use stream_runtime::connector::cause_chain;
use stream_runtime::memory::HugePages;
use stream_runtime::recent_logs::RecentLogs;
use stream_runtime::{duration, fail_point, hostname, logging, shutdown};
use telemetry::{Exporters, Telemetry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Options, Parts, default_id};

/// Runs the subtasks that a jobmanager deploys.
///
/// Exit codes: 0 stopped by a signal, in good order; 1 failed; 2 wrong usage; 130 stopped by a second signal.
#[derive(Parser)]
#[command(name = "taskmanager", version = stream_runtime::VERSION)]
struct Args {
    /// The jobmanager to join.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6123", env = "GAPWISE_JOBMANAGER_RPC_ADDRESS")]
    jobmanager: String,

    /// The name to register with [default: HOSTNAME-PID].
    #[arg(long, value_name = "NAME", env = "GAPWISE_TASKMANAGER_ID")]
    id: Option<String>,

    /// How many slots to offer: each runs one subtask of each stage of a job.
    #[arg(long, value_name = "N", default_value_t = 2, env = "GAPWISE_TASKMANAGER_SLOTS",
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    slots: u32,

    /// Where to listen for the data of other taskmanagers; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0", env = "GAPWISE_TASKMANAGER_EXCHANGE_ADDRESS")]
    exchange_address: SocketAddr,

    /// Where other taskmanagers reach this one, if that is not the address it listens on [default: that, or this machine's name
    /// where it listens on every address]
    #[arg(long, value_name = "HOST[:PORT]", env = "GAPWISE_TASKMANAGER_ADVERTISE")]
    advertise: Option<String>,

    /// The bytes that may be in flight between two subtasks.
    #[arg(long, value_name = "BYTES", default_value_t = Options::DEFAULT_CHANNEL_BYTES,
          env = "GAPWISE_TASKMANAGER_CHANNEL_BYTES", value_parser = channel_bytes)]
    channel_bytes: usize,

    /// How long tasks go on when the jobmanager is lost. A jobmanager that comes back in time takes them over.
    #[arg(long, value_name = "DURATION", default_value = "5m", env = "GAPWISE_TASKMANAGER_ORPHAN_TIMEOUT",
          value_parser = duration::parse)]
    orphan_timeout: Duration,

    /// How long a taskmanager that is told to stop goes on, until its jobs have a last checkpoint; 0 to stop at once.
    /// What kills it after a grace period must be 15 seconds more patient.
    #[arg(long, value_name = "DURATION", default_value = "8s", env = "GAPWISE_TASKMANAGER_LEAVE_TIMEOUT",
          value_parser = duration::parse)]
    leave_timeout: Duration,

    /// Where Prometheus finds metrics, at /metrics [default: nowhere]. OpenTelemetry is set up by OTEL_EXPORTER_OTLP_ENDPOINT and the
    /// like.
    #[arg(long, value_name = "IP:PORT", env = "GAPWISE_METRICS_ADDRESS")]
    metrics_address: Option<SocketAddr>,

    /// Traces the way of one record of so many, from Kafka to the commit that shows what became of it, continuing the trace of its header
    /// `traceparent` [default: none].
    #[arg(long, value_name = "N", env = "GAPWISE_TRACE_SAMPLE", value_parser = clap::value_parser!(u64).range(1..))]
    trace_sample: Option<u64>,
}

/// Runs the program on the process's arguments and environment.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(args, HugePages::hold_back()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", cause_chain(error.as_ref()).join(": "));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args, huge_pages: HugePages) -> anyhow::Result<()> {
    // Whichever client speaks TLS first must find one provider, and the same as all others.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no async runtime")?;
    let id = args.id.clone().map_or_else(default_id, TaskManagerId);
    let settings = telemetry::Settings {
        service: "gapwise-taskmanager",
        instance: id.0.clone(),
        otlp: telemetry::Otlp::from_env()?,
        is_scraped: args.metrics_address.is_some(),
    };
    let (telemetry, exporters) = {
        let _within = runtime.enter();
        telemetry::start(&settings)?
    };
    let logs = Arc::new(RecentLogs::new(Options::LOG_BYTES));
    logging::init(None, exporters.log_layer(), Some(Arc::clone(&logs)));
    fail_point::arm_by_environment()?;
    let result = runtime.block_on(serve(args, id, telemetry, &exporters, logs, huge_pages));
    exporters.shutdown(shutdown::TELEMETRY_TIMEOUT);
    // A connector's blocking call that does not return must not keep the process.
    runtime.shutdown_background();
    result
}

async fn serve(
    args: Args,
    id: TaskManagerId,
    telemetry: Telemetry,
    exporters: &Exporters,
    logs: Arc<RecentLogs>,
    huge_pages: HugePages,
) -> anyhow::Result<()> {
    let metrics_listener = telemetry::listen(args.metrics_address).await?;
    let listener = TcpListener::bind(args.exchange_address)
        .await
        .with_context(|| format!("cannot listen on `{}`: choose another --exchange-address", args.exchange_address))?;
    let bound = listener.local_addr().context("the listener has no address")?;
    let mut options = Options::new(args.jobmanager, args.slots, advertised(args.advertise.as_deref(), bound)?);
    options.logs = logs;
    options.huge_pages = huge_pages;
    options.channel_bytes = args.channel_bytes;
    options.orphan_timeout = args.orphan_timeout;
    options.leave_timeout = args.leave_timeout;
    options.trace_sample = args.trace_sample;
    options.id = id;
    tracing::info!(id = %options.id, exchange = %options.advertised_exchange, slots = options.slots, "starting");

    let shutdown = CancellationToken::new();
    let parts = Parts {
        jobs: jobs::registry(),
        connectors: Arc::new(connectors::RealConnectors::new(tokio::runtime::Handle::current())),
        stores: Arc::new(connectors::RealStores::from_env()),
        clock: Arc::new(SystemClock::new()),
        telemetry,
    };
    tokio::select! {
        served = crate::start(options, parts, listener, shutdown.clone()) => Ok(served?),
        Err(error) = exporters.serve_metrics(metrics_listener, shutdown.clone()) => Err(error).context("cannot serve /metrics"),
        Err(error) = shutdown::cancel_on_signal(shutdown) => Err(error).context("cannot listen for signals"),
    }
}

/// What other taskmanagers are told: as asked for, with the bound port where none is given.
fn advertised(asked: Option<&str>, bound: SocketAddr) -> anyhow::Result<String> {
    match asked {
        Some("") => bail!("--advertise must not be empty"),
        Some(address) if has_port(address) => Ok(address.to_owned()),
        Some(host) => Ok(format!("{host}:{}", bound.port())),
        // As Flink's taskmanagers do: in a container or a pod that is a name which the others can look up.
        None if bound.ip().is_unspecified() => match hostname() {
            Some(name) => Ok(format!("{name}:{}", bound.port())),
            None => bail!("nobody can reach `{bound}`: say by --advertise HOST where other taskmanagers find this one"),
        },
        None => Ok(bound.to_string()),
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

/// One batch must fit, and the grant of a channel stays below HTTP/2's window for a stream.
fn channel_bytes(text: &str) -> Result<usize, String> {
    const RANGE: std::ops::RangeInclusive<usize> = (64 << 10)..=(2 << 20);
    let bytes = text.parse().map_err(|_| format!("`{text}` is not a number of bytes"))?;
    match RANGE.contains(&bytes) {
        true => Ok(bytes),
        false => Err(format!("choose from {} to {} bytes", RANGE.start(), RANGE.end())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn advertised_address_is_the_bound_one_unless_asked_otherwise() {
        let bound = "127.0.0.1:4711".parse().unwrap();
        assert_eq!(advertised(None, bound).unwrap(), "127.0.0.1:4711");
        assert_eq!(advertised(Some("tm.example"), bound).unwrap(), "tm.example:4711");
        assert_eq!(advertised(Some("tm.example:80"), bound).unwrap(), "tm.example:80");
        let anywhere = advertised(None, "0.0.0.0:1".parse().unwrap()).unwrap();
        assert_eq!(anywhere, format!("{}:1", hostname().unwrap()));
    }

    /// The first duration behind these words, in seconds.
    fn seconds_behind(text: &str, words: &str) -> u64 {
        let (_, behind) = text.split_once(words).unwrap_or_else(|| panic!("no `{words}`"));
        let digits = behind.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    }

    #[test]
    fn grace_periods_are_longer_than_a_process_may_take_to_end() {
        let help = Args::command().render_long_help().to_string();
        let more = shutdown::of_taskmanager(Duration::ZERO).as_secs();
        assert_eq!(seconds_behind(&help, "grace period must be"), more);

        let compose = include_str!("../../docker-compose.yml");
        let pod = include_str!("../../deploy/kubernetes/taskmanager.yaml");
        for (file, grace) in [(compose, "stop_grace_period:"), (pod, "terminationGracePeriodSeconds:")] {
            // Behind the comment that speaks of it.
            let leave = file.rsplit_once("GAPWISE_TASKMANAGER_LEAVE_TIMEOUT").unwrap().1;
            assert!(seconds_behind(file, grace) >= seconds_behind(leave, "") + more, "{grace}");
        }
        let pod = include_str!("../../deploy/kubernetes/jobmanager.yaml");
        assert!(seconds_behind(pod, "terminationGracePeriodSeconds:") >= shutdown::of_jobmanager().as_secs());
    }

    #[test]
    fn channel_bytes_have_bounds() {
        assert_eq!(channel_bytes("1048576"), Ok(1 << 20));
        assert!(channel_bytes("1").is_err() && channel_bytes("1 MiB").is_err());
    }
}
