//! The rows of the committer: gathered into chunks, sealed into epochs, kept until they are published.
//!
//! Plain bookkeeping: what is to be stored or published is handed out, what became of it is told. A chunk is immutable, so
//! it may be part of a later epoch when the one that it was sealed into was aborted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::barrier::Barrier;
use crate::checkpoint::{Accounts, Cut, FileRef, SealedEpoch};
use crate::ids::{CheckpointId, TableIndex};
use crate::row::RowBatch;
use crate::table::{RowCounts, TableBatches};

/// The bytes of rows in a chunk: large enough that a store's price for an object vanishes, small enough to be copied at once.
pub const CHUNK_BYTES: usize = 4 << 20;

/// The bytes of rows that are worth a chunk of their own where chunks stay in memory: copying them together would touch as much memory again.
const KEPT_BYTES: usize = 64 << 10;

/// The rows that are not published yet.
#[derive(Debug, Default)]
pub struct Epochs {
    /// Whether chunks are stored; if not, their rows stay in memory.
    is_stored: bool,
    /// How many bytes of stored chunks may stay in memory, which saves reading them back.
    memory_budget: u64,
    gathered: TableBatches,
    open: Vec<Chunk>,
    /// Not completed yet, oldest first.
    sealed: VecDeque<Sealed>,
    /// To be published, in this order.
    completed: VecDeque<Ready>,
    /// Whether they are from a checkpoint that not every task is known to have gone on from. If one cannot read its state, an
    /// older checkpoint has to do, and it does only as long as they are not published.
    are_held: bool,
    last_ticket: u64,
    unpublished_bytes: u64,
    unstored_bytes: u64,
    held_bytes: u64,
}

#[derive(Debug)]
struct Sealed {
    epoch: CheckpointId,
    chunks: Vec<Chunk>,
    is_acknowledged: bool,
}

/// An epoch that is to be published.
#[derive(Debug)]
pub struct Ready {
    /// Which.
    pub epoch: SealedEpoch,
    /// Its rows.
    pub pieces: Vec<Piece>,
    bytes: u64,
}

/// Some rows of an epoch that is to be published: in memory, in the store, or both.
#[derive(Clone, Debug)]
pub struct Piece {
    /// As they were gathered.
    pub rows: Option<Arc<RowBatch>>,
    /// Where they are stored.
    pub file: Option<FileRef>,
}

#[derive(Debug)]
struct Chunk {
    table: TableIndex,
    rows: Option<Arc<RowBatch>>,
    count: u64,
    bytes: u64,
    place: Place,
}

#[derive(Debug, PartialEq)]
enum Place {
    Memory,
    Storing(u64),
    Stored(FileRef),
}

/// The files of an epoch, all of which are stored.
#[derive(Debug, PartialEq)]
pub struct Part {
    /// Which.
    pub epoch: CheckpointId,
    /// Its files.
    pub files: Vec<FileRef>,
    /// How many rows they hold.
    pub rows: RowCounts,
}

impl Epochs {
    /// None but those that a checkpoint left to be published, oldest first.
    pub fn new(is_stored: bool, memory_budget: u64, pending: Vec<SealedEpoch>) -> Self {
        let mut epochs = Epochs { is_stored, memory_budget, are_held: !pending.is_empty(), ..Epochs::default() };
        for epoch in pending {
            let bytes = epoch.files.iter().map(|file| file.bytes).sum();
            let pieces = epoch.files.iter().map(|file| Piece { rows: None, file: Some(file.clone()) }).collect();
            epochs.unpublished_bytes += bytes;
            epochs.completed.push_back(Ready { epoch, pieces, bytes });
        }
        epochs
    }

    /// Takes rows in; whether there is a chunk more to be stored.
    pub fn gather(&mut self, rows: RowBatch) -> bool {
        self.unpublished_bytes += rows.as_bytes().len() as u64;
        self.unstored_bytes += rows.as_bytes().len() as u64;
        if !self.is_stored && rows.as_bytes().len() >= KEPT_BYTES {
            // Behind what came before.
            self.open.extend(self.gathered.take(rows.table()).map(Chunk::new));
            self.open.push(Chunk::new(rows));
            return false;
        }
        let gathered = self.gathered.of(rows.table());
        gathered.append(&rows);
        let is_full = gathered.as_bytes().len() >= CHUNK_BYTES;
        if is_full {
            self.open.extend(self.gathered.take(rows.table()).map(Chunk::new));
        }
        is_full
    }

    /// Seals what came since the last epoch; an epoch that was sealed after the last completed one, and can be completed no
    /// more, becomes a part of this one.
    pub fn seal(&mut self, barrier: Barrier) {
        self.open.extend(self.gathered.take_all().map(Chunk::new));
        let mut chunks = Vec::new();
        while self.sealed.back().is_some_and(|sealed| sealed.epoch > barrier.prev) {
            let aborted = self.sealed.pop_back().expect("it was just seen");
            chunks.splice(..0, aborted.chunks);
        }
        chunks.append(&mut self.open);
        // One table behind the other, so that a sink turns to each of them once.
        chunks.sort_by_key(|chunk| chunk.table);
        self.sealed.push_back(Sealed { epoch: barrier.checkpoint, chunks, is_acknowledged: false });
    }

