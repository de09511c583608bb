//! The log of one partition: record batches one after another in one file, in Kafka's own segment format.
//!
//! An index in memory finds a batch by offset or by time; it is sparse, like Kafka's, and rebuilt when the log is
//! opened ([`recovery`]). There is no retention and no compaction: `DeleteRecords` hides records, and the space
//! comes back when the topic is deleted. Tested in `log/tests.rs`.

mod recovery;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::batch::{self, HEADER_BYTES, Header, Invalid};
use crate::disk::{self, DiskError};
use crate::producers::{Producers, Refusal, Verdict};
use crate::records::{self, Found};

/// A new index entry at least every so many bytes. A read begins at an entry and skips the batches before its offset.
const BLOCK_BYTES: u64 = 16 << 10;

/// Why a batch was not appended.
#[derive(Debug, Error)]
pub(crate) enum AppendError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("cannot write the partition's log; is the disk full?")]
    Io(#[from] io::Error),
}

/// One partition's log, open. One owner at a time writes; a [`Reader`] reads beside it.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    fsync: bool,
    file: Arc<File>,
    /// Where the next batch goes. Bytes beyond are a failed write, and are written over.
    end_position: u64,
    start_offset: i64,
    end_offset: i64,
    blocks: Vec<Block>,
    producers: Producers,
}

/// An index entry: some whole batches.
#[derive(Debug)]
struct Block {
    base_offset: i64,
    position: u64,
    max_timestamp: i64,
}

impl Log {
    /// The first offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset the next record will get; the high watermark, as there are no replicas.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Appends one batch and returns the offset of its first record; for a repeated batch, where it is already.
    pub(crate) fn append(&mut self, batch: &[u8]) -> Result<i64, AppendError> {
        let header = Header::parse(batch)?;
        header.verify(batch)?;
        header.verify_producible()?;
        if let Verdict::Duplicate { base_offset } = self.producers.check(&header)? {
            return Ok(base_offset);
        }
        let mut placed = batch.to_vec();
        batch::place(&mut placed, self.end_offset);
        self.file.write_all_at(&placed, self.end_position)?;
        if self.fsync {
            self.file.sync_data()?;
        }
        let base_offset = self.end_offset;
        self.index(&Header { base_offset, ..header });
        Ok(base_offset)
    }

    /// A view of the log from the batch that holds `offset`, to be read without holding the log. `None` if the offset
    /// is below the first or above the end.
    pub(crate) fn reader(&self, offset: i64) -> Option<Reader> {
        if !(self.start_offset..=self.end_offset).contains(&offset) {
            return None;
        }
        let block = self.blocks.partition_point(|b| b.base_offset <= offset).checked_sub(1);
        let is_end = offset == self.end_offset;
        let position = if is_end { self.end_position } else { block.map_or(0, |b| self.blocks[b].position) };
        Some(Reader { file: Arc::clone(&self.file), offset, position, end_position: self.end_position })
    }

    /// The first record not before `timestamp` (milliseconds since the Unix epoch).
    pub(crate) fn first_at_or_after(&self, timestamp: i64) -> io::Result<Option<Found>> {
        for (i, block) in self.blocks.iter().enumerate() {
            let end = self.blocks.get(i + 1);
            if block.max_timestamp < timestamp || end.is_some_and(|e| e.base_offset <= self.start_offset) {
                continue;
            }
            let end = end.map_or(self.end_position, |b| b.position);
            let bytes = read_exact(&self.file, block.position, end - block.position)?;
            for (header, batch) in Batches(&bytes) {
                if header.max_timestamp < timestamp || header.last_offset() < self.start_offset {
                    continue;
                }
                if let Some(found) = records::first_at_or_after(&header, batch, timestamp, self.start_offset)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Hides the records below `offset`, for good; never goes back.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<(), DiskError> {
        let offset = offset.clamp(self.start_offset, self.end_offset);
        if offset > self.start_offset {
            disk::write_json(&self.dir.join(recovery::START_OFFSET_FILE), &offset, self.fsync)?;
            self.start_offset = offset;
        }
        Ok(())
    }

    /// Asks the operating system to put everything on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Takes note of a batch that stands at the end of the file.
    fn index(&mut self, placed: &Header) {
        match self.blocks.last_mut() {
            Some(block) if self.end_position - block.position < BLOCK_BYTES => {
                block.max_timestamp = block.max_timestamp.max(placed.max_timestamp);
            }
            _ => self.blocks.push(Block {
                base_offset: placed.base_offset,
                position: self.end_position,
                max_timestamp: placed.max_timestamp,
            }),
        }
        self.producers.remember(placed);
        self.end_position += placed.bytes as u64;
        self.end_offset = placed.last_offset() + 1;
    }
}

/// A part of a log that no longer changes.
#[derive(Debug)]
pub(crate) struct Reader {
    file: Arc<File>,
    offset: i64,
    position: u64,
    end_position: u64,
}

impl Reader {
    /// Whole batches from the one that holds the offset: at most `max_bytes`, but one at least if `at_least_one`.
    pub(crate) fn read(&self, max_bytes: usize, at_least_one: bool) -> io::Result<Bytes> {
        let left = self.end_position - self.position;
        let window =
            read_exact(&self.file, self.position, left.min(BLOCK_BYTES + (max_bytes.max(HEADER_BYTES)) as u64))?;
        let Some((from, first)) = self.find(&window) else {
            return Ok(Bytes::new());
        };
        let mut to = from;
        for (_, batch) in Batches(&window[from..]) {
            if to + batch.len() - from > max_bytes {
                break;
            }
            to += batch.len();
        }
        if to == from && at_least_one {
            return read_exact(&self.file, self.position + from as u64, first.bytes as u64);
        }
        Ok(window.slice(from..to))
    }

    /// Where in `window` the batch begins that holds the offset. It begins within the first block, see [`Log::index`].
    fn find(&self, window: &[u8]) -> Option<(usize, Header)> {
        let mut at = 0;
        while at < window.len() {
            let header = Header::parse(&window[at..]).ok()?;
            if header.last_offset() >= self.offset {
                return Some((at, header));
            }
            at += header.bytes;
        }
        None
    }
}

/// The whole batches at the start of some bytes of a log.
struct Batches<'a>(&'a [u8]);

impl<'a> Iterator for Batches<'a> {
    type Item = (Header, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = Header::parse(self.0).ok()?;
        let (batch, rest) = self.0.split_at_checked(header.bytes)?;
        self.0 = rest;
        Some((header, batch))
    }
}

fn read_exact(file: &File, position: u64, bytes: u64) -> io::Result<Bytes> {
    // A read is a block and a response at most, both bounded far below `usize`.
    let mut buffer = vec![0; bytes as usize];
    file.read_exact_at(&mut buffer, position)?;
    Ok(buffer.into())
}
