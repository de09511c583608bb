//! The sending end of a channel to a subtask in another process.
//!
//! The subtask's thread pays for each message from the credit that the gate at the other end granted, and queues it; a
//! gRPC stream takes the queue and carries it over. Paying comes first, so the queue, the wire and the gate together
//! never hold more than the gate's capacity.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::exchange::error::ExchangeError;
use crate::exchange::gate::Rejected;
use crate::exchange::message::Message;

/// The sending end: one thread puts messages in, one stream takes them out.
#[derive(Debug, Default)]
pub(crate) struct RemoteChannel {
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Message>,
    /// The first grant: what the gate at the other end holds. Zero until it came.
    capacity: usize,
    credit: usize,
    waker: Option<Waker>,
    delivery: Delivery,
    failure: Option<ExchangeError>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Delivery {
    /// More may be put in.
    #[default]
    Open,
    /// The end was taken by the stream; the other side has not confirmed it.
    EndSent,
    /// The other side has everything.
    Confirmed,
    /// The attempt was canceled.
    Closed,
}

impl RemoteChannel {
    /// Queues a message, if there is credit for it.
    ///
    /// # Errors
    /// If there is not, or the channel is closed.
    pub(crate) fn try_push(&self, message: Message) -> Result<(), Rejected> {
        let mut state = self.lock();
        if state.delivery == Delivery::Closed {
            return Err(Rejected::Closed);
        }
        let Some(rest) = state.credit_after(&message) else {
            return Err(Rejected::Full(message));
        };
        state.credit = rest;
        state.queue.push_back(message);
        state.wake_stream();
        Ok(())
    }

    /// Waits until there is credit for `message` or the channel broke, `max_wait` at most.
    pub(crate) fn wait_for_room(&self, message: &Message, max_wait: Duration) {
        let is_full = |state: &mut State| state.is_usable() && state.credit_after(message).is_none();
        drop(self.room.wait_timeout_while(self.lock(), max_wait, is_full).expect(NO_PANIC));
    }

    /// Waits until the other side has confirmed the end or the channel broke, `max_wait` at most.
    pub(crate) fn wait_for_delivery(&self, max_wait: Duration) {
        drop(self.room.wait_timeout_while(self.lock(), max_wait, |state| state.is_usable()).expect(NO_PANIC));
    }

    /// Whether the other side has received everything up to the end.
    pub(crate) fn is_delivered(&self) -> bool {
        self.lock().delivery == Delivery::Confirmed
    }

    /// The break of this channel, if it broke; told once.
    ///
    /// # Errors
    /// The break.
    pub(crate) fn check(&self) -> Result<(), ExchangeError> {
        self.lock().failure.take().map_or(Ok(()), Err)
    }

    /// The other side takes `bytes` more. The first grant is its capacity; later ones never raise the credit above it.
    pub(crate) fn grant(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut state = self.lock();
        if state.capacity == 0 {
            state.capacity = bytes;
        }
        state.credit = state.credit.saturating_add(bytes).min(state.capacity);
        drop(state);
        self.room.notify_all();
    }

    /// The next message for the stream; `None` after the end and once closed.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.lock();
        if state.delivery != Delivery::Open {
            return Poll::Ready(None);
        }
        let Some(message) = state.queue.pop_front() else {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        if message == Message::End {
            state.delivery = Delivery::EndSent;
        }
        Poll::Ready(Some(message))
    }

    /// The other side closed the stream in good order.
    ///
    /// # Errors
    /// If the end was not sent yet, so that the other side cannot have everything.
    pub(crate) fn confirm(&self) -> Result<(), EndedEarly> {
        let mut state = self.lock();
        if state.delivery != Delivery::EndSent {
            return Err(EndedEarly);
        }
        state.delivery = Delivery::Confirmed;
        drop(state);
        self.room.notify_all();
        Ok(())
    }

    /// The stream broke; the subtask will learn it next.
    pub(crate) fn fail(&self, failure: ExchangeError) {
        self.lock().failure.get_or_insert(failure);
        self.room.notify_all();
    }

    /// The attempt is over: drops what is queued and turns everybody away.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.delivery = Delivery::Closed;
        state.queue.clear();
        state.wake_stream();
        drop(state);
        self.room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NO_PANIC)
    }
}

/// The other side closed its stream before it had received the end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it closed the stream before the end")]
pub(crate) struct EndedEarly;

const NO_PANIC: &str = "no code panics while it holds a channel";

impl State {
    fn is_usable(&self) -> bool {
        self.failure.is_none() && matches!(self.delivery, Delivery::Open | Delivery::EndSent)
    }

    /// The credit left after paying for `message`. A message above the whole capacity costs all of it.
    fn credit_after(&self, message: &Message) -> Option<usize> {
        (self.capacity > 0).then(|| self.credit.checked_sub(message.bytes().min(self.capacity))).flatten()
    }

    fn wake_stream(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stream_core::row::RowBatch;
    use stream_core::watermark::{Progress, Watermark};

    use super::*;

    fn rows(bytes: usize) -> Message {
        let mut rows = RowBatch::default();
        rows.row(1).text(Some(&"x".repeat(bytes)));
        Message::Rows(rows)
    }

    fn next(channel: &RemoteChannel) -> Poll<Option<Message>> {
        channel.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn nothing_is_taken_before_the_first_grant() {
        let channel = RemoteChannel::default();
        assert!(matches!(channel.try_push(Message::End), Err(Rejected::Full(_))));
        channel.grant(1000);
        channel.try_push(Message::End).unwrap();
    }

    #[test]
    fn no_more_is_queued_than_was_granted() {
        let channel = RemoteChannel::default();
        channel.grant(1000);
        let taken = (0..).take_while(|_| channel.try_push(rows(194)).is_ok()).count();
        assert_eq!(taken, 1000 / rows(194).bytes());
        assert!(matches!(next(&channel), Poll::Ready(Some(Message::Rows(_)))));
        assert!(matches!(channel.try_push(rows(194)), Err(Rejected::Full(_))), "sending gives no credit back");
        channel.grant(200);
        channel.try_push(rows(194)).unwrap();
    }

    #[test]
    fn message_above_the_credit_waits_for_all_of_it() {
        let channel = RemoteChannel::default();
        channel.grant(100);
        channel.try_push(Message::Progress(Progress::Idle(Watermark::NONE))).unwrap();
        assert!(matches!(channel.try_push(rows(5000)), Err(Rejected::Full(_))));
        channel.grant(64);
        channel.try_push(rows(5000)).unwrap();
        channel.grant(u64::MAX);
        channel.try_push(rows(5000)).unwrap();
        assert!(channel.try_push(rows(1)).is_err(), "credit never exceeds the first grant");
    }

    #[test]
    fn delivered_means_that_the_end_was_sent_and_confirmed() {
        let channel = RemoteChannel::default();
        channel.grant(1000);
        assert_eq!(channel.confirm(), Err(EndedEarly));
        channel.try_push(Message::End).unwrap();
        assert_eq!(next(&channel), Poll::Ready(Some(Message::End)));
        assert_eq!(next(&channel), Poll::Ready(None));
        assert!(!channel.is_delivered());
        channel.confirm().unwrap();
        assert!(channel.is_delivered());
    }

    #[test]
    fn closing_ends_the_stream_and_refuses_messages() {
        let channel = RemoteChannel::default();
        channel.grant(1000);
        channel.try_push(rows(1)).unwrap();
        channel.close();
        assert_eq!(next(&channel), Poll::Ready(None));
        assert_eq!(channel.try_push(rows(1)), Err(Rejected::Closed));
    }
}
