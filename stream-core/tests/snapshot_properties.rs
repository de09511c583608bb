//! Snapshots against the state that they were begun at (invariant I10), and a restored run against the undisturbed one.
//!
//! Several subtasks take random events and watermarks. At random points each begins a snapshot, full or delta, and copies it
//! in slices between later events; some are given up. What is restored from any finished one and those that it builds on, at
//! another parallelism, must be the state as it was at the beginning, and must go on as the undisturbed run did.

use proptest::prelude::*;
use stream_core::event_batch::KeyedEvent;
use stream_core::ids::SubtaskIndex;
use stream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Added, Config, Fired, Windows};
use stream_core::snapshot::{KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

type Row = (Vec<u8>, i64, i64, u64);

#[derive(Clone, Debug)]
enum Step {
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
struct Outcome {
    rows: Vec<Row>,
    late: u64,
}

/// What all subtasks together had when a snapshot was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    windows: Vec<Row>,
    open_events: u64,
    watermark: Watermark,
}

/// A snapshot of all subtasks.
#[derive(Clone, Debug)]
struct Checkpoint {
    /// The step that began it.
    step: usize,
    begun_at: State,
    /// What each subtask had, once it was all copied.
    parts: Vec<Option<KeyedSnapshot>>,
}

/// The window subtasks of a job, with what they stored.
struct Cluster {
    config: Config,
    subtasks: Vec<Windows>,
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

fn owned(fired: Fired<'_>) -> Row {
    (fired.key.to_vec(), fired.start.0, fired.end.0, fired.count)
}

impl Cluster {
    fn new(config: Config, parallelism: u32) -> Self {
        let max = max_parallelism();
        let range = |index| KeyGroupRange::of_subtask(max, parallelism, SubtaskIndex(index));
        let subtasks = (0..parallelism).map(|index| Windows::new(config, range(index), max)).collect();
        Cluster { config, subtasks, checkpoints: Vec::new(), accepted: 0, open_at_start: 0 }
    }

    /// From the stored snapshots of `before` up to and with checkpoint `last`.
    fn restored(before: &Cluster, last: usize, parallelism: u32) -> Self {
        let mut cluster = Cluster::new(before.config, parallelism);
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

    fn state(&self) -> State {
        let mut windows: Vec<Row> = self.subtasks.iter().flat_map(Windows::iter).map(owned).collect();
        windows.sort();
        let open_events = self.subtasks.iter().map(Windows::events).sum();
        let watermark = self.subtasks.iter().map(Windows::watermark).max().expect("a subtask");
        State { windows, open_events, watermark }
    }

    fn take(&mut self, number: usize, step: &Step) -> Outcome {
        let mut outcome = Outcome::default();
        match *step {
            Step::Event { key, time } => {
                let key = &[key][..];
                let event =
                    KeyedEvent { hash: hash_key(key), time: EventTime(time), count: 1, key, origin: Origin::default() };
                let group = event.hash.key_group(max_parallelism());
                let owner = group.subtask(max_parallelism(), self.subtasks.len() as u32).0 as usize;
                match self.subtasks[owner].add(event, |fired| outcome.rows.push(owned(fired))) {
                    Added::Accepted => self.accepted += 1,
                    Added::Late => outcome.late += 1,
                }
            }
            Step::Watermark(watermark) => {
                for subtask in &mut self.subtasks {
                    subtask.advance(Watermark(watermark), |fired| outcome.rows.push(owned(fired)));
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
        let counted: u64 = self.subtasks.iter().map(|subtask| subtask.events() + subtask.fired_events()).sum();
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

    fn run(&mut self, first: usize, steps: &[Step]) -> Vec<Outcome> {
        (first..).zip(steps).map(|(number, step)| self.take(number, step)).collect()
    }

    fn finished(&self) -> impl Iterator<Item = (usize, &Checkpoint)> {
        self.checkpoints.iter().enumerate().filter(|(_, checkpoint)| checkpoint.parts.iter().all(Option::is_some))
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_u8..8, -50_i64..350).prop_map(|(key, time)| Step::Event { key, time }),
        3 => (-60_i64..360).prop_map(Step::Watermark),
        1 => Just(Step::Begin(SnapshotKind::Full)),
        2 => Just(Step::Begin(SnapshotKind::Delta)),
        8 => (0_usize..8, 0_usize..4).prop_map(|(subtask, keys)| Step::Continue { subtask, keys }),
        2 => Just(Step::Finish),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let lateness = prop_oneof![Just(0_i64), 0_i64..150];
    (1_i64..40, lateness).prop_map(|(gap_ms, allowed_lateness_ms)| Config { gap_ms, allowed_lateness_ms })
}

/// Random steps; the last ones finish what was begun and close all windows.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..150).prop_map(|mut steps| {
        steps.extend([Step::Finish, Step::Watermark(i64::MAX)]);
        steps
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_restored_is_the_state_at_the_barrier_and_goes_on_as_if_nothing_had_happened(
        steps in steps(),
        config in config(),
        parallelism in 1_u32..=8,
        new_parallelism in 1_u32..=8,
    ) {
        let mut undisturbed = Cluster::new(config, parallelism);
        let outcomes = undisturbed.run(0, &steps);
        for (number, checkpoint) in undisturbed.finished() {
            let mut restored = Cluster::restored(&undisturbed, number, new_parallelism);
            prop_assert_eq!(&restored.state(), &checkpoint.begun_at);
            let rest = checkpoint.step + 1;
            prop_assert_eq!(restored.run(rest, &without_snapshots(&steps[rest..])), &outcomes[rest..]);
            prop_assert!(restored.subtasks.iter().all(Windows::is_empty));
        }
    }

    #[test]
    fn run_that_crashes_again_and_again_gives_what_the_undisturbed_one_gives(
        steps in steps(),
        config in config(),
        parallelism in 1_u32..=8,
        crashes in prop::collection::vec((1_usize..60, any::<bool>()), 1..6),
    ) {
        let expected = Cluster::new(config, parallelism).run(0, &steps);
        let mut cluster = Cluster::new(config, parallelism);
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (run_steps, is_rescaled) in crashes {
            let end = (outcomes.len() + run_steps).min(steps.len());
            let more = cluster.run(outcomes.len(), &steps[outcomes.len()..end]);
            outcomes.extend(more);
            let last = cluster.finished().map(|(number, checkpoint)| (number, checkpoint.step)).last();
            let Some((number, begun)) = last else { continue }; // Nothing to go back to: it does not crash after all.
            outcomes.truncate(begun + 1);
            let old = cluster.subtasks.len() as u32;
            let parallelism = if is_rescaled { old % 8 + 1 } else { old };
            let mut restored = Cluster::restored(&cluster, number, parallelism);
            prop_assert_eq!(&restored.state(), &cluster.checkpoints[number].begun_at);
            if parallelism == old {
                // The deltas to come build on the files that it was restored from.
                restored.checkpoints = cluster.checkpoints[..=number].to_vec();
            } else {
                // Its files are not cut as these subtasks are: the first snapshot must be a full one.
                restored.subtasks.iter_mut().for_each(|subtask| subtask.begin_snapshot(SnapshotKind::Full));
                let parts = vec![None; parallelism as usize];
                let begun_at = restored.state();
                restored.checkpoints.push(Checkpoint { step: begun, begun_at, parts });
            }
            cluster = restored;
        }
        let more = cluster.run(outcomes.len(), &steps[outcomes.len()..]);
        outcomes.extend(more);
        prop_assert_eq!(outcomes, expected);
    }
}

/// The steps with the snapshots turned into nothing, so that they keep their places.
fn without_snapshots(steps: &[Step]) -> Vec<Step> {
    let keep = |step: &Step| match step {
        Step::Event { .. } | Step::Watermark(_) => step.clone(),
        Step::Begin(_) | Step::Continue { .. } | Step::Finish => Step::Continue { subtask: 0, keys: 0 },
    };
    steps.iter().map(keep).collect()
}
