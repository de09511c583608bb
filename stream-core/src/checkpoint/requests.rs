//! Who waits for a checkpoint, and when each is answered: once, whatever happens.

use super::{Effect, Request, RequestKind};
use crate::ids::CheckpointId;

/// The requests that wait for a checkpoint to be triggered, or for one that is complete to be published. Those that wait
/// for the pending one are kept with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    waiting: Vec<Request>,
    /// A stop is done once its rows are visible.
    unpublished: Vec<(Request, CheckpointId)>,
}

impl Requests {
    pub(super) fn push(&mut self, request: Request) {
        self.waiting.push(request);
    }

    /// Whether a drain waits: sources are to be told, and nothing else is to be done before they have answered.
    pub(super) fn has_drain(&self) -> bool {
        self.waiting.iter().any(|request| request.kind == RequestKind::Drain)
    }

    /// Whether one waits that a checkpoint can serve at any time.
    pub(super) fn is_due(&self) -> bool {
        self.waiting.iter().any(|request| is_served(request, false))
    }

    /// Takes out all that the next checkpoint serves.
    pub(super) fn take_due(&mut self, is_drained: bool) -> Vec<Request> {
        let (due, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|request| is_served(request, is_drained));
        self.waiting = waiting;
        due
    }

    /// Answers those whose checkpoint is complete; a stop is answered later.
    pub(super) fn complete(&mut self, requests: Vec<Request>, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        for request in requests {
            match request.kind {
                RequestKind::Checkpoint | RequestKind::Savepoint => {
                    effects.push(Effect::Answer { number: request.number, result: Ok(checkpoint) });
                }
                RequestKind::Stop | RequestKind::Drain => self.unpublished.push((request, checkpoint)),
            }
        }
    }

    /// Answers those whose checkpoint was given up; a drain waits for the next one, since its sources have ended already.
    pub(super) fn abort(&mut self, requests: Vec<Request>, reason: &str, effects: &mut Vec<Effect>) {
        for request in requests {
            match request.kind {
                RequestKind::Checkpoint | RequestKind::Savepoint | RequestKind::Stop => {
                    effects.push(Effect::Answer { number: request.number, result: Err(reason.to_owned()) });
                }
                RequestKind::Drain => self.waiting.push(request),
            }
        }
    }

    /// Answers the stops whose epoch is visible.
    pub(super) fn publish(&mut self, up_to: CheckpointId, effects: &mut Vec<Effect>) {
        self.unpublished.retain(|&(request, checkpoint)| {
            let is_visible = checkpoint <= up_to;
            if is_visible {
                effects.push(Effect::Answer { number: request.number, result: Ok(checkpoint) });
            }
            !is_visible
        });
    }

    /// Answers all that came too late for the last checkpoint.
    pub(super) fn refuse(&mut self, last: CheckpointId, effects: &mut Vec<Effect>) {
        effects.extend(std::mem::take(&mut self.waiting).into_iter().map(|request| {
            let reason = format!("the job ends with checkpoint {last}, and takes no other one; restore from that one");
            Effect::Answer { number: request.number, result: Err(reason) }
        }));
    }

    pub(super) fn unanswered(&self) -> impl Iterator<Item = Request> {
        self.waiting.iter().copied().chain(self.unpublished.iter().map(|&(request, _)| request))
    }
}

fn is_served(request: &Request, is_drained: bool) -> bool {
    is_drained || request.kind != RequestKind::Drain
}
