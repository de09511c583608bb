//! Logs on standard error, and the latest of each job in memory.

use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::recent_logs::{RecentLogs, RecentLogsLayer};

/// What a process logs unless `GAPWISE_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,tonic=warn,tower=warn,sqlx=warn,librdkafka=warn";

/// Begins logging: levels by `GAPWISE_LOG` (as in `debug` or `info,taskmanager=debug`), as JSON if `GAPWISE_LOG_FORMAT=json`.
/// `default_filter` replaces the default for programs whose standard error a person reads. Colours only on a terminal. What
/// is logged about jobs is kept in `recent` too, if there is one.
pub fn init(default_filter: Option<&str>, recent: Option<Arc<RecentLogs>>) {
    use std::io::IsTerminal;
    let filter = EnvFilter::try_from_env("GAPWISE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(default_filter.unwrap_or(DEFAULT_FILTER)));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let is_json = std::env::var("GAPWISE_LOG_FORMAT").is_ok_and(|format| format == "json");
    let lines = if is_json { lines.json().boxed() } else { lines.boxed() };
    // A second call, as in tests, changes nothing.
    let _ = registry().with(filter).with(lines).with(recent.map(RecentLogsLayer::new)).try_init();
}
