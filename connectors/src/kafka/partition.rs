//! A partition that is read: how far, and what was received of it but not handed on.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::ops::Range;

use stream_core::operator::Record;
use stream_core::pipeline::Split;
use stream_runtime::connector::{RecordContext, SourceVisitor};

use super::batch_queue::{Message, Received};
use super::discover::partition_of;
use super::error::Error;
use super::held::{Held, Waiting};

/// Records handed on at once: enough that the call costs nothing, few enough to stay in the first-level cache.
const RECORDS_AT_ONCE: usize = 256;

/// The header that says of which trace a record is (<https://www.w3.org/TR/trace-context/>).
const TRACE_PARENT: &CStr = c"traceparent";

/// One partition of a reader.
pub(super) struct Partition {
    /// Its number.
    pub(super) id: i32,
    /// The offset up to which it is to be read, if it is not read on for ever.
    pub(super) end: Option<u64>,
    /// How it stands.
    pub(super) state: State,
    /// The end that was told last.
    pub(super) told_end: Option<u64>,
    /// Why it may have lost records that were to be read.
    pub(super) doubt: Option<Doubt>,
    /// Whether its queue is parted from that of the others.
    pub(super) is_apart: bool,
    /// The bytes of what waits from which on down it is joined again.
    join_at: usize,
    /// The next offset to be handed on.
    position: u64,
    /// Copies of what was received first, while it had to wait for others.
    held: VecDeque<Held>,
    /// The memory of these, in bytes.
    held_bytes: usize,
    /// What was received after that and is not handed on, in order.
    pending: VecDeque<Received>,
}

/// How a partition stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There may be more to read at once.
    Reading,
    /// Read to what is its end for now.
    AtEnd,
    /// Read to its bound; this was not told yet.
    Finished,
    /// Read to its bound.
    Told,
}

/// What makes one ask whether a partition still has what was to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The client was told that its next offset is not there, and reads no more of it.
    OutOfRange,
    /// It ends before the bound, which had been its end. A new leader may say so for a moment.
    EndsEarly,
}

/// Records that a partition does not have any more, and was to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Those before `up_to` were deleted before they were read.
    Unread {
        /// The first that is there.
        up_to: u64,
    },
    /// Those from `from` on are gone, some of which were read: a replica that had not got them became the leader, or the topic was made
    /// anew. What came in their place before this was seen cannot be told from them by its offset.
    Tail {
        /// The end that there is now.
        from: u64,
    },
    /// The same, while none of them was read: the end that was to be read to lies beyond the one that there is now.
    Bound {
        /// The end that there is now.
        from: u64,
        /// The one that was.
        end: u64,
    },
}

impl Partition {
    /// A partition of `topic` that was not read yet.
    ///
    /// # Errors
    /// If the split is none.
    pub(super) fn new(split: &Split, topic: &str) -> Result<Self, Error> {
        let is_empty = split.end.is_some_and(|end| split.start >= end);
        Ok(Partition {
            id: partition_of(&split.id, topic)?,
            end: split.end,
            state: if is_empty { State::Finished } else { State::Reading },
            told_end: None,
            doubt: None,
            is_apart: false,
            join_at: 0,
            position: split.start,
            held: VecDeque::new(),
            held_bytes: 0,
            pending: VecDeque::new(),
        })
    }

