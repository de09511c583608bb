//! Sessions that reach a limit: their parts by the rule, and what can be said of others.
//!
//! The rule (`docs/design/0008-limits-of-sessions.md`) is exact where the events of a visitor come in the order of their times.
//! Where they do not, the parts are others, and nobody knows afterwards which. What holds of those: each begins with an event of the
//! session and has no more hits than it may, and together they hold its events, less the late ones and those that are open.

use stream_core::session::Limits;
use stream_core::time::EventTime;

use super::{DifferenceKind, Event, Findings, Parts, Row, Rules, Session};
use crate::key::Key;
use crate::operator::num_hits;

/// A part of a session that reached a limit, by the rule.
#[derive(Clone, Debug)]
pub(super) struct Part {
    start: EventTime,
    pub(super) events: u64,
    num_hits: i64,
    pub(super) is_closed: bool,
}

/// The parts of a session, of which these are the events; none if it reached no limit.
pub(super) fn parts(rules: &Rules, of_session: &[Event<'_>], is_ended: bool) -> Vec<Part> {
    let Limits { max_span_ms, max_events } = rules.limits;
    let mut parts: Vec<Part> = Vec::new();
    let is_full = |events: u64| events >= max_events;
    for event in of_session {
        match parts.last_mut() {
            Some(part) if event.time.0.saturating_sub(part.start.0) < max_span_ms && !is_full(part.events) => {
                part.events += 1;
            }
            _ => parts.push(Part { start: event.time, events: 1, num_hits: 0, is_closed: false }),
        }
    }
    if parts.len() == 1 && !is_full(parts[0].events) {
        return Vec::new();
    }
    let ends: Vec<usize> = parts
        .iter()
        .scan(0, |end, part| {
            *end += part.events as usize;
            Some(*end)
        })
        .collect();
    for (part, end) in parts.iter_mut().zip(ends) {
        let last = of_session[end - 1];
        let key = super::stored_key(last.key);
        part.num_hits = num_hits(rules.form, Key::has_host(&key), part.events);
        let is_over = last.time.0.saturating_add(rules.gap_ms) - 1 <= rules.watermark.0;
        part.is_closed = is_ended || is_over || is_full(part.events);
    }
    parts
}

/// Compares the rows that begin with an event of such a session.
pub(super) fn compare(rules: &Rules, session: &Session<'_>, rows: &[&Row<'_>], findings: &mut Findings) {
    let open: u64 = session.limited.iter().filter(|part| !part.is_closed).map(|part| part.events).sum();
    let closed = session.limited.iter().filter(|part| part.is_closed);
    let mut expected: Vec<(Option<EventTime>, Option<i64>)> =
        closed.map(|part| (Some(part.start), Some(part.num_hits))).collect();
    let mut found: Vec<(Option<EventTime>, Option<i64>)> = rows.iter().map(|row| (row.start, row.num_hits)).collect();
    expected.sort_unstable();
    found.sort_unstable();
    if expected == found {
        findings.equal += found.len() as u64;
        findings.in_no_row += open;
    } else if let Some(missing) = events_missing(rules, session, rows) {
        findings.in_parts += 1;
        findings.parts += rows.len() as u64;
        findings.in_no_row += missing;
        findings.untold += u64::from(session.has_no_host());
        if session.is_closed {
            findings.not_in_parts += missing;
        }
    } else {
        findings.in_no_row += open;
        let mut of_rule = expected.into_iter().peekable();
        for row in found {
            while let Some(gone) = of_rule.next_if(|part| *part < row) {
                findings.differ(DifferenceKind::Missing, &session.key, gone.0, gone.1);
            }
            match of_rule.next_if(|part| *part == row) {
                Some(_) => findings.equal += 1,
                None => findings.differ(DifferenceKind::Unexpected, &session.key, row.0, row.1),
            }
        }
        of_rule.for_each(|gone| findings.differ(DifferenceKind::Missing, &session.key, gone.0, gone.1));
    }
}

/// Whether these rows can be what another order of arrival made of the session; how many of its events they do not hold.
fn events_missing(rules: &Rules, session: &Session<'_>, rows: &[&Row<'_>]) -> Option<u64> {
    if rules.parts == Parts::Never {
        return None;
    }
    let hits: Vec<u64> = rows.iter().map(|row| u64::try_from(row.num_hits?).ok()).collect::<Option<_>>()?;
    if session.has_no_host() {
        return hits.iter().all(|&hits| hits == 0).then_some(0);
    }
    let missing = session.events.checked_sub(hits.iter().sum())?;
    let is_allowed = hits.iter().all(|&hits| hits <= rules.limits.max_events);
    let open = if session.is_closed { 0 } else { rules.open };
    (is_allowed && missing <= rules.late.saturating_add(open)).then_some(missing)
}
