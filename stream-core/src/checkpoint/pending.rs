//! A checkpoint on its way: which acknowledgements are there, and the manifest they make.

use std::collections::BTreeMap;

use super::manifest::{Accounts, Cut, FORMAT_VERSION, FileRef, Manifest, OperatorSnapshot, SealedEpoch, SplitSnapshot};
use super::{Attempt, Request, TaskSnapshot};
use crate::barrier::Barrier;
use crate::ids::{SplitId, SubtaskId};
use crate::table::RowCounts;
use crate::time::Timestamp;
use crate::watermark::Watermark;

/// A checkpoint that was triggered and has not ended.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) barrier: Barrier,
    /// Who waits for it.
    pub(super) requests: Vec<Request>,
    /// By when all acknowledgements must be there.
    pub(super) deadline: Timestamp,
    /// The manifest, while it is being stored.
    pub(super) storing: Option<Manifest>,
    acks: BTreeMap<SubtaskId, TaskSnapshot>,
}

impl Pending {
    pub(super) fn new(barrier: Barrier, requests: Vec<Request>, deadline: Timestamp) -> Self {
        Pending { barrier, requests, deadline, storing: None, acks: BTreeMap::new() }
    }

    /// Takes an acknowledgement; `false` for one that is not expected, or was there already.
    pub(super) fn acknowledge(&mut self, attempt: &Attempt, subtask: SubtaskId, snapshot: TaskSnapshot) -> bool {
        let is_expected = match snapshot {
            TaskSnapshot::Source { .. } => attempt.sources.contains(&subtask),
            TaskSnapshot::Operator { .. } => attempt.operators.contains(&subtask),
            TaskSnapshot::Sink { .. } => attempt.sink == subtask,
        };
        is_expected && self.storing.is_none() && self.acks.insert(subtask, snapshot).is_none()
    }

    /// Whether every task of the attempt has acknowledged.
    pub(super) fn is_acknowledged(&self, attempt: &Attempt) -> bool {
        self.missing(attempt) == 0
    }

    /// How many tasks of the attempt have not acknowledged.
    pub(super) fn missing(&self, attempt: &Attempt) -> usize {
        (attempt.sources.len() + attempt.operators.len() + 1).saturating_sub(self.acks.len())
    }

    /// What the acknowledgements make, behind epochs that are sealed and not known to be published.
    pub(super) fn manifest(&self, attempt: &Attempt, unpublished: &[SealedEpoch], completed: Timestamp) -> Manifest {
        let parts = Parts::of(&self.acks, attempt);
        let splits: Vec<SplitSnapshot> = parts.splits.into_values().collect();
        // Equal for all; where there is none, nothing has fired.
        let watermark = parts.operators.iter().map(|state| state.watermark).min().unwrap_or(Watermark::NONE);
        let mut pending = unpublished.to_vec();
        pending.push(SealedEpoch {
            epoch: self.barrier.checkpoint,
            prev: self.barrier.prev,
            files: parts.rows,
            rows: parts.row_counts,
            accounts: parts.accounts,
            cut: Some(Cut { watermark, splits: splits.clone() }),
        });
        Manifest {
            version: FORMAT_VERSION,
            job_id: attempt.job_id,
            checkpoint: self.barrier.checkpoint,
            attempt: attempt.attempt,
            token: attempt.token,
            nonce: attempt.nonce,
            triggered: self.barrier.triggered,
            completed,
            is_savepoint: self.barrier.is_full,
            parallelism: attempt.parallelism,
            max_parallelism: attempt.max_parallelism,
            splits,
            operators: parts.operators,
            pending,
            accounts: parts.accounts,
        }
    }
}

/// The acknowledgements, taken apart.
struct Parts {
    splits: BTreeMap<SplitId, SplitSnapshot>,
    operators: Vec<OperatorSnapshot>,
    rows: Vec<FileRef>,
    row_counts: RowCounts,
    accounts: Accounts,
}

impl Parts {
    fn of(acks: &BTreeMap<SubtaskId, TaskSnapshot>, attempt: &Attempt) -> Self {
        // A split of which no source tells stays where it was: nothing of it is lost.
        let known = attempt.splits.iter().map(|split| (split.split.id.clone(), split.clone()));
        let mut parts = Parts {
            splits: known.collect(),
            operators: Vec::new(),
            rows: Vec::new(),
            row_counts: RowCounts::default(),
            accounts: Accounts { open: 0, ..attempt.base },
        };
        let accounts = &mut parts.accounts;
        for snapshot in acks.values() {
            match snapshot {
                TaskSnapshot::Source { splits, events, bad } => {
                    parts.splits.extend(splits.iter().map(|split| (split.split.id.clone(), split.clone())));
                    accounts.read += events + bad;
                    accounts.bad += bad;
                }
                TaskSnapshot::Operator { state, late, fired, open } => {
                    parts.operators.push(state.clone());
                    accounts.late += late;
                    accounts.in_sessions += fired;
                    accounts.open += open;
                }
                TaskSnapshot::Sink { files, rows } => {
                    parts.rows.clone_from(files);
                    parts.row_counts.clone_from(rows);
                }
            }
        }
        parts
    }
}
