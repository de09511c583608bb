//! What a user can choose about the job itself, checked once.
//!
//! Where records come from, where rows go and how wide the job runs are the pipeline's.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_core::time::millis;
use stream_core::tumbling;
use web_intake::{OnBadRecord, OnLate};

use crate::key;

/// From one window to the next.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(5 * 60);
/// The table of hits per host.
pub const DEFAULT_TABLE: &str = "processed_events_aggregated";

/// The two forms in which the job can be written in Flink. They count differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Table API and SQL: `num_hits` is `COUNT(host)`, so 0 where the host is NULL. It knows no allowed lateness.
    Sql,
    /// `TumblingEventTimeWindows` with `allowedLateness`: `num_hits` counts events, and what a late event is counted in is written
    /// again with its whole new count.
    DataStream,
}

/// The job's options. They travel as JSON ([`Options::to_json`]) inside the pipeline, which nobody but this job reads. Unknown
/// fields are refused: they would be choices that nobody honours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    window_ms: i64,
    allowed_lateness_ms: i64,
    /// What becomes of late events.
    pub on_late: OnLate,
    /// What becomes of bad records.
    pub on_bad_record: OnBadRecord,
}

/// Options that make no job.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    /// No event would be in any.
    #[error("the window is 0: choose at least `1ms`")]
    NoWindow,
    /// There is nothing to be made of it.
    #[error("the allowed lateness is below 0")]
    NegativeLateness,
    /// Not written by [`Options::to_json`] of this version.
    #[error("its options are not readable: {0}")]
    Unreadable(serde_json::Error),
}

impl Options {
    /// Windows of this size that take late events for `allowed_lateness` more. What is late or bad is counted only.
    ///
    /// # Errors
    /// If the window is below one millisecond.
    pub fn new(window: Duration, allowed_lateness: Duration) -> Result<Self, InvalidOptions> {
        let (on_late, on_bad_record) = (OnLate::default(), OnBadRecord::default());
        let (window_ms, allowed_lateness_ms) = (millis(window), millis(allowed_lateness));
        Options { window_ms, allowed_lateness_ms, on_late, on_bad_record }.checked()
    }

    /// The same, with these policies.
    pub const fn with_policies(self, on_late: OnLate, on_bad_record: OnBadRecord) -> Self {
        Options { on_late, on_bad_record, ..self }
    }

    /// Reads what [`Options::to_json`] wrote.
    ///
    /// # Errors
    /// If it is something else, or a value is out of range.
    pub fn from_json(json: &str) -> Result<Self, InvalidOptions> {
        serde_json::from_str::<Options>(json).map_err(InvalidOptions::Unreadable)?.checked()
    }

    /// The options as they travel.
    pub fn to_json(self) -> String {
        serde_json::to_string(&self).expect("numbers and names can always be written")
    }

    /// From one window to the next.
    pub fn window(self) -> Duration {
        Duration::from_millis(self.window_ms.unsigned_abs())
    }

    /// What a window is, for `stream_core::tumbling`.
    pub fn windows(self) -> tumbling::Config {
        tumbling::Config { size_ms: self.window_ms, allowed_lateness_ms: self.allowed_lateness_ms, head: key::head }
    }

    /// Which of Flink's two forms of the job this is.
    pub fn form(self) -> Form {
        if self.allowed_lateness_ms == 0 { Form::Sql } else { Form::DataStream }
    }

    fn checked(self) -> Result<Self, InvalidOptions> {
        match (self.window_ms, self.allowed_lateness_ms) {
            (..=0, _) => Err(InvalidOptions::NoWindow),
            (_, ..=-1) => Err(InvalidOptions::NegativeLateness),
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_back() {
        let options = Options::new(Duration::from_secs(90), Duration::from_millis(5)).expect("valid");
        let options = options.with_policies(OnLate::DeadLetterTable, OnBadRecord::Fail);
        assert_eq!(
            options.to_json(),
            r#"{"window_ms":90000,"allowed_lateness_ms":5,"on_late":"dead-letter-table","on_bad_record":"fail"}"#
        );
        assert_eq!(Options::from_json(&options.to_json()).expect("own text"), options);
    }

    #[test]
    fn what_makes_no_job_is_refused() {
        for window in [Duration::ZERO, Duration::from_micros(999)] {
            let error = Options::new(window, Duration::ZERO).expect_err("no window");
            assert_eq!(error.to_string(), "the window is 0: choose at least `1ms`");
        }
        let json = |window, lateness, more| {
            format!(
                r#"{{"window_ms":{window},"allowed_lateness_ms":{lateness},"on_late":"drop","on_bad_record":"skip"{more}}}"#
            )
        };
        assert!(Options::from_json(&json(1, 0, "")).is_ok());
        for json in [String::new(), "{}".to_owned(), json(0, 0, ""), json(1, -1, ""), json(1, 0, r#","color":"red""#)] {
            assert!(Options::from_json(&json).is_err(), "{json}");
        }
    }
}
