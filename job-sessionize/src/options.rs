//! What a user can choose about the job itself, checked once.
//!
//! Where records come from, where rows go and how wide the job runs are the pipeline's; the constants here are what those
//! get where the user says nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_core::session::{self, Limits};
use stream_core::time::millis;
use web_intake::{OnBadRecord, OnLate};

use crate::operator::Form;

/// The inactivity that ends a session.
pub const DEFAULT_GAP: Duration = Duration::from_secs(5 * 60);
/// How far the watermark stays behind the latest event time.
pub const DEFAULT_WATERMARK_DELAY: Duration = Duration::from_secs(15);
/// How long a partition may be silent before it no longer holds the others back.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The table that the rows go to.
pub const DEFAULT_TABLE: &str = "sessionized_aggregated_events";
/// How far an event may be ahead of the wall clock.
pub const DEFAULT_MAX_FUTURE: Duration = Duration::from_secs(3600);

/// The fewest hits that a session can be limited to: those that are full stay in memory for a gap, and each event of the same visitor
/// passes them.
pub const LEAST_MAX_HITS: u64 = 100;

/// The job's options. They travel as JSON ([`Options::to_json`]) inside the pipeline, which nobody but this job reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    gap_ms: i64,
    allowed_lateness_ms: i64,
    limits: Limits,
    /// What becomes of late events.
    pub(crate) on_late: OnLate,
    /// What becomes of bad records.
    pub(crate) on_bad_record: OnBadRecord,
    /// Whether rows have the time of the session's last event.
    pub(crate) has_last_event: bool,
    /// Whether open sessions are kept in a table, too.
    pub(crate) has_open_table: bool,
}

/// Options that make no job.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    /// Every event would be its own session's end.
    #[error("the gap is 0: choose at least `1ms`")]
    NoGap,
    /// A session would have to end before it has ended.
    #[error("the longest session is shorter than the gap: choose at least the gap")]
    ShortSession,
    /// See [`LEAST_MAX_HITS`].
    #[error("a session is limited to too few hits: choose at least {LEAST_MAX_HITS}")]
    FewHits,
    /// What a late event would do to a session that is in parts nobody could say.
    #[error("a limit of sessions does not go with an allowed lateness: choose one of them")]
    LimitsWithLateness,
    /// Times are counted in 64-bit milliseconds.
    #[error("`{0}` is too large: choose less than 292 million years")]
    TooLarge(&'static str),
    /// Not written by [`Options::to_json`] of this version.
    #[error("its options are not readable: {0}")]
    Unreadable(serde_json::Error),
}

/// The stored form. Unknown fields are refused: they would be choices that nobody honours.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    gap_ms: u64,
    allowed_lateness_ms: u64,
    // A job of the time before had no choice.
    #[serde(default)]
    on_late: OnLate,
    #[serde(default)]
    on_bad_record: OnBadRecord,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    last_event: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    open_table: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_session_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_hits: Option<u64>,
}

impl Options {
    /// A gap of [`DEFAULT_GAP`], no lateness, and what is late or bad counted only.
    pub const DEFAULT: Options = Options {
        gap_ms: DEFAULT_GAP.as_millis() as i64,
        allowed_lateness_ms: 0,
        limits: Limits::NONE,
        on_late: OnLate::Drop,
        on_bad_record: OnBadRecord::Skip,
        has_last_event: false,
        has_open_table: false,
    };

    /// Sessions that end after `gap` without an event and take late events for `allowed_lateness` more. What is late or bad
    /// is counted only.
    ///
    /// Lateness 0 is Flink's SQL form of the job, any other its DataStream form: see [`Form`].
    ///
    /// # Errors
    /// If the gap is below one millisecond.
    pub fn new(gap: Duration, allowed_lateness: Duration) -> Result<Self, InvalidOptions> {
        match (millis(gap), millis(allowed_lateness)) {
            (0, _) => Err(InvalidOptions::NoGap),
            (gap_ms, allowed_lateness_ms) => Ok(Options { gap_ms, allowed_lateness_ms, ..Options::default() }),
        }
    }

    /// The same, with these policies.
    pub const fn with_policies(self, on_late: OnLate, on_bad_record: OnBadRecord) -> Self {
        Options { on_late, on_bad_record, ..self }
    }

    /// What becomes of late events.
    pub const fn on_late(self) -> OnLate {
        self.on_late
    }

    /// What becomes of bad records.
    pub const fn on_bad_record(self) -> OnBadRecord {
        self.on_bad_record
    }

    /// Whether each row has the time of its last event.
    pub const fn has_last_event(self) -> bool {
        self.has_last_event
    }

    /// The same, with or without the time of the last event in each row.
    pub const fn with_last_event(self, has_last_event: bool) -> Self {
        Options { has_last_event, ..self }
    }

    /// Whether the open sessions are in a table.
    pub const fn has_open_table(self) -> bool {
        self.has_open_table
    }

    /// The same, with or without a table of the open sessions ([`crate::open_table`]), which is then the last of the sink's.
    pub const fn with_open_table(self, has_open_table: bool) -> Self {
        Options { has_open_table, ..self }
    }

    /// The same, with sessions that last less than `max_session` and have at most `max_hits` events; `None` for no limit. What goes on beyond
    /// it stands there in parts.
    ///
    /// # Errors
    /// If a limit is below what a session can be, or late events are allowed for.
    pub fn with_limits(self, max_session: Option<Duration>, max_hits: Option<u64>) -> Result<Self, InvalidOptions> {
        let max_span_ms = max_session.map_or(Limits::NONE.max_span_ms, millis);
        let limits = Limits { max_span_ms, max_events: max_hits.unwrap_or(Limits::NONE.max_events) };
        if limits.max_span_ms < self.gap_ms {
            return Err(InvalidOptions::ShortSession);
        }
        if limits.max_events < LEAST_MAX_HITS {
            return Err(InvalidOptions::FewHits);
        }
        if limits != Limits::NONE && self.allowed_lateness_ms > 0 {
            return Err(InvalidOptions::LimitsWithLateness);
        }
        Ok(Options { limits, ..self })
    }

