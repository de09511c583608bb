//! Events that share the entry of the one of their key that came last before them in the batch.
//!
//! Only the key and its hash are shared. Time and origin of each are kept, so that an entry can be taken apart into its events again,
//! in their order: whoever reads the batch knows its watermark and decides whether they may be taken together
//! (`docs/design/0012-pre-aggregation.md`).

use crate::origin::{Origin, Origins};
use crate::time::EventTime;

/// The followers of a batch's entries, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Followers {
    /// How far the events of each entry reach; empty while there is no follower.
    reaches: Vec<Reach>,
    /// The entry of each.
    entries: Vec<u16>,
    /// How far the time of each is from its entry's, in milliseconds.
    distances: Vec<i32>,
    origins: Origins,
}

/// From the time of an entry's first event to those of its earliest and its latest, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    earliest: i32,
    latest: i32,
}

/// A follower by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follower {
    entry: u16,
    distance: i32,
    pub(super) origin: Origin,
}

/// The bytes of an encoded follower beside its origin: entry, distance.
pub(super) const FOLLOWER_BYTES: usize = 2 + 4;

impl Followers {
    /// None yet, with room for so many in a batch of so many entries.
    pub(super) fn with_capacity(followers: usize, entries: usize) -> Self {
        Followers {
            reaches: Vec::with_capacity(entries),
            entries: Vec::with_capacity(followers),
            distances: Vec::with_capacity(followers),
            origins: Origins::with_capacity(followers),
        }
    }

    /// Takes an event so many milliseconds from the time of its entry, in a batch of so many entries.
    pub(super) fn add(&mut self, entry: u16, entries: usize, distance: i32, origin: Origin) {
        if self.reaches.is_empty() {
            self.reaches.resize(entries, Reach::default());
        }
        self.reaches[usize::from(entry)].extend_to(distance);
        self.entries.push(entry);
        self.distances.push(distance);
        self.origins.push(origin);
    }

    /// The batch has an entry more.
    #[inline]
    pub(super) fn on_entry(&mut self) {
        if !self.reaches.is_empty() {
            self.reaches.push(Reach::default());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// How far the events of an entry reach; nothing where no entry has a follower.
    #[inline]
    pub(super) fn reach(&self, entry: usize) -> Option<Reach> {
        self.reaches.get(entry).copied()
    }

    /// All of them by their entries, those of one in the order in which they came.
    pub(super) fn by_entry(&self) -> Vec<Follower> {
        let columns = self.entries.iter().zip(&self.distances).zip(self.origins.iter());
        let mut all: Vec<Follower> =
            columns.map(|((&entry, &distance), origin)| Follower { entry, distance, origin }).collect();
        all.sort_by_key(|follower| follower.entry);
        all
    }

    /// Entries, then distances, then origins; little-endian.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.entries.iter().flat_map(|entry| entry.to_le_bytes()));
        out.extend(self.distances.iter().flat_map(|distance| distance.to_le_bytes()));
        self.origins.encode(out);
    }

    /// Of the columns of as many followers, in a batch of so many entries; none if an entry is not there.
    pub(super) fn of_columns(
        entries: Vec<u16>,
        distances: Vec<i32>,
        origins: Origins,
        batch_entries: usize,
    ) -> Option<Self> {
        let mut reaches = vec![Reach::default(); batch_entries];
        for (&entry, &distance) in entries.iter().zip(&distances) {
            reaches.get_mut(usize::from(entry))?.extend_to(distance);
        }
        Some(Followers { reaches, entries, distances, origins })
    }
}

impl Reach {
    /// How far from its entry's an event's time is, if that is within `gap_ms` of the events there.
    pub(super) fn distance(self, from: EventTime, time: EventTime, gap_ms: i64) -> Option<i32> {
        let distance = time.0.checked_sub(from.0)?;
        let (earliest, latest) = (i64::from(self.earliest), i64::from(self.latest));
        let is_within = (earliest.saturating_sub(gap_ms)..=latest.saturating_add(gap_ms)).contains(&distance);
        i32::try_from(distance).ok().filter(|_| is_within)
    }

    fn extend_to(&mut self, distance: i32) {
        self.earliest = self.earliest.min(distance);
        self.latest = self.latest.max(distance);
    }

    /// The times of the earliest and the latest event of an entry whose first is at `time`.
    pub(super) fn times(self, time: EventTime) -> (EventTime, EventTime) {
        (time.saturating_add_ms(self.earliest.into()), time.saturating_add_ms(self.latest.into()))
    }
}

impl Follower {
    /// The followers of an entry among all, which are sorted.
    pub(super) fn of_entry(all: &[Follower], entry: usize) -> std::ops::Range<usize> {
        let before = |next: usize| all.partition_point(|follower| usize::from(follower.entry) < next);
        before(entry)..before(entry + 1)
    }

    /// Its time, if its entry's is `time`.
    pub(super) fn time(&self, time: EventTime) -> EventTime {
        time.saturating_add_ms(self.distance.into())
    }
}
