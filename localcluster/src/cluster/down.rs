//! Stopping exactly what was started.

use std::time::Duration;

use super::Error;
use crate::postgres;
use crate::state_dir::{Record, StateDir};

/// Longer than any of them needs to close what it has open; then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What became of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It ended when it was asked to.
    Asked(Record),
    /// It did not end when asked, and was killed.
    Killed(Record),
    /// It had ended before.
    WasDead(Record),
}

/// Stops the components that `up` started, the last one first. Data and logs stay.
///
/// # Errors
/// If the state folder cannot be used.
pub fn down(state: &StateDir) -> Result<Vec<Stopped>, Error> {
    if !state.root().exists() {
        return Ok(Vec::new());
    }
    let _lock = state.lock()?;
    let stopped = state.records().into_iter().rev().map(stop).collect::<Vec<_>>();
    for Stopped::Asked(record) | Stopped::Killed(record) | Stopped::WasDead(record) in &stopped {
        state.forget(&record.name);
    }
    Ok(stopped)
}

/// Stops the components and removes their data and logs. Downloads stay in the cache.
///
/// # Errors
/// If the state folder cannot be used or removed.
pub fn clean(state: &StateDir) -> Result<Vec<Stopped>, Error> {
    let stopped = down(state)?;
    // Postgres' data may have had to go elsewhere. What cannot be removed there is no reason to keep the rest.
    if let Some(folder) = postgres::moved_from(&state.data("postgres")) {
        let _ = std::fs::remove_dir_all(folder);
    }
    state.remove()?;
    Ok(stopped)
}

fn stop(record: Record) -> Stopped {
    if !record.identity.is_alive() {
        return Stopped::WasDead(record);
    }
    if record.identity.stop(record.stop_signal, STOP_LIMIT) { Stopped::Asked(record) } else { Stopped::Killed(record) }
}
