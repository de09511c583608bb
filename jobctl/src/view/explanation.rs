//! What `jobctl explain` and `jobctl sessions` show.

use job_sessionize::open_sessions;
use serde::Serialize;

use crate::diagnosis::Finding;

/// `jobctl explain`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) job: String,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) event_time: EventTimeState,
    /// What holds it up, the most pressing first.
    pub(crate) findings: Vec<Finding>,
    /// The open sessions that were asked for; absent if none were.
    pub(crate) sessions: Option<Vec<OpenSession>>,
}

/// How far event time has come.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventTimeState {
    /// The least watermark of the subtasks that hold sessions.
    pub(crate) watermark_ms: Option<i64>,
    /// How far that is behind the clock; negative ahead of it.
    pub(crate) behind_clock_ms: Option<i64>,
    /// The partition that holds it back.
    pub(crate) held_by: Option<String>,
    /// For how long that one has been at its end without a record.
    pub(crate) silent_ms: Option<u64>,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OpenSession {
    pub(crate) ip: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) start_ms: i64,
    pub(crate) last_event_ms: i64,
    /// Its events so far.
    pub(crate) events: u64,
    /// It ends once the watermark is here, unless an event comes before.
    pub(crate) closes_at_ms: i64,
}

impl From<open_sessions::OpenSession> for OpenSession {
    fn from(session: open_sessions::OpenSession) -> Self {
        let open_sessions::OpenSession { events, ip, host, start_ms, last_event_ms, closes_at_ms } = session;
        OpenSession { ip, host, start_ms, last_event_ms, events, closes_at_ms }
    }
}
