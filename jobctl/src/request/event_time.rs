//! How jobs with windows take event time.

use std::time::Duration;

use job_sessionize::options::{DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_FUTURE, DEFAULT_WATERMARK_DELAY};
use stream_core::pipeline::Pipeline;
use web_intake::OnLate;
use web_intake::late_events::LATE_EVENTS;

use super::outlet::Outlet;
use super::source::Times;
use super::{Given, Place};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

/// When windows end, and what becomes of what comes later.
pub(super) struct EventTime {
    pub(super) allowed_lateness: Duration,
    pub(super) on_late: OnLate,
    /// Where late events are kept if not in a table.
    late_events: Option<Outlet>,
    watermark_delay: Duration,
    idle_timeout: Duration,
    max_future: Duration,
    /// `None`: what suits the window.
    max_drift: Option<Duration>,
    closes_when_idle: bool,
}

/// What was asked for.
///
/// # Errors
/// If a value cannot be.
pub(super) fn event_time(
    args: &args::EventTime,
    environment: &Environment,
    place: Place,
) -> Result<EventTime, Failure> {
    let given = |flag, typed| Given::find(flag, typed, environment);
    let duration = |flag, typed, default| given(flag, typed).map_or(Ok(default), |given| given.duration());
    let idle_timeout = duration("--idle-timeout", &args.idle_timeout, DEFAULT_IDLE_TIMEOUT)?;
    let closes_when_idle = match given("--close-when-idle", &args.close_when_idle) {
        Some(given) if given.switch()? && idle_timeout.is_zero() => {
            return Err(Failure::usage(given.refused(&"no partition is ever idle: choose an --idle-timeout above 0")));
        }
        Some(given) => given.switch()?,
        None => false,
    };
    let (on_late, late_events) = given("--on-late", &args.on_late)
        .map_or(Ok((default_on_late(place), None)), |given| late_policy(&given, environment))?;
    Ok(EventTime {
        allowed_lateness: duration("--allowed-lateness", &args.allowed_lateness, Duration::ZERO)?,
        on_late,
        late_events,
        watermark_delay: duration("--watermark-delay", &args.watermark_delay, DEFAULT_WATERMARK_DELAY)?,
        idle_timeout,
        max_future: duration("--max-future", &args.max_future, DEFAULT_MAX_FUTURE)?,
        max_drift: given("--max-drift", &args.max_drift).map(|given| given.duration()).transpose()?,
        closes_when_idle,
    })
}

impl EventTime {
    /// Has late events go where they are kept.
    ///
    /// # Errors
    /// If they cannot.
    pub(super) fn keep_late_events(self, pipeline: &mut Pipeline) -> Result<(), Failure> {
        self.late_events.map_or(Ok(()), |outlet| outlet.take(pipeline, LATE_EVENTS))
    }

    /// The times of a source whose windows have ended `window` behind their last event.
    pub(super) fn times(&self, window: Duration) -> Times {
        let EventTime { watermark_delay, idle_timeout, max_future, max_drift, closes_when_idle, .. } = *self;
        // Without an idle timeout a silent partition would hold the others for ever.
        let default_drift = if idle_timeout.is_zero() { Duration::ZERO } else { window };
        let max_drift = max_drift.unwrap_or(default_drift);
        let close_when_idle = if closes_when_idle { window.saturating_add(watermark_delay) } else { Duration::ZERO };
        Times { watermark_delay, idle_timeout, max_future, max_drift, close_when_idle }
    }
}

/// Where results go to a terminal or a file, a second file would surprise.
fn default_on_late(place: Place) -> OnLate {
    if place == Place::Here { OnLate::Drop } else { OnLate::DeadLetterTable }
}

fn late_policy(given: &Given, environment: &Environment) -> Result<(OnLate, Option<Outlet>), Failure> {
    if let Some(outlet) = Outlet::of(given, environment)? {
        return Ok((OnLate::DeadLetterTable, Some(outlet)));
    }
    match given.text.as_str() {
        "dead-letter-table" => Ok((OnLate::DeadLetterTable, None)),
        "drop" => Ok((OnLate::Drop, None)),
        "fail" => Ok((OnLate::Fail, None)),
        _ => Err(given.not(
            "a policy for late events",
            "choose `dead-letter-table`, `topic:NAME`, `csv:PATH`, `jsonl:PATH`, `drop` or `fail`",
        )),
    }
}
