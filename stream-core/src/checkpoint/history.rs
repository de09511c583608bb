//! What became of the last checkpoints, for people.

use std::collections::VecDeque;
use std::time::Duration;

use super::Cost;
use super::manifest::Accounts;
use crate::ids::CheckpointId;
use crate::time::Timestamp;

/// Checkpoints that are remembered: five minutes at one every ten seconds.
const REMEMBERED: usize = 32;

/// How far a checkpoint came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointState {
    /// Acknowledgements are missing, or its manifest is being stored.
    Pending,
    /// Its manifest is stored.
    Completed,
    /// It was declined, expired or could not be stored.
    Aborted,
}

/// A checkpoint as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub checkpoint: CheckpointId,
    /// How far it came.
    pub state: CheckpointState,
    /// When it was triggered, by the wall clock.
    pub triggered: Timestamp,
    /// When it was completed or aborted, by the wall clock.
    pub ended: Option<Timestamp>,
    /// Whether a user owns it.
    pub is_savepoint: bool,
    /// What it cost: bytes summed over the tasks, of times the longest.
    pub cost: Cost,
    /// The bytes of all files that it names.
    pub total_bytes: u64,
    /// Why it was aborted, for the user.
    pub reason: Option<String>,
    /// The accounts at its cut, once it is completed.
    pub accounts: Option<Accounts>,
    /// Whether its epoch is published.
    pub is_published: bool,
}

/// The last checkpoints, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
}

impl History {
    pub(super) fn begin(&mut self, checkpoint: CheckpointId, triggered: Timestamp, is_savepoint: bool) {
        if self.entries.len() == REMEMBERED {
            // The last that was completed stays, however many failed since: it is what a restart would begin with.
            let last = self.entries.iter().rposition(|entry| entry.state == CheckpointState::Completed);
            self.entries.remove(usize::from(last == Some(0)));
        }
        self.entries.push_back(Entry {
            checkpoint,
            state: CheckpointState::Pending,
            triggered,
            ended: None,
            is_savepoint,
            cost: Cost::default(),
            total_bytes: 0,
            reason: None,
            accounts: None,
            is_published: false,
        });
    }

    pub(super) fn add_cost(&mut self, checkpoint: CheckpointId, cost: Cost) {
        if let Some(entry) = self.find(checkpoint) {
            entry.cost = Cost {
                written_bytes: entry.cost.written_bytes.saturating_add(cost.written_bytes),
                pause: entry.cost.pause.max(cost.pause),
                alignment: Duration::max(entry.cost.alignment, cost.alignment),
            };
        }
    }

    pub(super) fn complete(&mut self, checkpoint: CheckpointId, ended: Timestamp, bytes: u64, accounts: Accounts) {
        if let Some(entry) = self.find(checkpoint) {
            entry.state = CheckpointState::Completed;
            entry.ended = Some(ended);
            entry.total_bytes = bytes;
            entry.accounts = Some(accounts);
        }
    }

    pub(super) fn abort(&mut self, checkpoint: CheckpointId, ended: Timestamp, reason: &str) {
        if let Some(entry) = self.find(checkpoint) {
            entry.state = CheckpointState::Aborted;
            entry.ended = Some(ended);
            entry.reason = Some(reason.to_owned());
        }
    }

    pub(super) fn publish(&mut self, epoch: CheckpointId) {
        let completed = |entry: &&mut Entry| entry.state == CheckpointState::Completed;
        for entry in self.entries.iter_mut().filter(completed).filter(|entry| entry.checkpoint <= epoch) {
            entry.is_published = true;
        }
    }

    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    fn find(&mut self, checkpoint: CheckpointId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.checkpoint == checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_completed_checkpoint_outlasts_any_number_of_failures() {
        let mut history = History::default();
        let id = |number: u32| CheckpointId(u64::from(number));
        for number in 0..100 {
            history.begin(id(number), Timestamp(0), false);
            if number == 3 {
                history.complete(id(number), Timestamp(1), 10, Accounts::default());
            } else {
                history.abort(id(number), Timestamp(1), "the store is away");
            }
        }
        let kept: Vec<CheckpointId> = history.entries().map(|entry| entry.checkpoint).collect();
        assert_eq!((kept.len(), kept[0], kept[1], kept[31]), (REMEMBERED, id(3), id(69), id(99)));
        history.begin(id(100), Timestamp(0), false);
        history.complete(id(100), Timestamp(1), 10, Accounts::default());
        history.begin(id(101), Timestamp(0), false);
        assert_eq!(history.entries().next().map(|entry| entry.checkpoint), Some(id(70)), "it is not the last any more");
    }
}
