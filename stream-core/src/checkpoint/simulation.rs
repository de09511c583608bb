//! Random events in random order: whatever happens, the promises of a coordinator hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{SETTINGS, TOKEN, acknowledged, attempt, id, subtask, tasks};
use super::*;
use crate::time::Timestamp;

#[derive(Clone, Debug)]
enum Step {
    /// `back` counts from the newest id, so that old checkpoints are hit too.
    Acknowledge {
        place: usize,
        back: u32,
    },
    AcknowledgeAll,
    Decline,
    Stored {
        back: u32,
    },
    NotStored {
        back: u32,
    },
    Publish,
    OtherToken,
    Drained(u32),
    Request(RequestKind),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        4 => Just(RequestKind::Checkpoint),
        4 => Just(RequestKind::Savepoint),
        1 => Just(RequestKind::Stop),
        1 => Just(RequestKind::Drain),
    ];
    prop_oneof![
        10 => (0_usize..6, 0_u32..3).prop_map(|(place, back)| Step::Acknowledge { place, back }),
        12 => Just(Step::AcknowledgeAll),
        1 => Just(Step::Decline),
        12 => (0_u32..2).prop_map(|back| Step::Stored { back }),
        2 => (0_u32..2).prop_map(|back| Step::NotStored { back }),
        8 => Just(Step::Publish),
        1 => Just(Step::OtherToken),
        1 => (0_u32..2).prop_map(Step::Drained),
        2 => kind.prop_map(Step::Request),
        10 => (0_u64..300).prop_map(Step::Tick),
    ]
}

/// What a coordinator promised, seen from outside.
#[derive(Default)]
struct Watcher {
    newest: u32,
    acknowledged: BTreeMap<CheckpointId, BTreeSet<SubtaskId>>,
    storing: Option<CheckpointId>,
    stored: Option<CheckpointId>,
    aborted: BTreeSet<CheckpointId>,
    to_publish: Vec<CheckpointId>,
    requests: u64,
    answered: BTreeSet<u64>,
}

impl Watcher {
    fn observe(&mut self, coordinator: &Coordinator, effects: &[Effect]) {
        coordinator.check().expect("its own promises hold");
        for effect in effects {
            match effect {
                Effect::Trigger(barrier) => {
                    assert!(barrier.checkpoint > id(self.newest), "ids only grow");
                    assert!(self.storing.is_none(), "one at a time");
                    self.newest = barrier.checkpoint.sequence();
                }
                Effect::Store(manifest) => {
                    let acknowledged = &self.acknowledged[&manifest.checkpoint];
                    assert!(tasks().iter().all(|task| acknowledged.contains(task)), "every task acknowledged");
                    assert!(!self.aborted.contains(&manifest.checkpoint));
                    self.storing = Some(manifest.checkpoint);
                }
                Effect::Complete { checkpoint, .. } => {
                    assert_eq!(self.stored, Some(*checkpoint), "complete only once it is stored");
                    self.storing = None;
                    self.to_publish.push(*checkpoint);
                }
                Effect::Abort { checkpoint, .. } => {
                    assert!(self.aborted.insert(*checkpoint), "given up once");
                    self.storing = None;
                }
                Effect::Discard { checkpoints, files } => {
                    let published = coordinator.published();
                    assert!(checkpoints.iter().all(|discarded| *discarded < published));
                    for manifest in coordinator.manifests() {
                        let states = manifest.operators.iter().flat_map(|operator| &operator.files);
                        let rows = manifest.pending.iter().flat_map(|epoch| &epoch.files);
                        assert!(states.chain(rows).all(|file| !files.contains(&file.name)), "it is named elsewhere");
                    }
                }
                Effect::Answer { number, .. } => assert!(self.answered.insert(*number), "answered once"),
                Effect::Drain | Effect::CommitPositions(_) => {}
            }
        }
    }

    fn events(&mut self, step: &Step, now: &mut Timestamp) -> Vec<Event> {
        let back = |back: u32| id(self.newest.saturating_sub(back));
        let mut acknowledge = |checkpoint: CheckpointId, task: SubtaskId| {
            self.acknowledged.entry(checkpoint).or_default().insert(task);
            acknowledged(checkpoint, task)
        };
        match *step {
            Step::Acknowledge { place, back: n } => {
                // The last place is a task that is not.
                vec![acknowledge(back(n), tasks().get(place).copied().unwrap_or(subtask(1, 9)))]
            }
            Step::AcknowledgeAll => tasks().into_iter().map(|task| acknowledge(back(0), task)).collect(),
            Step::Decline => {
                vec![Event::Declined { checkpoint: back(0), subtask: subtask(1, 0), reason: "full".to_owned() }]
            }
            // The store answers only what it was asked, and may do so twice.
            Step::Stored { back: n } => {
                let checkpoint = back(n);
                self.stored = Some(checkpoint);
                vec![Event::Stored { checkpoint }, Event::Stored { checkpoint }]
            }
            Step::NotStored { back: n } => {
                vec![Event::NotStored { checkpoint: back(n), reason: "away".to_owned() }]
            }
            Step::Publish if self.to_publish.is_empty() => vec![],
            Step::Publish => vec![Event::Published { epoch: self.to_publish.remove(0) }],
            Step::OtherToken => {
                let other = CheckpointId::new(Token(TOKEN.0 - 1), self.newest);
                vec![acknowledged(other, subtask(0, 0)), Event::Stored { checkpoint: other }]
            }
            Step::Drained(index) => vec![Event::SourceDrained { subtask: subtask(0, index) }],
            Step::Request(kind) => {
                self.requests += 1;
                vec![Event::Requested(Request { number: self.requests, kind })]
            }
            Step::Tick(ms) => {
                *now = now.saturating_add(Duration::from_millis(ms));
                vec![Event::Tick]
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_promise_holds_and_every_request_is_answered_once(steps in proptest::collection::vec(step(), 0..120)) {
        let mut coordinator = Coordinator::new(SETTINGS, attempt(), Timestamp(0));
        let mut watcher = Watcher::default();
        let mut now = Timestamp(0);
        prop_assert_eq!(coordinator.on(now, Event::Tick), vec![]);
        let _ = coordinator.on(now, Event::Running);
        // However it went: sources that end, and rounds enough for a last checkpoint.
        let round = [Step::Tick(300), Step::AcknowledgeAll, Step::Stored { back: 0 }, Step::Publish, Step::Publish];
        let drained = [Step::Drained(0), Step::Drained(1)];
        let end = drained.into_iter().chain(std::iter::repeat_n(round, 60).flatten());
        for step in steps.into_iter().chain(end) {
            for event in watcher.events(&step, &mut now) {
                let effects = coordinator.on(now, event);
                watcher.observe(&coordinator, &effects);
            }
        }
        prop_assert!(coordinator.is_ending());
        prop_assert_eq!(coordinator.unanswered().count(), 0);
        prop_assert_eq!(watcher.answered.len() as u64, watcher.requests);
    }
}
