//! The sessions of a log of events, computed once more and compared with the rows of a table.
//!
//! Deliberately another way than the operator's: no windows, timers or watermarks in motion, but all events of a key sorted by
//! time and parted where the gap is exceeded. It shares with the operator what a key and a count are, and nothing else.
//!
//! **What the order of arrival decides.** While every event comes before the watermark, sessions do not depend on it, and the
//! table must be equal row by row. An event that comes behind the watermark may be late, or may open a session of its own beside
//! one that is closed already, where all events together would have made one. In what order a job read its partitions nobody
//! knows afterwards. So a session that holds such an event, or may hold one, may also stand in the table in parts; what can be
//! checked of these is: each part begins with an event of the session, and together they hold its events, less the late ones.
//!
//! **Limits** (`--max-session`, `--max-hits`). A session that reaches one is parted where the rule parts its events in the order of their
//! times, and must stand there so, if they came in that order. If not, it is checked like any other in parts (`limited`).
//!
//! **Events in no row** are late or open: of one session no more than the ledger has of both, and of all together just as many
//! ([`Findings::in_no_row`]).
//!
//! Pure, and for one part of the keys at a time, so that a caller can bound the memory. Tested by examples here, against the
//! operator in `tests/replay.rs`, and on whole clusters by `e2e/tests/clusters/audit.rs`.

mod compare;
mod findings;
mod limited;

use std::borrow::Cow;
use std::ops::Range;

use stream_core::session::Limits;
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

use crate::key::Key;
use crate::operator::{Form, num_hits};

pub use compare::compare;
pub use findings::{Difference, DifferenceKind, Findings, LISTED_DIFFERENCES};

/// How the job made its sessions, and where it was at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The inactivity that ends a session, in milliseconds.
    pub gap_ms: i64,
    /// How long and how large a session may be.
    pub limits: Limits,
    /// How it counts.
    pub form: Form,
    /// The last section: in those before it event time was ended, so that all their sessions are closed.
    pub last_section: u16,
    /// The watermark at the cut, which decides what is closed of the last section.
    pub watermark: Watermark,
    /// Events that were dropped because they came too late.
    pub late: u64,
    /// Events that are in windows which no row holds yet.
    pub open: u64,
    /// Which sessions may stand in parts.
    pub parts: Parts,
}

/// Which sessions may stand in the table in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// None.
    Never,
    /// Those with an event that came behind the watermark of its own partition.
    WhereBehind,
    /// Any: a partition may have been silent and left out of the watermark, so that its own says nothing.
    Anywhere,
}

/// An event, with what is known of its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event<'a> {
    /// Whose, as [`Key::encode`] writes it.
    pub key: &'a [u8],
    /// Between which two ends of event time it was read; no session reaches over one.
    pub section: u16,
    /// When it happened.
    pub time: EventTime,
    /// Whether the watermark of its own partition may have closed a session that it would have joined.
    pub is_behind: bool,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row<'a> {
    /// `ip` and `host`, as [`Key::encode`] writes them.
    pub key: &'a [u8],
    /// `event_hour`.
    pub start: Option<EventTime>,
    /// `num_hits`.
    pub num_hits: Option<i64>,
}

/// A session that all events together make.
#[derive(Clone, Debug)]
struct Session<'a> {
    /// Whose, as a table has it.
    key: Cow<'a, [u8]>,
    start: EventTime,
    last: EventTime,
    events: u64,
    num_hits: i64,
    is_closed: bool,
    /// Its parts, if it reached a limit. As a whole it is then no row.
    limited: Vec<limited::Part>,
    is_behind: bool,
    /// Where its events are.
    place: Range<usize>,
}

impl Session<'_> {
    fn has_no_host(&self) -> bool {
        Key::decode(&self.key).is_none_or(|key| key.host.is_none())
    }
}

/// A key as a table has it: Postgres cannot store a NUL, which becomes U+FFFD on the way.
pub fn stored_key(key: &[u8]) -> Cow<'_, [u8]> {
    // The key without texts is a single zero.
    if !key[1..].contains(&0) {
        return Cow::Borrowed(key);
    }
    let decoded = Key::decode(key).expect("every key was encoded by this job's decoder");
    let without = |text: Option<&str>| text.map(|text| text.replace('\0', "\u{fffd}"));
    let (ip, host) = (without(decoded.ip), without(decoded.host));
    let mut stored = Vec::new();
    Key { ip: ip.as_deref(), host: host.as_deref() }.encode(&mut stored);
    Cow::Owned(stored)
}

/// The sessions of these events, which are sorted; by key and start.
fn sessions<'a>(rules: &Rules, events: &[Event<'a>]) -> Vec<Session<'a>> {
    let mut sessions = Vec::new();
    let mut begin = 0;
    let is_one = |a: &Event<'_>, b: &Event<'_>| {
        (a.key, a.section) == (b.key, b.section) && b.time.0.saturating_sub(a.time.0) <= rules.gap_ms
    };
    for of_session in events.chunk_by(is_one) {
        let (first, last) = (of_session[0], of_session[of_session.len() - 1]);
        let events = of_session.len() as u64;
        let key = stored_key(first.key);
        let hits = num_hits(rules.form, Key::has_host(&key), events);
        let last_instant = last.time.0.saturating_add(rules.gap_ms) - 1;
        let is_ended = first.section < rules.last_section || last_instant <= rules.watermark.0;
        let limited = limited::parts(rules, of_session, is_ended);
        sessions.push(Session {
            key,
            start: first.time,
            last: last.time,
            events,
            num_hits: hits,
            is_closed: is_ended,
            limited,
            is_behind: of_session.iter().any(|event| event.is_behind),
            place: begin..begin + of_session.len(),
        });
        begin += of_session.len();
    }
    sessions.sort_by(|a, b| (&a.key, a.start).cmp(&(&b.key, b.start)));
    sessions
}

#[cfg(test)]
mod tests;
