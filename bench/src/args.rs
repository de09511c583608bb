//! The command line.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::limits::Limit;

const EXAMPLES: &str = "\
Examples:
  bench                                        the whole table, with 2 M events
  bench --events 10000000                      the same with 10 M
  bench --list                                 what there is
  bench --only web/ --runs 3                   all of the web traffic
  bench --only csv-p1,duckdb                   whatever has one of these in its name
  bench --only kafka/to-postgres-p4            the same job in 1, 2 and 4 taskmanagers: CPU for each event
  bench --only high-cardinality/flink          also what only runs when it is asked for
  bench --docs                                 and the figures and plots of docs/performance.md anew
  bench --from target/bench/report.json --docs the same of a report that is there

Exit codes: 0 measured, every result right; 1 a result was wrong or a run failed; 2 usage.";

/// Measures the product beside the bare limits of the machine and beside others that do the same work.
///
/// The data is made once and kept. Those that work on the same data take turns, so that what disturbs the machine disturbs all
/// of them. Every run's result is checked against a naive batch computation before its figure counts. What cannot be had on this
/// machine is a row that says why.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 110, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Events of each data set
    #[arg(long, value_name = "N", default_value = "2000000")]
    pub(crate) events: NonZeroU64,

    /// Another seed gives other events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Visitors of the web traffic and of that with a hot key
    #[arg(long, value_name = "N", default_value = "100000")]
    pub(crate) ips: NonZeroU32,

    /// Runs of each; the median is shown
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) runs: NonZeroU16,

    /// Only what has one of these in its name
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Shows the names, and runs nothing
    #[arg(long)]
    pub(crate) list: bool,

    /// The broker of what reads Kafka
    #[arg(long, value_enum, default_value_t)]
    pub(crate) broker: BrokerKind,

    /// How the report is shown; as JSON it is also kept in the folder of `--dir`
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Form,

    /// Writes the plots of docs/bench and the section of docs/performance.md anew
    #[arg(long)]
    pub(crate) docs: bool,

    /// Shows a report that was kept, and runs nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,

    /// Where data, results and logs are kept
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) dir: PathBuf,

    /// Is started by the bench itself.
    #[command(subcommand)]
    pub(crate) limit: Option<Limit>,
}

/// Which broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum BrokerKind {
    /// Apache Kafka, if the machine has Java.
    #[default]
    Apache,
    /// Ours.
    Devbroker,
}

/// How a report is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A table for people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Args {
    /// Whether it is asked for by its name.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_name_chooses_it() {
        let args = Args::parse_from(["bench", "--only", "csv-p1,kafka/"]);
        let chosen = ["web/csv-p1", "kafka/to-postgres", "web/duckdb"].map(|name| args.names(name));
        assert_eq!(chosen, [true, true, false]);
        assert!(!Args::parse_from(["bench"]).names("web/csv-p1"));
    }

    #[test]
    fn the_limits_are_started_by_the_bench_only() {
        let limit = Args::parse_from(["bench", "limit-read", "events.jsonl"]).limit;
        assert!(matches!(limit, Some(Limit::Read { .. })), "{limit:?}");
        let help = <Args as clap::CommandFactory>::command().render_help().to_string();
        assert!(!help.contains("limit-read"), "{help}");
    }
}
