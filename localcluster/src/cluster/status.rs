//! What runs, since when, and what it costs.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::state_dir::{Record, StateDir};

/// Whether a component that was started still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs.
    Running,
    /// It ended without being asked.
    Dead,
}

/// One component.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// How it was started.
    #[serde(flatten)]
    pub record: Record,
    /// Whether it still runs.
    pub state: State,
    /// How long it has been running.
    #[serde(rename = "up_s", serialize_with = "as_seconds")]
    pub up_for: Option<Duration>,
    /// Its memory in RAM, in bytes.
    pub resident_bytes: Option<u64>,
}

impl Status {
    /// Whether this is one of our own processes, whose memory is what the cluster costs.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.record.name == "jobmanager" || self.record.name.starts_with("taskmanager-")
    }
}

/// Every component that was started and not stopped.
#[must_use]
pub fn status(state: &StateDir) -> Vec<Status> {
    state.records().into_iter().map(look).collect()
}

fn look(record: Record) -> Status {
    let identity = record.identity;
    Status {
        state: if identity.is_alive() { State::Running } else { State::Dead },
        up_for: identity.running_for(),
        resident_bytes: identity.resident_bytes(),
        record,
    }
}

fn as_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs()).serialize(serializer)
}
