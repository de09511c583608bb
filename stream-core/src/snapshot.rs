//! Snapshots of keyed state: what an operator hands out at a barrier and takes back when it is restored.
//!
//! A snapshot is sections of records, each of one key group, so that any parallelism can restore it. A record is a key with
//! all that the operator keeps for it; of several records of one key, the newest counts. A full snapshot has every key, a
//! delta those that changed since the snapshot before it.
//!
//! What stores of every kind need for it lies below: which keys to copy (`pages`), and how sections are written and read.

pub(crate) mod pages;
pub(crate) mod section;
mod slot_list;

use crate::key_group::KeyGroup;
use crate::watermark::Watermark;

/// A group with more records than this has several sections. One that grew with the group would be moved to larger memory again
/// and again, and while it is, the task stands still.
pub const BLOCK_BYTES: usize = 64 << 10;

/// Keys copied between two looks at the time: of a large state no key is in a cache, and one costs up to a microsecond.
const STEP_KEYS: usize = 64;

/// Steps after which a slice ends even if its time does not.
pub const MAX_STEPS: usize = 64;

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Every key.
    Full,
    /// The keys that changed since the last snapshot that was begun.
    Delta,
}

/// An operator's keyed state, or what changed of it, at one barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedSnapshot {
    /// Whether it stands alone.
    pub kind: SnapshotKind,
    /// The operator's watermark at the barrier.
    pub watermark: Watermark,
    /// In the order of their key groups. A group may have several, which have no key in common.
    pub sections: Vec<Section>,
    /// Blocks that were lent for it and not needed, for the next one. They are no part of what is stored.
    pub spare_blocks: Vec<Vec<u8>>,
}

/// Records of one key group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Which.
    pub group: KeyGroup,
    /// How many records `bytes` holds.
    pub records: u64,
    /// The records, in the operator's own form.
    pub bytes: Vec<u8>,
}

/// An empty block whose memory the system has given already. For a huge page of it a virtual machine can take milliseconds.
pub fn touched_block() -> Vec<u8> {
    let mut block = vec![u8::MAX; BLOCK_BYTES];
    std::hint::black_box(&mut block).clear();
    block
}

/// Copies a slice of a snapshot with `copy`, which is given a number of keys, until `is_over` says that the time for it is up; the
/// snapshot, if that was the last slice. So a slice takes the same time whether its keys are in a cache, as of a small state, or not.
pub fn copy_slice(
    mut copy: impl FnMut(usize) -> Option<KeyedSnapshot>,
    mut is_over: impl FnMut() -> bool,
) -> Option<KeyedSnapshot> {
    for _ in 0..MAX_STEPS {
        let snapshot = copy(STEP_KEYS);
        if snapshot.is_some() || is_over() {
            return snapshot;
        }
    }
    None
}

/// Bytes that are no snapshot of the operator, although their checksum is right: another version wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the records of key group {} cannot be read at byte {at}", .group.0)]
pub struct DecodeSnapshotError {
    /// Whose section.
    pub group: KeyGroup,
    /// Where in it.
    pub at: usize,
}
