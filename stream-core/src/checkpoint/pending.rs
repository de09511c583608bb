//! The checkpoint that is being taken: who has acknowledged, and the manifest that comes of it.

use std::collections::BTreeMap;

use super::{
    Accounts, Attempt, Cost, FORMAT_VERSION, FileRef, Manifest, OperatorSnapshot, Request, SealedEpoch, SplitSnapshot,
    TaskSnapshot,
};
use crate::barrier::Barrier;
use crate::ids::{SplitId, SubtaskId};
use crate::time::Timestamp;

/// A checkpoint that is not complete.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) barrier: Barrier,
    pub(super) is_savepoint: bool,
    /// Who waits for it.
    pub(super) requests: Vec<Request>,
    acknowledged: BTreeMap<SubtaskId, TaskSnapshot>,
    /// What was built of the acknowledgements; from here on only the store's answer counts.
    pub(super) manifest: Option<Manifest>,
}

/// What an attempt's checkpoints build on.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// Every split of the lineage as the last completed checkpoint has it.
    pub(super) splits: BTreeMap<SplitId, SplitSnapshot>,
    /// The accounts that the attempt began with; its tasks count from there.
    pub(super) accounts: Accounts,
}

impl Pending {
    pub(super) fn new(barrier: Barrier, is_savepoint: bool, requests: Vec<Request>) -> Self {
        Pending { barrier, is_savepoint, requests, acknowledged: BTreeMap::new(), manifest: None }
    }

    /// Takes an acknowledgement in; whether it was one that is waited for.
    pub(super) fn acknowledge(&mut self, attempt: &Attempt, subtask: SubtaskId, snapshot: TaskSnapshot) -> bool {
        let is_expected = match &snapshot {
            TaskSnapshot::Source { .. } => attempt.sources.contains(&subtask),
            TaskSnapshot::Operator { .. } => attempt.operators.contains(&subtask),
            TaskSnapshot::Sink { .. } => attempt.sink == subtask,
        };
        let is_new = is_expected && self.manifest.is_none() && !self.acknowledged.contains_key(&subtask);
        if is_new {
            self.acknowledged.insert(subtask, snapshot);
        }
        is_new
    }

    /// Whether every task of the attempt has acknowledged.
    pub(super) fn is_complete(&self, attempt: &Attempt) -> bool {
        attempt
            .sources
            .iter()
            .chain(&attempt.operators)
            .chain([&attempt.sink])
            .all(|subtask| self.acknowledged.contains_key(subtask))
    }

    /// The manifest of the acknowledgements, on top of `base` and the epochs that are `unpublished`.
    pub(super) fn build(
        &self,
        now: Timestamp,
        attempt: &Attempt,
        base: &Base,
        unpublished: &[SealedEpoch],
    ) -> Manifest {
        let mut splits = base.splits.clone();
        let mut operators: Vec<OperatorSnapshot> = Vec::new();
        let mut epoch_files = Vec::new();
        let mut epoch_rows = 0;
        let mut accounts = Accounts { open: 0, ..base.accounts };
        for snapshot in self.acknowledged.values() {
            match snapshot {
                TaskSnapshot::Source { splits: read, events, bad } => {
                    splits.extend(read.iter().map(|split| (split.split.id.clone(), split.clone())));
                    add(&mut accounts.read, *events);
                    add(&mut accounts.read, *bad);
                    add(&mut accounts.bad, *bad);
                }
                TaskSnapshot::Operator { state, late, fired, open } => {
                    operators.push(state.clone());
                    add(&mut accounts.late, *late);
                    add(&mut accounts.in_sessions, *fired);
                    add(&mut accounts.open, *open);
                }
                TaskSnapshot::Sink { files, rows } => {
                    epoch_files.clone_from(files);
                    epoch_rows = *rows;
                }
            }
        }
        let own = SealedEpoch {
            epoch: self.barrier.checkpoint,
            prev: self.barrier.prev,
            files: epoch_files,
            rows: epoch_rows,
            accounts,
        };
        Manifest {
            version: FORMAT_VERSION,
            job_id: attempt.job_id,
            checkpoint: self.barrier.checkpoint,
            attempt: attempt.attempt,
            token: attempt.token,
            nonce: attempt.nonce,
            triggered: self.barrier.triggered,
            completed: now,
            is_savepoint: self.is_savepoint,
            parallelism: attempt.parallelism,
            max_parallelism: attempt.max_parallelism,
            splits: splits.into_values().collect(),
            operators,
            pending: unpublished.iter().cloned().chain([own]).collect(),
            accounts,
        }
    }

    /// Every file that the acknowledgements name.
    pub(super) fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.acknowledged.values().flat_map(|snapshot| match snapshot {
            TaskSnapshot::Source { .. } => &[][..],
            TaskSnapshot::Operator { state, .. } => &state.files,
            TaskSnapshot::Sink { files, .. } => files,
        })
    }
}

impl Base {
    /// `latest` is the last completed checkpoint of the lineage, `restored` the one that the attempt began with.
    pub(super) fn new(latest: Option<&Manifest>, restored: Option<&Manifest>) -> Self {
        let mut base =
            Base { splits: BTreeMap::new(), accounts: restored.map(|manifest| manifest.accounts).unwrap_or_default() };
        if let Some(latest) = latest {
            base.take_splits(latest);
        }
        base
    }

    pub(super) fn take_splits(&mut self, manifest: &Manifest) {
        self.splits = manifest.splits.iter().map(|split| (split.split.id.clone(), split.clone())).collect();
    }
}

/// Every term came over the wire: a sum that cannot be must not end the jobmanager.
fn add(total: &mut u64, term: u64) {
    *total = total.saturating_add(term);
}

/// A cost on top of another, as a checkpoint's cost is shown: bytes add up, waits are the longest.
pub(super) fn merge_cost(total: &mut Cost, cost: Cost) {
    add(&mut total.written_bytes, cost.written_bytes);
    total.pause = total.pause.max(cost.pause);
    total.alignment = total.alignment.max(cost.alignment);
}
