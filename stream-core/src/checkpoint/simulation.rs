//! Random events in random order: whatever happens, the promises of a coordinator hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::testing::{attempt, operator_ack, settings, sink_ack, source_ack, subtask};
use super::*;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A task, of a recent checkpoint counted back from the newest.
    Acknowledge(u32, u32),
    AcknowledgeAll,
    Decline(u32),
    Stored(u32),
    NotStored(u32),
    Publish,
    Drained(u32),
    Request(RequestKind),
    Tick(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => Just(RequestKind::Checkpoint),
        3 => Just(RequestKind::Savepoint),
        1 => Just(RequestKind::Stop),
        1 => Just(RequestKind::Drain),
    ];
    prop_oneof![
        6 => (0_u32..5, 0_u32..2).prop_map(|(task, back)| Step::Acknowledge(task, back)),
        6 => Just(Step::AcknowledgeAll),
        1 => (0_u32..2).prop_map(Step::Decline),
        6 => (0_u32..2).prop_map(Step::Stored),
        1 => (0_u32..2).prop_map(Step::NotStored),
        4 => Just(Step::Publish),
        1 => (0_u32..2).prop_map(Step::Drained),
        1 => kind.prop_map(Step::Request),
        8 => prop_oneof![8 => 0_i64..2000, 1 => Just(70_000), 1 => Just(700_000)].prop_map(Step::Tick),
    ]
}

/// What a coordinator promised, seen from outside.
#[derive(Default)]
struct Watcher {
    triggered: Vec<CheckpointId>,
    acknowledged: BTreeMap<CheckpointId, BTreeSet<u32>>,
    to_store: BTreeMap<CheckpointId, Manifest>,
    told_stored: BTreeSet<CheckpointId>,
    completed: Vec<Manifest>,
    aborted: BTreeSet<CheckpointId>,
    published: CheckpointId,
    discarded: BTreeSet<CheckpointId>,
    waiting: BTreeSet<u64>,
    has_swept: bool,
}

