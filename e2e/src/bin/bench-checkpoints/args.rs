//! The command line.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Measures what a checkpoint costs a job that holds many open sessions, on a real cluster.
///
/// For each number of sessions a cluster is started, the sessions are opened, and while events go on to come to sessions drawn at
/// random, full checkpoints (savepoints) and incremental ones are taken. All figures are what the product says of itself:
/// `jobctl checkpoints`, `describe` and `taskmanagers`.
#[derive(Debug, Parser)]
#[command(
    name = "bench-checkpoints",
    max_term_width = 110,
    after_help = "Exit codes: 0 measured, and the pause does not grow with the state; 1 it grows, or could not be measured; 2 usage."
)]
pub(crate) struct Args {
    /// Open sessions, one number for each run
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["200000", "2000000"])]
    pub(crate) sessions: Vec<NonZeroU32>,

    /// Events a second while checkpoints are taken
    #[arg(long, value_name = "N", default_value = "5000")]
    pub(crate) rate: NonZeroU64,

    /// From one checkpoint to the next
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s")]
    pub(crate) interval: Duration,

    /// Incremental checkpoints, at least
    #[arg(long, value_name = "N", default_value = "12")]
    pub(crate) incremental: NonZeroUsize,

    /// Full checkpoints, at least
    #[arg(long, value_name = "N", default_value = "4")]
    pub(crate) full: NonZeroUsize,

    /// Subtasks of source and window, each in a taskmanager of its own
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) parallelism: NonZeroU32,

    /// Another seed draws other sessions for the events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// How the report is shown
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Form,
}

/// How a report is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Tables for people.
    #[default]
    Text,
    /// For programs.
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    stream_runtime::duration::parse(text).map_err(|error| error.to_string())
}
