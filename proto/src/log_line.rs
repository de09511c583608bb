//! Lines of logs, to and from the wire.

use stream_core::log_line::{Level, LogLine};
use stream_core::time::Timestamp;

use crate::{InvalidMessage, v1};

impl From<LogLine> for v1::LogLine {
    fn from(line: LogLine) -> Self {
        let field = |(name, value)| v1::LogField { name, value };
        v1::LogLine {
            time_ms: line.time.0,
            level: v1::LogLevel::from(line.level).into(),
            process: line.process,
            target: line.target,
            message: line.message,
            fields: line.fields.into_iter().map(field).collect(),
        }
    }
}

impl TryFrom<v1::LogLine> for LogLine {
    type Error = InvalidMessage;

    fn try_from(line: v1::LogLine) -> Result<Self, InvalidMessage> {
        let level = Option::<Level>::from(line.level())
            .ok_or_else(|| InvalidMessage("a line's level is missing".to_owned()))?;
        let field = |field: v1::LogField| (field.name, field.value);
        Ok(LogLine {
            time: Timestamp(line.time_ms),
            level,
            process: line.process,
            target: line.target,
            message: line.message,
            fields: line.fields.into_iter().map(field).collect(),
        })
    }
}

impl From<Level> for v1::LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => v1::LogLevel::Trace,
            Level::Debug => v1::LogLevel::Debug,
            Level::Info => v1::LogLevel::Info,
            Level::Warn => v1::LogLevel::Warn,
            Level::Error => v1::LogLevel::Error,
        }
    }
}

/// Nothing where none is specified.
impl From<v1::LogLevel> for Option<Level> {
    fn from(level: v1::LogLevel) -> Self {
        match level {
            v1::LogLevel::Unspecified => None,
            v1::LogLevel::Trace => Some(Level::Trace),
            v1::LogLevel::Debug => Some(Level::Debug),
            v1::LogLevel::Info => Some(Level::Info),
            v1::LogLevel::Warn => Some(Level::Warn),
            v1::LogLevel::Error => Some(Level::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_comes_back_as_it_was() {
        for level in [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error] {
            let line = LogLine {
                time: Timestamp(7),
                level,
                process: "tm-1".to_owned(),
                target: "taskmanager::service".to_owned(),
                message: "deployed".to_owned(),
                fields: vec![("attempt".to_owned(), "1".to_owned())],
            };
            assert_eq!(LogLine::try_from(v1::LogLine::from(line.clone())), Ok(line));
        }
        assert!(LogLine::try_from(v1::LogLine::default()).is_err());
    }
}
