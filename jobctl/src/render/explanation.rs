//! Why a job is where it is, and its open sessions, as text.

use super::Side::{Left, Right};
use super::{NONE, fields, or_none, span, table, time, watermark};
use crate::terminal::harmless;
use crate::view::{EventTimeState, Explanation, OpenSession};

/// `jobctl explain`.
pub(crate) fn explanation(explanation: &Explanation) -> String {
    let Explanation { job, name, state, event_time, findings, sessions } = explanation;
    let mut text = fields([
        ("Job", format!("{job} {name}, {state}")),
        ("Watermark", progress(event_time)),
        ("Held by", holder(event_time)),
    ]);
    text += "\n";
    if findings.is_empty() {
        text += "Nothing holds it up: sessions end as event time goes on.\n";
    }
    for finding in findings {
        let cause = serde_json::to_value(finding.cause).expect("a cause is a word");
        let cause = cause.as_str().unwrap_or_default();
        text += &format!("{cause}: {}\n  {}\n", harmless(&finding.what), harmless(&finding.advice));
    }
    if let Some(sessions) = sessions {
        text += "\n";
        text += &explained(sessions, event_time.watermark_ms);
    }
    text
}

/// `jobctl sessions --open`.
pub(crate) fn open_sessions(sessions: &[OpenSession]) -> String {
    if sessions.is_empty() {
        return "no such session is open\n".to_owned();
    }
    let columns =
        [("IP", Left), ("HOST", Left), ("EVENTS", Right), ("START", Left), ("LAST EVENT", Left), ("CLOSES AT", Left)];
    table(
        columns,
        sessions.iter().map(|session| {
            [
                or_none(session.ip.as_ref()),
                or_none(session.host.as_ref()),
                session.events.to_string(),
                time(session.start_ms),
                time(session.last_event_ms),
                time(session.closes_at_ms),
            ]
        }),
    )
}

fn progress(event_time: &EventTimeState) -> String {
    let at = watermark(event_time.watermark_ms);
    match event_time.behind_clock_ms {
        Some(behind) if at.ends_with(|c: char| c.is_ascii_digit()) => {
            let side = if behind >= 0 { "behind" } else { "ahead of" };
            format!("{at} UTC, {} {side} the clock", span(0, behind.saturating_abs()))
        }
        _ => at,
    }
}

fn holder(event_time: &EventTimeState) -> String {
    let Some(split) = &event_time.held_by else { return NONE.to_owned() };
    match event_time.silent_ms {
        Some(silent) if silent > 0 => {
            format!("{split}, at its end for {}", span(0, silent.try_into().unwrap_or(i64::MAX)))
        }
        _ => split.clone(),
    }
}

/// With how far event time has to go until each ends.
fn explained(sessions: &[OpenSession], watermark_ms: Option<i64>) -> String {
    if sessions.is_empty() {
        return "no such session is open: it has ended, was never begun, or its events were late or bad\n".to_owned();
    }
    let mut text = open_sessions(sessions);
    if let (Some(next), Some(at)) = (sessions.iter().map(|session| session.closes_at_ms).min(), watermark_ms) {
        text += &format!("the first of them ends after {} more of event time\n", span(at, next));
    }
    text
}
