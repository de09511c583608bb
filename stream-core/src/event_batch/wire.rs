//! The bytes of a batch between processes.

use crate::event_batch::EventBatch;
use crate::event_batch::followers::{FOLLOWER_BYTES, Followers};
use crate::origin::{self, Origins};

/// Bytes that are not an encoded batch.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeBatchError {
    /// Written by another version of this program, or not by it at all.
    #[error("event batch has format `{0}`, this build reads `{FORMAT}`")]
    Format(u8),
    /// The parts do not add up.
    #[error("event batch is damaged: {0}")]
    Damaged(&'static str),
}

/// The first byte of an encoded batch.
const FORMAT: u8 = 3;
pub(super) const HEADER_BYTES: usize = 1 + 5 * 4;
/// The bytes of one entry beside its key: hash, time, count, end of key, origin.
pub(super) const ENTRY_BYTES: usize = 8 + 8 + 4 + 4 + origin::ENTRY_BYTES;

impl EventBatch {
    /// The size that flow control counts, in bytes: that of the encoded form.
    pub fn bytes(&self) -> usize {
        let runs = self.origins.runs() + self.follower_runs();
        let followers = self.followers() * (FOLLOWER_BYTES + origin::ENTRY_BYTES);
        HEADER_BYTES + self.len() * ENTRY_BYTES + followers + runs * origin::RUN_BYTES + self.keys.len()
    }

    /// The batch as bytes: format, numbers of entries, key bytes, runs of origins, followers and runs of theirs, then each column
    /// little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        out.push(FORMAT);
        out.extend_from_slice(&length(self.len()).to_le_bytes());
        out.extend_from_slice(&length(self.keys.len()).to_le_bytes());
        out.extend_from_slice(&length(self.origins.runs()).to_le_bytes());
        out.extend_from_slice(&length(self.followers()).to_le_bytes());
        out.extend_from_slice(&length(self.follower_runs()).to_le_bytes());
        out.extend(self.hashes.iter().flat_map(|hash| hash.to_le_bytes()));
        out.extend(self.times.iter().flat_map(|time| time.to_le_bytes()));
        out.extend(self.counts.iter().flat_map(|count| count.to_le_bytes()));
        out.extend(self.key_ends.iter().flat_map(|end| end.to_le_bytes()));
        self.origins.encode(&mut out);
        if let Some(followers) = &self.followers {
            followers.encode(&mut out);
        }
        out.extend_from_slice(&self.keys);
        out
    }

    fn follower_runs(&self) -> usize {
        self.followers.as_deref().map_or(0, |followers| followers.origins().runs())
    }

    /// Reads what [`EventBatch::encode`] wrote. Checks lengths before it allocates.
    ///
    /// # Errors
    /// If the bytes have another format, or their lengths do not add up.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeBatchError> {
        let (&format, bytes) = bytes.split_first().ok_or(DecodeBatchError::Damaged("no bytes"))?;
        if format != FORMAT {
            return Err(DecodeBatchError::Format(format));
        }
        let mut rest = bytes;
        let entries = take_u32(&mut rest)? as usize;
        let key_bytes = take_u32(&mut rest)? as usize;
        let runs = take_u32(&mut rest)? as usize;
        let followers = take_u32(&mut rest)? as usize;
        let follower_runs = take_u32(&mut rest)? as usize;
        let bytes_of = |items: usize, bytes: usize| items as u64 * bytes as u64;
        let columns = bytes_of(entries, ENTRY_BYTES) + bytes_of(followers, FOLLOWER_BYTES + origin::ENTRY_BYTES);
        let columns = columns + bytes_of(runs, origin::RUN_BYTES) + bytes_of(follower_runs, origin::RUN_BYTES);
        if rest.len() as u64 != columns + key_bytes as u64 {
            return Err(DecodeBatchError::Damaged("its length is not what its header says"));
        }
        let hashes = take_column(&mut rest, entries, u64::from_le_bytes);
        let times = take_column(&mut rest, entries, i64::from_le_bytes);
        let counts = take_column(&mut rest, entries, u32::from_le_bytes);
        let key_ends = take_column(&mut rest, entries, u32::from_le_bytes);
        let origins = take_origins(&mut rest, entries, runs)?;
        let follower_entries = take_column(&mut rest, followers, u16::from_le_bytes);
        let distances = take_column(&mut rest, followers, i32::from_le_bytes);
        let follower_origins = take_origins(&mut rest, followers, follower_runs)?;
        let followers = match followers {
            0 => None,
            _ => {
                let followers = Followers::of_columns(follower_entries, distances, follower_origins, entries);
                Some(Box::new(
                    followers.ok_or(DecodeBatchError::Damaged("an event shares an entry that is not there"))?,
                ))
            }
        };
        let keys = rest;
        let ends_at_the_keys_end = key_ends.last().copied().unwrap_or(0) as usize == key_bytes;
        if !key_ends.is_sorted() || !ends_at_the_keys_end {
            return Err(DecodeBatchError::Damaged("a key does not lie within the keys"));
        }
        Ok(EventBatch { hashes, times, counts, key_ends, origins, keys: keys.to_vec(), followers })
    }
}

fn length(items: usize) -> u32 {
    u32::try_from(items).expect("a batch is flushed before 4 GiB")
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, DecodeBatchError> {
    let (head, tail) = rest.split_first_chunk().ok_or(DecodeBatchError::Damaged("its header is cut off"))?;
    *rest = tail;
    Ok(u32::from_le_bytes(*head))
}

/// Takes one column; the caller has checked that it is all there.
fn take_column<const N: usize, T>(rest: &mut &[u8], entries: usize, read: fn([u8; N]) -> T) -> Vec<T> {
    let (column, tail) = rest.split_at(entries * N);
    *rest = tail;
    column.as_chunks().0.iter().map(|&chunk| read(chunk)).collect()
}

/// The same, of origins in so many runs.
fn take_origins(rest: &mut &[u8], entries: usize, runs: usize) -> Result<Origins, DecodeBatchError> {
    let (distances, tail) = rest.split_at(entries * origin::ENTRY_BYTES);
    let (runs, tail) = tail.split_at(runs * origin::RUN_BYTES);
    *rest = tail;
    Origins::decode(distances, runs).ok_or(DecodeBatchError::Damaged("its origins are none"))
}
