//! The output of one subtask: a sender for each downstream subtask.
//!
//! Nothing here blocks. What a channel does not take now is kept, in order, and the subtask makes nothing new until it
//! is gone ([`Outputs::flush`]); so what is kept is at most the output of one input message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::watermark::Progress;

use crate::exchange::error::ExchangeError;
use crate::exchange::gate::{Gate, Rejected};
use crate::exchange::message::Message;
use crate::exchange::remote::RemoteChannel;

/// The senders of a subtask, one for each subtask of the next stage.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    senders: Vec<Sender>,
    kept: VecDeque<(usize, Message)>,
}

/// The way to one downstream subtask.
#[derive(Clone, Debug)]
pub(crate) enum Sender {
    /// In this process: a channel of its gate.
    Local(Arc<Gate>, usize),
    /// In another one.
    Remote(Arc<RemoteChannel>),
}

/// How an attempt to hand on what was kept ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Everything was taken.
    All,
    /// A downstream subtask is slower than this one.
    Backpressured,
    /// The attempt was canceled.
    Closed,
}

impl Outputs {
    /// Outputs to these subtasks, by their index in the next stage.
    pub(crate) fn new(senders: Vec<Sender>) -> Self {
        Outputs { senders, kept: VecDeque::new() }
    }

    /// How many downstream subtasks there are.
    pub(crate) fn len(&self) -> usize {
        self.senders.len()
    }

    /// Sends a message to one downstream subtask, at once or when [`Outputs::flush`] finds room.
    pub(crate) fn send(&mut self, target: usize, message: Message) {
        self.kept.push_back((target, message));
    }

    /// Sends progress to all downstream subtasks.
    pub(crate) fn send_progress(&mut self, progress: Progress) {
        self.kept.extend((0..self.senders.len()).map(|target| (target, Message::Progress(progress))));
    }

    /// Sends a barrier to all downstream subtasks.
    pub(crate) fn send_barrier(&mut self, barrier: Barrier) {
        self.kept.extend((0..self.senders.len()).map(|target| (target, Message::Barrier(barrier))));
    }

    /// Tells all downstream subtasks that nothing follows.
    pub(crate) fn send_end(&mut self) {
        self.kept.extend((0..self.senders.len()).map(|target| (target, Message::End)));
    }

    /// Hands on what is kept, as far as it is taken.
    ///
    /// # Errors
    /// If a downstream subtask was lost.
    pub(crate) fn flush(&mut self) -> Result<Flushed, ExchangeError> {
        self.senders.iter().try_for_each(Sender::check)?;
        while let Some((target, message)) = self.kept.pop_front() {
            match self.senders[target].try_push(message) {
                Ok(()) => {}
                Err(Rejected::Closed) => return Ok(Flushed::Closed),
                Err(Rejected::Full(message)) => {
                    self.kept.push_front((target, message));
                    return Ok(Flushed::Backpressured);
                }
            }
        }
        Ok(Flushed::All)
    }

    /// Whether every downstream subtask has received everything up to the end.
    pub(crate) fn are_delivered(&self) -> bool {
        self.kept.is_empty() && self.senders.iter().all(Sender::is_delivered)
    }

    /// Waits until the first message kept may be taken, or, with none kept, until the end is delivered; `max_wait` at most.
    pub(crate) fn wait(&self, max_wait: Duration) {
        if let Some((target, message)) = self.kept.front() {
            return self.senders[*target].wait_for_room(message, max_wait);
        }
        let undelivered = self.senders.iter().find_map(|sender| match sender {
            Sender::Remote(channel) if !channel.is_delivered() => Some(channel),
            Sender::Remote(_) | Sender::Local(..) => None,
        });
        if let Some(channel) = undelivered {
            channel.wait_for_delivery(max_wait);
        }
    }
}

impl Sender {
    fn try_push(&self, message: Message) -> Result<(), Rejected> {
        match self {
            Sender::Local(gate, channel) => gate.try_push(*channel, message),
            Sender::Remote(channel) => channel.try_push(message),
        }
    }

    fn check(&self) -> Result<(), ExchangeError> {
        match self {
            Sender::Local(..) => Ok(()),
            Sender::Remote(channel) => channel.check(),
        }
    }

    fn wait_for_room(&self, message: &Message, max_wait: Duration) {
        match self {
            Sender::Local(gate, channel) => gate.wait_for_room(*channel, message, max_wait),
            Sender::Remote(channel) => channel.wait_for_room(message, max_wait),
        }
    }

    fn is_delivered(&self) -> bool {
        match self {
            // What lies in the gate is out of this subtask's hands, and in the same process.
            Sender::Local(..) => true,
            Sender::Remote(channel) => channel.is_delivered(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stream_core::watermark::Watermark;

    use super::*;
    use crate::exchange::gate::Input;

    const PROGRESS: Progress = Progress::Active(Watermark(7));

    #[test]
    fn what_is_not_taken_is_kept_in_order() {
        let gate = Arc::new(Gate::new(1, 64));
        let mut outputs = Outputs::new(vec![Sender::Local(Arc::clone(&gate), 0)]);
        outputs.send_progress(PROGRESS);
        outputs.send_end();
        assert_eq!(outputs.flush().unwrap(), Flushed::Backpressured);
        assert!(!outputs.are_delivered());
        assert_eq!(gate.try_pop().unwrap(), Input::Message(0, Message::Progress(PROGRESS)));
        assert_eq!(outputs.flush().unwrap(), Flushed::All);
        assert_eq!(gate.try_pop().unwrap(), Input::Message(0, Message::End));
        assert!(outputs.are_delivered());
    }

    #[test]
    fn closed_gate_ends_the_flush() {
        let gate = Arc::new(Gate::new(1, 64));
        let mut outputs = Outputs::new(vec![Sender::Local(Arc::clone(&gate), 0)]);
        gate.close();
        outputs.send_end();
        assert_eq!(outputs.flush().unwrap(), Flushed::Closed);
    }
}