    /// The chunks that are to be stored now, each under its own ticket.
    pub fn take_unstored(&mut self) -> Vec<(u64, Arc<RowBatch>)> {
        let Epochs { sealed, open, last_ticket, .. } = self;
        if !self.is_stored {
            return Vec::new();
        }
        let chunks = sealed.iter_mut().flat_map(|sealed| &mut sealed.chunks).chain(open);
        let unstored = chunks.filter(|chunk| chunk.place == Place::Memory).filter_map(|chunk| {
            let rows = chunk.rows.clone()?;
            *last_ticket += 1;
            chunk.place = Place::Storing(*last_ticket);
            Some((*last_ticket, rows))
        });
        unstored.collect()
    }

    /// What became of a chunk. Returns the epoch that must be declined, if it was a part of one.
    pub fn on_stored(&mut self, ticket: u64, result: Result<FileRef, String>) -> Option<(CheckpointId, String)> {
        let Epochs { sealed, open, .. } = self;
        let of_sealed = sealed.iter_mut().flat_map(|sealed| {
            let epoch = sealed.epoch;
            sealed.chunks.iter_mut().map(move |chunk| (Some(epoch), chunk))
        });
        let mut chunks = of_sealed.chain(open.iter_mut().map(|chunk| (None, chunk)));
        let (epoch, chunk) = chunks.find(|(_, chunk)| chunk.place == Place::Storing(ticket))?;
        match result {
            Ok(file) => {
                chunk.place = Place::Stored(file);
                self.unstored_bytes -= chunk.bytes;
                if self.held_bytes + chunk.bytes > self.memory_budget {
                    chunk.rows = None;
                } else {
                    self.held_bytes += chunk.bytes;
                }
                None
            }
            Err(reason) => {
                // It is tried again, under another name, with the next barrier.
                chunk.place = Place::Memory;
                epoch.map(|epoch| (epoch, reason))
            }
        }
    }

    /// The sealed epochs whose rows are all where they must be; each is told once.
    pub fn take_acknowledged(&mut self) -> Vec<Part> {
        let is_stored = self.is_stored;
        let is_safe = |sealed: &&mut Sealed| {
            let mut places = sealed.chunks.iter().map(|chunk| &chunk.place);
            !sealed.is_acknowledged && places.all(|place| !is_stored || matches!(place, Place::Stored(_)))
        };
        let parts = self.sealed.iter_mut().filter(is_safe).map(|sealed| {
            sealed.is_acknowledged = true;
            Part {
                epoch: sealed.epoch,
                files: sealed.chunks.iter().filter_map(Chunk::file).collect(),
                rows: row_counts(&sealed.chunks),
            }
        });
        parts.collect()
    }

    /// A checkpoint is complete: its epoch is to be published. Of one that is not waited for this says only what it says of
    /// each: that every task of the attempt runs.
    pub fn complete(&mut self, checkpoint: CheckpointId, prev: CheckpointId, accounts: Accounts, cut: Option<Cut>) {
        self.are_held = false;
        let is_it = |sealed: &Sealed| sealed.epoch == checkpoint && sealed.is_acknowledged;
        let Some(place) = self.sealed.iter().position(is_it) else { return };
        let sealed = self.sealed.remove(place).expect("it was just found");
        let epoch = SealedEpoch {
            epoch: checkpoint,
            prev,
            files: sealed.chunks.iter().filter_map(Chunk::file).collect(),
            rows: row_counts(&sealed.chunks),
            accounts,
            cut,
        };
        let bytes = sealed.chunks.iter().map(|chunk| chunk.bytes).sum();
        let pieces = sealed.chunks.into_iter().map(|chunk| Piece { file: chunk.file(), rows: chunk.rows }).collect();
        self.completed.push_back(Ready { epoch, pieces, bytes });
    }

    /// The epoch that is to be published next, if it may be now.
    pub fn next_ready(&self) -> Option<&Ready> {
        self.completed.front().filter(|_| !self.are_held)
    }

    /// The first of those to be published is visible; returns how many rows of the result it held.
    pub fn on_published(&mut self) -> u64 {
        let Some(ready) = self.completed.pop_front() else { return 0 };
        self.unpublished_bytes -= ready.bytes;
        if self.is_stored {
            let held = ready.pieces.iter().filter_map(|piece| piece.rows.as_ref());
            self.held_bytes -= held.map(|rows| rows.as_bytes().len() as u64).sum::<u64>();
        }
        ready.epoch.rows.result
    }

    /// Whether every row that came is published.
    pub fn are_published(&self) -> bool {
        self.gathered.are_empty() && self.open.is_empty() && self.sealed.is_empty() && self.completed.is_empty()
    }

    /// The bytes of rows that are not published.
    pub fn unpublished_bytes(&self) -> u64 {
        self.unpublished_bytes
    }

    /// The bytes of rows that have to stay in memory because they are not stored yet; zero where nothing is stored.
    pub fn unstored_bytes(&self) -> u64 {
        if self.is_stored { self.unstored_bytes } else { 0 }
    }
}

fn row_counts(chunks: &[Chunk]) -> RowCounts {
    let mut counts = RowCounts::default();
    chunks.iter().for_each(|chunk| counts.add(chunk.table, chunk.count));
    counts
}

impl Chunk {
    fn new(rows: RowBatch) -> Self {
        let (table, count, bytes) = (rows.table(), rows.rows(), rows.as_bytes().len() as u64);
        Chunk { table, rows: Some(Arc::new(rows)), count, bytes, place: Place::Memory }
    }

    fn file(&self) -> Option<FileRef> {
        match &self.place {
            Place::Stored(file) => Some(file.clone()),
            Place::Memory | Place::Storing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
