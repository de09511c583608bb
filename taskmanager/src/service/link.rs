//! What the jobmanager is told, while there is one and when there is one again.
//!
//! What happens without a jobmanager is kept if nobody could find it out later: how a task ended, and what was published.
//! The rest is told anew from what is so when the next one is joined.

use stream_core::job::TaskState;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::report::Report;

/// The way to the jobmanager.
#[derive(Debug, Default)]
pub(super) struct Link {
    reports: Option<mpsc::Sender<Report>>,
    /// At most one end of each task and a few epochs: nothing is deployed, and nothing completed, without a jobmanager.
    untold: Vec<Report>,
    /// Until when the tasks may go on alone.
    orphaned_until: Option<Instant>,
}

impl Link {
    /// There is a jobmanager; it is told what none was told.
    pub(super) fn on_joined(&mut self, reports: mpsc::Sender<Report>) {
        self.reports = Some(reports);
        self.orphaned_until = None;
        let untold = std::mem::take(&mut self.untold);
        for report in untold {
            self.send(report);
        }
    }

    /// There is none any more; the tasks may go on until `orphaned_until`.
    pub(super) fn on_lost(&mut self, orphaned_until: Instant) {
        self.reports = None;
        self.orphaned_until.get_or_insert(orphaned_until);
    }

    /// Whether there is a jobmanager now.
    pub(super) fn is_joined(&self) -> bool {
        self.reports.is_some()
    }

    /// Until when the tasks may go on alone; nothing while they are not.
    pub(super) fn orphaned_until(&self) -> Option<Instant> {
        self.orphaned_until
    }

    /// The tasks are not left alone any more: nobody is left.
    pub(super) fn end_orphanage(&mut self) {
        self.orphaned_until = None;
    }

    /// Tells the jobmanager, or keeps what the next one must know. Whether the jobmanager takes reports, or there is none: one
    /// that does not counts as lost.
    pub(super) fn send(&mut self, report: Report) -> bool {
        let Some(reports) = &self.reports else {
            self.keep(report);
            return true;
        };
        match reports.try_send(report) {
            Ok(()) => true,
            Err(error) => {
                self.keep(error.into_inner());
                self.reports = None;
                false
            }
        }
    }

    /// Tells the jobmanager what it does not miss. Whether it was told.
    pub(super) fn send_if_there_is_room(&self, report: Report) -> bool {
        self.reports.as_ref().is_some_and(|reports| reports.try_send(report).is_ok())
    }

    fn keep(&mut self, report: Report) {
        let is_kept = match &report {
            Report::StateChange { state, .. } => TaskState::is_terminal(*state),
            Report::Published { .. } => true,
            Report::Acknowledged { .. } | Report::Declined { .. } | Report::Drained(_) => false,
            Report::Leaving | Report::Heartbeat { .. } | Report::Pace { .. } | Report::Answered { .. } => false,
            Report::Logs { .. } => false,
        };
        if is_kept {
            self.untold.push(report);
        }
    }
}
