//! The alignment of a subtask's inputs at barriers, with the gate that holds them back and the time that it took.

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::{self, Alignment, Barrier};
use stream_core::ids::CheckpointId;
use stream_runtime::clock::Clock;
use stream_runtime::fail_point::{self, Point};

use crate::exchange::gate::Gate;

/// A barrier that has come on every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aligned {
    /// Which.
    pub(crate) barrier: Barrier,
    /// From the first input to the last.
    pub(crate) alignment: Duration,
}

/// Aligns the inputs of one subtask.
pub(crate) struct Aligner {
    alignment: Alignment,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    began: Duration,
    is_orphaned: bool,
    has_seen_last: bool,
}

impl Aligner {
    /// For a subtask behind a gate of `inputs` channels.
    pub(crate) fn new(inputs: usize, gate: Arc<Gate>, clock: Arc<dyn Clock>) -> Self {
        Aligner {
            alignment: Alignment::new(inputs),
            gate,
            clock,
            began: Duration::ZERO,
            is_orphaned: false,
            has_seen_last: false,
        }
    }

    /// A barrier came; the input is held back, unless it was the last.
    pub(crate) fn on_barrier(&mut self, input: usize, barrier: Barrier) -> Option<Aligned> {
        if self.is_orphaned {
            // Nobody can complete it, and whoever sends the others may never have heard of it.
            return None;
        }
        if self.alignment.current().is_none_or(|current| current.checkpoint < barrier.checkpoint) {
            self.began = self.clock.monotonic();
        }
        let outcome = self.alignment.on_barrier(input, barrier);
        self.follow(input, outcome)
    }

    /// An input has ended: nobody waits for its barrier.
    pub(crate) fn on_end(&mut self, input: usize) -> Option<Aligned> {
        let outcome = self.alignment.on_end(input);
        self.follow(input, outcome)
    }

    /// Nobody waits for a checkpoint any more.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        if !self.alignment.give_up(checkpoint).is_empty() {
            self.gate.unblock_all();
        }
    }

    /// Whether there is nobody to trigger the barriers that inputs are held back for.
    pub(crate) fn set_orphaned(&mut self, is_orphaned: bool) {
        self.is_orphaned = is_orphaned;
        if let Some(barrier) = self.alignment.current().filter(|_| is_orphaned) {
            self.abort(barrier.checkpoint);
        }
    }

    /// Whether a barrier has come on every input that said the sources would end behind it.
    pub(crate) fn has_seen_last(&self) -> bool {
        self.has_seen_last
    }

    fn follow(&mut self, input: usize, outcome: barrier::Aligned) -> Option<Aligned> {
        match outcome {
            barrier::Aligned::Ignore => None,
            barrier::Aligned::Hold => {
                self.gate.block(input);
                fail_point::reach(Point::AlignmentBegun);
                None
            }
            barrier::Aligned::Overtake { .. } => {
                // All that were held were held for the one given up.
                self.gate.unblock_all();
                self.gate.block(input);
                None
            }
            barrier::Aligned::Complete(barrier) => {
                self.gate.unblock_all();
                self.has_seen_last |= barrier.is_last;
                let alignment = self.clock.monotonic().saturating_sub(self.began);
                Some(Aligned { barrier, alignment })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::exchange::gate::Input;
    use crate::exchange::message::Message;
    use crate::subtask::testing::{ManualClock, barrier, last_barrier};

    #[test]
    fn alignment_is_timed_from_the_first_barrier_to_the_last() {
        let clock = ManualClock::default();
        let mut aligner = Aligner::new(2, Arc::new(Gate::new(2, 64)), Arc::new(clock.clone()));
        for (checkpoint, waited) in [(1, 30), (2, 5)] {
            assert_eq!(aligner.on_barrier(0, barrier(checkpoint, 0)), None);
            clock.advance(Duration::from_millis(waited));
            let aligned = aligner.on_barrier(1, barrier(checkpoint, 0)).unwrap();
            assert_eq!(aligned.alignment, Duration::from_millis(waited));
        }
        assert!(!aligner.has_seen_last());
        assert_eq!(aligner.on_barrier(0, last_barrier(3, 0)), None);
        assert!(!aligner.has_seen_last());
        assert!(aligner.on_end(1).is_some() && aligner.has_seen_last());
    }

    #[test]
    fn newer_barrier_lets_those_go_on_that_waited_for_an_older_one() {
        let gate = Arc::new(Gate::new(3, 1 << 10));
        let mut aligner = Aligner::new(3, Arc::clone(&gate), Arc::new(ManualClock::default()));
        aligner.on_barrier(0, barrier(1, 0));
        aligner.on_barrier(1, barrier(2, 0));
        gate.try_push(0, Message::End).unwrap();
        gate.try_push(1, Message::End).unwrap();
        assert_eq!(gate.try_pop().unwrap(), Input::Message(0, Message::End));
        assert_eq!(gate.try_pop().unwrap(), Input::Empty);
    }
}
