//! Copy before write: what a snapshot takes of the store while the store goes on.
//!
//! Only the part of the store that knows a key's windows can write its record, so it stands between the pages and the slots:
//! every change comes by here first, and a slice of the slots is looked through whenever the owner has time.

use super::{Mark, SessionRef, Store, of_key};
use crate::key_group::KeyHash;
use crate::snapshot::{KeyedSnapshot, SnapshotKind};
use crate::watermark::Watermark;

impl Store {
    /// To be called before an event changes a key, given the key's first window.
    #[inline]
    pub(in crate::session) fn will_change(&mut self, first: SessionRef) {
        if self.get(first).mark != self.pages.changed() {
            self.copy_if_waiting(first.index);
            self.mark_changed(first.index);
        }
    }

    /// To be called before a window fires. That makes its key no changed one: the watermark says the same.
    pub(in crate::session) fn will_fire(&mut self, session: SessionRef) {
        if self.pages.is_snapshot_running() {
            let first = self.first_of(session);
            self.copy_if_waiting(first.index);
        }
    }

    pub(in crate::session) fn begin_snapshot(&mut self, kind: SnapshotKind, watermark: Watermark) {
        self.pages.begin(kind, watermark, self.entries.places(), self.range.len());
    }

    pub(in crate::session) fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot> {
        for _ in 0..keys {
            let Some(slot) = self.pages.next_slot() else { break };
            if self.entries[slot].is_first {
                self.copy_if_waiting(slot);
            }
        }
        self.pages.finish(self.range.start)
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
        let entry = &self.entries[first];
        if self.pages.is_waiting(entry.mark) {
            let windows = of_key(&self.entries, first).map(|entry| entry.span);
            let mark = self.pages.copy(self.group(KeyHash(entry.hash)), &entry.key, windows);
            self.entries[first].mark = mark;
        }
    }

    /// The key whose first window is at `first` changed on this page.
    pub(super) fn mark_changed(&mut self, first: u32) {
        let changed = self.pages.changed();
        let mark = &mut self.entries[first].mark;
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
            self.entries[next].mark = mark;
        }
    }
}
