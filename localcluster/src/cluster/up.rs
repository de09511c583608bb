//! Starting what does not run yet.

use std::process::Child;
use std::time::Duration;

use super::Error;
use super::component::{Component, Plan, plan};
use crate::deadline::Deadline;
use crate::ports;
use crate::process::Identity;
use crate::settings::Settings;
use crate::state_dir::{Record, StateDir};

/// A component after `up`.
#[derive(Debug, Clone)]
pub struct Up {
    /// The process.
    pub record: Record,
    /// How long it took to get ready; `None` if it ran already.
    pub ready_after: Option<Duration>,
}

/// Starts every component that does not run, waits until each is ready, and tells of all of them.
///
/// A component that runs is left as it is, so a second call changes nothing. What was started before a failure stays
/// up: its log is of use, and [`super::down`] stops it.
///
/// # Errors
/// The first component that cannot be started, with what to do about it.
pub fn up(settings: &Settings, state: &StateDir) -> Result<Vec<Up>, Error> {
    let _lock = state.lock()?;
    let groups = plan(settings);
    for plan in groups.iter().flatten() {
        plan.check_built(settings)?;
        check_port(plan, settings, state)?;
    }
    let mut all = Vec::new();
    for group in groups {
        let mut starting = Vec::new();
        for plan in group {
            match state.running(&plan.name()) {
                Some(record) => all.push(Up { record, ready_after: None }),
                None => starting.push(Starting::begin(plan.prepare(settings, state)?, state)?),
            }
        }
        for starting in starting {
            all.push(starting.finish(state)?);
        }
    }
    Ok(all)
}

fn check_port(plan: &Plan, settings: &Settings, state: &StateDir) -> Result<(), Error> {
    let name = plan.name();
    let Some((port, variable)) = plan.port(settings) else { return Ok(()) };
    if state.running(&name).is_some() || !ports::is_taken(port) {
        return Ok(());
    }
    let free = (port..).skip(1).find(|port| !ports::is_taken(*port)).unwrap_or(port);
    Err(Error::PortTaken { name, port, variable, free })
}

/// A process that was started and is not ready yet.
struct Starting {
    component: Component,
    record: Record,
    child: Child,
    deadline: Deadline,
}

impl Starting {
    /// Starts the process and remembers it at once: `down` must know it even if we are interrupted now.
    fn begin(component: Component, state: &StateDir) -> Result<Starting, Error> {
        let deadline = Deadline::after(component.ready.limit());
        let spawned = component.launch.spawn();
        let mut child = spawned.map_err(|source| Error::Spawn { name: component.name.clone(), source })?;
        let Some(identity) = Identity::of(child.id()) else {
            return Err(died(&component, &mut child));
        };
        let record = Record {
            name: component.name.clone(),
            identity,
            what: component.what.clone(),
            port: component.port,
            log: component.launch.log.clone(),
            stop_signal: component.launch.stop_signal,
            stop_limit: component.launch.stop_limit,
        };
        state.write(&record)?;
        Ok(Starting { component, record, child, deadline })
    }

    fn finish(mut self, state: &StateDir) -> Result<Up, Error> {
        let (component, child) = (&self.component, &mut self.child);
        let ready = self.deadline.wait_for(|| {
            if !matches!(child.try_wait(), Ok(None)) {
                state.forget(&component.name);
                return Err(died(component, child));
            }
            Ok(component.ready.holds(child.id()).then_some(()))
        })?;
        match ready {
            Some(()) => Ok(Up { record: self.record, ready_after: Some(self.deadline.elapsed()) }),
            None => Err(Error::NotReady {
                name: component.name.clone(),
                limit_s: component.ready.limit().as_secs(),
                log: component.launch.log.clone(),
                last_words: component.launch.last_words(),
            }),
        }
    }
}

fn died(component: &Component, child: &mut Child) -> Error {
    Error::Died {
        name: component.name.clone(),
        status: child.wait().map_or_else(|_| "unknown status".to_owned(), |status| status.to_string()),
        log: component.launch.log.clone(),
        last_words: component.launch.last_words(),
    }
}
