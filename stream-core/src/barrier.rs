//! The barrier that cuts the stream into before and after a checkpoint, and its alignment over a subtask's inputs.
//!
//! An input whose barrier came is held back until the barrier has come on every other input; then the subtask's state is
//! exactly what lies before the cut (Flink: `SingleCheckpointBarrierHandler`). Who holds back an input is the exchange's
//! business, what a snapshot is the operator's.

use crate::ids::CheckpointId;
use crate::time::Timestamp;

/// The marker of a checkpoint, sent behind everything that belongs before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Which checkpoint it cuts, and which epoch it closes.
    pub checkpoint: CheckpointId,
    /// The last completed checkpoint: what was sealed after it belongs to this epoch.
    pub prev: CheckpointId,
    /// When it was triggered, by the jobmanager's clock.
    pub triggered: Timestamp,
    /// Whether state is to be written whole, for a savepoint.
    pub is_full: bool,
    /// Whether the sources end behind it.
    pub is_last: bool,
}

/// The alignment of one subtask's inputs.
#[derive(Clone, Debug)]
pub struct Alignment {
    inputs: Vec<Input>,
    pending: Option<Barrier>,
    /// Barriers up to this checkpoint are over: aligned, or given up for a newer one.
    past: CheckpointId,
}

#[derive(Clone, Copy, Debug, Default)]
struct Input {
    is_held: bool,
    has_ended: bool,
}

/// What a barrier means for the subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aligned {
    /// It is of a checkpoint that is over, or came before: nothing changes.
    Ignore,
    /// Hold this input back until the barrier has come on the others.
    Hold,
    /// It belongs to a newer checkpoint than the one that was being aligned, which is given up: let every input go on, then
    /// hold this one back.
    ReleaseAndHold,
    /// It has come on every input: the state is what lies before the cut. Take the snapshot, send the barrier on, let every
    /// input go on.
    Complete(Barrier),
}

impl Alignment {
    /// Of a subtask with this many inputs, at least one.
    pub fn new(inputs: usize) -> Self {
        Alignment { inputs: vec![Input::default(); inputs], pending: None, past: CheckpointId::ROOT }
    }

    /// A barrier came on an input, which is not held back.
    pub fn on_barrier(&mut self, input: usize, barrier: Barrier) -> Aligned {
        if barrier.checkpoint <= self.past || self.inputs[input].is_held {
            return Aligned::Ignore;
        }
        let gives_up = match self.pending {
            Some(pending) if barrier.checkpoint < pending.checkpoint => return Aligned::Ignore,
            Some(pending) if barrier.checkpoint > pending.checkpoint => {
                self.past = pending.checkpoint;
                self.release();
                true
            }
            Some(_) | None => false,
        };
        self.pending = Some(barrier);
        self.inputs[input].is_held = true;
        match self.complete() {
            Some(barrier) => Aligned::Complete(barrier),
            None if gives_up => Aligned::ReleaseAndHold,
            None => Aligned::Hold,
        }
    }

    /// An input has ended: it has no barrier to wait for. The barrier that is complete by that, if one is.
    pub fn on_end(&mut self, input: usize) -> Option<Barrier> {
        self.inputs[input].has_ended = true;
        self.complete()
    }

    fn complete(&mut self) -> Option<Barrier> {
        let barrier = self.pending?;
        self.inputs.iter().all(|input| input.is_held || input.has_ended).then(|| {
            self.past = barrier.checkpoint;
            self.release();
            barrier
        })
    }

    fn release(&mut self) {
        self.pending = None;
        self.inputs.iter_mut().for_each(|input| input.is_held = false);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn barrier(checkpoint: u64) -> Barrier {
        Barrier {
            checkpoint: CheckpointId(checkpoint),
            prev: CheckpointId::ROOT,
            triggered: Timestamp(0),
            is_full: false,
            is_last: false,
        }
    }

    #[test]
    fn snapshot_is_due_when_the_barrier_has_come_on_every_input() {
        let mut alignment = Alignment::new(3);
        assert_eq!(alignment.on_barrier(1, barrier(1)), Aligned::Hold);
        assert_eq!(alignment.on_barrier(1, barrier(1)), Aligned::Ignore, "it came before");
        assert_eq!(alignment.on_barrier(0, barrier(1)), Aligned::Hold);
        assert_eq!(alignment.on_barrier(2, barrier(1)), Aligned::Complete(barrier(1)));
        assert_eq!(alignment.on_barrier(2, barrier(1)), Aligned::Ignore, "it is over");
        assert_eq!(Alignment::new(1).on_barrier(0, barrier(1)), Aligned::Complete(barrier(1)));
    }

    #[test]
    fn newer_barrier_gives_the_older_alignment_up() {
        let mut alignment = Alignment::new(2);
        assert_eq!(alignment.on_barrier(0, barrier(5)), Aligned::Hold);
        assert_eq!(alignment.on_barrier(1, barrier(6)), Aligned::ReleaseAndHold);
        assert_eq!(alignment.on_barrier(0, barrier(5)), Aligned::Ignore);
        assert_eq!(alignment.on_barrier(0, barrier(6)), Aligned::Complete(barrier(6)));
    }

    #[test]
    fn ended_input_is_not_waited_for() {
        let mut alignment = Alignment::new(2);
        assert_eq!(alignment.on_barrier(0, barrier(1)), Aligned::Hold);
        assert_eq!(alignment.on_end(1), Some(barrier(1)));
        assert_eq!(alignment.on_end(1), None);
        assert_eq!(alignment.on_barrier(0, barrier(2)), Aligned::Complete(barrier(2)));
    }

    proptest! {
        /// Each input brings some of the barriers, in order, and is not read while it is held back.
        #[test]
        fn barriers_complete_in_order_each_with_all_inputs(
            brought in prop::collection::vec(prop::collection::btree_set(1_u64..8, 0..8), 1..4),
            turns in prop::collection::vec(any::<prop::sample::Index>(), 100),
        ) {
            let inputs = brought.len();
            let mut queues: Vec<Vec<u64>> = brought.iter().map(|set| set.iter().rev().copied().collect()).collect();
            let mut seen = vec![0; inputs];
            let mut is_held = vec![false; inputs];
            let mut alignment = Alignment::new(inputs);
            let mut completed = 0;
            for turn in turns {
                let input = turn.index(inputs);
                if is_held[input] { continue; }
                let Some(id) = queues[input].pop() else { continue };
                seen[input] = id;
                match alignment.on_barrier(input, barrier(id)) {
                    Aligned::Ignore => {}
                    Aligned::Hold => is_held[input] = true,
                    Aligned::ReleaseAndHold => {
                        is_held.fill(false);
                        is_held[input] = true;
                    }
                    Aligned::Complete(barrier) => {
                        prop_assert!(barrier.checkpoint.0 > completed);
                        completed = barrier.checkpoint.0;
                        prop_assert!(seen.iter().all(|&id| id == completed), "{seen:?} at {completed}");
                        is_held.fill(false);
                    }
                }
            }
            prop_assert!(!is_held.iter().all(|&held| held), "held back for ever");
        }
    }
}
