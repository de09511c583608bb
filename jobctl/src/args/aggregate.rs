//! `aggregate`.

use clap::Args as ClapArgs;

use super::{EventTime, Running, Sink, Source};

pub(super) const SUBMIT_HELP: &str = "\
Where an option is not given, the environment of the job's Flink version works as it is, as for `sessionize`. Without any, source \
and sink are those of `make up`.

Examples:
  jobctl submit aggregate --window 5m
  jobctl submit aggregate --window 1h --parallelism 3 --from earliest --until latest --wait
  jobctl submit aggregate --source kafka://broker:9092/events --sink postgres://me@db/web --table hits";

pub(super) const RUN_HELP: &str = "\
The hits per host and referrer go to a file beside: below `hits.processed_events_aggregated_source.csv`.

Examples:
  jobctl run aggregate --source file:events.jsonl --sink csv:hits.csv
  jobctl run aggregate --window 1h --source 'file:logs/*.jsonl.gz' --sink jsonl:hits.jsonl
  jobctl run aggregate --source kafka://broker:9092/events --until latest --sink postgres://me@db/web";

/// The options of the job, its source and its sink. All are texts, and all may come from the environment instead.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Aggregate {
    /// From one window to the next, such as `5m`, `90s`, `1h` [default: 5m] [env: GAPWISE_WINDOW]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) window: Option<String>,
    #[command(flatten)]
    pub(crate) event_time: EventTime,
    #[command(flatten)]
    pub(crate) running: Running,
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) sink: Sink,
    /// The table of hits per host; that of hits per host and referrer has `_source` behind its name
    /// [default: processed_events_aggregated] [env: GAPWISE_TABLE]
    #[arg(long, value_name = "TABLE", help_heading = "Sink")]
    pub(crate) table: Option<String>,
}
