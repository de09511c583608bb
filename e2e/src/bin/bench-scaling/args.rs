//! The command line.

use std::num::{NonZeroU32, NonZeroU64};

use clap::{Parser, Subcommand};
use e2e::form::Form;

/// Measures what each stage costs an event and a session, what an event costs more that goes over a socket, and how many bytes go over which
/// wire; and says what that makes of more machines than are here.
///
/// The job (`sessionize`, Kafka to Postgres, exactly once, parallelism 4 and 16) reads two kinds of traffic, in 1, 2 and 4 taskmanagers in turn. Then
/// taskmanagers are put into network namespaces of their own (Linux, root), where bytes are counted, and bandwidth is limited.
#[derive(Debug, Parser)]
#[command(
    name = "bench-scaling",
    max_term_width = 110,
    after_help = "Exit codes: 0 measured, and every prediction is within --most of what was measured; 1 one is not, or it could not be \
                  measured; 2 usage."
)]
pub(crate) struct Args {
    /// Events of each kind of traffic
    #[arg(long, value_name = "N", default_value = "2000000")]
    pub(crate) events: NonZeroU64,

    /// Runs of each; their median is used
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) runs: NonZeroU32,

    /// Visitors of the web traffic
    #[arg(long, value_name = "N", default_value = "100000")]
    pub(crate) ips: NonZeroU32,

    /// What each taskmanager may send to others, in the run that is slowed down
    #[arg(long, value_name = "MBIT/S", default_value = "15")]
    pub(crate) limit: NonZeroU32,

    /// How far a prediction may be off, in per cent
    #[arg(long, value_name = "PERCENT", default_value = "15")]
    pub(crate) most: NonZeroU32,

    /// Machines of the last table
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["1", "2", "4", "10", "16"])]
    pub(crate) machines: Vec<NonZeroU32>,

    /// Cores of each
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) cores: NonZeroU32,

    /// Writes the section of docs/performance.md and docs/bench/scaling.json anew
    #[arg(long)]
    pub(crate) docs: bool,

    /// Another seed gives other events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// How the report is shown
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Form,

    /// Is started by the benchmark itself.
    #[command(subcommand)]
    pub(crate) alone: Option<Alone>,
}

/// What is measured in a process of its own.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Alone {
    /// A channel between two subtasks
    #[command(hide = true)]
    Exchange,
}

impl Args {
    /// What measures the same again.
    pub(crate) fn command(&self) -> String {
        let Args { events, runs, ips, limit, most, machines, cores, docs: _, seed, output: _, alone: _ } = self;
        let machines = machines.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        format!(
            "make bench-scaling ARGS='--events {events} --runs {runs} --ips {ips} --limit {limit} --most {most} \
             --machines {machines} --cores {cores} --seed {seed}'"
        )
    }
}
