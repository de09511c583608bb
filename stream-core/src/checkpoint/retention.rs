//! Which checkpoints are kept (invariant I9): savepoints; the newest published one and everything newer; and every one that
//! a database set back by no more than the retention could need.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Effect, FileRef, Manifest};
use crate::ids::CheckpointId;
use crate::time::Timestamp;

/// The manifests that are stored, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Retained(Vec<Kept>);

#[derive(Clone, Debug)]
struct Kept {
    manifest: Manifest,
    /// By when its epoch was published, or stepped over.
    published: Option<Timestamp>,
}

impl Retained {
    /// What is stored when an attempt begins. `published` is the ledger's epoch.
    pub(super) fn new(now: Timestamp, mut manifests: Vec<Manifest>, published: CheckpointId) -> Self {
        manifests.sort_by_key(|manifest| manifest.checkpoint);
        manifests.dedup_by_key(|manifest| manifest.checkpoint);
        let kept = manifests.iter().enumerate().map(|(at, manifest)| {
            // Nobody wrote down when an epoch was published; but a later checkpoint knew of it if it does not list it.
            let knew = |later: &&Manifest| later.pending.iter().all(|epoch| epoch.epoch != manifest.checkpoint);
            let known = manifests[at + 1..].iter().find(knew).map_or(now, |later| later.completed.min(now));
            Kept { manifest: manifest.clone(), published: (manifest.checkpoint <= published).then_some(known) }
        });
        Retained(kept.collect())
    }

    pub(super) fn manifests(&self) -> impl DoubleEndedIterator<Item = &Manifest> {
        self.0.iter().map(|kept| &kept.manifest)
    }

    /// Ids only grow, so a completed checkpoint is the newest.
    pub(super) fn push(&mut self, manifest: Manifest) {
        self.0.push(Kept { manifest, published: None });
    }

    pub(super) fn publish(&mut self, now: Timestamp, up_to: CheckpointId) {
        for kept in self.0.iter_mut().filter(|kept| kept.manifest.checkpoint <= up_to) {
            kept.published.get_or_insert(now);
        }
    }

    /// Takes out what nothing can need any more. `in_use` are files that are named elsewhere.
    pub(super) fn discard<'a>(
        &'a mut self,
        now: Timestamp,
        retention: Duration,
        in_use: impl Iterator<Item = &'a FileRef>,
    ) -> Option<Effect> {
        let is_old = |kept: &Kept| kept.published.is_some_and(|at| now.saturating_since(at) >= retention);
        let newest_old = self.0.iter().rev().find(|kept| is_old(kept))?.manifest.checkpoint;
        let is_discarded = |kept: &Kept| kept.manifest.checkpoint < newest_old && !kept.manifest.is_savepoint;
        if !self.0.iter().any(is_discarded) {
            return None;
        }
        let (discarded, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0).into_iter().partition(is_discarded);
        self.0 = kept;
        let mut needed: BTreeSet<&str> = in_use.map(|file| file.name.as_str()).collect();
        needed.extend(self.manifests().flat_map(files).map(|file| file.name.as_str()));
        let named: BTreeSet<&str> =
            discarded.iter().flat_map(|kept| files(&kept.manifest)).map(|file| file.name.as_str()).collect();
        Some(Effect::Discard {
            checkpoints: discarded.iter().map(|kept| kept.manifest.checkpoint).collect(),
            files: named.difference(&needed).map(|&name| name.to_owned()).collect(),
        })
    }
}

/// Every file that a manifest names.
fn files(manifest: &Manifest) -> impl Iterator<Item = &FileRef> {
    let states = manifest.operators.iter().flat_map(|operator| &operator.files);
    states.chain(manifest.pending.iter().flat_map(|epoch| &epoch.files))
}