    /// Whether it is read to its bound.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished | State::Told)
    }

    /// Whether anything was received that is not handed on.
    pub(super) fn has_pending(&self) -> bool {
        !self.held.is_empty() || !self.pending.is_empty()
    }

    /// A record or an end was received. What lies beyond the bound belongs to another run.
    pub(super) fn receive(&mut self, message: Received) {
        if !self.is_finished() {
            self.pending.push_back(message);
        }
    }

    /// Keeps copies of what has to wait, so that the client gets its memory back; the bytes of all that waits, and how many of its
    /// records came since it was asked last.
    pub(super) fn hold(&mut self) -> (usize, usize) {
        let came = self.pending.len();
        if came > 0 {
            let copies = Held::copies(&mut self.pending.drain(..), TRACE_PARENT);
            self.held_bytes += copies.iter().map(Held::bytes).sum::<usize>();
            self.held.extend(copies);
        }
        (self.held_bytes, came)
    }

    /// Whether its queue is to be parted from that of the others, or to stay so, if `is_much` of it waits now.
    ///
    /// It is joined again once half of what waited then is handed on: there is still something while more is fetched, and as others are at
    /// that point too, a fetch asks for many. If nothing were left, each of a thousand partitions would be waited for in its turn.
    pub(super) fn has_to_be_apart(&mut self, is_much: bool) -> bool {
        if is_much {
            self.join_at = self.held_bytes / 2;
        }
        is_much || (self.is_apart && self.held_bytes > self.join_at)
    }

    /// The offset of the next message that is to be received.
    pub(super) fn next(&self) -> u64 {
        let last = self.pending.back().map(Waiting::read).or_else(|| self.held.back().map(Waiting::read));
        match last {
            Some(Message::Record { offset, .. }) => offset + 1,
            Some(Message::End { offset, .. }) => offset,
            Some(Message::Failure { .. }) | None => self.position,
        }
    }

    /// What it lost of what it was to read, now that it holds the offsets `available`.
    pub(super) fn loss(&self, available: &Range<u64>) -> Option<Loss> {
        let Partition { position, end, .. } = *self;
        if position < available.start {
            Some(Loss::Unread { up_to: available.start })
        } else if available.end < position {
            Some(Loss::Tail { from: available.end })
        } else {
            end.filter(|&end| available.end < end).map(|end| Loss::Bound { from: available.end, end })
        }
    }

    /// The offset at which it goes on behind a loss: nothing that was read is read again. A bound beyond the `end` that there is now
    /// would never be reached.
    pub(super) fn pass_over(&mut self, loss: Loss, end: u64) -> u64 {
        self.end = self.end.map(|bound| bound.min(end));
        let (position, state) = match loss {
            Loss::Unread { up_to } => (up_to, State::Reading),
            Loss::Tail { from } => (from, State::Reading),
            Loss::Bound { .. } => (self.position, self.state),
        };
        self.position = position;
        self.advance(position, state);
        position
    }

    /// The next offset to be handed on.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Hands on the next records, `max` at most, to the visitor, for whom this is the split `index`; how many messages are done with.
    /// Those that it leaves stay.
    pub(super) fn hand_on(&mut self, index: usize, max: usize, visitor: &mut dyn SourceVisitor) -> usize {
        if !self.has_pending() || visitor.is_held(index) {
            return 0;
        }
        // Out of `self` for as long as their records are borrowed.
        let mut held = std::mem::take(&mut self.held);
        let mut pending = std::mem::take(&mut self.pending);
        let taken = if held.is_empty() {
            let taken = self.hand_on_of(&pending, index, max, visitor);
            pending.drain(..taken);
            taken
        } else {
            let taken = self.hand_on_of(&held, index, max, visitor);
            self.held_bytes -= held.drain(..taken).map(|one| one.bytes()).sum::<usize>();
            taken
        };
        if self.is_finished() {
            self.held_bytes = 0;
        } else {
            (self.held, self.pending) = (held, pending);
        }
        taken
    }

    fn hand_on_of<M: Waiting>(
        &mut self,
        waiting: &VecDeque<M>,
        index: usize,
        max: usize,
        visitor: &mut dyn SourceVisitor,
    ) -> usize {
        let mut records = [Record { payload: None, offset: 0 }; RECORDS_AT_ONCE];
        let (mut count, mut position, mut end) = (0, self.position, None);
        let until_followed = visitor.until_followed();
        // The one that is followed goes alone, so that it is decoded once and still known from the others.
        let at_once = RECORDS_AT_ONCE.min(until_followed.max(1));
        for message in waiting.iter().take(max.min(at_once)) {
            match message.read() {
                Message::Record { offset, payload, .. } if self.end.is_none_or(|end| offset < end) => {
                    records[count] = Record { payload, offset };
                    count += 1;
                    position = offset + 1;
                }
                Message::Record { offset, .. } | Message::End { offset, .. } => {
                    end = Some(offset);
                    break;
                }
                Message::Failure { .. } => unreachable!("only records and ends are kept"),
            }
        }
        let mut taken = match count {
            0 => 0,
            1 if until_followed == 0 => {
                let message = &waiting[0];
                let context =
                    RecordContext { trace_parent: message.header(TRACE_PARENT), written: message.timestamp() };
                visitor.on_followed(index, &records[0], position, context)
            }
            _ => visitor.on_records(index, &records[..count], position),
        };
        if taken > 0 {
            if let (Some(first), Some(last)) = (waiting[0].timestamp(), waiting[taken - 1].timestamp()) {
                visitor.on_arrivals(first, last, taken as u64);
            }
            let next = records[..count].get(taken).map_or(position, |record| record.offset);
            self.advance(next, State::Reading);
        }
        if let Some(end) = end.filter(|_| taken == count) {
            self.advance(end, State::AtEnd);
            if self.end.is_some_and(|bound| end < bound) {
                self.doubt = self.doubt.or(Some(Doubt::EndsEarly));
            }
            taken += 1;
        }
        taken
    }

    /// Moves on to `position`; records or marks before it were read or are not there.
    fn advance(&mut self, position: u64, state: State) {
        self.position = self.position.max(position);
        let is_finished = self.end.is_some_and(|end| self.position >= end);
        self.state = if is_finished { State::Finished } else { state };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stream_core::ids::SplitId;

    use super::*;

    fn partition(start: u64, end: Option<u64>) -> Partition {
        let split = Split { id: SplitId("t/0".to_owned()), start, end };
        Partition::new(&split, "t").expect("a partition")
    }

    #[test]
    fn behind_a_loss_it_goes_on_at_the_nearest_that_was_not_read() {
        let mut gone = partition(90, None);
        assert_eq!(gone.loss(&(0..100)), None);
        assert_eq!(gone.loss(&(0..90)), None, "at its end");
        let unread = gone.loss(&(95..100));
        assert_eq!(unread, Some(Loss::Unread { up_to: 95 }));
        assert_eq!(gone.pass_over(unread.unwrap(), 100), 95);
        let tail = gone.loss(&(0..10));
        assert_eq!(tail, Some(Loss::Tail { from: 10 }));
        assert_eq!(gone.pass_over(tail.unwrap(), 10), 10, "not at 0, where it has been");
        assert!(!gone.is_finished());
    }

    #[test]
    fn a_bound_beyond_the_end_that_there_is_now_is_reached_there() {
        let mut anew = partition(900, Some(1000));
        let tail = anew.loss(&(0..10)).unwrap();
        assert_eq!(anew.pass_over(tail, 10), 10);
        assert!(anew.is_finished(), "nothing of what is there is read twice");

        let mut shorter = partition(5, Some(1000));
        let bound = shorter.loss(&(0..10)).unwrap();
        assert_eq!(bound, Loss::Bound { from: 10, end: 1000 });
        assert_eq!((shorter.pass_over(bound, 10), shorter.is_finished()), (5, false));
        shorter.advance(10, State::AtEnd);
        assert!(shorter.is_finished());
    }
}
