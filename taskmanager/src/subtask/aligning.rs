//! The alignment of a subtask's inputs at barriers, with the gate that holds them back and the time that it took.

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::ids::CheckpointId;
use stream_runtime::clock::Clock;

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
        if self.alignment.current().is_none_or(|current| current < barrier.checkpoint) {
            self.began = self.clock.monotonic();
            // Inputs that wait for an older one wait for nothing.
            self.gate.unblock_all();
        }
        let aligned = self.alignment.on_barrier(input, barrier);
        if self.alignment.is_held(input) {
            self.gate.block(input);
        }
        self.finish(aligned)
    }

    /// An input has ended: nobody waits for its barrier.
    pub(crate) fn on_end(&mut self, input: usize) -> Option<Aligned> {
        let aligned = self.alignment.on_end(input);
        self.finish(aligned)
    }

    /// Nobody waits for a checkpoint any more.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        if self.alignment.abort(checkpoint) {
            self.gate.unblock_all();
        }
    }

    /// Whether there is nobody to trigger the barriers that inputs are held back for.
    pub(crate) fn set_orphaned(&mut self, is_orphaned: bool) {
        self.is_orphaned = is_orphaned;
        if let Some(checkpoint) = self.alignment.current().filter(|_| is_orphaned) {
            self.abort(checkpoint);
        }
    }

    /// Whether a barrier has come on every input that said the sources would end behind it.
    pub(crate) fn has_seen_last(&self) -> bool {
        self.has_seen_last
    }

    fn finish(&mut self, barrier: Option<Barrier>) -> Option<Aligned> {
        let barrier = barrier?;
        self.gate.unblock_all();
        self.has_seen_last |= barrier.is_last;
        let alignment = self.clock.monotonic().saturating_sub(self.began);
        Some(Aligned { barrier, alignment })
    }
}

/// STUB until stream-core has it.
#[derive(Debug)]
struct Alignment {
    has_ended: Vec<bool>,
    came: Vec<bool>,
    current: Option<Barrier>,
    /// Barriers up to here are done with.
    done: CheckpointId,
}

impl Alignment {
    fn new(inputs: usize) -> Self {
        Alignment { has_ended: vec![false; inputs], came: vec![false; inputs], current: None, done: CheckpointId::ROOT }
    }
    fn current(&self) -> Option<CheckpointId> {
        self.current.map(|barrier| barrier.checkpoint)
    }
    fn is_held(&self, input: usize) -> bool {
        self.came[input]
    }
    fn on_barrier(&mut self, input: usize, barrier: Barrier) -> Option<Barrier> {
        let newest = self.current().unwrap_or(self.done).max(self.done);
        if barrier.checkpoint <= self.done || barrier.checkpoint < newest {
            return None;
        }
        if self.current() != Some(barrier.checkpoint) {
            self.current = Some(barrier);
            self.came.fill(false);
        }
        self.came[input] = true;
        self.complete()
    }
    fn on_end(&mut self, input: usize) -> Option<Barrier> {
        self.has_ended[input] = true;
        self.complete()
    }
    fn abort(&mut self, checkpoint: CheckpointId) -> bool {
        self.done = self.done.max(checkpoint);
        let is_it = self.current().is_some_and(|current| current <= checkpoint);
        if is_it {
            self.current = None;
            self.came.fill(false);
        }
        is_it
    }
    fn complete(&mut self) -> Option<Barrier> {
        let mut inputs = self.came.iter().zip(&self.has_ended);
        let barrier = self.current.filter(|_| inputs.all(|(came, ended)| *came || *ended))?;
        self.done = barrier.checkpoint;
        self.current = None;
        self.came.fill(false);
        Some(barrier)
    }
}
