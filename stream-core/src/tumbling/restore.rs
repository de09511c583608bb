//! Snapshots of the counts, and counts from snapshots.
//!
//! Of several records of a key in one window the newest counts. **No record says that a count is gone**, and none is needed: it goes
//! with its window, and when that is the watermark says.

use super::{Windows, record};
use crate::key_group::hash_key;
use crate::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use crate::watermark::Watermark;

impl Windows {
    /// Begins a snapshot of the counts as they are now, in a time that does not depend on how many there are. One that is not
    /// finished is given up. The first, and one behind another that was given up, is full whatever `kind` says: see
    /// [`KeyedSnapshot::kind`].
    pub fn begin_snapshot(&mut self, kind: SnapshotKind) {
        self.store.begin_snapshot(kind, self.watermark);
    }

    /// See [`Operator::blocks_wanted`](crate::operator::Operator::blocks_wanted).
    pub fn blocks_wanted(&self) -> usize {
        self.store.pages.blocks_wanted()
    }

    /// See [`Operator::lend`](crate::operator::Operator::lend).
    pub fn lend(&mut self, blocks: Vec<Vec<u8>>) {
        self.store.pages.lend(blocks);
    }

    /// Looks at up to `keys` more counts that may have to be copied; the snapshot, once that was the last. Nothing without a
    /// snapshot begun.
    pub fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot> {
        self.store.continue_snapshot(keys)
    }

    /// Takes in the stored records of one key group, newest section first, as they were at `watermark`. Called for each group
    /// before anything else; without sections it only sets the watermark. Events that had been counted as fired are not counted
    /// again.
    ///
    /// # Errors
    /// If a section's bytes are not records of its key group.
    ///
    /// # Panics
    /// If the key group is not of this subtask's range: it was routed wrongly.
    pub fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        self.watermark = watermark;
        self.store.begin_restore();
        for section in newest_first {
            let mut reader = record::reader(section)?;
            loop {
                let not_of_group = reader.error();
                let Some(record) = record::read(&mut reader)? else { break };
                let routed = hash_key((self.config.head)(record.key));
                if routed.key_group(self.store.max_parallelism()) != section.group {
                    return Err(not_of_group);
                }
                if self.config.expires_at(record.start) <= watermark.0 {
                    continue;
                }
                let has_fired = self.has_fired(record.start);
                let is_new = self.store.restore(record.start, routed, record.key, record.count, has_fired);
                if is_new && !has_fired {
                    self.open_events = self.open_events.saturating_add(record.count);
                }
            }
        }
        self.store.end_restore();
        Ok(())
    }
}
