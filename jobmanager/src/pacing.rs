//! Keeps the source subtasks of an attempt in step in event time: each tells how far its slowest split is, and is told how far the
//! slowest of the others is. Which split then waits is decided where it is read, by `stream_core::watermark_alignment`.
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
    /// What each was last told of the others.
    heard: BTreeMap<SubtaskId, Watermark>,
}

impl Service {
    /// A source subtask told how far its slowest split is.
    pub(crate) fn on_pace(&mut self, task: &TaskRef, slowest: Watermark) {
        let Some(record) = self.jobs.get(task.job) else { return };
        let tasks = record.job.plan().tasks().iter();
        let sources = tasks.filter(|planned| planned.kind == StageKind::Source);
        let sources: BTreeMap<_, _> =
            sources.map(|planned| (planned.subtask, planned.slot.taskmanager.clone())).collect();
        let paces = self.paces.entry(task.job).or_insert_with(|| Paces::new(task.attempt));
        for (subtask, slowest) in paces.on_told(task.attempt, task.subtask, slowest, sources.len()) {
            if let Some(taskmanager) = sources.get(&subtask) {
                self.command(taskmanager, Command::AlignSource { task: TaskRef { subtask, ..*task }, slowest });
            }
        }
    }
}

impl Paces {
    fn new(attempt: AttemptNumber) -> Self {
        Paces { attempt, told: BTreeMap::new(), heard: BTreeMap::new() }
    }

    /// Whom what one of them tells now is news to, and how far the slowest of their others is; nobody before all of `sources` have
    /// told. A subtask's own word is never among them: the slowest of all has nobody to wait for.
    fn on_told(
        &mut self,
        attempt: AttemptNumber,
        subtask: SubtaskId,
        slowest: Watermark,
        sources: usize,
    ) -> Vec<(SubtaskId, Watermark)> {
        if attempt != self.attempt {
            *self = Paces::new(attempt);
        }
        self.told.insert(subtask, slowest);
        if self.told.len() < sources {
            return Vec::new();
        }
        let Paces { told, heard, .. } = self;
        let slowest_beside = |one: &SubtaskId| {
            let others = told.iter().filter(|(other, _)| *other != one);
            others.map(|(_, &slowest)| slowest).min().unwrap_or(Watermark::END)
        };
        let words = told.keys().map(|&one| (one, slowest_beside(&one)));
        words.filter(|&(one, word)| heard.insert(one, word) != Some(word)).collect()
    }
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{StageIndex, SubtaskIndex};

    use super::*;

    #[test]
    fn each_hears_of_the_others_once_all_have_spoken_and_when_their_slowest_moves() {
        let subtask = |index| SubtaskId { stage: StageIndex(0), index: SubtaskIndex(index) };
        let mut paces = Paces::new(AttemptNumber(1));
        let mut tell = |attempt, index, at| -> Vec<(u32, i64)> {
            let words = paces.on_told(AttemptNumber(attempt), subtask(index), Watermark(at), 3);
            words.into_iter().map(|(subtask, word)| (subtask.index.0, word.0)).collect()
        };
        assert_eq!(tell(1, 0, 100), []);
        assert_eq!(tell(1, 1, 50), []);
        assert_eq!(tell(1, 2, 70), [(0, 50), (1, 70), (2, 50)]);
        assert_eq!(tell(1, 0, 200), [], "it is nobody's slowest");
        assert_eq!(tell(1, 1, 60), [(0, 60), (2, 60)], "its own word holds it back never");
        assert_eq!(tell(1, 1, i64::MAX), [(0, 70), (2, 200)]);
        assert_eq!(tell(2, 0, 10), [], "another attempt begins anew");
    }
}
