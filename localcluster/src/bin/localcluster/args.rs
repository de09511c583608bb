//! The command line, as it is typed.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// A cluster on this machine, without Docker: Kafka, Postgres, a jobmanager and taskmanagers
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    disable_help_subcommand = true,
    after_help = "\
The environment, or `.env` or `flink-env.env` in the project's folder, chooses:
  KAFKA_URL, POSTGRES_URL       yours are used instead of ours
  KAFKA=apache                  real Apache Kafka (Java and Maven) instead of the development broker
  KAFKA_PORT, POSTGRES_PORT, JOBMANAGER_PORT, TASKMANAGERS, SLOTS, KAFKA_TOPIC
  TELEMETRY=1                   metrics of each process, and the collector, Prometheus and Grafana that are on the PATH or in the cache
  PROMETHEUS_PORT, COLLECTOR_PORT, GRAFANA_PORT, METRICS_PORT
  GAPWISE_LOCAL_DIR             where pid files, logs and data are [default: .local]
  GAPWISE_CACHE_DIR             where downloads are kept

Examples:
  localcluster up
  KAFKA_PORT=9093 localcluster up
  localcluster load events.jsonl.gz
  localcluster exec -- jobctl submit sessionize --gap 5m
  localcluster down"
)]
pub(crate) struct Args {
    /// The project's folder, with `sql/`, `demo/` and `.env`
    #[arg(long, global = true, default_value = ".", value_name = "DIR", env = "GAPWISE_PROJECT_DIR")]
    pub(crate) project: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts what does not run yet, and waits until all of it can be used
    Up,
    /// Stops what `up` started; data and logs stay
    Down,
    /// Shows what runs: pids, addresses, memory
    Status {
        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Shows the ends of the logs
    Logs {
        /// Of this component only, such as `kafka` or `taskmanager-1`
        name: Option<String>,
        /// Goes on with what is added, until Ctrl-C
        #[arg(long, short)]
        follow: bool,
    },
    /// Stops the cluster and removes its data and logs; downloads stay
    Clean,
    /// Prints the addresses of the cluster as variables, for `eval "$(localcluster env)"`
    Env,
    /// Runs a command in the environment of the cluster
    #[command(after_help = "Example:\n  localcluster exec -- jobctl submit sessionize --gap 5m")]
    Exec {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Writes a file of synthetic web events; the same seed gives the same bytes
    #[command(after_help = "Example:\n  localcluster generate --events 2000000 --seed 1 --out events.jsonl")]
    Generate {
        /// How many events
        #[arg(long, value_name = "N")]
        events: u64,
        /// Another seed gives other events
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How many visitors
        #[arg(long, value_name = "N", default_value = "10000")]
        ips: NonZeroU32,
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Produces a file of JSON lines into the topic, line i to partition i mod N
    #[command(after_help = "Example:\n  localcluster load events.jsonl.gz --topic my-events")]
    Load {
        /// JSON lines; `.gz` and `.zst` are unpacked
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// The topic [default: KAFKA_TOPIC]
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
        /// Creates the topic with N partitions if it is not there
        #[arg(long, value_name = "N")]
        create: Option<NonZeroU16>,
        /// Records in each batch that is produced [default: what comes within 5 ms]
        #[arg(long, value_name = "N")]
        batch: Option<NonZeroU16>,
    },
    /// Produces live synthetic traffic into the topic, until Ctrl-C
    #[command(after_help = "Example:\n  localcluster traffic --rate 5000 --duration 2m")]
    Traffic {
        /// Events a second
        #[arg(long, value_name = "N", default_value = "1000")]
        rate: NonZeroU64,
        /// When to stop, such as `90s` or `2m`
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        duration: Option<Duration>,
        /// Another seed gives other visitors
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How many visitors
        #[arg(long, value_name = "N", default_value = "300")]
        ips: NonZeroU32,
        /// The topic [default: KAFKA_TOPIC]
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
    },
    /// Answers the questions in `sql/`, as psql would print them
    Analysis,
    /// All of it from nothing: cluster, events, job, answers
    Demo,
}

/// How to show an answer.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Output {
    /// A table for people
    #[default]
    Text,
    /// For programs
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    stream_runtime::duration::parse(text).map_err(|error| error.to_string())
}
