//! The `devbroker` program: options, signals, exit code.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use devbroker::{Broker, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

const ABOUT: &str = "A small file-backed Kafka broker for development. Not for production";

const EXAMPLES: &str = "\
Examples:
  devbroker --dir ./kafka-data
  devbroker --listen 127.0.0.1:19092 --auto-create-partitions 3
  devbroker --listen 0.0.0.0:9092 --advertise kafka.local:9092

One node, plaintext, no consumer groups, no transactions, no retention. Topics are made by an admin client, or on first
use with --auto-create-partitions. SIGINT or SIGTERM stops it. RUST_LOG=debug logs every connection.
Exit codes: 0 stopped, 1 failed, 2 usage.";

#[derive(Debug, Parser)]
#[command(version, about = ABOUT, after_help = EXAMPLES)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "DEVBROKER_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// The address clients are told to use, if not the one it listens on.
    #[arg(long, env = "DEVBROKER_ADVERTISE", value_name = "HOST:PORT", value_parser = host_and_port)]
    advertise: Option<(String, u16)>,
    /// The data directory, made if missing; one process at a time.
    #[arg(long, env = "DEVBROKER_DIR", value_name = "DIR", default_value = "devbroker-data")]
    dir: PathBuf,
    /// Force every write to the disk before it is acknowledged (slow).
    #[arg(long, env = "DEVBROKER_FSYNC")]
    fsync: bool,
    /// Make a topic with this many partitions when a client first asks for it.
    #[arg(long, env = "DEVBROKER_AUTO_CREATE_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    auto_create_partitions: Option<i32>,
    /// How many clients may be connected at a time.
    #[arg(long, env = "DEVBROKER_MAX_CONNECTIONS", value_name = "N", default_value_t = Options::DEFAULT_MAX_CONNECTIONS)]
    max_connections: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("devbroker: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let stopped_by_signal = watch_signals(shutdown.clone()).context("cannot watch for signals")?;
    let dir = arguments.dir.clone();
    let broker = Broker::bind(Options {
        listen: arguments.listen,
        advertise: arguments.advertise,
        dir: arguments.dir,
        fsync: arguments.fsync,
        auto_create_partitions: arguments.auto_create_partitions,
        max_connections: arguments.max_connections,
    })
    .await?;
    println!("devbroker: ready on {}, data in {}; for development, not production", broker.local_addr(), dir.display());
    tokio::select! {
        stopped = broker.run(shutdown) => Ok(stopped?),
        () = stopped_by_signal => Ok(()),
    }
}

/// Registers the handlers at once. The future ends, and with it the program, only at a second signal.
fn watch_signals(shutdown: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            shutdown.cancel();
        }
        eprintln!("devbroker: second signal, not waiting");
    })
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| "write it as HOST:PORT, e.g. `kafka.local:9092`".to_owned())
}
