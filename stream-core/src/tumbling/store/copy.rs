//! Copy before write: what a snapshot takes of the counts while they go on. Every change comes by here first, and a slice of the
//! entries is looked through whenever the owner has time.

use super::Store;
use crate::snapshot::{KeyedSnapshot, SnapshotKind};
use crate::tumbling::record;
use crate::watermark::Watermark;

impl Store {
    pub(in crate::tumbling) fn begin_snapshot(&mut self, kind: SnapshotKind, watermark: Watermark) {
        let slots = u32::try_from(self.entries.len()).expect("fewer than 2^32 counts fit in memory");
        self.pages.begin(kind, watermark, self.len(), slots, self.range.len());
    }

    pub(in crate::tumbling) fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot> {
        for _ in 0..keys {
            let Some(place) = self.pages.next_slot() else { break };
            if self.entries[place as usize].is_used {
                self.copy_if_waiting(place);
            }
        }
        self.pages.finish(self.range.start)
    }

    /// What is put in until [`Self::end_restore`] is no change.
    pub(in crate::tumbling) fn begin_restore(&mut self) {
        self.pages.begin_restore();
    }

    pub(in crate::tumbling) fn end_restore(&mut self) {
        self.pages.end_restore();
    }

    /// To be called before an event changes an entry.
    #[inline]
    pub(super) fn will_change(&mut self, place: u32) {
        if self.entries[place as usize].mark != self.pages.changed() {
            self.copy_if_waiting(place);
            self.mark_changed(place);
        }
    }

    /// To be called before an entry is changed or forgotten.
    pub(super) fn copy_if_waiting(&mut self, place: u32) {
        let entry = &mut self.entries[place as usize];
        if self.pages.is_waiting(entry.mark) {
            let write = |section: &mut _| record::write(section, entry.start, &entry.key, entry.count);
            entry.mark = self.pages.copy(usize::from(entry.group), write);
        }
    }

    /// An event changed an entry on this page.
    pub(super) fn mark_changed(&mut self, place: u32) {
        let changed = self.pages.changed();
        let mark = &mut self.entries[place as usize].mark;
        if *mark != changed {
            *mark = changed;
            self.pages.list(place);
        }
    }
}
