//! Snapshots of the windows, and windows from snapshots.
//!
//! A record is a key with all its windows as they were at the snapshot's barrier. Of several records of a key the newest
//! counts, and of its windows those that the newest watermark has not expired. **No record says that a key is gone**, and none is
//! needed. A window leaves the store in two ways: it expires, so `end − 1 + L <= watermark`; or a larger one of the same key
//! absorbs it. So whatever window an old record has, later there is one that contains it, until that one expires; and as
//! it ends no earlier, the old one is then expired too. If the key has no window at the newest barrier, all in its old records
//! are dropped on reading. If it has one, either the key changed since and there is a newer record, or the only thing that
//! happened to it is time: firing and expiry follow from the watermark. This is why only events make a key a changed one.

use super::store::{NO_TIMER, Window};
use super::{Windows, record};
use crate::key_group::hash_key;
use crate::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use crate::watermark::Watermark;

/// So many timers come up together in a busy job; room for more is given back.
const USUALLY_DUE: usize = 1 << 12;

impl Windows {
    /// Begins a snapshot of the windows as they are now, in a time that does not depend on how many there are. One that
    /// is not finished is given up. The first, and one behind another that was given up, is full whatever `kind` says: see
    /// [`KeyedSnapshot::kind`].
    pub fn begin_snapshot(&mut self, kind: SnapshotKind) {
        self.store.begin_snapshot(kind, self.watermark);
        // As large as the most that ever fired within a few milliseconds.
        self.due.shrink_to(USUALLY_DUE);
        self.firing.shrink_to(USUALLY_DUE);
        self.timers.shrink();
    }

    /// See [`Operator::blocks_wanted`](crate::operator::Operator::blocks_wanted).
    pub fn blocks_wanted(&self) -> usize {
        self.store.pages.blocks_wanted()
    }

    /// See [`Operator::lend`](crate::operator::Operator::lend).
    pub fn lend(&mut self, blocks: Vec<Vec<u8>>) {
        self.store.pages.lend(blocks);
    }

    /// Looks at up to `keys` more keys that may have to be copied; the snapshot, once that was the last. Places in memory
    /// where a key once was count as keys, so that the time for one call is bounded. Nothing without a snapshot begun.
    pub fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot> {
        self.store.continue_snapshot(keys)
    }

    /// Takes in the stored records of one key group, newest section first, as they were at `watermark`. Called for each
    /// group before anything else; without sections it only sets the watermark. Events that had been counted as fired
    /// are not counted again.
    ///
    /// # Errors
    /// If a section's bytes are not records of its key group.
    ///
    /// # Panics
    /// If the key group is not of this subtask's range: it was routed wrongly.
    pub fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        self.watermark = watermark;
        self.store.begin_restore();
        let mut windows = Vec::new();
        for section in newest_first {
            let mut reader = record::Reader::new(section)?;
            loop {
                let not_of_group = reader.error();
                let Some(key) = reader.next(&mut windows)? else { break };
                if hash_key(key).key_group(self.store.max_parallelism()) != section.group {
                    return Err(not_of_group);
                }
                self.restore_key(key, &windows);
            }
        }
        self.store.end_restore();
        Ok(())
    }

    /// Takes in a record, unless a newer one was there. One of which nothing is left hides no older one, which by then has
    /// nothing left either.
    fn restore_key(&mut self, key: &[u8], windows: &[record::Stored]) {
        let hash = hash_key(key);
        if self.store.first(hash, key).is_some() {
            return;
        }
        let mut first = None;
        for (span, id) in windows {
            if self.expires_at(span.end) <= self.watermark.0 {
                continue;
            }
            let mut window = Window { span: *span, timer_at: NO_TIMER, has_fired: false };
            if span.last_instant() <= self.watermark.0 {
                window.has_fired = true;
                window.span.reported = span.count;
            } else {
                // As large as it may be, and fired for that.
                window.has_fired = span.reported == span.count;
            }
            self.open_events = self.open_events.saturating_add(window.span.unreported());
            window.timer_at = self.next_at(&window);
            let place = self.store.insert(hash, key, first);
            self.store.put(place, &window);
            first = Some(place);
            // One that has fired since its record was written was gone by then.
            if let Some(id) = id.filter(|_| !window.has_fired) {
                self.store.recall(place, id);
            }
            self.timers.set(window.timer_at, place);
        }
    }
}
