//! What takes part in the benchmark.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// One row of the table.
pub(crate) trait Contestant {
    /// Its data or place, a `/`, and who it is. Those with the same first part take turns.
    fn name(&self) -> &str;

    /// What it does, in a few words.
    fn what(&self) -> &str;

    /// Whether it runs without being asked for by name.
    fn is_default(&self) -> bool {
        true
    }

    /// What its figures are for each of.
    fn unit(&self) -> Unit {
        Unit::Event
    }

    /// Makes ready what is not to be measured.
    ///
    /// # Errors
    /// If what the machine has does not work as it should. What it does not have is no error but the reason in the answer.
    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready>;

    /// Runs once, and checks the result.
    ///
    /// # Errors
    /// If the run fails, or its result is wrong.
    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run>;
}

/// Whether a contestant can run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It can.
    Yes,
    /// It cannot, for this reason.
    No(String),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// Events.
    Event,
    /// Rows of a table.
    Row,
}

/// A run whose result was right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// How many events or rows went through.
    pub(crate) count: u64,
    /// By the clock, in seconds.
    pub(crate) wall_s: f64,
    /// CPU time of all its processes, user and system, in seconds.
    pub(crate) cpu_s: f64,
    /// The most memory that its processes ever had in RAM, added up.
    pub(crate) peak_bytes: Option<u64>,
    /// From the start to the first row that somebody else can see, in seconds.
    pub(crate) first_row_s: Option<f64>,
}

impl Run {
    /// CPU time for each, in µs.
    pub(crate) fn cpu_us_each(&self) -> f64 {
        self.cpu_s * 1e6 / as_f64(self.count)
    }

    /// How many a second of the clock.
    pub(crate) fn per_s(&self) -> f64 {
        as_f64(self.count) / self.wall_s
    }

    /// How many a second of CPU time.
    pub(crate) fn per_cpu_s(&self) -> f64 {
        as_f64(self.count) / self.cpu_s
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody benches 2^52 events")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
