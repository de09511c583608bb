//! The files that together hold an operator's state: a full snapshot and the deltas since.

use super::FileRef;
use crate::snapshot::SnapshotKind;

/// Deltas behind one base. More cost a restore many small reads, even where they are small.
const MAX_DELTAS: usize = 64;

/// A subtask's chain of stored snapshots.
///
/// A restored subtask begins without one, and so with a full snapshot: the chains that it was restored from belong to key
/// group ranges that may be others.
#[derive(Debug, Default)]
pub struct Chain {
    files: Vec<FileRef>,
    /// Whether the chain begins with a full snapshot and lacks nothing since.
    is_whole: bool,
}

impl Chain {
    /// What the next snapshot has to be. The deltas may grow to what the base is: so twice the state is kept at most, and
    /// rewriting it costs no more than was written since.
    pub fn next_kind(&self, is_full_wanted: bool) -> SnapshotKind {
        let deltas: u64 = self.files.iter().skip(1).map(|file| file.bytes).sum();
        let has_outgrown = self.files.first().is_none_or(|base| deltas > base.bytes);
        let is_long = self.files.len() > MAX_DELTAS;
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

    #[test]
    fn state_without_a_key_has_no_file() {
        let mut chain = Chain::default();
        chain.extend(SnapshotKind::Full, None);
        assert_eq!((chain.files().len(), chain.next_kind(false)), (0, SnapshotKind::Full));
    }
}
