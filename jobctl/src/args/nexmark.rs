//! `nexmark-q11`.

use clap::Args as ClapArgs;

use super::{Running, Sink, Source};

pub(super) const HELP: &str = "\
Query 11 of the Nexmark benchmark: how many bids each bidder made in each session, which a gap of 10 seconds ends. Bids are made as \
they are read: `nexmark:events=N` are N events, 46 in 50 of which are bids; behind a comma each, `rate=` is how many of them fall into \
a second of event time [default: 10000], `splits=` how many subtasks can share them [default: 4], `seed=` which they are [default: 1]. \
They may come from a topic or a file, too, as JSON with `bidder` and `date_time`.

Examples:
  jobctl run nexmark-q11 --source nexmark:events=10000000 --sink csv:sessions.csv
  jobctl submit nexmark-q11 --source nexmark:events=100000000,rate=10000000,splits=8 --parallelism 2 --wait";

/// The options of the job, its source and its sink. All are texts, and all may come from the environment instead.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct NexmarkQ11 {
    #[command(flatten)]
    pub(crate) running: Running,
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) sink: Sink,
    /// The table of sessions [default: nexmark_q11] [env: GAPWISE_TABLE]
    #[arg(long, value_name = "TABLE", help_heading = "Sink")]
    pub(crate) table: Option<String>,
}
