//! A line of a process's log, as a value that travels: what the processes of a cluster say about a job.

use std::fmt;
use std::str::FromStr;

use crate::secret::Redaction;
use crate::time::Timestamp;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each step.
    Trace,
    /// What a developer asks for.
    Debug,
    /// What happens.
    Info,
    /// What should not happen, and was dealt with.
    Warn,
    /// What could not be dealt with.
    Error,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was logged, by the clock of its process.
    pub time: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// Who logged it; empty for this process.
    pub process: String,
    /// The module.
    pub target: String,
    /// What is said.
    pub message: String,
    /// Names and values, those of the spans around it first.
    pub fields: Vec<(String, String)>,
}

impl LogLine {
    /// The line without secrets.
    #[must_use]
    pub fn redacted(mut self, redaction: &Redaction) -> Self {
        self.message = redaction.apply(self.message);
        self.fields.iter_mut().for_each(|(_, value)| *value = redaction.apply(std::mem::take(value)));
        self
    }

    /// What it costs to keep, in bytes.
    pub fn bytes(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        size_of::<LogLine>() + self.process.len() + self.target.len() + self.message.len() + fields
    }
}

impl Level {
    const ALL: [(Level, &str); 5] = [
        (Level::Trace, "trace"),
        (Level::Debug, "debug"),
        (Level::Info, "info"),
        (Level::Warn, "warn"),
        (Level::Error, "error"),
    ];

    /// The level as a word.
    pub fn word(self) -> &'static str {
        Level::ALL[self as usize].1
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The text is no level.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a level: write `trace`, `debug`, `info`, `warn` or `error`")]
pub struct ParseLevelError(String);

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Level::ALL.into_iter().find(|(_, word)| *word == text);
        found.map(|(level, _)| level).ok_or_else(|| ParseLevelError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_read_as_they_are_shown() {
        assert!(Level::Debug < Level::Info && Level::Warn < Level::Error);
        for (level, word) in Level::ALL {
            assert_eq!((word.parse(), level.word()), (Ok(level), word));
        }
        assert!("WARN".parse::<Level>().is_err());
    }
}
