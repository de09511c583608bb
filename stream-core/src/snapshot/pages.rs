//! Which keys changed since the last snapshot, and which still wait to be copied into the one that runs.
//!
//! Changes are noted on a page; beginning a snapshot turns it, in constant time. Page `n` has two marks, `2n` for a key that was
//! copied into the snapshot which the page began with, and `2n + 1` for one that changed since. So a single comparison tells
//! whether a key has been noted already, and no mark ever has to be wiped off. Two marks a snapshot last 68 years of one a second.
//!
//! A store keeps its keys in numbered slots, each with a mark, and asks here before it changes one. What a key's record is only the
//! store knows.

use super::section::SectionWriter;
use super::slot_list::SlotList;
use super::{BLOCK_BYTES, KeyedSnapshot, Section, SnapshotKind};
use crate::key_group::KeyGroup;
use crate::watermark::Watermark;

/// What a record is taken to be long before any was seen: a key of an ip and a host, and one window.
const USUAL_RECORD_BYTES: usize = 48;

/// What a slot's key last went through; on a slot that is not its key's first one, a leftover.
pub(crate) type Mark = u32;

/// The mark of a slot that nothing happened to.
pub(crate) const NO_MARK: Mark = 0;

#[derive(Debug)]
pub(crate) struct Pages {
    /// The copied mark of the page.
    copied: Mark,
    /// The marks from here up to `copied` are those of keys that wait to be copied.
    waiting_from: Mark,
    /// The slots with the page's changed mark, each once, so never more than there are slots.
    changed_slots: SlotList,
    /// Whether the slots are listed. Not before the first snapshot: it is full, and a job without checkpoints has none.
    is_listing: bool,
    /// How long a record of the last snapshot was on average.
    record_bytes: usize,
    running: Option<Running>,
}

/// A snapshot that was begun and is not finished.
#[derive(Debug)]
struct Running {
    kind: SnapshotKind,
    watermark: Watermark,
    to_visit: Visit,
    /// How many keys there were when it began.
    keys: usize,
    /// For each key group of the range.
    sections: Vec<SectionWriter>,
    /// Empty ones, to write sections into.
    blocks: Vec<Vec<u8>>,
}

/// The slots to look at for keys that wait.
#[derive(Debug)]
enum Visit {
    All(std::ops::Range<u32>),
    Listed(SlotList),
}

impl Visit {
    /// How many are left.
    fn len(&self) -> usize {
        match self {
            Visit::All(slots) => slots.len(),
            Visit::Listed(slots) => slots.len(),
        }
    }
}

impl Pages {
    pub(crate) fn new() -> Self {
        Pages {
            copied: 2,
            waiting_from: 2,
            changed_slots: SlotList::default(),
            is_listing: false,
            record_bytes: USUAL_RECORD_BYTES,
            running: None,
        }
    }

    /// The mark of a key that changed on this page.
    pub(crate) fn changed(&self) -> Mark {
        self.copied + 1
    }

    /// Whether a key with this mark is to be copied before it changes.
    pub(crate) fn is_waiting(&self, mark: Mark) -> bool {
        (self.waiting_from..self.copied).contains(&mark)
    }

    /// Whether any key may be waiting.
    pub(crate) fn is_snapshot_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether changed slots are on a list.
    pub(crate) fn is_listing(&self) -> bool {
        self.is_listing
    }

    /// Notes that a slot got the page's changed mark.
    pub(crate) fn list(&mut self, slot: u32) {
        if self.is_listing {
            self.changed_slots.push(slot);
        }
    }

    /// Turns the page for a snapshot of `keys` keys in `slots` slots, and of `groups` key groups. The first one, and one behind another that was
    /// given up unfinished, is full whatever was asked for: the list alone would not do.
    pub(crate) fn begin(&mut self, kind: SnapshotKind, watermark: Watermark, keys: usize, slots: u32, groups: usize) {
        let has_whole_list = self.is_listing && self.running.is_none();
        let kind = if has_whole_list { kind } else { SnapshotKind::Full };
        let listed = self.turn();
        let to_visit = match kind {
            SnapshotKind::Full => Visit::All(0..slots),
            SnapshotKind::Delta => Visit::Listed(listed),
        };
        self.waiting_from = match kind {
            SnapshotKind::Full => NO_MARK,
            SnapshotKind::Delta => self.copied - 1, // The changed mark of the page before.
        };
        let sections = std::iter::repeat_with(SectionWriter::default).take(groups).collect();
        self.running = Some(Running { kind, watermark, to_visit, keys, sections, blocks: Vec::new() });
    }

    /// What is put into the store from here on is no change.
    pub(crate) fn begin_restore(&mut self) {
        self.is_listing = false;
    }

    /// From here on changes are listed; a delta need not have what is in the store now.
    pub(crate) fn end_restore(&mut self) {
        self.turn();
        self.waiting_from = self.copied;
    }

