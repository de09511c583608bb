//! `sessionize`.

use clap::Args as ClapArgs;

use super::{Running, Sink, Source};

pub(super) const SUBMIT_HELP: &str = "\
Where an option is not given, the environment of the job's Flink version works as it is: KAFKA_URL, KAFKA_TOPIC, \
KAFKA_GROUP, KAFKA_WEB_TRAFFIC_KEY with KAFKA_WEB_TRAFFIC_SECRET (SASL_SSL, PLAIN), POSTGRES_URL (also with `jdbc:` before \
it), POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB. Without any, source and sink are those of `make up`.

Examples:
  jobctl submit sessionize --gap 5m
  jobctl submit sessionize --gap 90s --parallelism 3 --from earliest --until latest --wait
  jobctl submit sessionize --source kafka://broker:9092/events --sink postgres://me@db/web";

pub(super) const RUN_HELP: &str = "\
Examples:
  jobctl run sessionize --source file:events.jsonl --sink csv:sessions.csv
  jobctl run sessionize --gap 90s --source 'file:logs/*.jsonl.gz' --sink jsonl:sessions.jsonl
  zcat events.jsonl.gz | jobctl run sessionize --source stdin: > sessions.csv
  jobctl run sessionize --source kafka://broker:9092/events --until latest --sink csv:out.csv";

/// The options of the job, its source and its sink. All are texts, and all may come from the environment instead.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Sessionize {
    /// Inactivity that ends a session, such as `5m`, `90s`, `1h30m` [default: 5m] [env: GAPWISE_GAP]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) gap: Option<String>,
    /// How much longer, in event time, a closed session takes late events [default: 0] [env: GAPWISE_ALLOWED_LATENESS]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) allowed_lateness: Option<String>,
    /// How far the watermark stays behind the latest event [default: 15s] [env: GAPWISE_WATERMARK_DELAY]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) watermark_delay: Option<String>,
    /// Silence after which a partition holds nobody back; 0 for never [default: 30s] [env: GAPWISE_IDLE_TIMEOUT]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) idle_timeout: Option<String>,
    /// While every partition is at its end and idle, let event time go on by the clock until all sessions have ended; what
    /// comes later and belongs to one of them is late [env: GAPWISE_CLOSE_WHEN_IDLE]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(crate) close_when_idle: Option<String>,
    /// How far an event may be ahead of this cluster's clock before it is bad; 0 for any distance [default: 1h]
    /// [env: GAPWISE_MAX_FUTURE]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) max_future: Option<String>,
    /// What becomes of a late event: `dead-letter-table` keeps it in table `late_events`, `drop` counts it, `fail` fails the
    /// job [default: dead-letter-table; with `run` drop] [env: GAPWISE_ON_LATE]
    #[arg(long, value_name = "POLICY")]
    pub(crate) on_late: Option<String>,
    #[command(flatten)]
    pub(crate) running: Running,
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) sink: Sink,
    /// The table [default: sessionized_aggregated_events] [env: GAPWISE_TABLE]
    #[arg(long, value_name = "TABLE", help_heading = "Sink")]
    pub(crate) table: Option<String>,
}
