//! A line of a log.

use std::collections::BTreeMap;

use proto::v1;
use serde::Serialize;

/// A line of `jobctl logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LogLine {
    pub(crate) time_ms: i64,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub(crate) level: &'static str,
    /// `jobmanager`, or a taskmanager's name.
    pub(crate) process: String,
    /// The module that logged it.
    pub(crate) target: String,
    pub(crate) message: String,
    /// By name; what is known of the line beside its message.
    pub(crate) fields: BTreeMap<String, String>,
}

impl From<v1::LogLine> for LogLine {
    fn from(line: v1::LogLine) -> Self {
        LogLine {
            time_ms: line.time_ms,
            level: match line.level() {
                v1::LogLevel::Unspecified => "unknown",
                v1::LogLevel::Trace => "trace",
                v1::LogLevel::Debug => "debug",
                v1::LogLevel::Info => "info",
                v1::LogLevel::Warn => "warn",
                v1::LogLevel::Error => "error",
            },
            process: line.process,
            target: line.target,
            message: line.message,
            fields: line.fields.into_iter().map(|field| (field.name, field.value)).collect(),
        }
    }
}