impl Watcher {
    fn recent(&self, back: u32) -> Option<CheckpointId> {
        self.triggered.iter().rev().nth(back as usize).copied()
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Trigger(barrier) => {
                    assert!(self.triggered.last().is_none_or(|last| *last < barrier.checkpoint), "ids only grow");
                    let ended = self.completed.len() + self.aborted.len();
                    assert_eq!(ended, self.triggered.len(), "one at a time");
                    let prev = self.completed.last().map_or(CheckpointId::ROOT, |manifest| manifest.checkpoint);
                    assert_eq!(barrier.prev, prev);
                    self.triggered.push(barrier.checkpoint);
                }
                Effect::Store(manifest) => {
                    assert_eq!(self.acknowledged[&manifest.checkpoint].len(), 5, "every task has acknowledged");
                    let mut at = self.published;
                    for epoch in &manifest.pending {
                        assert_eq!(epoch.prev, at, "a chain from the published epoch on: {:?}", manifest.pending);
                        at = epoch.epoch;
                    }
                    assert_eq!(at, manifest.checkpoint);
                    self.to_store.insert(manifest.checkpoint, (**manifest).clone());
                }
                Effect::Complete { checkpoint, .. } => {
                    assert!(self.told_stored.contains(checkpoint) && !self.aborted.contains(checkpoint));
                    self.completed.push(self.to_store[checkpoint].clone());
                }
                Effect::Abort { checkpoint, .. } => {
                    assert!(self.aborted.insert(*checkpoint), "once");
                    assert!(self.completed.iter().all(|manifest| manifest.checkpoint != *checkpoint));
                }
                Effect::Discard { checkpoints, files } => self.observe_discard(checkpoints, files),
                Effect::Sweep { below } => {
                    assert_eq!(self.published.token(), *below, "behind an epoch of its own");
                    assert!(!std::mem::replace(&mut self.has_swept, true), "once");
                }
                Effect::Answer { number, .. } => assert!(self.waiting.remove(number), "answered once"),
                Effect::Drain | Effect::CommitPositions(_) => {}
            }
        }
    }

    fn observe_discard(&mut self, checkpoints: &[CheckpointId], files: &[String]) {
        self.discarded.extend(checkpoints);
        let kept = self.completed.iter().filter(|manifest| !self.discarded.contains(&manifest.checkpoint));
        for manifest in kept {
            assert!(manifest.files().all(|name| files.iter().all(|gone| gone != name)), "a file that is needed");
        }
        for manifest in self.completed.iter().filter(|manifest| checkpoints.contains(&manifest.checkpoint)) {
            assert!(!manifest.is_savepoint, "a savepoint is the user's");
            assert!(manifest.checkpoint < self.published, "the newest published one stays");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_the_promises_hold(steps in prop::collection::vec(step(), 0..120)) {
        let mut now = Timestamp(0);
        let mut coordinator = Coordinator::new(settings(), attempt(), now);
        let mut watcher = Watcher::default();
        let mut number = 0;
        coordinator.on(now, Event::Running);
        for step in steps {
            let mut events = Vec::new();
            let mut acknowledge = |watcher: &mut Watcher, checkpoint, task: u32| {
                let (subtask, snapshot) = match task {
                    0 | 1 => (subtask(0, task), source_ack(task)),
                    2 | 3 => (subtask(1, task - 2), operator_ack(task - 2)),
                    _ => (subtask(2, 0), sink_ack()),
                };
                watcher.acknowledged.entry(checkpoint).or_default().insert(task);
                events.push(Event::Acknowledged { checkpoint, subtask, snapshot, cost: Cost::default() });
            };
            match step {
                Step::Acknowledge(task, back) => {
                    if let Some(checkpoint) = watcher.recent(back) {
                        acknowledge(&mut watcher, checkpoint, task);
                    }
                }
                Step::AcknowledgeAll => {
                    if let Some(checkpoint) = watcher.recent(0) {
                        (0..5).for_each(|task| acknowledge(&mut watcher, checkpoint, task));
                    }
                }
                Step::Decline(back) => {
                    let reason = "full".to_owned();
                    let decline = |checkpoint| Event::Declined { checkpoint, subtask: subtask(1, 0), reason };
                    events.extend(watcher.recent(back).map(decline));
                }
                Step::Stored(back) => {
                    let stored = watcher.recent(back).filter(|checkpoint| watcher.to_store.contains_key(checkpoint));
                    watcher.told_stored.extend(stored);
                    events.extend(stored.map(|checkpoint| Event::Stored { checkpoint }));
                }
                Step::NotStored(back) => {
                    let stored = watcher.recent(back).filter(|checkpoint| watcher.to_store.contains_key(checkpoint));
                    let reason = "no answer".to_owned();
                    events.extend(stored.map(|checkpoint| Event::NotStored { checkpoint, reason }));
                }
                Step::Publish => {
                    let next = watcher.completed.iter().find(|manifest| manifest.checkpoint > watcher.published);
                    if let Some(epoch) = next.map(|manifest| manifest.checkpoint) {
                        watcher.published = epoch;
                        events.push(Event::Published { epoch });
                    }
                }
                Step::Drained(index) => events.push(Event::SourceDrained { subtask: subtask(0, index) }),
                Step::Request(kind) => {
                    number += 1;
                    watcher.waiting.insert(number);
                    events.push(Event::Requested(Request { number, kind }));
                }
                Step::Tick(ms) => {
                    now.0 += ms;
                    events.push(Event::Tick);
                }
            }
            for event in events {
                let effects = coordinator.on(now, event);
                watcher.observe(&effects);
            }
        }
        let effects = coordinator.on(now, Event::Ended { reason: "over".to_owned() });
        watcher.observe(&effects);
        prop_assert!(watcher.waiting.is_empty(), "nobody waits for ever: {:?}", watcher.waiting);
    }
}