    /// About how many blocks the snapshot that was begun will fill.
    pub(crate) fn blocks_wanted(&self) -> usize {
        let Some(Running { to_visit, keys, sections, .. }) = &self.running else { return 0 };
        // Slots may be those of keys that are gone.
        let records = to_visit.len().min(*keys);
        let full = records * self.record_bytes / BLOCK_BYTES;
        // The last block of each group is not filled.
        full + records.min(sections.len())
    }

    /// Gives the snapshot that runs empty blocks of [`BLOCK_BYTES`] to write into, before it allocates any.
    pub(crate) fn lend(&mut self, blocks: Vec<Vec<u8>>) {
        if let Some(running) = &mut self.running {
            running.blocks.extend(blocks);
        }
    }

    /// The next slot to look at; nothing if all have been looked at, or no snapshot runs.
    pub(crate) fn next_slot(&mut self) -> Option<u32> {
        match &mut self.running.as_mut()?.to_visit {
            Visit::All(slots) => slots.next(),
            Visit::Listed(slots) => slots.pop(),
        }
    }

    /// Copies a key into the snapshot, with `write` for its record; returns the mark that it now has.
    pub(crate) fn copy(&mut self, group: usize, write: impl FnOnce(&mut SectionWriter)) -> Mark {
        if let Some(Running { sections, blocks, .. }) = &mut self.running {
            let section = &mut sections[group];
            section.take_block(blocks);
            write(section);
        }
        self.copied
    }

    /// How many keys were copied into the snapshot that runs.
    #[cfg(test)]
    pub(crate) fn copied_keys(&self) -> Option<u64> {
        self.running.as_ref().map(|running| running.sections.iter().map(SectionWriter::records).sum())
    }

    /// The snapshot, if one runs and has looked at every slot. Its sections are numbered from `first_group`.
    pub(crate) fn finish(&mut self, first_group: u16) -> Option<KeyedSnapshot> {
        let is_done = self.running.as_ref()?.to_visit.len() == 0;
        let Running { kind, watermark, mut sections, blocks: mut spare_blocks, .. } =
            self.running.take_if(|_| is_done)?;
        self.waiting_from = self.copied;
        spare_blocks.extend(sections.iter_mut().filter_map(SectionWriter::spare_block));
        let sections = (first_group..).zip(sections);
        let sections: Vec<Section> = sections.flat_map(|(group, section)| section.finish(KeyGroup(group))).collect();
        let records: usize = sections.iter().map(|section| section.records as usize).sum();
        let bytes: usize = sections.iter().map(|section| section.bytes.len()).sum();
        self.record_bytes = bytes.checked_div(records).unwrap_or(self.record_bytes);
        Some(KeyedSnapshot { kind, watermark, sections, spare_blocks })
    }

    /// Begins a new page; returns the slots that changed on the old one.
    fn turn(&mut self) -> SlotList {
        self.copied += 2;
        self.is_listing = true;
        std::mem::take(&mut self.changed_slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_wants_what_its_records_take_and_one_more_for_each_group_that_it_may_have() {
        let wanted = |keys, slots| {
            let mut pages = Pages::new();
            pages.begin(SnapshotKind::Full, Watermark::NONE, keys, slots, 4);
            pages.blocks_wanted()
        };
        assert_eq!([0, 1, 4, 100].map(|keys| wanted(keys as usize, keys)), [0, 1, 4, 4]);
        assert_eq!(wanted(100_000, 100_000), 100_000 * USUAL_RECORD_BYTES / BLOCK_BYTES + 4);
        assert_eq!(wanted(2, 100_000), 2, "slots of keys that are gone are not copied");
        assert_eq!(Pages::new().blocks_wanted(), 0);
    }

    #[test]
    fn blocks_that_were_lent_are_written_into_or_come_back_and_the_next_snapshot_knows_how_long_records_are() {
        let mut pages = Pages::new();
        pages.begin(SnapshotKind::Full, Watermark::NONE, 2, 2, 1);
        let lent = [(); 3].map(|()| Vec::with_capacity(BLOCK_BYTES));
        let place = lent[2].as_ptr();
        pages.lend(lent.into());
        while pages.next_slot().is_some() {
            pages.copy(0, |section| section.record(1, 999).extend([7; 999]));
        }
        let snapshot = pages.finish(0).expect("all slots were looked at");
        assert_eq!(snapshot.sections[0].bytes.as_ptr(), place);
        assert_eq!(snapshot.spare_blocks.len(), 2, "whoever lent them gets back what was not needed");
        pages.begin(SnapshotKind::Full, Watermark::NONE, 10_000, 10_000, 1);
        assert_eq!(pages.blocks_wanted(), 10_000 * 999 / BLOCK_BYTES + 1);
    }
}
