//! Logs on standard error, and the latest of each job in memory.

use std::sync::Arc;

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::recent_logs::{RecentLogs, RecentLogsLayer};

/// What a process logs unless `GAPWISE_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,tonic=warn,tower=warn,sqlx=warn,librdkafka=warn";

/// What takes log records beside standard error.
pub type LogLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Begins logging: levels by `GAPWISE_LOG` (as in `debug` or `info,taskmanager=debug`), as JSON if `GAPWISE_LOG_FORMAT=json`.
/// `default_filter` replaces the default for programs whose standard error a person reads. Colours only on a terminal. What `also`
/// takes goes through the same filter, and so does what is kept of each job in `recent`.
pub fn init(default_filter: Option<&str>, also: Option<LogLayer>, recent: Option<Arc<RecentLogs>>) {
    use std::io::IsTerminal;
    let filter = EnvFilter::try_from_env("GAPWISE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(default_filter.unwrap_or(DEFAULT_FILTER)));
    let text = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let is_json = std::env::var("GAPWISE_LOG_FORMAT").is_ok_and(|format| format == "json");
    let text = if is_json { text.json().boxed() } else { text.boxed() };
    let recent = recent.map(RecentLogsLayer::new);
    // A second call, as in tests, changes nothing.
    let _ = tracing_subscriber::registry().with(also).with(recent).with(filter).with(text).try_init();
}
