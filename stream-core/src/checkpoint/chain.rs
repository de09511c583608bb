//! The files that together hold an operator's state: a full snapshot and the deltas since.

use super::{FileRef, OperatorSnapshot};
use crate::key_group::KeyGroupRange;
use crate::snapshot::SnapshotKind;
use crate::watermark::Watermark;

/// Deltas behind one base. More cost a restore many small reads, even where they are small.
const MAX_DELTAS: usize = 64;

/// A subtask's chain of stored snapshots.
#[derive(Debug, Default)]
pub struct Chain {
    files: Vec<FileRef>,
    /// Whether the chain begins with a full snapshot and lacks nothing since.
    is_whole: bool,
    /// Whether it is as a restore found it.
    is_restored: bool,
}

impl Chain {
    /// The chain of a subtask that begins with what these of its stage had: it goes on with a delta, so that what follows a failure
    /// need not wait until all of the state is written once more.
    ///
    /// Only where one subtask had the same key groups. With others (a rescale), or behind a drain, whose files are not read, it
    /// begins anew.
    pub fn restored(states: &[OperatorSnapshot], key_groups: KeyGroupRange) -> Self {
        match states.iter().find(|state| state.key_groups == key_groups) {
            Some(OperatorSnapshot { watermark, files, .. }) if *watermark != Watermark::END => {
                Chain { files: files.clone(), is_whole: true, is_restored: true }
            }
            Some(_) | None => Chain::default(),
        }
    }

    /// What the next snapshot has to be. The deltas may grow to what the base is: so twice the state is kept at most, and
    /// rewriting it costs no more than was written since. Behind a restore once again as much and as many: the results that wait for
    /// the first checkpoint do not wait for that too, and an attempt after another that gets no further does not lengthen it for ever.
    pub fn next_kind(&self, is_full_wanted: bool) -> SnapshotKind {
        let spare = if self.is_restored { 2 } else { 1 };
        let deltas: u64 = self.files.iter().skip(1).map(|file| file.bytes).sum();
        let has_outgrown = self.files.first().is_none_or(|base| deltas > base.bytes.saturating_mul(spare));
        let is_long = self.files.len() as u64 > MAX_DELTAS as u64 * spare;
        match self.is_whole && !is_full_wanted && !has_outgrown && !is_long {
            true => SnapshotKind::Delta,
            false => SnapshotKind::Full,
        }
    }

    /// A snapshot is stored, or had nothing to store.
    pub fn extend(&mut self, kind: SnapshotKind, file: Option<FileRef>) {
        if kind == SnapshotKind::Full {
            self.files.clear();
            self.is_whole = true;
        }
        self.files.extend(file);
        self.is_restored = false;
    }

    /// A snapshot was taken and is not stored: what changed until then is in no file.
    pub fn lose(&mut self) {
        self.is_whole = false;
    }

    /// All files, oldest first.
    pub fn files(&self) -> &[FileRef] {
        &self.files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64) -> Option<FileRef> {
        Some(FileRef { name: format!("{bytes}"), bytes, checksum: 0 })
    }

    #[test]
    fn first_snapshot_is_full_and_those_behind_it_are_deltas() {
        let mut chain = Chain::default();
        assert_eq!(chain.next_kind(false), SnapshotKind::Full);
        chain.extend(SnapshotKind::Full, file(100));
        assert_eq!(chain.next_kind(false), SnapshotKind::Delta);
        assert_eq!(chain.next_kind(true), SnapshotKind::Full, "a savepoint stands alone");
    }

    #[test]
    fn deltas_that_outgrow_their_base_make_the_next_one_full() {
        let mut chain = Chain::default();
        chain.extend(SnapshotKind::Full, file(100));
        chain.extend(SnapshotKind::Delta, file(60));
        chain.extend(SnapshotKind::Delta, file(40));
        assert_eq!(chain.next_kind(false), SnapshotKind::Delta);
        chain.extend(SnapshotKind::Delta, file(1));
        assert_eq!(chain.next_kind(false), SnapshotKind::Full);
        chain.extend(SnapshotKind::Full, file(120));
        assert_eq!(chain.files().len(), 1);
    }

    #[test]
    fn long_chain_is_begun_anew() {
        let mut chain = Chain::default();
        chain.extend(SnapshotKind::Full, file(1_000_000));
        (0..MAX_DELTAS).for_each(|_| chain.extend(SnapshotKind::Delta, file(1)));
        assert_eq!(chain.next_kind(false), SnapshotKind::Full);
    }

    #[test]
    fn lost_snapshot_makes_the_next_one_full() {
        let mut chain = Chain::default();
        chain.extend(SnapshotKind::Full, file(100));
        chain.lose();
        assert_eq!(chain.next_kind(false), SnapshotKind::Full);
        chain.extend(SnapshotKind::Full, file(100));
        assert_eq!(chain.next_kind(false), SnapshotKind::Delta);
    }

    fn state(range: (u16, u16), watermark: Watermark, bytes: &[u64]) -> OperatorSnapshot {
        OperatorSnapshot {
            key_groups: KeyGroupRange { start: range.0, end: range.1 },
            watermark,
            files: bytes.iter().filter_map(|&bytes| file(bytes)).collect(),
            ..super::super::testing::operator_state(0)
        }
    }

    #[test]
    fn restored_chain_goes_on_with_a_delta_even_if_it_is_full_by_then_and_only_once() {
        let range = KeyGroupRange { start: 0, end: 8 };
        let states = [state((8, 16), Watermark(0), &[9]), state((0, 8), Watermark(0), &[100, 101])];
        let mut chain = Chain::restored(&states, range);
        assert_eq!((chain.next_kind(false), chain.next_kind(true)), (SnapshotKind::Delta, SnapshotKind::Full));
        chain.extend(SnapshotKind::Delta, file(1));
        assert_eq!((chain.next_kind(false), chain.files().len()), (SnapshotKind::Full, 3));
    }

    #[test]
    fn chain_that_attempts_lengthened_one_by_one_begins_anew_at_last() {
        let range = KeyGroupRange { start: 0, end: 8 };
        let kind = |bytes: &[u64]| Chain::restored(&[state((0, 8), Watermark(0), bytes)], range).next_kind(false);
        assert_eq!([kind(&[100, 200]), kind(&[100, 201])], [SnapshotKind::Delta, SnapshotKind::Full]);
        let many = [vec![1_000_000], vec![1; 2 * MAX_DELTAS - 1]].concat();
        assert_eq!(kind(&many), SnapshotKind::Delta);
        assert_eq!(kind(&[many, vec![1]].concat()), SnapshotKind::Full);
    }

    #[test]
    fn chain_of_other_key_groups_or_of_a_drain_is_not_gone_on_with() {
        let range = KeyGroupRange { start: 0, end: 8 };
        for states in [
            vec![],
            vec![state((0, 4), Watermark(0), &[9]), state((4, 8), Watermark(0), &[9])],
            vec![state((0, 8), Watermark::END, &[9])],
            vec![state((0, 8), Watermark(0), &[])],
        ] {
            assert_eq!(Chain::restored(&states, range).next_kind(false), SnapshotKind::Full, "{states:?}");
        }
    }

    #[test]
    fn state_without_a_key_has_no_file() {
        let mut chain = Chain::default();
        chain.extend(SnapshotKind::Full, None);
        assert_eq!((chain.files().len(), chain.next_kind(false)), (0, SnapshotKind::Full));
    }
}
