//! Where the last entry of a key stands in an open batch, for keys that were seen of late: so that an event that follows finds it.
//!
//! A table of one place for each of 256 hashes, in which a key takes the place of another. It is never cleared: a place is right if the
//! entry there has the key, since every entry of a batch is noted while the table is on. Traffic in which hardly an event follows another of
//! its key within a batch pays for a batch of looking, and not for the next sixteen.

use crate::key_group::KeyHash;

/// The places of the last entries of keys in one open batch.
#[derive(Debug)]
pub(super) struct Recent {
    entries: [u16; SLOTS],
    /// Events, and those that followed, since it was last asked whether this pays.
    seen: usize,
    followed: usize,
    /// Events for which nobody looks.
    rest: usize,
}

const SLOTS: usize = 256;
/// In no batch has an entry this number.
const NOWHERE: u16 = u16::MAX;
/// It pays if one event of so many follows another: looking costs a few dozen instructions, and one that follows saves some 350 (`docs/design/0012-pre-aggregation.md`).
const FOLLOWS_ONE_IN: usize = 16;
/// Events that are looked at before it is asked.
const LOOK: usize = 2048;
/// Events for which nobody looks if it did not pay.
const REST: usize = 16 * LOOK;

impl Recent {
    pub(super) fn new() -> Self {
        Recent { entries: [NOWHERE; SLOTS], seen: 0, followed: 0, rest: 0 }
    }

    /// Whether entries are noted in this batch.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.rest == 0
    }

    /// Where the last entry of a key with this hash may be.
    #[inline]
    pub(super) fn entry(&self, hash: KeyHash) -> usize {
        self.entries[slot(hash)].into()
    }

    /// The last entry of a key with this hash is here.
    #[inline]
    pub(super) fn note(&mut self, hash: KeyHash, entry: usize) {
        self.entries[slot(hash)] = u16::try_from(entry).unwrap_or(NOWHERE);
    }

    /// What comes next follows nothing that is there.
    pub(super) fn forget(&mut self) {
        self.entries = [NOWHERE; SLOTS];
    }

    /// A batch was taken away, in which so many events followed others.
    pub(super) fn on_batch(&mut self, events: usize, followed: usize) {
        if !self.is_on() {
            self.rest = self.rest.saturating_sub(events);
            return;
        }
        self.seen += events;
        self.followed += followed;
        if self.seen >= LOOK {
            self.rest = if self.followed * FOLLOWS_ONE_IN < self.seen { REST } else { 0 };
            (self.seen, self.followed) = (0, 0);
        }
    }
}

/// By bits that decide neither the key group nor where a table of the windows begins to look.
fn slot(hash: KeyHash) -> usize {
    (hash.0 >> 48) as usize % SLOTS
}
