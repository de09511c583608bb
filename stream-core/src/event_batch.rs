//! Keyed events in columns: what travels from a source to the windows.
//!
//! Only what the next stage needs travels: the key and its hash, the event's time, how many events this entry stands for, and
//! where it comes from, for the case that it is late. For windows the key is all there is. A job that needs more of an event
//! puts it behind the key: the hash is then of the key only, the bytes are the job's own record, and nobody between its
//! decoder and its operator looks into them. Batches are moved by pointer within a process; between processes they travel as
//! [`EventBatch::encode`] writes them.
//!
//! Events may share an entry with those of their key before them ([`EventBatch::try_follow`]): a job asks for that, and its operator takes
//! them together where that makes no difference. Everybody else sees them one by one.

mod followers;
mod taking;
mod wire;

use crate::key_group::KeyHash;
use crate::origin::{Origin, Origins};
use crate::time::EventTime;
use followers::Followers;
use taking::Taking;
pub use taking::Together;
pub use wire::DecodeBatchError;

/// A batch of keyed events. Columns of one length; the keys' bytes lie end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBatch {
    hashes: Vec<u64>,
    times: Vec<i64>,
    /// With the followers.
    counts: Vec<u32>,
    key_ends: Vec<u32>,
    origins: Origins,
    keys: Vec<u8>,
    /// In a box: most batches have none.
    followers: Option<Box<Followers>>,
}

/// An event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedEvent<'a> {
    /// The hash of the key, computed at the source.
    pub hash: KeyHash,
    /// When it happened.
    pub time: EventTime,
    /// How many events it stands for; 1 unless they were put together.
    pub count: u32,
    /// The key as the job encoded it, and what it put behind it.
    pub key: &'a [u8],
    /// Where its record stands; of several, the first's.
    pub origin: Origin,
}

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
            followers: None,
        }
    }

    /// An empty batch with room for another that is like this one.
    pub fn another(&self) -> Self {
        let like = |followers: &Followers| Box::new(Followers::with_capacity(followers.len(), self.len()));
        let followers = self.followers.as_deref().filter(|followers| followers.len() > 0).map(like);
        EventBatch { followers, ..Self::with_capacity(self.len(), self.keys.len().div_ceil(self.len().max(1))) }
    }

    /// Appends an event, with an entry of its own.
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
        if let Some(followers) = &mut self.followers {
            followers.on_entry();
        }
    }

    /// Lets an event share an entry, if that has its key and one of the events there is within `gap_ms` of it. It has to be the *last* entry
    /// of its key, so that the key's events stay in order.
    #[inline]
    pub fn try_follow(&mut self, entry: usize, event: &KeyedEvent<'_>, gap_ms: i64) -> bool {
        let is_of_key = self.hashes.get(entry) == Some(&event.hash.0) && self.key(entry) == event.key;
        if !is_of_key || event.count != 1 || self.counts[entry] == u32::MAX {
            return false;
        }
        let reach = self.followers.as_deref().and_then(|followers| followers.reach(entry)).unwrap_or_default();
        let distance = reach.distance(EventTime(self.times[entry]), event.time, gap_ms);
        let (Some(distance), Ok(place)) = (distance, u16::try_from(entry)) else { return false };
        let followers = self.followers.get_or_insert_default();
        followers.add(place, self.hashes.len(), distance, event.origin);
        self.counts[entry] += 1;
        true
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The number of events that share the entry of another.
    pub fn followers(&self) -> usize {
        self.followers.as_deref().map_or(0, Followers::len)
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
        self.followers = None;
    }

    /// The sum of the entries' counts.
    pub fn events(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// The events one by one, those of a key in order.
    pub fn iter(&self) -> impl Iterator<Item = KeyedEvent<'_>> {
        self.together(|_| false).map(|one| one.event)
    }

    /// The events, those of an entry together if they may be, by the time of the earliest; otherwise one by one. Those of a key come in order.
    pub fn together(&self, may_be: impl Fn(EventTime) -> bool) -> impl Iterator<Item = Together<'_>> {
        Taking::new(self.entries().enumerate(), self.followers.as_deref(), may_be)
    }

    /// The events of all entries but the first so many, one by one.
    pub(crate) fn iter_behind(&self, first: usize) -> impl Iterator<Item = KeyedEvent<'_>> {
        Taking::new(self.entries().enumerate().skip(first), self.followers.as_deref(), |_| false).map(|one| one.event)
    }

    fn key(&self, entry: usize) -> &[u8] {
        let start = entry.checked_sub(1).map_or(0, |before| self.key_ends[before]);
        &self.keys[start as usize..self.key_ends[entry] as usize]
    }

    /// The entries as if none had a follower, but for their counts.
    fn entries(&self) -> impl Iterator<Item = KeyedEvent<'_>> {
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
}

#[cfg(test)]
mod tests;
