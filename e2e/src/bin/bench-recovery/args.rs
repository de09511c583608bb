//! The command line.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::Parser;
use e2e::broker::Choice;
use e2e::form::Form;
use stream_runtime::duration;

/// Measures how long nothing new is published after a taskmanager is killed, while the job holds many open sessions and reads as fast
/// as it can.
///
/// For each checkpoint interval a cluster is started, with one taskmanager to spare; the sessions are opened, and a backlog of events that come
/// to sessions drawn at random is read. A taskmanager that runs a window is killed (`kill -9`) and started again at once,
/// again and again, each time at another instant between two checkpoints. The time is from the kill until Postgres shows the
/// first epoch of a new attempt, as somebody sees who asks Postgres all the time; how it is made up is what the product says of itself
/// (`jobctl logs`, `jobctl checkpoints`).
#[derive(Debug, Parser)]
#[command(
    name = "bench-recovery",
    max_term_width = 110,
    after_help = "Exit codes: 0 measured, and p99 is within --most; 1 it is not, or could not be measured; 2 usage."
)]
pub(crate) struct Args {
    /// Open sessions
    #[arg(long, value_name = "N", default_value = "5000000")]
    pub(crate) sessions: NonZeroU32,

    /// Kills, for each interval
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) kills: NonZeroUsize,

    /// From one checkpoint to the next
    #[arg(long, value_name = "DURATION,…", value_delimiter = ',', value_parser = duration::parse, default_values = ["1s"])]
    pub(crate) intervals: Vec<Duration>,

    /// Events in the topic when the job begins, beside those that open the sessions; once they are read, more are produced
    #[arg(long, value_name = "N", default_value = "30000000")]
    pub(crate) backlog: NonZeroU64,

    /// Subtasks of source and window, each in a taskmanager of its own
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) parallelism: NonZeroU32,

    /// Which broker
    #[arg(long, value_enum, default_value_t = Choice::Devbroker)]
    pub(crate) broker: Choice,

    /// The most that p99 may be
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "5s")]
    pub(crate) most: Duration,

    /// Another seed draws other sessions for the events, and other instants for the kills
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// How the report is shown
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Form,
}