    /// Reads what [`Options::to_json`] wrote.
    ///
    /// # Errors
    /// If it is something else, or a value is out of range.
    pub fn from_json(json: &str) -> Result<Self, InvalidOptions> {
        let stored: Stored = serde_json::from_str(json).map_err(InvalidOptions::Unreadable)?;
        let gap_ms = i64::try_from(stored.gap_ms).map_err(|_| InvalidOptions::TooLarge("gap_ms"))?;
        let allowed_lateness_ms =
            i64::try_from(stored.allowed_lateness_ms).map_err(|_| InvalidOptions::TooLarge("allowed_lateness_ms"))?;
        if gap_ms == 0 {
            return Err(InvalidOptions::NoGap);
        }
        let Stored { on_late, on_bad_record, max_session_ms, max_hits, .. } = stored;
        let options = Options { gap_ms, allowed_lateness_ms, on_late, on_bad_record, ..Options::DEFAULT };
        let options = options.with_last_event(stored.last_event).with_open_table(stored.open_table);
        options.with_limits(max_session_ms.map(Duration::from_millis), max_hits)
    }

    /// The options as they travel.
    pub fn to_json(self) -> String {
        let stored = Stored {
            gap_ms: self.gap_ms.unsigned_abs(),
            allowed_lateness_ms: self.allowed_lateness_ms.unsigned_abs(),
            on_late: self.on_late,
            on_bad_record: self.on_bad_record,
            last_event: self.has_last_event,
            open_table: self.has_open_table,
            max_session_ms: (self.limits.max_span_ms < Limits::NONE.max_span_ms)
                .then_some(self.limits.max_span_ms.unsigned_abs()),
            max_hits: (self.limits.max_events < Limits::NONE.max_events).then_some(self.limits.max_events),
        };
        serde_json::to_string(&stored).expect("numbers and names can always be written")
    }

    /// What a window is, for `stream_core::session`.
    pub fn windows(self) -> session::Config {
        let Options { gap_ms, allowed_lateness_ms, limits, .. } = self;
        session::Config { gap_ms, allowed_lateness_ms, limits }
    }

    /// Up to what distance the source puts events of one key together. With limits the windows would take them apart again: the order of
    /// events decides where a session is parted.
    pub(crate) fn puts_together_within_ms(self) -> Option<i64> {
        (self.limits == Limits::NONE).then_some(self.gap_ms)
    }

    /// Which of Flink's two forms of the job this is.
    pub fn form(self) -> Form {
        if self.allowed_lateness_ms == 0 { Form::Sql } else { Form::DataStream }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_back() {
        let options = Options::new(Duration::from_secs(90), Duration::from_millis(5)).expect("valid");
        assert_eq!(
            options.to_json(),
            r#"{"gap_ms":90000,"allowed_lateness_ms":5,"on_late":"drop","on_bad_record":"skip"}"#
        );
        assert_eq!(Options::from_json(&options.to_json()).expect("own text"), options);
        assert_eq!(Options::from_json(&Options::default().to_json()).expect("own text"), Options::default());
        let limited = Options::default().with_limits(Some(Duration::from_secs(3600)), Some(1000)).expect("valid");
        assert!(limited.to_json().contains(r#""max_session_ms":3600000,"max_hits":1000"#), "{}", limited.to_json());
        assert_eq!(Options::from_json(&limited.to_json()).expect("own text"), limited);
        for with_more in [Options::DEFAULT.with_last_event(true), Options::DEFAULT.with_open_table(true)] {
            assert_eq!(Options::from_json(&with_more.to_json()).expect("own text"), with_more);
        }
    }

    #[test]
    fn gap_must_last() {
        for gap in [Duration::ZERO, Duration::from_micros(999)] {
            let error = Options::new(gap, Duration::ZERO).expect_err("no gap");
            assert_eq!(error.to_string(), "the gap is 0: choose at least `1ms`");
        }
    }

    #[test]
    fn limits_that_make_no_sessions_are_refused() {
        let limited =
            |options: Options, seconds: u64, hits| options.with_limits(Some(Duration::from_secs(seconds)), hits);
        assert!(matches!(limited(Options::DEFAULT, 299, None), Err(InvalidOptions::ShortSession)));
        assert!(matches!(limited(Options::DEFAULT, 300, Some(99)), Err(InvalidOptions::FewHits)));
        let late = Options::new(DEFAULT_GAP, Duration::from_millis(1)).expect("valid");
        assert!(matches!(limited(late, 300, None), Err(InvalidOptions::LimitsWithLateness)));
        assert_eq!(late.with_limits(None, None).expect("none"), late);
    }

    #[test]
    fn foreign_options_are_refused() {
        for json in [
            "",
            "{}",
            r#"{"gap_ms":-1,"allowed_lateness_ms":0}"#,
            r#"{"gap_ms":0,"allowed_lateness_ms":0}"#,
            r#"{"gap_ms":18446744073709551615,"allowed_lateness_ms":0}"#,
            r#"{"gap_ms":1,"allowed_lateness_ms":0,"color":"red"}"#,
        ] {
            assert!(Options::from_json(json).is_err(), "{json}");
        }
    }

    #[test]
    fn lateness_chooses_the_form() {
        assert_eq!(Options::default().form(), Form::Sql);
        let late = Options::new(DEFAULT_GAP, Duration::from_millis(1)).expect("valid");
        assert_eq!(late.form(), Form::DataStream);
    }
}
