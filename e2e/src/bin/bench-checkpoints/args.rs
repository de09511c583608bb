//! The command line.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::Parser;
use e2e::form::Form;

/// Measures what a checkpoint costs a job that holds many open sessions, on a real cluster.
///
/// For each number of sessions a cluster is started, the sessions are opened, and while events go on to come to sessions drawn at
/// random, full checkpoints (savepoints) and incremental ones are taken. These figures are what the product says of itself:
/// `jobctl checkpoints`, `describe` and `taskmanagers`; which sessions changed is known of the draws. With --rounds the job then reads
/// a backlog, with checkpoints and practically without them in turn, and the system tells what CPU time that took.
#[derive(Debug, Parser)]
#[command(
    name = "bench-checkpoints",
    max_term_width = 110,
    after_help = "Exit codes: 0 measured, and the pause does not grow with the state, nor do checkpoints cost more than 5 % of an event; 1 otherwise, \
                  or it could not be measured; 2 usage."
)]
pub(crate) struct Args {
    /// Open sessions, one number for each run
    #[arg(long, visible_alias = "open", value_name = "N,…", value_delimiter = ',', default_values = ["200000", "2000000"])]
    pub(crate) sessions: Vec<NonZeroU32>,

    /// Events a second while checkpoints are taken, one number after the other
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["5000"])]
    pub(crate) rate: Vec<NonZeroU64>,

    /// From one checkpoint to the next
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s")]
    pub(crate) interval: Duration,

    /// Incremental checkpoints at each rate, at least
    #[arg(long, value_name = "N", default_value = "12")]
    pub(crate) incremental: NonZeroUsize,

    /// Full checkpoints, at least
    #[arg(long, value_name = "N", default_value = "4")]
    pub(crate) full: NonZeroUsize,

    /// Subtasks of source and window, each in a taskmanager of its own
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) parallelism: NonZeroU32,

    /// Rounds of what checkpoints cost an event: once with one each --often, once with one an hour, reading a backlog as fast as it can
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) rounds: u32,

    /// From one checkpoint to the next in these rounds
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) often: Duration,

    /// Events of the backlog of each half of a round
    #[arg(long, value_name = "N", default_value = "20000000")]
    pub(crate) backlog: NonZeroU64,

    /// Writes docs/bench/checkpoints.json, and what incremental checkpoints wrote as checkpoints.csv and checkpoints.svg beside it
    #[arg(long)]
    pub(crate) docs: bool,

    /// Another seed draws other sessions for the events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// How the report is shown
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Form,
}

fn duration(text: &str) -> Result<Duration, String> {
    stream_runtime::duration::parse(text).map_err(|error| error.to_string())
}
