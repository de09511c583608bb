//! How jobs with windows take event time.

use clap::Args as ClapArgs;

/// When windows end, and what becomes of what comes later.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct EventTime {
    /// How much longer, in event time, a closed window takes late events [default: 0] [env: GAPWISE_ALLOWED_LATENESS]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) allowed_lateness: Option<String>,
    /// How far the watermark stays behind the latest event [default: 15s] [env: GAPWISE_WATERMARK_DELAY]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) watermark_delay: Option<String>,
    /// Silence after which a partition holds nobody back; 0 for never [default: 30s] [env: GAPWISE_IDLE_TIMEOUT]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) idle_timeout: Option<String>,
    /// While every partition is at its end and idle, let event time go on by the clock until every window has ended; what
    /// comes later and belongs to one of them is late [env: GAPWISE_CLOSE_WHEN_IDLE]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(crate) close_when_idle: Option<String>,
    /// How far an event may be ahead of this cluster's clock before it is bad; 0 for any distance [default: 1h]
    /// [env: GAPWISE_MAX_FUTURE]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) max_future: Option<String>,
    /// How far, in event time, a partition may be ahead of the slowest before it waits for it, such as `10m`, so that a backfill
    /// opens no more windows than live traffic; 0 for any distance [default: the gap or window; 0 where --idle-timeout is 0]
    /// [env: GAPWISE_MAX_DRIFT]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) max_drift: Option<String>,
    /// What becomes of a late event: `dead-letter-table` keeps it in table `late_events`, `topic:NAME` in a topic of the cluster that
    /// the job reads from, `csv:PATH` or `jsonl:PATH` in a file, `drop` counts it, `fail` fails the job [default: dead-letter-table; with `run` drop]
    /// [env: GAPWISE_ON_LATE]
    #[arg(long, value_name = "POLICY")]
    pub(crate) on_late: Option<String>,
}
