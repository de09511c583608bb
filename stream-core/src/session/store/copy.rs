//! Copy before write: what a snapshot takes of the store while the store goes on.
//!
//! Only the part of the store that knows a key's windows can write its record, so it stands between the pages and the slots:
//! every change comes by here first, and a slice of the slots is looked through whenever the owner has time.

use super::{Entry, Store, of_key};
use crate::session::record;
use crate::snapshot::pages::Mark;
use crate::snapshot::{KeyedSnapshot, SnapshotKind};
use crate::watermark::Watermark;

/// So many keys looked at take as long as giving a block back.
const KEYS_A_BLOCK: usize = 16;

impl Store {
    /// To be called before an event changes a key, given the key's first window.
    #[inline]
    pub(in crate::session) fn will_change(&mut self, first: u32) {
        if self.slab[first].mark != self.pages.changed() {
            self.copy_if_waiting(first);
            self.mark_changed(first);
        }
    }

    /// To be called before a window fires. That makes its key no changed one: the watermark says the same.
    pub(in crate::session) fn will_fire(&mut self, place: u32) {
        if self.pages.is_snapshot_running() {
            self.copy_if_waiting(self.first_of(place));
        }
    }

    pub(in crate::session) fn begin_snapshot(&mut self, kind: SnapshotKind, watermark: Watermark) {
        let slots = u32::try_from(self.slab.places()).expect("fewer than 2^32 windows fit in memory");
        self.pages.begin(kind, watermark, self.len(), slots, self.range.len());
        self.find_too_large();
    }

    pub(in crate::session) fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot> {
        if !self.pages.is_snapshot_running() {
            return None;
        }
        let is_tidy = self.tidy(keys.div_ceil(KEYS_A_BLOCK));
        for _ in 0..keys {
            let Some(slot) = self.pages.next_slot() else { break };
            if self.slab.get(slot).is_some_and(Entry::is_first) {
                self.copy_if_waiting(slot);
            }
        }
        if is_tidy { self.pages.finish(self.range.start) } else { None }
    }

    /// What is inserted until [`Self::end_restore`] is no change.
    pub(in crate::session) fn begin_restore(&mut self) {
        self.pages.begin_restore();
    }

    pub(in crate::session) fn end_restore(&mut self) {
        self.pages.end_restore();
    }

    /// To be called before anything that the record of the key says is changed, given the place of its first window.
    pub(super) fn copy_if_waiting(&mut self, first: u32) {
        let Entry { mark, group, .. } = self.slab[first];
        if self.pages.is_waiting(mark) {
            let Store { slab, whole, keys, told, pages, .. } = self;
            let key = keys.get(&slab[first].key);
            let span = |place: u32| match slab[place].is_whole_elsewhere() {
                true => whole[&place].span,
                false => slab[place].window().span,
            };
            let windows = of_key(slab, first);
            let mark = match told {
                None => pages.copy(group.into(), |section| record::write(section, key, windows.map(span))),
                Some(told) => {
                    let windows = windows.map(|place| (span(place), told.id(place)));
                    pages.copy(group.into(), |section| record::write_with_ids(section, key, windows))
                }
            };
            self.slab[first].mark = mark;
        }
    }

    /// The key whose first window is at `first` changed on this page.
    pub(super) fn mark_changed(&mut self, first: u32) {
        let changed = self.pages.changed();
        let mark = &mut self.slab[first].mark;
        if *mark != changed {
            *mark = changed;
            self.pages.list(first);
        }
    }

    /// The first window of a key was removed; what its mark says of the key is now said by the next one's.
    pub(super) fn hand_on_mark(&mut self, mark: Mark, next: u32) {
        if mark == self.pages.changed() {
            self.mark_changed(next);
        } else {
            self.slab[next].mark = mark;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_group::{KeyGroupRange, MaxParallelism, hash_key};
    use crate::session::Span;
    use crate::session::store::{NO_TIMER, Window};

    const KEYS: u32 = 10_000;

    struct Probe(Store);

    impl Probe {
        /// A window for each key, all in the last snapshot.
        fn new() -> Probe {
            let max = MaxParallelism::DEFAULT;
            let mut probe = Probe(Store::new(KeyGroupRange { start: 0, end: max.get() }, max));
            (0..KEYS).for_each(|key| probe.open(key));
            probe.begin(SnapshotKind::Full);
            probe.0.continue_snapshot(usize::MAX).expect("every slot was looked at");
            probe
        }

        fn open(&mut self, key: u32) {
            let key = key.to_be_bytes();
            let span = Span { start: 0, end: 5, count: 1, reported: 0 };
            let window = Window { span, timer_at: NO_TIMER, has_fired: false };
            let place = self.0.insert(hash_key(&key), &key, None);
            self.0.put(place, &window);
        }

        fn find(&self, key: u32) -> u32 {
            let key = key.to_be_bytes();
            self.0.first(hash_key(&key), &key).expect("it is open")
        }

        fn begin(&mut self, kind: SnapshotKind) {
            self.0.begin_snapshot(kind, Watermark::NONE);
        }

        fn copied(&self) -> u64 {
            self.0.pages.copied_keys().expect("a snapshot runs")
        }
    }

    #[test]
    fn snapshot_copies_nothing_when_it_begins_and_then_a_key_once_before_it_changes() {
        let mut probe = Probe::new();
        probe.begin(SnapshotKind::Full);
        assert_eq!(probe.copied(), 0, "beginning takes the same time whatever there is");
        for (copied, key) in [(1, 7), (1, 7), (2, 8)] {
            probe.0.will_change(probe.find(key));
            assert_eq!(probe.copied(), copied);
        }
        probe.open(KEYS);
        assert_eq!(probe.copied(), 2, "a key that was not there at the barrier is not of it");
        probe.0.remove(probe.find(9));
        probe.0.will_fire(probe.find(10));
        assert_eq!(probe.copied(), 4);
        assert!(probe.0.continue_snapshot(100).is_none());
        assert!((100..=104).contains(&probe.copied()), "a slice is no more than was asked for: {}", probe.copied());
        let snapshot = probe.0.continue_snapshot(usize::MAX).expect("every slot was looked at");
        let records: u64 = snapshot.sections.iter().map(|section| section.records).sum();
        assert_eq!(records, u64::from(KEYS));
    }

    #[test]
    fn delta_copies_the_keys_that_changed_and_looks_at_no_other() {
        let mut probe = Probe::new();
        (0..50).for_each(|key| probe.0.will_change(probe.find(key)));
        probe.begin(SnapshotKind::Delta);
        assert_eq!(probe.copied(), 0);
        probe.0.will_change(probe.find(60));
        assert_eq!(probe.copied(), 0, "it is in an older snapshot as it was at the barrier");
        probe.0.will_change(probe.find(3));
        assert_eq!(probe.copied(), 1);
        let snapshot = probe.0.continue_snapshot(50).expect("there are no more than those that changed");
        assert_eq!(snapshot.sections.iter().map(|section| section.records).sum::<u64>(), 50);
    }
}
