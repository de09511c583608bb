//! Whether an attempt that runs may go on under a new jobmanager, and where its checkpoints go on.
//!
//! The committer seals behind a barrier all that came since the last *completed* checkpoint, and the barrier says which
//! that is (`prev`). A manifest that is stored may have been taken for complete by the lost jobmanager, or given up because
//! the answer to its write was lost. If no barrier came after it, nobody has sealed on either, and it is complete from now on.
//! If one came, that barrier's `prev` tells: the manifest itself, then it was complete; an older one, then its rows were sealed
//! once more, and publishing both would show them twice.

use super::manifest::Manifest;
use crate::barrier::Barrier;
use crate::ids::{CheckpointId, Token};

/// Where the checkpoints of an adopted attempt go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The highest sequence number that was used under its token.
    pub last_sequence: u32,
    /// The checkpoint that was under way: nobody is left to complete it.
    pub under_way: Option<CheckpointId>,
}

/// It is not clear what the attempt's committer has sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint {under_way} follows {prev}, although the manifest of {newest} is stored: it was taken for lost")]
pub struct Unclear {
    /// What was under way.
    pub under_way: CheckpointId,
    /// What it follows.
    pub prev: CheckpointId,
    /// The newest that is stored.
    pub newest: CheckpointId,
}

/// Decides by the manifests that are stored now and the newest barrier that any source was told to send. Every source must
/// have been asked: one that was left out might know a newer one.
///
/// # Errors
/// If going on could publish rows twice: the attempt must be canceled, and the next one fences it.
pub fn adopt(token: Token, stored: &[Manifest], last_barrier: Option<Barrier>) -> Result<Adopted, Unclear> {
    let is_own = |checkpoint: &CheckpointId| checkpoint.token() == token;
    let newest = stored.iter().map(|manifest| manifest.checkpoint).filter(is_own).max();
    let under_way = last_barrier.filter(|barrier| is_own(&barrier.checkpoint) && Some(barrier.checkpoint) > newest);
    if let (Some(barrier), Some(newest)) = (under_way, newest)
        && barrier.prev != newest
    {
        return Err(Unclear { under_way: barrier.checkpoint, prev: barrier.prev, newest });
    }
    let under_way = under_way.map(|barrier| barrier.checkpoint);
    let last_sequence = newest.max(under_way).map_or(0, CheckpointId::sequence);
    Ok(Adopted { last_sequence, under_way })
}

#[cfg(test)]
mod tests {
    use super::super::testing::manifest;
    use super::*;
    use crate::time::Timestamp;

    const TOKEN: Token = Token(3);

    fn id(sequence: u32) -> CheckpointId {
        CheckpointId::new(TOKEN, sequence)
    }

    fn barrier(sequence: u32, prev: CheckpointId) -> Option<Barrier> {
        Some(Barrier { checkpoint: id(sequence), prev, triggered: Timestamp(0), is_full: false, is_last: false })
    }

    fn stored(sequences: &[u32]) -> Vec<Manifest> {
        sequences.iter().map(|&sequence| Manifest { checkpoint: id(sequence), ..manifest(0, &[]) }).collect()
    }

    #[test]
    fn stored_manifest_without_a_barrier_behind_it_is_complete() {
        let adopted = Adopted { last_sequence: 5, under_way: None };
        assert_eq!(adopt(TOKEN, &stored(&[4, 5]), barrier(5, id(4))), Ok(adopted));
        assert_eq!(adopt(TOKEN, &stored(&[4, 5]), None), Ok(adopted));
    }

    #[test]
    fn barrier_that_follows_the_newest_manifest_is_given_up_and_its_number_never_used_again() {
        let adopted = Adopted { last_sequence: 7, under_way: Some(id(7)) };
        assert_eq!(adopt(TOKEN, &stored(&[4, 5]), barrier(7, id(5))), Ok(adopted));
        let first = Adopted { last_sequence: 1, under_way: Some(id(1)) };
        let earlier = CheckpointId::new(Token(2), 9);
        assert_eq!(adopt(TOKEN, &[], barrier(1, earlier)), Ok(first));
    }

    #[test]
    fn barrier_that_passes_over_a_stored_manifest_makes_adoption_unsafe() {
        let unclear = Unclear { under_way: id(6), prev: id(4), newest: id(5) };
        assert_eq!(adopt(TOKEN, &stored(&[4, 5]), barrier(6, id(4))), Err(unclear));
        let earlier = CheckpointId::new(Token(2), 9);
        assert!(adopt(TOKEN, &stored(&[1]), barrier(2, earlier)).is_err());
    }

    #[test]
    fn checkpoints_of_earlier_attempts_do_not_count() {
        let begun = Adopted { last_sequence: 0, under_way: None };
        let earlier = CheckpointId::new(Token(2), 9);
        let others = vec![Manifest { checkpoint: earlier, ..manifest(0, &[]) }];
        assert_eq!(adopt(TOKEN, &others, None), Ok(begun));
    }
}
