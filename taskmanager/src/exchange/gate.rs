//! The input of one subtask: a queue for each upstream subtask, bounded in bytes, taken in turn by one thread.
//!
//! One lock for all channels of a gate: it is taken once for a batch, never for an event. A channel can be held back
//! ([`Gate::block`]) while barriers are aligned; the others go on.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::exchange::error::ExchangeError;
use crate::exchange::message::Message;

/// The input gate of a subtask.
#[derive(Debug)]
pub(crate) struct Gate {
    channel_bytes: usize,
    state: Mutex<State>,
    input: Condvar,
    room: Condvar,
}

#[derive(Debug)]
struct State {
    channels: Vec<Channel>,
    /// The channel whose turn it is.
    next: usize,
    is_closed: bool,
    /// Whether the subtask is wanted for something else than input.
    is_called: bool,
    failure: Option<ExchangeError>,
}

#[derive(Debug, Default)]
struct Channel {
    queue: VecDeque<Message>,
    charged: usize,
    is_blocked: bool,
    has_ended: bool,
    remote: Option<RemoteUpstream>,
}

/// What a channel owes to an upstream subtask in another process.
#[derive(Debug)]
struct RemoteUpstream {
    ungranted: usize,
    waker: Option<Waker>,
}

/// A message that a channel did not take.
#[derive(Debug, PartialEq)]
pub(crate) enum Rejected {
    /// No room now; here it is back.
    Full(Message),
    /// The task at the other end is over.
    Closed,
}

/// What a gate has for its subtask.
#[derive(Debug, PartialEq)]
pub(crate) enum Input {
    /// The next message, and the channel it came on.
    Message(usize, Message),
    /// Nothing yet.
    Empty,
    /// Nothing will come: the attempt was canceled.
    Closed,
}

impl Gate {
    /// A gate with a channel for each of `channels` upstream subtasks, each holding up to `channel_bytes`.
    pub(crate) fn new(channels: usize, channel_bytes: usize) -> Self {
        let channels = std::iter::repeat_with(Channel::default).take(channels).collect();
        let state = State { channels, next: 0, is_closed: false, is_called: false, failure: None };
        Gate {
            channel_bytes: channel_bytes.max(1),
            state: Mutex::new(state),
            input: Condvar::new(),
            room: Condvar::new(),
        }
    }

    /// Puts a message at the end of a channel, if there is room.
    ///
    /// # Errors
    /// If the channel is full or the gate closed.
    pub(crate) fn try_push(&self, channel: usize, message: Message) -> Result<(), Rejected> {
        let charge = self.charge(&message);
        let mut state = self.lock();
        if state.is_closed {
            return Err(Rejected::Closed);
        }
        let channel = &mut state.channels[channel];
        if channel.charged + charge > self.channel_bytes {
            return Err(Rejected::Full(message));
        }
        channel.charged += charge;
        channel.has_ended |= matches!(message, Message::End);
        channel.queue.push_back(message);
        if channel.has_ended {
            channel.wake_remote();
        }
        drop(state);
        self.input.notify_one();
        Ok(())
    }

    /// Takes the next message of the channels that are not held back, each channel in turn.
    ///
    /// # Errors
    /// If an upstream subtask was lost; told once.
    pub(crate) fn try_pop(&self) -> Result<Input, ExchangeError> {
        let mut state = self.lock();
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if state.is_closed {
            return Ok(Input::Closed);
        }
        let count = state.channels.len();
        let in_turn = (state.next..state.next + count).map(|index| index % count);
        let Some(index) = in_turn.into_iter().find(|&index| state.channels[index].is_ready()) else {
            return Ok(Input::Empty);
        };
        state.next = index + 1;
        let message = state.channels[index].pop(self.channel_bytes, |message| self.charge(message));
        drop(state);
        self.room.notify_all();
        Ok(Input::Message(index, message))
    }

    /// Waits until there may be something to take, or the subtask is called, `max_wait` at most.
    pub(crate) fn wait_for_input(&self, max_wait: Duration) {
        let state = self.lock();
        let is_waiting = |state: &mut State| {
            let is_wanted = state.is_closed || state.is_called || state.failure.is_some();
            !is_wanted && !state.channels.iter().any(Channel::is_ready)
        };
        let (mut state, _) = self.input.wait_timeout_while(state, max_wait, is_waiting).expect(NO_PANIC);
        state.is_called = false;
    }

    /// Wakes the subtask where it waits for input: something else is there for it.
    pub(crate) fn call(&self) {
        self.lock().is_called = true;
        self.input.notify_one();
    }

