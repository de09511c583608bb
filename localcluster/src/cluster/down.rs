//! Stopping exactly what was started.

use super::Error;
use crate::postgres;
use crate::state_dir::{Record, StateDir};

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
    let (signal, limit) = (record.stop_signal, record.stop_limit);
    if record.identity.stop(signal, limit) { Stopped::Asked(record) } else { Stopped::Killed(record) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::process::{Identity, StopSignal};

    /// A process that ends `after_s` seconds behind a SIGTERM.
    fn slow(after_s: &str) -> Child {
        let script = format!("trap 'sleep {after_s}; exit' TERM; echo ready; while :; do sleep 0.05; done");
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", &script]).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        child
    }

    fn stopped(child: Child, stop_limit: Duration) -> Stopped {
        let record = Record {
            name: "taskmanager-1".to_owned(),
            identity: Identity::of(child.id()).unwrap(),
            what: "a test".to_owned(),
            port: None,
            log: "/log".into(),
            stop_signal: StopSignal::Terminate,
            stop_limit,
        };
        stop(record)
    }

    #[test]
    fn each_component_gets_the_time_that_it_may_take() {
        assert!(matches!(stopped(slow("0.3"), Duration::from_secs(60)), Stopped::Asked(_)));
        assert!(matches!(stopped(slow("60"), Duration::from_millis(200)), Stopped::Killed(_)));
    }
}
