//! The inputs of a subtask: what is held back for a barrier waits here, as it does at `taskmanager`'s gate.

use std::collections::VecDeque;

use stream_core::barrier::{Aligned, Alignment, Barrier};
use stream_core::ids::CheckpointId;

use crate::mail::Item;

pub(crate) struct Inputs {
    alignment: Alignment,
    waiting: Vec<VecDeque<Item>>,
    open: usize,
    is_orphaned: bool,
    has_seen_last: bool,
}

impl Inputs {
    pub(crate) fn new(inputs: usize) -> Self {
        Inputs {
            alignment: Alignment::new(inputs),
            waiting: vec![VecDeque::new(); inputs],
            open: inputs,
            is_orphaned: false,
            has_seen_last: false,
        }
    }

    pub(crate) fn push(&mut self, input: usize, item: Item) {
        self.waiting[input].push_back(item);
    }

    /// The next item of an input that is not held back.
    pub(crate) fn pop(&mut self) -> Option<(usize, Item)> {
        let free = |&input: &usize| !self.alignment.is_held(input) && !self.waiting[input].is_empty();
        let input = (0..self.waiting.len()).find(free)?;
        Some((input, self.waiting[input].pop_front()?))
    }

    pub(crate) fn on_barrier(&mut self, input: usize, barrier: Barrier) -> Option<Barrier> {
        if self.is_orphaned {
            return None;
        }
        let aligned = self.alignment.on_barrier(input, barrier);
        self.completed(aligned)
    }

    /// An input has ended; whether it was the last.
    pub(crate) fn on_end(&mut self, input: usize) -> (Option<Barrier>, bool) {
        self.open -= 1;
        let aligned = self.alignment.on_end(input);
        (self.completed(aligned), self.open == 0)
    }

    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        self.alignment.give_up(checkpoint);
    }

    pub(crate) fn orphan(&mut self) {
        self.is_orphaned = true;
        if let Some(barrier) = self.alignment.current() {
            self.alignment.give_up(barrier.checkpoint);
        }
    }

    pub(crate) fn has_seen_last(&self) -> bool {
        self.has_seen_last
    }

    fn completed(&mut self, aligned: Aligned) -> Option<Barrier> {
        let Aligned::Complete(barrier) = aligned else { return None };
        self.has_seen_last |= barrier.is_last;
        Some(barrier)
    }
}
