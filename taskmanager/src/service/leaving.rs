//! From the word to stop to the end of the tasks: the jobmanager is told, and sees to a last checkpoint of their jobs.

use tokio::time::Instant;

use super::Service;
use crate::report::Report;

impl Service {
    /// This taskmanager was told to stop.
    pub(super) fn begin_leaving(&mut self) {
        self.leaving_until = Some(Instant::now() + self.options.leave_timeout);
        if !self.has_nothing_to_wait_for() {
            tracing::info!(tasks = self.running.borrow().len(), "leaving: waiting for a last checkpoint");
            self.report(Report::Leaving);
        }
    }

    /// Whether one that is leaving may stop: it was let go, or there is nobody who could, or nothing that runs.
    pub(super) fn has_nothing_to_wait_for(&self) -> bool {
        self.is_released || self.attempts.is_empty() || !self.link.is_joined() || self.options.leave_timeout.is_zero()
    }
}
