//! What a person at the terminal sees while it runs.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use e2e::audit::Audit;

use crate::injector::Injector;

/// A line that is written over again and again; nothing where nobody looks.
pub(crate) struct Progress {
    is_terminal: bool,
    shown_s: u64,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { is_terminal: std::io::stderr().is_terminal(), shown_s: u64::MAX }
    }

    pub(crate) fn show(&mut self, at: Duration, of: Duration, events: u64, injector: &Injector, audit: &Audit) {
        if !self.is_terminal || self.shown_s == at.as_secs() {
            return;
        }
        self.shown_s = at.as_secs();
        let findings = audit.findings();
        let rows = findings.last.map_or(0, |sample| sample.rows);
        let last = injector.done.last().map(|done| done.kind.to_string()).unwrap_or_default();
        self.say(&format!(
            "{} of {} s  {events} events  {rows} rows  {} faults ({last})  {} violations",
            at.as_secs(),
            of.as_secs(),
            injector.done.len(),
            findings.violations
        ));
    }

    pub(crate) fn say(&self, what: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[2K{what}");
            let _ = std::io::stderr().flush();
        }
    }
}
