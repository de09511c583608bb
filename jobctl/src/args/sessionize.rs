//! `sessionize`.

use clap::Args as ClapArgs;

use super::{EventTime, Running, Sink, Source};

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
    /// The longest a session may last, such as `24h`: one that goes on is parted there, at the first event that far behind its start, and
    /// goes on as another. For robots, which never pause; not together with --allowed-lateness [default: no limit] [env: GAPWISE_MAX_SESSION]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) max_session: Option<String>,
    /// The most events that a session may have, such as `10000`, at least 100: the next one begins another [default: no limit]
    /// [env: GAPWISE_MAX_HITS]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_hits: Option<String>,
    #[command(flatten)]
    pub(crate) event_time: EventTime,
    #[command(flatten)]
    pub(crate) running: Running,
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) sink: Sink,
    /// The table [default: sessionized_aggregated_events] [env: GAPWISE_TABLE]
    #[arg(long, value_name = "TABLE", help_heading = "Sink")]
    pub(crate) table: Option<String>,
    /// Writes the time of each session's last event into a fifth column, `last_event TIMESTAMP(3)`: what a session lasted, and
    /// what `jobctl late replay` must know of it. A table of yours needs the column [env: GAPWISE_LAST_EVENT]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", help_heading = "Sink")]
    pub(crate) last_event: Option<String>,
    /// Keeps the open sessions in this table of Postgres, exact at each checkpoint, in the transaction of the results: `session_id` stays
    /// what it is while a session grows and joins others, and its row is gone once it has closed. What changed since the last
    /// checkpoint is written, not what is open [default: none] [env: GAPWISE_OPEN_SESSIONS_TABLE]
    #[arg(long, value_name = "TABLE", help_heading = "Sink")]
    pub(crate) open_sessions_table: Option<String>,
}
