//! Logs on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

/// What a process logs unless `GAPWISE_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,tonic=warn,tower=warn,sqlx=warn,librdkafka=warn";

/// Begins logging: levels by `GAPWISE_LOG` (as in `debug` or `info,taskmanager=debug`), as JSON if `GAPWISE_LOG_FORMAT=json`.
/// `default_filter` replaces the default for programs whose standard error a person reads. Colours only on a terminal.
pub fn init(default_filter: Option<&str>) {
    use std::io::IsTerminal;
    let filter = EnvFilter::try_from_env("GAPWISE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(default_filter.unwrap_or(DEFAULT_FILTER)));
    let builder: SubscriberBuilder<_, _, EnvFilter, _> = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let is_json = std::env::var("GAPWISE_LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second call, as in tests, changes nothing.
    let _ = if is_json { builder.json().try_init() } else { builder.try_init() };
}
