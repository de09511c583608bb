//! Where the counts lie: a slab of entries, for each key group a hash table that finds a key's count in a window, and for each
//! window the list of its entries.
//!
//! The list is what fires and what is forgotten, so no timer is needed. It is sorted when the window fires, and from then on kept so.
//!
//! An entry also carries its mark, by which snapshots know what to copy (`snapshot::pages`, `copy`).

mod copy;

use std::collections::BTreeMap;

use hashbrown::HashTable;

use super::{Fired, Of};
use crate::key_group::{KeyGroupRange, KeyHash, MaxParallelism, hash_key};
use crate::snapshot::pages::{Mark, NO_MARK, Pages};
use crate::time::EventTime;

/// How often a key came in a window.
#[derive(Debug)]
struct Entry {
    /// The window, by its first instant.
    start: i64,
    key: Box<[u8]>,
    count: u64,
    /// See [`place_hash`].
    hash: u64,
    mark: Mark,
    /// Its place in the range.
    group: u16,
    /// Not so of a free place.
    is_used: bool,
}

/// Millions of them are held.
const _: () = assert!(size_of::<Entry>() <= 48);

#[derive(Debug)]
pub(super) struct Store {
    head: fn(&[u8]) -> &[u8],
    range: KeyGroupRange,
    max_parallelism: MaxParallelism,
    /// For each key group of the range, the places of its entries.
    groups: Vec<HashTable<u32>>,
    /// For each window that has any, the places of its entries.
    windows: BTreeMap<i64, Vec<u32>>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    pub(super) pages: Pages,
}

impl Store {
    pub(super) fn new(head: fn(&[u8]) -> &[u8], range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        let groups = (0..range.len()).map(|_| HashTable::new()).collect();
        let (windows, entries, free) = (BTreeMap::new(), Vec::new(), Vec::new());
        Store { head, range, max_parallelism, groups, windows, entries, free, pages: Pages::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    /// The windows that have entries, in their order.
    pub(super) fn windows(&self) -> impl Iterator<Item = i64> {
        self.windows.keys().copied()
    }

    /// Adds to a key's count in a window; returns what it is now. `routed` is the hash of the key's head.
    pub(super) fn add(&mut self, start: i64, routed: KeyHash, key: &[u8], events: u64, has_fired: bool) -> u64 {
        let (group, hash) = (self.group(routed), place_hash(start, key));
        let Some(place) = self.find(group, hash, start, key) else {
            self.insert(group, hash, start, key, events, has_fired);
            return events;
        };
        self.will_change(place);
        let count = &mut self.entries[place as usize].count;
        *count = count.saturating_add(events);
        *count
    }

    /// Puts a stored count in, unless there is a newer one of the key in that window; whether it did.
    pub(super) fn restore(&mut self, start: i64, routed: KeyHash, key: &[u8], count: u64, has_fired: bool) -> bool {
        let (group, hash) = (self.group(routed), place_hash(start, key));
        let is_new = self.find(group, hash, start, key).is_none();
        if is_new {
            self.insert(group, hash, start, key, count, has_fired);
        }
        is_new
    }

    /// Calls `fire` for each count of a window, in the order of the keys, and behind those of one head for their sum; returns the
    /// number of events.
    pub(super) fn fire(&mut self, start: i64, fire: &mut impl FnMut(Fired<'_>)) -> u64 {
        let Store { head, windows, entries, .. } = self;
        let Some(places) = windows.get_mut(&start) else { return 0 };
        let key = |place: u32| &*entries[place as usize].key;
        places.sort_unstable_by(|&a, &b| key(a).cmp(key(b)));
        let start = EventTime(start);
        let mut events = 0_u64;
        for places in places.chunk_by(|&a, &b| head(key(a)) == head(key(b))) {
            let mut sum = 0_u64;
            for &place in places {
                let Entry { key, count, .. } = &entries[place as usize];
                fire(Fired { of: Of::Key(key), start, count: *count });
                sum = sum.saturating_add(*count);
            }
            fire(Fired { of: Of::Head(head(key(places[0]))), start, count: sum });
            events = events.saturating_add(sum);
        }
        events
    }

    /// The events of all keys with this head, in a window that has fired.
    pub(super) fn sum(&self, start: i64, head: &[u8]) -> u64 {
        let places = self.windows.get(&start).map_or(&[][..], Vec::as_slice);
        let entry = |place: u32| &self.entries[place as usize];
        let from = &places[places.partition_point(|&place| *entry(place).key < *head)..];
        let of_head = from.iter().map(|&place| entry(place)).take_while(|entry| (self.head)(&entry.key) == head);
        of_head.fold(0, |sum, entry| sum.saturating_add(entry.count))
    }

    /// Forgets a window.
    pub(super) fn forget(&mut self, start: i64) {
        for place in self.windows.remove(&start).unwrap_or_default() {
            self.copy_if_waiting(place);
            let entry = &mut self.entries[place as usize];
            entry.key = Box::default();
            entry.is_used = false;
            let Ok(found) = self.groups[usize::from(entry.group)].find_entry(entry.hash, |at| *at == place) else {
                unreachable!("an entry in use is in its group's table")
            };
            found.remove();
            self.free.push(place);
        }
    }

    /// Every key's count in every window, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Fired<'_>> {
        let used = self.entries.iter().filter(|entry| entry.is_used);
        used.map(|Entry { start, key, count, .. }| Fired { of: Of::Key(key), start: EventTime(*start), count: *count })
    }

    fn find(&self, group: u16, hash: u64, start: i64, key: &[u8]) -> Option<u32> {
        let is_it = |place: &u32| {
            let entry = &self.entries[*place as usize];
            entry.hash == hash && entry.start == start && *entry.key == *key
        };
        self.groups[usize::from(group)].find(hash, is_it).copied()
    }

    /// Adds an entry, and notes that it changed.
    fn insert(&mut self, group: u16, hash: u64, start: i64, key: &[u8], count: u64, has_fired: bool) {
        let new = |mark| Entry { start, key: key.into(), count, hash, mark, group, is_used: true };
        let place = match self.free.pop() {
            Some(place) => {
                let entry = &mut self.entries[place as usize];
                *entry = new(entry.mark);
                place
            }
            None => {
                self.entries.push(new(NO_MARK));
                u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 counts fit in memory")
            }
        };
        let entries = &self.entries;
        self.groups[usize::from(group)].insert_unique(hash, place, |at| entries[*at as usize].hash);
        let places = self.windows.entry(start).or_default();
        let at = if has_fired { places.partition_point(|at| *entries[*at as usize].key < *key) } else { places.len() };
        places.insert(at, place);
        self.mark_changed(place);
    }

    /// The place of a key's group in the range.
    fn group(&self, routed: KeyHash) -> u16 {
        let group = routed.key_group(self.max_parallelism);
        assert!(self.range.contains(group), "key group {} was routed to the owner of {:?}", group.0, self.range);
        group.0 - self.range.start
    }
}

/// Where a key's count in a window is looked for: not by the hash that routed it, which all keys of a head share.
fn place_hash(start: i64, key: &[u8]) -> u64 {
    // 2^64 divided by the golden ratio: neighbouring windows end up far apart (Knuth, "Sorting and Searching", 6.4).
    hash_key(key).0 ^ start.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
