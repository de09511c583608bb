//! Which checkpoint an attempt may begin with: one that continues what the ledger says is published.
//!
//! The ledger is asked first and the manifests are listed after it was fenced, never the other way round: an older attempt
//! may publish up to the fence, and a list from before it could miss the only checkpoint that continues that epoch.

use std::fmt;

use super::{FORMAT_VERSION, Manifest, SealedEpoch};
use crate::ids::CheckpointId;

/// How an attempt begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// From the beginning: nothing was published, and there is no checkpoint.
    Fresh,
    /// From a checkpoint.
    Restore(Box<Restore>),
}

/// A checkpoint that an attempt may begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Which.
    pub manifest: Manifest,
    /// What the committer has to publish first, in this order; the first one's `prev` is the ledger's epoch.
    pub publish: Vec<SealedEpoch>,
}

/// No checkpoint continues the ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no checkpoint continues what is published, epoch {last_epoch}: {}", explain(.last_epoch, .rejected))]
pub struct Refusal {
    /// The ledger's epoch.
    pub last_epoch: CheckpointId,
    /// Every checkpoint that there is, newest first, and why it does not do.
    pub rejected: Vec<(CheckpointId, Misfit)>,
}

/// The savepoint does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("savepoint {savepoint} does not continue what is published, epoch {last_epoch}: {misfit}; {}", .misfit.advice())]
pub struct SavepointRefusal {
    /// Which.
    pub savepoint: CheckpointId,
    /// The ledger's epoch.
    pub last_epoch: CheckpointId,
    /// Why.
    pub misfit: Misfit,
}

/// Why a checkpoint does not continue the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Its rows, and more, are published already: to begin with it would publish them again.
    #[error("more than it holds is published already")]
    Behind,
    /// The database knows less than the checkpoint relies on: it was set back or is another one, and rows would be missing.
    #[error("it relies on epoch {needs}, which the database does not have")]
    Ahead {
        /// The epoch that must be published before its first pending one.
        needs: CheckpointId,
    },
    /// Its pending epochs do not follow one another.
    #[error("its pending epochs are no chain: the manifest is damaged")]
    Broken,
    /// A newer version wrote it.
    #[error("it has format {0}, and this version reads up to {FORMAT_VERSION}")]
    Format(u32),
}

/// The newest checkpoint that continues the epoch that was published last.
///
/// # Errors
/// If there are checkpoints or published epochs, and no checkpoint continues them.
pub fn choose(manifests: &[Manifest], last_epoch: CheckpointId) -> Result<Choice, Refusal> {
    if manifests.is_empty() && last_epoch == CheckpointId::ROOT {
        return Ok(Choice::Fresh);
    }
    let mut newest_first: Vec<_> = manifests.iter().collect();
    newest_first.sort_by_key(|manifest| std::cmp::Reverse(manifest.checkpoint));
    let mut rejected = Vec::new();
    for manifest in newest_first {
        match epochs_behind(manifest, last_epoch) {
            Ok(publish) => {
                return Ok(Choice::Restore(Box::new(Restore {
                    manifest: manifest.clone(),
                    publish: publish.to_vec(),
                })));
            }
            Err(misfit) => rejected.push((manifest.checkpoint, misfit)),
        }
    }
    Err(Refusal { last_epoch, rejected })
}

/// Whether an attempt may begin with a savepoint that the user named. With `accept_duplicates` it may be older than what is
/// published: its events are then published again, and the ledger goes on from where it is.
///
/// # Errors
/// If it does not continue the ledger; rows are never left out, not even with `accept_duplicates`.
pub fn choose_savepoint(
    manifest: &Manifest,
    last_epoch: CheckpointId,
    accept_duplicates: bool,
) -> Result<Restore, SavepointRefusal> {
    match epochs_behind(manifest, last_epoch) {
        Ok(publish) => Ok(Restore { manifest: manifest.clone(), publish: publish.to_vec() }),
        Err(Misfit::Behind) if accept_duplicates => Ok(Restore { manifest: manifest.clone(), publish: Vec::new() }),
        Err(misfit) => Err(SavepointRefusal { savepoint: manifest.checkpoint, last_epoch, misfit }),
    }
}

/// The epochs of a checkpoint that are not published yet, if all before them are.
pub(super) fn epochs_behind(manifest: &Manifest, last_epoch: CheckpointId) -> Result<&[SealedEpoch], Misfit> {
    if manifest.version > FORMAT_VERSION {
        return Err(Misfit::Format(manifest.version));
    }
    if manifest.checkpoint == last_epoch {
        return Ok(&[]);
    }
    let pending = &manifest.pending;
    let is_chain = pending.windows(2).all(|pair| pair[1].prev == pair[0].epoch)
        && pending.last().is_some_and(|last| last.epoch == manifest.checkpoint);
    let Some(first) = pending.first().filter(|_| is_chain) else {
        return Err(Misfit::Broken);
    };
    match pending.iter().position(|epoch| epoch.prev == last_epoch) {
        Some(at) => Ok(&pending[at..]),
        // Ids only grow along the ledger's path, so a smaller one lies before it.
        None if last_epoch < first.prev => Err(Misfit::Ahead { needs: first.prev }),
        None => Err(Misfit::Behind),
    }
}

impl Misfit {
    fn advice(self) -> &'static str {
        match self {
            Misfit::Behind => "take a newer one, or accept that rows are written twice",
            Misfit::Ahead { .. } => "restore the database that it was taken with",
            Misfit::Broken => "take another one",
            Misfit::Format(_) => "use the version that wrote it, or a newer one",
        }
    }
}

/// How many checkpoints a message names; the newest ones say what is wrong.
const NAMED: usize = 5;

fn explain(last_epoch: &CheckpointId, rejected: &[(CheckpointId, Misfit)]) -> String {
    use fmt::Write as _;
    let mut text = String::new();
    for (checkpoint, misfit) in rejected.iter().take(NAMED) {
        write!(text, "checkpoint {checkpoint}: {misfit}; ").expect("a string takes any text");
    }
    if rejected.len() > NAMED {
        write!(text, "and {} older ones; ", rejected.len() - NAMED).expect("a string takes any text");
    }
    text.push_str(match rejected.first() {
        None => "there is no checkpoint at all; is this the job's checkpoint folder?",
        Some((newest, _)) if last_epoch < newest => {
            "is this the database that the job wrote to, or was it set back further than checkpoints are kept?"
        }
        Some(_) => "is this the job's checkpoint folder, whole? else begin with a savepoint and accept duplicates",
    });
    text
}
