//! What a task tells of itself.

use std::time::Duration;

use stream_core::checkpoint::TaskSnapshot;
use stream_core::ids::{CheckpointId, SubtaskId};
use stream_core::operator::QueryError;
use stream_core::watermark::Watermark;
use telemetry::Spread;
use tokio::sync::mpsc;

use crate::slot::Holder;
use crate::subtask::spans::SubtaskSpans;
use crate::subtask::thread::Outcome;

/// What a task tells of itself.
#[derive(Debug)]
pub(crate) struct TaskEvent {
    /// Of which attempt.
    pub(crate) holder: Holder,
    /// Which task.
    pub(crate) subtask: SubtaskId,
    /// What became of it.
    pub(crate) change: Change,
}

/// What became of a task.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    /// Its source, operator or sink is open, and it works.
    Running,
    /// Its part of a checkpoint is stored.
    Acknowledged(Acknowledgement),
    /// Its part of a checkpoint could not be stored.
    Declined {
        /// Of which.
        checkpoint: CheckpointId,
        /// Why, for the user.
        reason: String,
    },
    /// An epoch is visible in the sink.
    Published(CheckpointId),
    /// A source: how far its slowest split is; [`Watermark::END`] if nobody has to wait for any.
    Pace(Watermark),
    /// A source: its input is at its end, and so is its event time.
    Drained,
    /// An operator: what it says to a question about its state.
    Answered {
        /// The question's number.
        query: u64,
        /// The answer, in the job's own form.
        result: Result<String, QueryError>,
    },
    /// Its thread is about to return.
    Ended(Outcome),
}

/// A task's part of a checkpoint, and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    /// Which checkpoint.
    pub(crate) checkpoint: CheckpointId,
    /// What the task holds at it.
    pub(crate) snapshot: TaskSnapshot,
    /// What was written for it.
    pub(crate) written_bytes: u64,
    /// The longest at a stretch that the task stood still for it.
    pub(crate) pause: Duration,
    /// From the first barrier to the last.
    pub(crate) alignment: Duration,
    /// A source: when the records were written that it read since the barrier before.
    pub(crate) arrivals: Spread,
}

/// The way from a task's thread to the service, and to whoever takes its spans.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    holder: Holder,
    subtask: SubtaskId,
    events: mpsc::Sender<TaskEvent>,
    spans: Option<SubtaskSpans>,
}

impl Teller {
    /// The way of one task.
    pub(crate) fn new(holder: Holder, subtask: SubtaskId, events: mpsc::Sender<TaskEvent>) -> Self {
        Teller { holder, subtask, events, spans: None }
    }

    /// The same, where spans are taken.
    #[must_use]
    pub(crate) fn traced(self, spans: Option<SubtaskSpans>) -> Self {
        Teller { spans, ..self }
    }

    /// What tells this task's spans, if anything takes them.
    pub(crate) fn spans(&self) -> Option<&SubtaskSpans> {
        self.spans.as_ref()
    }

    /// Tells. To be called on a plain thread.
    pub(crate) fn tell(&self, change: Change) {
        match &change {
            Change::Acknowledged(Acknowledgement { checkpoint, written_bytes, pause, alignment, .. }) => {
                tracing::debug!(%checkpoint, written_bytes, ?pause, ?alignment, "acknowledged");
            }
            Change::Declined { checkpoint, reason } => tracing::warn!(%checkpoint, reason, "declined"),
            Change::Published(checkpoint) => tracing::debug!(%checkpoint, "published"),
            Change::Running | Change::Pace(_) | Change::Drained | Change::Answered { .. } | Change::Ended(_) => {}
        }
        let event = TaskEvent { holder: self.holder, subtask: self.subtask, change };
        // The service outlives its threads and always takes events; without it there is nobody left to tell.
        drop(self.events.blocking_send(event));
    }
}
