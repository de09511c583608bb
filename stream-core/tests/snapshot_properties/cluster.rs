//! The window subtasks of a job without threads, with what they stored.

use stream_core::event_batch::KeyedEvent;
use stream_core::ids::SubtaskIndex;
use stream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use stream_core::origin::Origin;
use stream_core::session::Added;
use stream_core::snapshot::{KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

use crate::windows::{Row, Windows};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Event {
        key: u8,
        time: i64,
    },
    Watermark(i64),
    Begin(SnapshotKind),
    Continue {
        subtask: usize,
        keys: usize,
    },
    /// Takes every snapshot that was begun to its end, as a barrier that is waited for does.
    Finish,
}

/// What a step did that anybody sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    rows: Vec<Row>,
    late: u64,
}

/// What all subtasks together had when a snapshot was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    windows: Vec<Row>,
    open_events: u64,
    watermark: Watermark,
}

/// A snapshot of all subtasks.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    /// The step that began it.
    pub(crate) step: usize,
    pub(crate) begun_at: State,
    /// What each subtask had, once it was all copied.
    parts: Vec<Option<KeyedSnapshot>>,
}

pub(crate) struct Cluster<W: Windows> {
    config: W::Config,
    subtasks: Vec<W>,
    checkpoints: Vec<Checkpoint>,
    /// Events accepted since it was made.
    accepted: u64,
    /// Open events that it was restored with.
    open_at_start: u64,
}

/// Few, so that a subtask's range can be empty, and so that keys share groups.
fn max_parallelism() -> MaxParallelism {
    MaxParallelism::new(6).expect("in range")
}

impl<W: Windows> Cluster<W> {
    pub(crate) fn new(config: W::Config, parallelism: u32) -> Self {
        let max = max_parallelism();
        let range = |index| KeyGroupRange::of_subtask(max, parallelism, SubtaskIndex(index));
        let subtasks = (0..parallelism).map(|index| W::new(config, range(index), max)).collect();
        Cluster { config, subtasks, checkpoints: Vec::new(), accepted: 0, open_at_start: 0 }
    }

    /// From the stored snapshots of `before` up to and with checkpoint `last`.
    pub(crate) fn restored(before: &Self, last: usize, parallelism: u32) -> Self {
        let mut cluster = Cluster::<W>::new(before.config, parallelism);
        for group in (0..max_parallelism().get()).map(KeyGroup) {
            let old = group.subtask(max_parallelism(), before.subtasks.len() as u32).0 as usize;
            let chain = before.chain(old, last);
            let sections = chain.iter().flat_map(|snapshot| &snapshot.sections);
            let sections: Vec<&Section> = sections.filter(|section| section.group == group).collect();
            let new = group.subtask(max_parallelism(), parallelism).0 as usize;
            cluster.subtasks[new].restore(chain[0].watermark, &sections).expect("own records");
        }
        cluster.open_at_start = cluster.state().open_events;
        cluster
    }

    /// What goes on from checkpoint `last` behind a crash, and stores more.
    pub(crate) fn behind_a_crash(&self, last: usize, is_rescaled: bool) -> Self {
        let old = self.subtasks.len() as u32;
        let parallelism = if is_rescaled { old % 8 + 1 } else { old };
        let mut restored = Self::restored(self, last, parallelism);
        if parallelism == old {
            // The deltas to come build on the files that it was restored from.
            restored.checkpoints = self.checkpoints[..=last].to_vec();
        } else {
            // Its files are not cut as these subtasks are: the first snapshot must be a full one.
            restored.subtasks.iter_mut().for_each(|subtask| subtask.begin_snapshot(SnapshotKind::Full));
            let (step, parts) = (self.checkpoints[last].step, vec![None; parallelism as usize]);
            let begun_at = restored.state();
            restored.checkpoints.push(Checkpoint { step, begun_at, parts });
        }
        restored
    }

    pub(crate) fn state(&self) -> State {
        let mut windows: Vec<Row> = self.subtasks.iter().flat_map(W::state).collect();
        windows.sort();
        let open_events = self.subtasks.iter().map(W::open_events).sum();
        let watermark = self.subtasks.iter().map(W::watermark).max().expect("a subtask");
        State { windows, open_events, watermark }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subtasks.iter().all(|subtask| subtask.state().is_empty())
    }

    pub(crate) fn run(&mut self, first: usize, steps: &[Step]) -> Vec<Outcome> {
        (first..).zip(steps).map(|(number, step)| self.take(number, step)).collect()
    }

    pub(crate) fn finished(&self) -> impl Iterator<Item = (usize, &Checkpoint)> {
        self.checkpoints.iter().enumerate().filter(|(_, checkpoint)| checkpoint.parts.iter().all(Option::is_some))
    }

    pub(crate) fn checkpoint(&self, number: usize) -> &Checkpoint {
        &self.checkpoints[number]
    }

    /// A subtask's snapshots from checkpoint `last` back to a full one, those included whose checkpoint was aborted.
    fn chain(&self, subtask: usize, last: usize) -> Vec<&KeyedSnapshot> {
        let mut chain = Vec::new();
        for checkpoint in self.checkpoints[..=last].iter().rev() {
            chain.extend(&checkpoint.parts[subtask]);
            if chain.last().is_some_and(|snapshot| snapshot.kind == SnapshotKind::Full) {
                break;
            }
        }
        chain
    }

    fn take(&mut self, number: usize, step: &Step) -> Outcome {
        let mut outcome = Outcome::default();
        match *step {
            Step::Event { key, time } => {
                let (key, hash) = W::key(key);
                let event = KeyedEvent { hash, time: EventTime(time), count: 1, key: &key, origin: Origin::default() };
                let group = event.hash.key_group(max_parallelism());
                let owner = group.subtask(max_parallelism(), self.subtasks.len() as u32).0 as usize;
                match self.subtasks[owner].add(event, &mut outcome.rows) {
                    Added::Accepted => self.accepted += 1,
                    Added::Late => outcome.late += 1,
                }
            }
            Step::Watermark(watermark) => {
                for subtask in &mut self.subtasks {
                    subtask.advance(Watermark(watermark), &mut outcome.rows);
                }
                outcome.rows.sort();
            }
            Step::Begin(kind) => {
                let parts = vec![None; self.subtasks.len()];
                self.checkpoints.push(Checkpoint { step: number, begun_at: self.state(), parts });
                self.subtasks.iter_mut().for_each(|subtask| subtask.begin_snapshot(kind));
            }
            Step::Continue { subtask, keys } => self.copy(subtask % self.subtasks.len(), keys),
            Step::Finish => (0..self.subtasks.len()).for_each(|subtask| self.copy(subtask, usize::MAX)),
        }
        let counted: u64 = self.subtasks.iter().map(|subtask| subtask.open_events() + subtask.fired_events()).sum();
        assert_eq!(counted, self.accepted + self.open_at_start, "each accepted event is counted once");
        outcome
    }

    fn copy(&mut self, subtask: usize, keys: usize) {
        if let Some(snapshot) = self.subtasks[subtask].continue_snapshot(keys) {
            assert!(snapshot.sections.is_sorted_by_key(|section| section.group));
            assert!(snapshot.sections.iter().all(|section| section.records > 0));
            let checkpoint = self.checkpoints.last_mut().expect("a snapshot was begun");
            assert!(checkpoint.parts[subtask].replace(snapshot).is_none(), "it is handed out once");
        }
    }
}