    /// Waits until a channel has room for `message` or is closed, `max_wait` at most.
    pub(crate) fn wait_for_room(&self, channel: usize, message: &Message, max_wait: Duration) {
        let charge = self.charge(message);
        let state = self.lock();
        let is_full =
            |state: &mut State| !state.is_closed && state.channels[channel].charged + charge > self.channel_bytes;
        let waited = self.room.wait_timeout_while(state, max_wait, is_full);
        drop(waited.expect(NO_PANIC));
    }

    /// Holds a channel back: what it holds stays until [`Gate::unblock_all`].
    pub(crate) fn block(&self, channel: usize) {
        self.lock().channels[channel].is_blocked = true;
    }

    /// Lets every channel go on.
    pub(crate) fn unblock_all(&self) {
        self.lock().channels.iter_mut().for_each(|channel| channel.is_blocked = false);
        self.input.notify_one();
    }

    /// The attempt is over: drops what is queued and turns everybody away.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        for channel in &mut state.channels {
            channel.queue.clear();
            channel.wake_remote();
        }
        drop(state);
        self.input.notify_all();
        self.room.notify_all();
    }

    /// An upstream subtask was lost; the gate's subtask will learn it next. The first loss counts.
    pub(crate) fn fail(&self, failure: ExchangeError) {
        let mut state = self.lock();
        state.failure.get_or_insert(failure);
        drop(state);
        self.input.notify_all();
    }

    /// A remote upstream subtask takes a channel; its first grant is the channel's whole capacity.
    ///
    /// # Errors
    /// If the channel is taken already.
    pub(crate) fn attach_remote(&self, channel: usize) -> Result<(), AlreadyAttached> {
        let channel = &mut self.lock().channels[channel];
        if channel.remote.is_some() {
            return Err(AlreadyAttached);
        }
        channel.remote = Some(RemoteUpstream { ungranted: self.channel_bytes, waker: None });
        Ok(())
    }

    /// What the remote upstream subtask of a channel is to be told, once there is anything.
    pub(crate) fn poll_credit(&self, channel: usize, context: &mut Context<'_>) -> Poll<Credit> {
        let mut state = self.lock();
        let is_closed = state.is_closed;
        let channel = &mut state.channels[channel];
        let is_worth_a_grant = channel.is_worth_a_grant(self.channel_bytes);
        if channel.has_ended {
            return Poll::Ready(Credit::Ended);
        }
        let Some(remote) = channel.remote.as_mut().filter(|_| !is_closed) else {
            return Poll::Ready(Credit::Closed);
        };
        if is_worth_a_grant {
            return Poll::Ready(Credit::Grant(std::mem::take(&mut remote.ungranted)));
        }
        remote.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The bytes queued in all channels.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.lock().channels.iter().map(|channel| channel.charged).sum()
    }

    fn charge(&self, message: &Message) -> usize {
        message.bytes().min(self.channel_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NO_PANIC)
    }
}

/// What a remote upstream subtask is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// It may send this many bytes more.
    Grant(usize),
    /// It has sent its end, and that was received.
    Ended,
    /// The attempt was canceled.
    Closed,
}

/// Two streams for the same channel.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel is open already")]
pub(crate) struct AlreadyAttached;

const NO_PANIC: &str = "no code panics while it holds a gate";

impl Channel {
    fn is_ready(&self) -> bool {
        !self.is_blocked && !self.queue.is_empty()
    }

    fn pop(&mut self, channel_bytes: usize, charge: impl Fn(&Message) -> usize) -> Message {
        let message = self.queue.pop_front().expect("the channel was found ready");
        let charge = charge(&message);
        self.charged -= charge;
        if let Some(remote) = &mut self.remote {
            remote.ungranted += charge;
            if self.is_worth_a_grant(channel_bytes) {
                self.wake_remote();
            }
        }
        message
    }

    /// Grants go out in quarters, so that credit costs few frames; and when the channel has run empty, so that a
    /// message as large as the whole channel is not kept waiting for the rest.
    fn is_worth_a_grant(&self, channel_bytes: usize) -> bool {
        self.remote.as_ref().is_some_and(|remote| {
            remote.ungranted > 0 && (remote.ungranted >= channel_bytes / 4 || self.queue.is_empty())
        })
    }

    fn wake_remote(&mut self) {
        if let Some(waker) = self.remote.as_mut().and_then(|remote| remote.waker.take()) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
