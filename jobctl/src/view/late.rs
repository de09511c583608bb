//! What `jobctl late replay` shows.

use serde::Serialize;

/// `jobctl late replay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LateReplay {
    pub(crate) job: String,
    pub(crate) sink: String,
    pub(crate) table: String,
    /// How far event time is published.
    pub(crate) watermark_ms: Option<i64>,
    /// Keys that have late events.
    pub(crate) keys: u64,
    /// Late events that are in a session now and were in none before.
    pub(crate) replayed: u64,
    /// Rows that changed.
    pub(crate) changed: u64,
    /// Rows that are parts of those now.
    pub(crate) joined: u64,
    /// Rows of late events alone.
    pub(crate) made: u64,
    /// Late events left, since the table does not show yet all that they could belong to.
    pub(crate) too_recent: u64,
    /// Late events left, since nobody knows whether they touch a session.
    pub(crate) undecided: u64,
    /// Late events that were counted and are not in the table.
    pub(crate) not_kept: u64,
}
