//! Giving back what windows took that are gone: blocks without any, and tables that are much too large.
//!
//! With each snapshot, a part with each slice of it, because a block's places may be on the list of changed ones until a snapshot has
//! begun, and so that nobody waits for it. A job that has no snapshots has no such list, and gives blocks back at once.

use super::{Store, spread};

/// Empty blocks that a job without snapshots keeps, to fill again.
const SPARE_BLOCKS: usize = 4;
/// A table that has room for so many times what it holds is too large.
const TOO_LARGE: usize = 8;
/// Smaller ones stay.
const SMALL_TABLE: usize = 64;
/// One that holds more is left as it is: moving it would take too long.
const MOVED_AT_MOST: usize = 8192;

impl Store {
    /// Notes which tables are too large. Takes a time that depends only on the number of key groups.
    pub(super) fn find_too_large(&mut self) {
        self.too_large.clear();
        for (group, table) in (0..).zip(&self.groups) {
            let is_large = table.capacity() > SMALL_TABLE.max(TOO_LARGE * table.len());
            if is_large && table.len() <= MOVED_AT_MOST {
                self.too_large.push(group);
            }
        }
    }

    /// Gives some of it back; whether that was all.
    pub(super) fn tidy(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            if self.slab.empty_blocks() > 0 {
                self.slab.give_back();
            } else if let Some(group) = self.too_large.pop() {
                let slab = &self.slab;
                let table = &mut self.groups[usize::from(group)];
                table.shrink_to(2 * table.len(), |&place| spread(slab[place].hash));
            } else {
                break;
            }
        }
        let is_done = self.slab.empty_blocks() == 0 && self.too_large.is_empty();
        if is_done && let Some(told) = &mut self.told {
            told.shrink_to(self.slab.places());
        }
        is_done
    }

    /// The same where no snapshot is ever taken.
    pub(super) fn tidy_unlisted(&mut self) {
        if self.slab.empty_blocks() > SPARE_BLOCKS && !self.pages.is_listing() {
            self.slab.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_group::{KeyGroupRange, MaxParallelism, hash_key};
    use crate::session::Span;
    use crate::session::store::{NO_TIMER, Window};
    use crate::snapshot::SnapshotKind;
    use crate::watermark::Watermark;

    const KEYS: u32 = 50_000;

    fn store() -> Store {
        let max = MaxParallelism::new(16).expect("in range");
        let mut store = Store::new(KeyGroupRange { start: 0, end: max.get() }, max);
        store.share_tails(|_| 4);
        store
    }

    fn key(number: u32) -> Vec<u8> {
        [&number.to_be_bytes()[..], &[7; 40]].concat()
    }

    fn open(store: &mut Store, keys: std::ops::Range<u32>) {
        for key in keys.map(key) {
            let place = store.insert(hash_key(&key), &key, None);
            let span = Span { start: 0, end: 5, count: 1, reported: 0 };
            store.put(place, &Window { span, timer_at: NO_TIMER, has_fired: false });
        }
    }

    fn close(store: &mut Store, keys: std::ops::Range<u32>) {
        for key in keys.map(key) {
            let place = store.first(hash_key(&key), &key).expect("it is open");
            store.remove(place);
        }
    }

    fn snapshot(store: &mut Store) -> usize {
        store.begin_snapshot(SnapshotKind::Delta, Watermark::NONE);
        loop {
            if let Some(snapshot) = store.continue_snapshot(64) {
                return snapshot.sections.iter().map(|section| section.bytes.len()).sum();
            }
        }
    }

    fn room(store: &Store) -> usize {
        store.groups.iter().map(hashbrown::HashTable::capacity).sum()
    }

    #[test]
    fn two_snapshots_after_all_windows_are_gone_nothing_of_them_is_left() {
        let mut store = store();
        snapshot(&mut store);
        open(&mut store, 0..KEYS);
        assert!(room(&store) >= KEYS as usize && store.places() >= KEYS as usize);
        assert!(snapshot(&mut store) > KEYS as usize * 40);
        close(&mut store, 0..KEYS);
        let written = [snapshot(&mut store), snapshot(&mut store)];
        assert_eq!((written, store.places(), room(&store)), ([0, 0], 0, 0));
    }

    #[test]
    fn snapshot_gives_back_what_is_empty_and_leaves_the_windows_that_there_are() {
        let mut store = store();
        open(&mut store, 0..KEYS);
        snapshot(&mut store);
        let before = (room(&store), store.places());
        close(&mut store, 1000..KEYS);
        store.begin_snapshot(SnapshotKind::Full, Watermark::NONE);
        assert!(store.continue_snapshot(1).is_none(), "a slice at a time");
        // Places that are given back while the snapshot goes on are taken again.
        open(&mut store, KEYS..KEYS + 3000);
        while store.continue_snapshot(64).is_none() {}
        assert!(room(&store) < before.0 / 2 && store.places() < before.1 / 4, "{} {}", room(&store), store.places());
        let is_there = |number| store.first(hash_key(&key(number)), &key(number)).is_some();
        assert!((0..1000).chain(KEYS..KEYS + 3000).all(is_there) && !is_there(1000));
        assert_eq!(store.len(), 4000);
    }

    #[test]
    fn without_snapshots_blocks_are_given_back_as_they_empty() {
        let mut store = store();
        open(&mut store, 0..KEYS);
        close(&mut store, 0..KEYS);
        assert!(store.slab.empty_blocks() <= SPARE_BLOCKS);
    }
}
