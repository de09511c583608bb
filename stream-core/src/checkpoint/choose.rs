//! Which checkpoint an attempt begins with: the newest that continues what the sink shows.
//!
//! Asked only after the sink was fenced, so that its last epoch cannot move any more, and with a list read after that. A
//! checkpoint continues the ledger if it closed the ledger's epoch, or if its pending epochs begin right behind it (invariant
//! I5); any other one would lose rows or publish them twice.

use std::cmp::Reverse;

use super::manifest::{Manifest, SealedEpoch};
use crate::ids::{CheckpointId, Token};

/// What an attempt begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The checkpoint; none for a job that begins.
    pub restored: Option<Manifest>,
    /// Epochs to be published first, oldest first.
    pub pending: Vec<SealedEpoch>,
}

/// No stored checkpoint continues what the sink shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// None of those that are stored.
    #[error(
        "no checkpoint continues epoch {last_epoch}, which the sink published last: {listed}. Nothing was changed; restore \
         the missing checkpoints, or submit the job anew with --from-savepoint"
    )]
    NoneContinues {
        /// What the ledger says.
        last_epoch: CheckpointId,
        /// The checkpoints there are, newest first, each with what it continues.
        listed: String,
    },
    /// A savepoint that others have overtaken.
    #[error(
        "savepoint {savepoint} does not continue epoch {last_epoch}, which the sink published last: rows after it would be \
         there twice. Choose a newer one, empty the table and its ledger row, or pass --accept-duplicates"
    )]
    SavepointOvertaken {
        /// The savepoint.
        savepoint: CheckpointId,
        /// What the ledger says.
        last_epoch: CheckpointId,
    },
}

/// Checkpoints that a message lists.
const LISTED: usize = 5;

/// Whether an attempt under this token would give its checkpoints ids that are above every stored one. A sink that was set back may
/// grant a token that an older attempt had, which stored a checkpoint after the highest token was read; the attempt must not
/// begin then, and the next try, which finds that checkpoint, gets a higher token. `stored` is listed after the fence.
pub fn is_token_new(token: Token, stored: &[Manifest]) -> bool {
    stored.iter().all(|manifest| manifest.checkpoint.token() < token)
}

/// The newest of `manifests` that continues `last_epoch`.
///
/// # Errors
/// If none does, although there are some, or the sink has published before.
pub fn choose(mut manifests: Vec<Manifest>, last_epoch: CheckpointId) -> Result<Choice, Refusal> {
    if manifests.is_empty() && last_epoch == CheckpointId::ROOT {
        return Ok(Choice { restored: None, pending: Vec::new() });
    }
    manifests.sort_by_key(|manifest| Reverse(manifest.checkpoint));
    let found = manifests.iter().position(|manifest| continuation(manifest, last_epoch).is_some());
    match found {
        Some(place) => {
            let manifest = manifests.swap_remove(place);
            let pending = continuation(&manifest, last_epoch).expect("it was just found").to_vec();
            Ok(Choice { restored: Some(manifest), pending })
        }
        None => Err(Refusal::NoneContinues { last_epoch, listed: listed(&manifests) }),
    }
}

/// Whether an attempt may begin with a savepoint. With `accept_duplicates` it may begin with one that does not continue the
/// ledger: nothing of it is pending then, and the next epoch follows on `last_epoch`.
///
/// # Errors
/// If rows would be published twice, or lost, and that was not accepted.
pub fn choose_savepoint(
    savepoint: Manifest,
    last_epoch: CheckpointId,
    accept_duplicates: bool,
) -> Result<Choice, Refusal> {
    match continuation(&savepoint, last_epoch) {
        Some(pending) => {
            let pending = pending.to_vec();
            Ok(Choice { restored: Some(savepoint), pending })
        }
        None if accept_duplicates => Ok(Choice { restored: Some(savepoint), pending: Vec::new() }),
        None => Err(Refusal::SavepointOvertaken { savepoint: savepoint.checkpoint, last_epoch }),
    }
}

/// The epochs of a checkpoint behind `last_epoch`, if it continues that.
fn continuation(manifest: &Manifest, last_epoch: CheckpointId) -> Option<&[SealedEpoch]> {
    if manifest.checkpoint == last_epoch {
        return Some(&[]);
    }
    let first = manifest.pending.iter().position(|epoch| epoch.prev == last_epoch)?;
    let pending = &manifest.pending[first..];
    let is_chain = pending.windows(2).all(|pair| pair[1].prev == pair[0].epoch)
        && pending.last().is_some_and(|last| last.epoch == manifest.checkpoint);
    is_chain.then_some(pending)
}

fn listed(manifests: &[Manifest]) -> String {
    if manifests.is_empty() {
        return "there is no checkpoint".to_owned();
    }
    let show = |manifest: &Manifest| {
        let first = manifest.pending.first().map_or(manifest.checkpoint, |epoch| epoch.prev);
        format!("checkpoint {} continues {first}", manifest.checkpoint)
    };
    let mut shown: Vec<String> = manifests.iter().take(LISTED).map(show).collect();
    if manifests.len() > LISTED {
        shown.push(format!("and {} older ones do not either", manifests.len() - LISTED));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{epoch, id, manifest};
    use super::*;

    #[test]
    fn newest_checkpoint_that_continues_the_ledger_is_chosen_with_what_is_left_to_publish() {
        let manifests = vec![manifest(2, &[(1, 2)]), manifest(1, &[(0, 1)]), manifest(4, &[(2, 3), (3, 4)])];
        let choice = choose(manifests, id(3)).expect("4 continues 3");
        assert_eq!(choice.restored.map(|manifest| manifest.checkpoint), Some(id(4)));
        assert_eq!(choice.pending, [epoch(3, 4)]);
    }

    #[test]
    fn checkpoint_whose_epoch_is_published_has_nothing_left() {
        let choice = choose(vec![manifest(4, &[(2, 3), (3, 4)])], id(4)).expect("it is the ledger's own");
        assert_eq!(choice.pending, []);
    }

    #[test]
    fn sink_that_was_set_back_finds_an_older_chain() {
        let manifests = vec![manifest(2, &[(1, 2)]), manifest(3, &[(2, 3)])];
        let choice = choose(manifests, id(1)).expect("2 continues 1");
        assert_eq!(choice.restored.map(|manifest| manifest.checkpoint), Some(id(2)));
    }

    #[test]
    fn job_begins_only_where_nothing_is_stored_and_nothing_published() {
        assert_eq!(choose(Vec::new(), id(0)), Ok(Choice { restored: None, pending: Vec::new() }));
        let refusal = choose(Vec::new(), id(7)).expect_err("published, but nothing stored");
        assert!(refusal.to_string().contains("no checkpoint continues epoch 0.7"), "{refusal}");
        let refusal = choose(vec![manifest(4, &[(3, 4)])], id(0)).expect_err("the ledger is another one");
        assert!(refusal.to_string().contains("checkpoint 0.4 continues 0.3"), "{refusal}");
    }

    #[test]
    fn broken_chain_does_not_continue() {
        assert!(choose(vec![manifest(5, &[(1, 2), (3, 5)])], id(1)).is_err());
    }

    #[test]
    fn overtaken_savepoint_needs_a_word() {
        let old = manifest(2, &[(1, 2)]);
        assert!(choose_savepoint(old.clone(), id(5), false).is_err());
        assert_eq!(choose_savepoint(old.clone(), id(5), true).expect("accepted").pending, []);
        assert_eq!(choose_savepoint(old, id(1), false).expect("it continues").pending, [epoch(1, 2)]);
    }
}
