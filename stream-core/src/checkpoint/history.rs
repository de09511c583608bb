//! The last checkpoints of an attempt, for people to look at; nothing is decided by it.

use std::collections::VecDeque;

use super::pending::merge_cost;
use super::{Accounts, Cost};
use crate::barrier::Barrier;
use crate::ids::CheckpointId;
use crate::time::Timestamp;

/// How many checkpoints are remembered: enough to see a pattern, few enough for one page.
const REMEMBERED: usize = 32;

/// What became of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointState {
    /// It is being taken.
    Pending,
    /// It exists.
    Completed,
    /// It was given up.
    Aborted,
}

/// A checkpoint as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRecord {
    /// Which.
    pub checkpoint: CheckpointId,
    /// What became of it.
    pub state: CheckpointState,
    /// When it was triggered.
    pub triggered: Timestamp,
    /// When it was completed or given up.
    pub ended: Option<Timestamp>,
    /// Whether a user owns it.
    pub is_savepoint: bool,
    /// Whether state was to be written whole.
    pub is_full: bool,
    /// Whether the sources end behind it.
    pub is_last: bool,
    /// How many tasks have acknowledged.
    pub acknowledged: u32,
    /// Of how many.
    pub tasks: u32,
    /// What was written in all, and the longest pause and alignment of any task.
    pub cost: Cost,
    /// Why it was given up.
    pub reason: Option<String>,
    /// The accounts at its cut, once it exists.
    pub accounts: Option<Accounts>,
    /// Whether its epoch is visible in the sink.
    pub is_published: bool,
}

/// The last checkpoints, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<CheckpointRecord>);

impl History {
    pub(super) fn records(&self) -> impl DoubleEndedIterator<Item = &CheckpointRecord> {
        self.0.iter()
    }

    pub(super) fn trigger(&mut self, barrier: Barrier, is_savepoint: bool, tasks: usize) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(CheckpointRecord {
            checkpoint: barrier.checkpoint,
            state: CheckpointState::Pending,
            triggered: barrier.triggered,
            ended: None,
            is_savepoint,
            is_full: barrier.is_full,
            is_last: barrier.is_last,
            acknowledged: 0,
            tasks: tasks.try_into().unwrap_or(u32::MAX),
            cost: Cost::default(),
            reason: None,
            accounts: None,
            is_published: false,
        });
    }

    pub(super) fn acknowledge(&mut self, checkpoint: CheckpointId, cost: Cost) {
        if let Some(record) = self.record(checkpoint) {
            record.acknowledged += 1;
            merge_cost(&mut record.cost, cost);
        }
    }

    pub(super) fn complete(&mut self, now: Timestamp, checkpoint: CheckpointId, accounts: Accounts) {
        if let Some(record) = self.record(checkpoint) {
            record.state = CheckpointState::Completed;
            record.ended = Some(now);
            record.accounts = Some(accounts);
        }
    }

    pub(super) fn abort(&mut self, now: Timestamp, checkpoint: CheckpointId, reason: &str) {
        if let Some(record) = self.record(checkpoint) {
            record.state = CheckpointState::Aborted;
            record.ended = Some(now);
            record.reason = Some(reason.to_owned());
        }
    }

    pub(super) fn publish(&mut self, up_to: CheckpointId) {
        for record in &mut self.0 {
            record.is_published |= record.state == CheckpointState::Completed && record.checkpoint <= up_to;
        }
    }

    fn record(&mut self, checkpoint: CheckpointId) -> Option<&mut CheckpointRecord> {
        self.0.iter_mut().rev().find(|record| record.checkpoint == checkpoint)
    }
}
