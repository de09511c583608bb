//! A window subtask: the real job's operator, valve, alignment and chain of snapshots.

use std::collections::BTreeMap;

use job_sessionize::open_table;
use job_sessionize::operator::{Form, SessionOperator};
use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Chain, FileRef, OperatorSnapshot, TaskSnapshot};
use stream_core::collector::Collector;
use stream_core::ids::{CheckpointId, SubtaskId, TableIndex};
use stream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use stream_core::operator::{Operator, OperatorCounters};
use stream_core::session::{Config, Limits};
use stream_core::snapshot::{KeyedSnapshot, Section, SnapshotKind};
use stream_core::watermark::{Valve, Watermark};

use super::Context;
use super::inputs::Inputs;
use crate::input::GAP_MS;
use crate::invariants::Invariant;
use crate::jobmanager::JOB;
use crate::mail::{Deployment, Done, Item, Report};
use crate::store::{Object, writer};
use crate::world::{OpenTable, World};

/// Where the options of the run have it.
const OPEN_TABLE: TableIndex = TableIndex(1);

pub(crate) struct Window {
    key_groups: KeyGroupRange,
    operator: SessionOperator,
    collector: Collector,
    valve: Valve,
    inputs: Inputs,
    chain: Chain,
    stage: Stage,
    last_ticket: u64,
    has_ended: bool,
}

enum Stage {
    Idle,
    Copying(Cut),
    Storing(Cut, u64),
}

struct Cut {
    checkpoint: CheckpointId,
    kind: SnapshotKind,
    watermark: Watermark,
    counters: OperatorCounters,
}

