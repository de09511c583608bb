//! Keeps the source subtasks of an attempt in step in event time: each tells how far its slowest split is, all are told how far the
//! slowest of all is. Which split then waits is decided where it is read, by `stream_core::watermark_alignment`.
//!
//! While there is no jobmanager nobody waits for another subtask; a new one learns everything anew.

use std::collections::BTreeMap;

use stream_core::ids::{AttemptNumber, SubtaskId};
use stream_core::pipeline::StageKind;
use stream_core::watermark::Watermark;

use crate::protocol::{Command, TaskRef};
use crate::service::Service;

/// How far the source subtasks of an attempt are.
#[derive(Debug)]
pub(crate) struct Paces {
    attempt: AttemptNumber,
    told: BTreeMap<SubtaskId, Watermark>,
}

impl Service {
    /// A source subtask told how far its slowest split is.
    pub(crate) fn on_pace(&mut self, task: &TaskRef, slowest: Watermark) {
        let Some(record) = self.jobs.get(task.job) else { return };
        let sources = record.job.plan().tasks().iter().filter(|planned| planned.kind == StageKind::Source).count();
        let paces = self.paces.entry(task.job).or_insert_with(|| Paces::new(task.attempt));
        if let Some(slowest) = paces.on_told(task.attempt, task.subtask, slowest, sources) {
            let (job, attempt) = (task.job, task.attempt);
            self.command_all(job, Some(StageKind::Source), &Command::AlignSources { job, attempt, slowest });
        }
    }
}

impl Paces {
    fn new(attempt: AttemptNumber) -> Self {
        Paces { attempt, told: BTreeMap::new() }
    }

    /// The slowest of all, once all of `sources` have told, if that was moved by what one of them tells now.
    fn on_told(
        &mut self,
        attempt: AttemptNumber,
        subtask: SubtaskId,
        slowest: Watermark,
        sources: usize,
    ) -> Option<Watermark> {
        if attempt != self.attempt {
            *self = Paces::new(attempt);
        }
        let before = self.slowest(sources);
        self.told.insert(subtask, slowest);
        self.slowest(sources).filter(|&now| before != Some(now))
    }

    fn slowest(&self, sources: usize) -> Option<Watermark> {
        (self.told.len() == sources).then(|| self.told.values().min().copied()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{StageIndex, SubtaskIndex};

    use super::*;

    #[test]
    fn slowest_is_told_once_all_have_spoken_and_when_it_moves() {
        let subtask = |index| SubtaskId { stage: StageIndex(0), index: SubtaskIndex(index) };
        let mut paces = Paces::new(AttemptNumber(1));
        let mut tell = |attempt, index, at| {
            let slowest = paces.on_told(AttemptNumber(attempt), subtask(index), Watermark(at), 2);
            slowest.map(|slowest| slowest.0)
        };
        assert_eq!(tell(1, 0, 100), None);
        assert_eq!(tell(1, 1, 50), Some(50));
        assert_eq!(tell(1, 0, 200), None, "the other is the slowest still");
        assert_eq!(tell(1, 1, 300), Some(200));
        assert_eq!(tell(2, 0, 10), None, "another attempt begins anew");
        assert_eq!(tell(2, 1, i64::MAX), Some(10));
    }
}
