//! Key → key group → subtask.
//!
//! A key hashes to one of `max_parallelism` key groups, the smallest part of keyed state that moves. Subtasks own
//! contiguous ranges of them. The hash decides where a key's state lives, on every machine and in every stored
//! checkpoint, so it must never change: it is XXH3-64 with seed 0 over the key's bytes, a frozen specification
//! (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>), pinned here by test vectors.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::ids::SubtaskIndex;

/// The hash of a key: computed once, where the record is decoded, and carried along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

/// A key group, from 0 to max parallelism − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyGroup(pub u16);

/// The number of key groups of a job, 1 to 32,768 as in Flink; fixed for the job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct MaxParallelism(NonZeroU16);

/// The key groups `start..end` of one subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGroupRange {
    /// The first key group.
    pub start: u16,
    /// One past the last key group.
    pub end: u16,
}

/// Max parallelism must be between 1 and 32,768.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("max parallelism `{0}` is not between 1 and {limit}", limit = MaxParallelism::LIMIT)]
pub struct MaxParallelismError(u64);

/// Hashes a key's bytes.
pub fn hash_key(key: &[u8]) -> KeyHash {
    KeyHash(xxhash_rust::xxh3::xxh3_64(key))
}

impl KeyHash {
    /// The key group of a key with this hash.
    ///
    /// Takes bits 16 to 47: a hash table indexes by the lowest bits and tags by the highest, and keys of one key group
    /// share a table, so bits used here would be wasted there.
    pub fn key_group(self, max_parallelism: MaxParallelism) -> KeyGroup {
        let middle = (self.0 >> 16) & 0xffff_ffff;
        let group = (middle * u64::from(max_parallelism.get())) >> 32;
        KeyGroup(group.try_into().expect("a 32-bit fraction of a 16-bit number fits 16 bits"))
    }
}

impl KeyGroup {
    /// The subtask that owns this key group (Flink: `KeyGroupRangeAssignment.computeOperatorIndexForKeyGroup`).
    pub fn subtask(self, max_parallelism: MaxParallelism, parallelism: u32) -> SubtaskIndex {
        let index = u64::from(self.0) * u64::from(parallelism) / u64::from(max_parallelism.get());
        SubtaskIndex(index.try_into().expect("less than the parallelism"))
    }
}

impl KeyGroupRange {
    /// The range of subtask `index` of `parallelism` (Flink: `computeKeyGroupRangeForOperatorIndex`). Ranges of all
    /// subtasks cover every key group exactly once; they are empty only above max parallelism.
    pub fn of_subtask(max_parallelism: MaxParallelism, parallelism: u32, index: SubtaskIndex) -> Self {
        let groups = u64::from(max_parallelism.get());
        let bound = |index: u64| {
            let bound = (index * groups).div_ceil(u64::from(parallelism)).min(groups);
            u16::try_from(bound).expect("at most max parallelism")
        };
        KeyGroupRange { start: bound(u64::from(index.0)), end: bound(u64::from(index.0) + 1) }
    }

    /// How many key groups it holds.
    pub fn len(self) -> usize {
        usize::from(self.end.saturating_sub(self.start))
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether `group` is one of them.
    pub fn contains(self, group: KeyGroup) -> bool {
        (self.start..self.end).contains(&group.0)
    }
}

impl MaxParallelism {
    /// The largest there is, Flink's bound.
    pub const LIMIT: u16 = 1 << 15;
    /// What a job gets that does not ask.
    pub const DEFAULT: MaxParallelism = MaxParallelism(NonZeroU16::new(128).expect("not zero"));

    /// Checks a number of key groups.
    ///
    /// # Errors
    /// If it is 0 or above [`MaxParallelism::LIMIT`].
    pub fn new(groups: u64) -> Result<Self, MaxParallelismError> {
        u16::try_from(groups)
            .ok()
            .filter(|&groups| groups <= Self::LIMIT)
            .and_then(NonZeroU16::new)
            .map(MaxParallelism)
            .ok_or(MaxParallelismError(groups))
    }

    /// The number of key groups.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u16> for MaxParallelism {
    type Error = MaxParallelismError;

    fn try_from(groups: u16) -> Result<Self, Self::Error> {
        Self::new(u64::from(groups))
    }
}

impl From<MaxParallelism> for u16 {
    fn from(max_parallelism: MaxParallelism) -> Self {
        max_parallelism.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_keeps_its_published_test_vectors() {
        // From the xxHash project's own sanity checks: XXH3_64bits, seed 0, of the empty input, and of the texts below as
        // computed by its command line tool. They must never change: stored state depends on them.
        assert_eq!(hash_key(b"").0, 0x2d06_8005_38d3_94c2);
        assert_eq!(hash_key(b"a").0, 0xe6c6_32b6_1e96_4e1f);
        assert_eq!(hash_key(b"abc").0, 0x78af_5f94_892f_3950);
    }

    #[test]
    fn ranges_cover_every_key_group_once_and_agree_with_the_owner() {
        for groups in [1_u64, 2, 7, 127, 128, 1000, 32_768] {
            let max = MaxParallelism::new(groups).expect("in range");
            for parallelism in [1_u32, 2, 3, 5, 64, 128] {
                let mut next = 0;
                for index in 0..parallelism {
                    let range = KeyGroupRange::of_subtask(max, parallelism, SubtaskIndex(index));
                    assert_eq!(range.start, next);
                    next = range.end;
                    for group in range.start..range.end {
                        assert_eq!(KeyGroup(group).subtask(max, parallelism), SubtaskIndex(index));
                    }
                }
                assert_eq!(u64::from(next), groups);
            }
        }
    }

    #[test]
    fn keys_spread_evenly_over_key_groups() {
        let mut counts = [0_u32; 128];
        for key in 0..128_000_u32 {
            counts[usize::from(hash_key(&key.to_le_bytes()).key_group(MaxParallelism::DEFAULT).0)] += 1;
        }
        assert!(counts.iter().all(|&count| (800..1200).contains(&count)), "{counts:?}");
    }

    #[test]
    fn max_parallelism_has_bounds() {
        assert_eq!(MaxParallelism::new(0), Err(MaxParallelismError(0)));
        assert_eq!(MaxParallelism::new(32_769), Err(MaxParallelismError(32_769)));
        assert_eq!(MaxParallelism::new(32_768).map(MaxParallelism::get), Ok(32_768));
    }
}
