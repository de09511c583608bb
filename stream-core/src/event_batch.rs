//! Keyed events in columns: what travels from a source to the windows.
//!
//! Only what the next stage needs travels: the key and its hash, the event's time, how many events this entry stands for, and
//! where it comes from, for the case that it is late. For windows the key is all there is. A job that needs more of an event
//! puts it behind the key: the hash is then of the key only, the bytes are the job's own record, and nobody between its
//! decoder and its operator looks into them. Batches are moved by pointer within a process; between processes they travel as
//! [`EventBatch::encode`] writes them.

use crate::key_group::KeyHash;
use crate::origin::{self, Origin, Origins};
use crate::time::EventTime;

/// A batch of keyed events. Columns of one length; the keys' bytes lie end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBatch {
    hashes: Vec<u64>,
    times: Vec<i64>,
    counts: Vec<u32>,
    key_ends: Vec<u32>,
    origins: Origins,
    keys: Vec<u8>,
}

/// One entry of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedEvent<'a> {
    /// The hash of the key, computed at the source.
    pub hash: KeyHash,
    /// When it happened.
    pub time: EventTime,
    /// How many events it stands for; 1 unless the source aggregated.
    pub count: u32,
    /// The key as the job encoded it, and what it put behind it.
    pub key: &'a [u8],
    /// Where its record stands; of several, the first's.
    pub origin: Origin,
}

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
const FORMAT: u8 = 2;
const HEADER_BYTES: usize = 1 + 4 + 4 + 4;
/// The bytes of one entry beside its key: hash, time, count, end of key, origin.
const ENTRY_BYTES: usize = 8 + 8 + 4 + 4 + origin::ENTRY_BYTES;

impl EventBatch {
    /// An empty batch with room for `events` of about `key_bytes` each.
    pub fn with_capacity(events: usize, key_bytes: usize) -> Self {
        EventBatch {
            hashes: Vec::with_capacity(events),
            times: Vec::with_capacity(events),
            counts: Vec::with_capacity(events),
            key_ends: Vec::with_capacity(events),
            origins: Origins::with_capacity(events),
            keys: Vec::with_capacity(events * key_bytes),
        }
    }

    /// An empty batch with room for another that is like this one.
    pub fn another(&self) -> Self {
        Self::with_capacity(self.len(), self.keys.len().div_ceil(self.len().max(1)))
    }

    /// Appends an event.
    ///
    /// # Panics
    /// If the keys of one batch exceed 4 GiB; batches are flushed long before ([`crate::collector`]).
    pub fn push(&mut self, event: KeyedEvent<'_>) {
        self.keys.extend_from_slice(event.key);
        self.key_ends.push(u32::try_from(self.keys.len()).expect("a batch is flushed before 4 GiB"));
        self.hashes.push(event.hash.0);
        self.times.push(event.time.0);
        self.counts.push(event.count);
        self.origins.push(event.origin);
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Takes all entries out, keeping the memory.
    pub fn clear(&mut self) {
        self.hashes.clear();
        self.times.clear();
        self.counts.clear();
        self.key_ends.clear();
        self.origins.clear();
        self.keys.clear();
    }

    /// The size that flow control counts, in bytes: that of the encoded form.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.len() * ENTRY_BYTES + self.origins.runs() * origin::RUN_BYTES + self.keys.len()
    }

    /// The sum of the entries' counts.
    pub fn events(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = KeyedEvent<'_>> {
        let columns = self.hashes.iter().zip(&self.times).zip(&self.counts).zip(&self.key_ends);
        let mut origins = self.origins.iter();
        let mut key_start = 0;
        columns.map(move |(((&hash, &time), &count), &key_end)| {
            let key = &self.keys[key_start as usize..key_end as usize];
            key_start = key_end;
            let origin = origins.next().unwrap_or_default();
            KeyedEvent { hash: KeyHash(hash), time: EventTime(time), count, key, origin }
        })
    }

    /// The batch as bytes: format, numbers of entries, key bytes and runs of origins, then each column little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        out.push(FORMAT);
        out.extend_from_slice(&length(self.len()).to_le_bytes());
        out.extend_from_slice(&length(self.keys.len()).to_le_bytes());
        out.extend_from_slice(&length(self.origins.runs()).to_le_bytes());
        out.extend(self.hashes.iter().flat_map(|hash| hash.to_le_bytes()));
        out.extend(self.times.iter().flat_map(|time| time.to_le_bytes()));
        out.extend(self.counts.iter().flat_map(|count| count.to_le_bytes()));
        out.extend(self.key_ends.iter().flat_map(|end| end.to_le_bytes()));
        self.origins.encode(&mut out);
        out.extend_from_slice(&self.keys);
        out
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
        let columns = entries as u64 * ENTRY_BYTES as u64 + runs as u64 * origin::RUN_BYTES as u64;
        if rest.len() as u64 != columns + key_bytes as u64 {
            return Err(DecodeBatchError::Damaged("its length is not what its header says"));
        }
        let hashes = take_column(&mut rest, entries, u64::from_le_bytes);
        let times = take_column(&mut rest, entries, i64::from_le_bytes);
        let counts = take_column(&mut rest, entries, u32::from_le_bytes);
        let key_ends = take_column(&mut rest, entries, u32::from_le_bytes);
        let (distances, tail) = rest.split_at(entries * origin::ENTRY_BYTES);
        let (runs, keys) = tail.split_at(runs * origin::RUN_BYTES);
        let origins = Origins::decode(distances, runs).ok_or(DecodeBatchError::Damaged("its origins are none"))?;
        let ends_at_the_keys_end = key_ends.last().copied().unwrap_or(0) as usize == key_bytes;
        if !key_ends.is_sorted() || !ends_at_the_keys_end {
            return Err(DecodeBatchError::Damaged("a key does not lie within the keys"));
        }
        Ok(EventBatch { hashes, times, counts, key_ends, origins, keys: keys.to_vec() })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key_group::hash_key;

    fn batch(events: &[(Vec<u8>, i64, u32)]) -> EventBatch {
        let mut batch = EventBatch::default();
        for (index, (key, time, count)) in events.iter().enumerate() {
            let origin = Origin { split: *count % 3, offset: index as u64 };
            batch.push(KeyedEvent { hash: hash_key(key), time: EventTime(*time), count: *count, key, origin });
        }
        batch
    }

    #[test]
    fn another_batch_has_room_for_as_much() {
        let one = batch(&[(b"a".to_vec(), 1, 1), (b"longer".to_vec(), 2, 1)]);
        let another = one.another();
        assert!(another.is_empty() && another.hashes.capacity() >= 2 && another.keys.capacity() >= 7);
        assert_eq!(EventBatch::default().another(), EventBatch::default());
    }

    proptest! {
        #[test]
        fn decode_reads_what_encode_wrote(events in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), any::<i64>(), any::<u32>()), 0..50)) {
            let batch = batch(&events);
            let bytes = batch.encode();
            prop_assert_eq!(bytes.len(), batch.bytes());
            prop_assert_eq!(EventBatch::decode(&bytes).expect("own bytes"), batch);
        }

        #[test]
        fn decode_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = EventBatch::decode(&bytes);
        }
    }

    #[test]
    fn decode_refuses_what_is_cut_off_or_from_another_version() {
        let bytes = batch(&[(b"key".to_vec(), 5, 1)]).encode();
        for end in 0..bytes.len() {
            assert!(EventBatch::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut other = bytes;
        other[0] = 9;
        assert_eq!(EventBatch::decode(&other), Err(DecodeBatchError::Format(9)));
    }
}
