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

/// The barriers of one subtask's inputs, brought together. A source has no inputs and needs none of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// The checkpoint that is being aligned.
    current: Option<Barrier>,
    /// The newest checkpoint that was completed or given up here; its barriers, and older ones, change nothing.
    newest_ended: Option<CheckpointId>,
    inputs: Vec<Input>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// The current barrier is yet to come.
    Open,
    /// It has come; what lies behind it waits.
    Held,
    /// Nothing comes any more: it counts as having every barrier.
    Ended,
}

/// What follows from a barrier, or from the end of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aligned {
    /// Nothing changes.
    Ignore,
    /// Hold this input back.
    Hold,
    /// Every input has the barrier: snapshot, forward it, then release all inputs.
    Complete(Barrier),
    /// A newer barrier overtook one that was abandoned: release `release`, and hold this input back.
    Overtake {
        /// What is given up.
        given_up: CheckpointId,
        /// The inputs that were held for it, in ascending order, without this one.
        release: Vec<usize>,
    },
}

impl Alignment {
    /// The alignment of a subtask with this many inputs.
    pub fn new(inputs: usize) -> Self {
        Alignment { current: None, newest_ended: None, inputs: vec![Input::Open; inputs] }
    }

    /// Takes in the barrier that `input` brought.
    ///
    /// # Panics
    /// If there is no such input.
    pub fn on_barrier(&mut self, input: usize, barrier: Barrier) -> Aligned {
        if self.newest_ended.is_some_and(|ended| barrier.checkpoint <= ended) || self.inputs[input] == Input::Ended {
            return Aligned::Ignore;
        }
        let overtaken = match self.current {
            Some(current) if barrier.checkpoint < current.checkpoint => return Aligned::Ignore,
            Some(current) if barrier.checkpoint == current.checkpoint => None,
            Some(current) => Some((current.checkpoint, self.give_up(current.checkpoint))),
            None => None,
        };
        if self.inputs[input] == Input::Held {
            return Aligned::Ignore;
        }
        self.current = Some(barrier);
        self.inputs[input] = Input::Held;
        match (self.completed(), overtaken) {
            (Some(barrier), _) => Aligned::Complete(barrier),
            (None, None) => Aligned::Hold,
            (None, Some((given_up, mut release))) => {
                release.retain(|&held| held != input);
                Aligned::Overtake { given_up, release }
            }
        }
    }

    /// Takes in that nothing more comes from `input`.
    ///
    /// # Panics
    /// If there is no such input.
    pub fn on_end(&mut self, input: usize) -> Aligned {
        self.inputs[input] = Input::Ended;
        self.completed().map_or(Aligned::Ignore, Aligned::Complete)
    }

    /// Gives a checkpoint up, so that barriers of it that are still on their way change nothing; the inputs to be released.
    pub fn give_up(&mut self, checkpoint: CheckpointId) -> Vec<usize> {
        self.newest_ended = self.newest_ended.max(Some(checkpoint));
        if self.current.is_none_or(|current| current.checkpoint > checkpoint) {
            return Vec::new();
        }
        self.current = None;
        self.release_held()
    }

    /// Whether an input is to be held back now.
    ///
    /// # Panics
    /// If there is no such input.
    pub fn is_held(&self, input: usize) -> bool {
        self.inputs[input] == Input::Held
    }

    /// The checkpoint that is being aligned.
    pub fn current(&self) -> Option<Barrier> {
        self.current
    }

    fn completed(&mut self) -> Option<Barrier> {
        let barrier = self.current?;
        if self.inputs.contains(&Input::Open) {
            return None;
        }
        self.current = None;
        self.newest_ended = Some(barrier.checkpoint);
        self.release_held();
        Some(barrier)
    }

    fn release_held(&mut self) -> Vec<usize> {
        let held: Vec<_> = (0..self.inputs.len()).filter(|&input| self.is_held(input)).collect();
        for &input in &held {
            self.inputs[input] = Input::Open;
        }
        held
    }
}

#[cfg(test)]
mod tests;