impl Window {
    pub(crate) fn new(id: SubtaskId, deployment: &Deployment, world: &mut World) -> Self {
        let planned = deployment.plan.task(id).expect("it is planned");
        let key_groups = planned.key_groups.expect("an operator has key groups");
        let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
        let mut operator = SessionOperator::new(config, Form::Sql, key_groups, MaxParallelism::DEFAULT);
        if world.wiring.open_table != OpenTable::Absent {
            operator = operator.showing_open(open_table::OpenTable::new(OPEN_TABLE, JOB, false));
        }
        let watermark = restore(&mut operator, key_groups, deployment, world).unwrap_or(Watermark::NONE);
        let restored = deployment.restored.as_ref().map(|manifest| &manifest.operators[..]);
        let chain = Chain::restored(restored.unwrap_or_default(), key_groups);
        let inputs = deployment.parallelism as usize;
        Window {
            key_groups,
            operator,
            collector: Collector::new(MaxParallelism::DEFAULT, 1),
            valve: Valve::restored(inputs, watermark, Watermark::NONE),
            inputs: Inputs::new(inputs),
            chain,
            stage: Stage::Idle,
            last_ticket: 0,
            has_ended: false,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.has_ended
    }

    pub(crate) fn on_item(&mut self, input: usize, item: Item, at: &mut Context<'_>) {
        self.inputs.push(input, item);
        self.process(at);
    }

    pub(crate) fn abort(&mut self, checkpoint: CheckpointId, at: &mut Context<'_>) {
        self.inputs.abort(checkpoint);
        self.process(at);
    }

    pub(crate) fn orphan(&mut self, at: &mut Context<'_>) {
        self.inputs.orphan();
        self.process(at);
    }

    fn process(&mut self, at: &mut Context<'_>) {
        while let Some((input, item)) = self.inputs.pop() {
            match item {
                Item::Events(events) => {
                    self.operator.on_events(&events, &mut self.collector).expect("late events are dropped");
                }
                Item::Progress(progress) => {
                    let before = self.valve.watermark();
                    let Some(progress) = self.valve.on_progress(input, progress) else { continue };
                    let watermark = self.valve.watermark();
                    if watermark < before {
                        at.world.violate(Invariant::I12Time, format!("{watermark:?} behind {before:?}"));
                    }
                    if watermark > before {
                        self.operator.on_watermark(watermark, &mut self.collector);
                    }
                    self.send_rows(at);
                    at.send_all(&Item::Progress(progress));
                }
                Item::Barrier(barrier) => {
                    let aligned = self.inputs.on_barrier(input, barrier);
                    self.on_aligned(aligned, at);
                }
                Item::End => {
                    let (aligned, is_last) = self.inputs.on_end(input);
                    self.on_aligned(aligned, at);
                    if is_last && !self.inputs.has_seen_last() {
                        at.failure = Some("ended before the last barrier".to_owned());
                    } else if is_last {
                        self.send_rows(at);
                        at.send_all(&Item::End);
                        self.has_ended = true;
                    }
                }
                Item::Rows(_) => unreachable!("no rows come to a window"),
            }
        }
    }

    fn send_rows(&mut self, at: &mut Context<'_>) {
        if let Some(rows) = self.collector.take_rows(TableIndex::RESULT) {
            at.send_all(&Item::Rows(rows));
        }
    }

    fn on_aligned(&mut self, aligned: Option<Barrier>, at: &mut Context<'_>) {
        let Some(barrier) = aligned else { return };
        self.send_rows(at);
        self.operator.on_barrier(&mut self.collector);
        let changes = self.collector.take_rows(OPEN_TABLE).map(Item::Rows);
        let is_before = at.world.wiring.open_table != OpenTable::BehindBarrier;
        let (before, behind) = if is_before { (changes, None) } else { (None, changes) };
        before.iter().for_each(|changes| at.send_all(changes));
        self.begin(barrier, at);
        at.send_all(&Item::Barrier(barrier));
        behind.iter().for_each(|changes| at.send_all(changes));
    }

    fn begin(&mut self, barrier: Barrier, at: &mut Context<'_>) {
        let mut cut = Cut {
            checkpoint: barrier.checkpoint,
            kind: self.chain.next_kind(barrier.is_full),
            watermark: self.valve.watermark(),
            counters: self.operator.counters(),
        };
        match self.stage {
            Stage::Storing(..) => {
                let reason = "the state before is still being stored".to_owned();
                return at.reports.push(Report::Declined(barrier.checkpoint, reason));
            }
            Stage::Copying(_) => {
                self.chain.lose();
                cut.kind = SnapshotKind::Full;
            }
            Stage::Idle => {}
        }
        self.operator.begin_snapshot(cut.kind);
        self.stage = Stage::Copying(cut);
    }

    pub(crate) fn continue_copying(&mut self, at: &mut Context<'_>) {
        if !matches!(self.stage, Stage::Copying(_)) {
            return;
        }
        if let Some(snapshot) = self.operator.continue_snapshot(2) {
            self.store(snapshot, at);
        }
    }

    fn store(&mut self, snapshot: KeyedSnapshot, at: &mut Context<'_>) {
        let Stage::Copying(mut cut) = std::mem::replace(&mut self.stage, Stage::Idle) else { return };
        cut.kind = snapshot.kind;
        if snapshot.sections.is_empty() {
            self.chain.extend(cut.kind, None);
            return self.acknowledge(&cut, at);
        }
        self.last_ticket += 1;
        let (ticket, attempt, subtask) = (self.last_ticket, at.attempt, at.subtask);
        let writer = writer(at.deployment.token, at.deployment.nonce);
        let name = format!("state/{writer}/{}-{}", cut.checkpoint, subtask.index);
        let bytes = snapshot.sections.iter().map(|section| section.bytes.len() as u64).sum();
        let file = FileRef { name: name.clone(), bytes, checksum: 0 };
        let answer = Box::new(move |result: Result<(), String>| {
            Done::StateStored(attempt, subtask, ticket, result.map(|()| file))
        });
        at.world.put(at.pid, name, Object::State(snapshot), answer);
        self.stage = Stage::Storing(cut, ticket);
    }

    pub(crate) fn on_stored(&mut self, ticket: u64, result: Result<FileRef, String>, at: &mut Context<'_>) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Storing(cut, expected) if expected == ticket => match result {
                Ok(file) => {
                    self.chain.extend(cut.kind, Some(file));
                    self.acknowledge(&cut, at);
                }
                Err(reason) => {
                    self.chain.lose();
                    at.reports.push(Report::Declined(cut.checkpoint, reason));
                }
            },
            other => self.stage = other,
        }
    }

    fn acknowledge(&self, cut: &Cut, at: &mut Context<'_>) {
        let state = OperatorSnapshot {
            subtask: at.subtask,
            key_groups: self.key_groups,
            watermark: cut.watermark,
            by_clock: Watermark::NONE,
            files: self.chain.files().to_vec(),
        };
        let OperatorCounters { late, fired_events: fired, open_events: open, .. } = cut.counters;
        at.reports.push(Report::Acknowledged(cut.checkpoint, TaskSnapshot::Operator { state, late, fired, open }));
    }
}

/// As `taskmanager::snapshotting` restores.
fn restore(
    operator: &mut SessionOperator,
    key_groups: KeyGroupRange,
    deployment: &Deployment,
    world: &mut World,
) -> Option<Watermark> {
    let manifest = deployment.restored.as_ref()?;
    let watermark = manifest.operators.iter().map(|state| state.watermark).min()?;
    let is_mine = |section: &&Section| (key_groups.start..key_groups.end).contains(&section.group.0);
    let mut groups = BTreeMap::<KeyGroup, Vec<&Section>>::new();
    for file in manifest.operators.iter().flat_map(|state| state.files.iter().rev()) {
        let Some(Object::State(snapshot)) = world.store.read(&file.name) else { continue };
        for section in snapshot.sections.iter().filter(is_mine) {
            groups.entry(section.group).or_default().push(section);
        }
    }
    operator.restore(watermark, &[]).expect("nothing is there to be wrong");
    for sections in groups.values() {
        operator.restore(watermark, sections).expect("our own records");
    }
    if deployment.parallelism == 1 && operator.counters().open_events != manifest.accounts.open {
        let (open, expected) = (operator.counters().open_events, manifest.accounts.open);
        let what = format!("{open} open events restored from {}, which has {expected}", manifest.checkpoint);
        world.violate(Invariant::I10Restore, what);
    }
    Some(watermark)
}
