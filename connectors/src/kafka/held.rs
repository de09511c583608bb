//! Records that wait for other partitions, in memory of our own.
//!
//! A message of librdkafka keeps the whole answer to its fetch alive: up to a MiB of each partition that was asked for together with its
//! own, if they are not compressed. What goes straight through does so for microseconds. What is held may wait as long as another
//! partition catches up, and then each record of a thin partition may pin much that no limit counts (390 of 11 bytes: 30 MiB, and 6 as
//! copies, by `e2e/tests/services/kafka_memory.rs`). So what is held is copied, all that was received at once into one block.

use std::ffi::CStr;
use std::ops::Range;
use std::sync::Arc;

use stream_core::time::Timestamp;

use super::batch_queue::{Message, Received};

/// What was received of a partition and is not handed on: a record or an end.
pub(super) trait Waiting {
    /// What it says; never a failure.
    fn read(&self) -> Message<'_>;
    /// The value of its last header of this name.
    fn header(&self, name: &CStr) -> Option<&[u8]>;
    /// When it was made, or appended.
    fn timestamp(&self) -> Option<Timestamp>;
}

impl Waiting for Received {
    fn read(&self) -> Message<'_> {
        Received::read(self)
    }

    fn header(&self, name: &CStr) -> Option<&[u8]> {
        Received::header(self, name)
    }

    fn timestamp(&self) -> Option<Timestamp> {
        Received::timestamp(self)
    }
}

/// A copy of a message, with the one header that anybody asks for.
pub(super) struct Held {
    block: Arc<Vec<u8>>,
    payload: Option<Range<usize>>,
    header: Option<Range<usize>>,
    timestamp: Option<Timestamp>,
    partition: i32,
    offset: u64,
    is_end: bool,
}

impl Held {
    /// Copies of these messages, with their header of this name. The messages are given back.
    pub(super) fn copies(messages: &mut dyn Iterator<Item = Received>, header: &CStr) -> Vec<Held> {
        let messages: Vec<Received> = messages.collect();
        let sizes = messages.iter().map(|message| payload_of(message).map_or(0, <[u8]>::len));
        let mut block = Vec::with_capacity(sizes.sum());
        let mut append = |bytes: &[u8]| {
            let from = block.len();
            block.extend_from_slice(bytes);
            from..block.len()
        };
        let copied: Vec<_> = messages
            .iter()
            .map(|message| (payload_of(message).map(&mut append), message.header(header).map(&mut append)))
            .collect();
        let block = Arc::new(block);
        let held = |(message, (payload, header)): (Received, _)| {
            let (partition, offset, is_end) = match message.read() {
                Message::Record { partition, offset, .. } => (partition, offset, false),
                Message::End { partition, offset } => (partition, offset, true),
                Message::Failure { .. } => unreachable!("only records and ends are kept"),
            };
            let timestamp = message.timestamp();
            Held { block: Arc::clone(&block), payload, header, timestamp, partition, offset, is_end }
        };
        messages.into_iter().zip(copied).map(held).collect()
    }

    /// The memory that it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let of_block = [&self.payload, &self.header].into_iter().flatten().map(ExactSizeIterator::len);
        size_of::<Held>() + of_block.sum::<usize>()
    }
}

impl Waiting for Held {
    fn read(&self) -> Message<'_> {
        let Held { partition, offset, .. } = *self;
        match self.is_end {
            true => Message::End { partition, offset },
            false => Message::Record { partition, offset, payload: self.payload.clone().map(|at| &self.block[at]) },
        }
    }

    fn header(&self, _: &CStr) -> Option<&[u8]> {
        self.header.clone().map(|at| &self.block[at])
    }

    fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }
}

fn payload_of(message: &Received) -> Option<&[u8]> {
    match message.read() {
        Message::Record { payload, .. } => payload,
        Message::End { .. } | Message::Failure { .. } => None,
    }
}
