//! A partition that is read: how far, and what was received of it but not handed on.

use std::collections::VecDeque;
use std::ffi::CStr;

use stream_core::operator::Record;
use stream_core::pipeline::Split;
use stream_runtime::connector::{RecordContext, SourceVisitor};

use super::batch_queue::{Message, Received};
use super::discover::partition_of;
use super::error::Error;

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
    /// Whether the client found that its next offset is gone, and it is to be read on from its first record.
    pub(super) is_gone: bool,
    /// Whether its queue is parted from that of the others.
    pub(super) is_apart: bool,
    /// The next offset to be handed on.
    position: u64,
    /// What was received and is not handed on, in order.
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
            is_gone: false,
            is_apart: false,
            position: split.start,
            pending: VecDeque::new(),
        })
    }

    /// Whether it is read to its bound.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished | State::Told)
    }

    /// Whether anything was received that is not handed on.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// A record or an end was received. What lies beyond the bound belongs to another run.
    pub(super) fn receive(&mut self, message: Received) {
        if !self.is_finished() {
            self.pending.push_back(message);
        }
    }

    /// Goes on at another offset, which may lie before where it was; where it was. A bound beyond the `end` that there is now would
    /// never be reached.
    pub(super) fn jump(&mut self, offset: u64, end: u64) -> u64 {
        let was = std::mem::replace(&mut self.position, offset);
        self.is_gone = false;
        self.end = self.end.map(|bound| bound.min(end));
        self.advance(offset, State::Reading);
        was
    }

    /// Hands on the next records, `max` at most, to the visitor, for whom this is the split `index`; how many messages are done with.
    /// Those that it leaves stay.
    pub(super) fn hand_on(&mut self, index: usize, max: usize, visitor: &mut dyn SourceVisitor) -> usize {
        if self.pending.is_empty() || visitor.is_held(index) {
            return 0;
        }
        let mut records = [Record { payload: None, offset: 0 }; RECORDS_AT_ONCE];
        let (mut count, mut position, mut end) = (0, self.position, None);
        let until_followed = visitor.until_followed();
        // The one that is followed goes alone, so that it is decoded once and still known from the others.
        let at_once = RECORDS_AT_ONCE.min(until_followed.max(1));
        for message in self.pending.iter().take(max.min(at_once)) {
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
                let message = &self.pending[0];
                let context =
                    RecordContext { trace_parent: message.header(TRACE_PARENT), written: message.timestamp() };
                visitor.on_followed(index, &records[0], position, context)
            }
            _ => visitor.on_records(index, &records[..count], position),
        };
        if taken > 0 {
            if let (Some(first), Some(last)) = (self.pending[0].timestamp(), self.pending[taken - 1].timestamp()) {
                visitor.on_arrivals(first, last, taken as u64);
            }
            let next = records[..count].get(taken).map_or(position, |record| record.offset);
            self.advance(next, State::Reading);
        }
        if let Some(end) = end.filter(|_| taken == count) {
            self.advance(end, State::AtEnd);
            taken += 1;
        }
        self.pending.drain(..taken);
        if self.is_finished() {
            self.pending.clear();
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
    use stream_core::ids::SplitId;

    use super::*;

    #[test]
    fn one_whose_topic_is_shorter_now_than_its_bound_is_read_to_what_is_there() {
        let split = Split { id: SplitId("t/0".to_owned()), start: 900, end: Some(1000) };
        let mut partition = Partition::new(&split, "t").expect("a partition");
        assert_eq!(partition.jump(0, 10), 900);
        assert_eq!((partition.end, partition.is_finished()), (Some(10), false));
        partition.advance(10, State::AtEnd);
        assert!(partition.is_finished());
    }
}
