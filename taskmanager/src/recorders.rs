//! What is recorded as it happens: the histograms of [`crate::metrics`].

use std::time::Duration;

use stream_core::time::Timestamp;
use telemetry::{Histogram, Spread, Telemetry, number};

use crate::metrics::{PUBLISH_DURATION, PUBLISH_ROWS, ROW_LATENCY};

/// The histograms of this taskmanager.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorders {
    publish_duration: Histogram,
    publish_rows: Histogram,
    row_latency: Histogram,
}

/// The same, for one job.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobRecorders {
    recorders: Recorders,
    job_name: String,
}

impl Recorders {
    /// Where they are told.
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Recorders {
            publish_duration: telemetry.histogram(&PUBLISH_DURATION),
            publish_rows: telemetry.histogram(&PUBLISH_ROWS),
            row_latency: telemetry.histogram(&ROW_LATENCY),
        }
    }

    /// Those of a job.
    pub(crate) fn of_job(&self, job_name: &str) -> JobRecorders {
        JobRecorders { recorders: self.clone(), job_name: job_name.to_owned() }
    }
}

impl JobRecorders {
    /// An epoch was published.
    pub(crate) fn on_published(&self, took: Duration, rows: u64) {
        self.recorders.publish_duration.record(took.as_secs_f64(), &self.attributes());
        self.recorders.publish_rows.record(number(rows), &self.attributes());
    }

    /// Rows that were due at these moments are visible now.
    pub(crate) fn on_visible(&self, due: &Spread, now: Timestamp) {
        due.record(&self.recorders.row_latency, now, &self.attributes());
    }

    fn attributes(&self) -> [(&'static str, &str); 1] {
        [("job.name", &self.job_name)]
    }
}
