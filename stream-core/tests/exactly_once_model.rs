//! Exactly once, tried on everything that can happen to a small job: two events, two or three incarnations, every
//! interleaving of their steps. An incarnation that is never given another step has crashed; one that is given a step after
//! a younger one began is a zombie. `choose` and the coordinator are the real ones; the sink is a table and one ledger row.
//!
//! Each rule that the design leans on is taken away once, and the model must find what goes wrong then.

use std::collections::BTreeSet;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{
    Accounts, Attempt, Choice, Coordinator, Cost, Effect, Event, FileRef, Manifest, OperatorSnapshot, SealedEpoch,
    Settings, SplitSnapshot, TaskSnapshot, choose,
};
use stream_core::ids::{
    AttemptNumber, CheckpointId, JobId, Nonce, SplitId, StageIndex, SubtaskId, SubtaskIndex, Token,
};
use stream_core::key_group::{KeyGroupRange, MaxParallelism};
use stream_core::pipeline::Split;
use stream_core::table::RowCounts;
use stream_core::time::Timestamp;
use stream_core::watermark::Watermark;

const MOST_EVENTS: usize = 2;

/// How much of it is tried.
#[derive(Clone, Copy, Debug)]
struct Scope {
    incarnations: usize,
    events: u64,
    /// Whether a write may be reported as failed, and land or not, once in each incarnation.
    may_fail_a_write: bool,
    may_lose_an_answer: bool,
}

const TWO: Scope = Scope { incarnations: 2, events: 2, may_fail_a_write: true, may_lose_an_answer: true };

/// Writes that fail besides would take more time than a test should.
const THREE: Scope = Scope { incarnations: 3, events: 1, may_fail_a_write: false, may_lose_an_answer: true };

/// Everything at once; older checkpoints are removed as early as the rules allow.
const SETTINGS: Settings =
    Settings { interval: Duration::from_millis(1), timeout: Duration::MAX, retention: Duration::ZERO };

/// The rules, each of which can be taken away.
#[derive(Clone, Copy, Debug)]
struct Rules {
    publish_checks_token: bool,
    publish_checks_prev: bool,
    manifest_keeps_rows: bool,
    fence_before_choosing: bool,
    ids_hold_the_token: bool,
}

const ALL: Rules = Rules {
    publish_checks_token: true,
    publish_checks_prev: true,
    manifest_keeps_rows: true,
    fence_before_choosing: true,
    ids_hold_the_token: true,
};

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Violation {
    /// An event is in the table twice.
    Duplicate,
    /// The job has finished and an event is not in the table.
    Loss,
    /// No checkpoint continues the ledger, although nothing was damaged.
    Refused,
    /// The youngest incarnation's publish matches no ledger row.
    Stuck,
    /// A file that is needed was removed.
    Removed,
}

#[derive(Clone, Debug)]
struct World {
    events: u64,
    may_lose_an_answer: bool,
    /// The ledger.
    token: u32,
    epoch: CheckpointId,
    /// How often each event is in the table.
    table: [u8; MOST_EVENTS],
    store: Vec<Manifest>,
    removed: BTreeSet<String>,
    incarnations: Vec<Incarnation>,
}

#[derive(Clone, Debug)]
struct Incarnation {
    phase: Phase,
    token: u32,
    last_epoch: CheckpointId,
    restored_token: u32,
    position: u64,
    /// The committer's rows, by the barrier that they lie before; those behind the last one at the end.
    segments: Vec<(CheckpointId, Vec<u64>)>,
    unsealed: Vec<u64>,
    coordinator: Option<Coordinator>,
    now: Timestamp,
    barrier: Option<Barrier>,
    /// The manifest that is being stored, and whether it landed.
    writing: Option<(Manifest, bool)>,
    /// One whose write was reported as failed, and may land yet.
    late: Option<Manifest>,
    may_fail_a_write: bool,
    /// What the committer has to publish.
    queue: Vec<SealedEpoch>,
    /// A publish was sent, and its answer was lost.
    is_unknown: bool,
    last: Option<CheckpointId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Fence,
    /// Only where the fence comes last: what was chosen.
    FenceLate(Vec<Manifest>),
    Choose,
    Run,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Read,
    Trigger,
    Acknowledge,
    Land,
    LandLate,
    TellStored,
    TellNotStored,
    Publish { is_answer_lost: bool },
    ReadLedger,
}

const STEPS: [Step; 11] = [
    Step::Begin,
    Step::Read,
    Step::Trigger,
    Step::Acknowledge,
    Step::Land,
    Step::LandLate,
    Step::TellStored,
    Step::TellNotStored,
    Step::Publish { is_answer_lost: false },
    Step::Publish { is_answer_lost: true },
    Step::ReadLedger,
];

fn subtask(stage: u32) -> SubtaskId {
    SubtaskId { stage: StageIndex(stage), index: SubtaskIndex(0) }
}

fn rows_file(token: u32, barrier: Barrier, rows: &[u64]) -> FileRef {
    let rows: String = rows.iter().map(u64::to_string).collect();
    FileRef { name: format!("{token}/{}:{rows}", barrier.checkpoint), bytes: 0, checksum: 0 }
}

fn rows_of(epoch: &SealedEpoch) -> Vec<u64> {
    let digits = epoch.files.iter().flat_map(|file| file.name.split(':').nth(1).expect("rows").chars());
    digits.map(|digit| u64::from(digit.to_digit(10).expect("a row"))).collect()
}

impl Incarnation {
    fn new(may_fail_a_write: bool) -> Self {
        Incarnation {
            phase: Phase::Fence,
            token: 0,
            last_epoch: CheckpointId::ROOT,
            restored_token: 0,
            position: 0,
            segments: vec![],
            unsealed: vec![],
            coordinator: None,
            now: Timestamp(0),
            barrier: None,
            writing: None,
            late: None,
            may_fail_a_write,
            queue: vec![],
            is_unknown: false,
            last: None,
        }
    }

    fn tell(&mut self, event: Event, rules: Rules, removed: &mut BTreeSet<String>, store: &mut Vec<Manifest>) {
        let coordinator = self.coordinator.as_mut().expect("it runs");
        let effects = coordinator.on(self.now, event);
        // A zombie that was fenced before it chose may begin with a checkpoint of the younger one: its ids do not grow, and
        // nothing of it is ever published.
        if rules.publish_checks_token && rules.publish_checks_prev && self.restored_token <= self.token {
            coordinator.check().expect("the coordinator's own promises hold");
        }
        for effect in effects {
            match effect {
                Effect::Trigger(barrier) => self.barrier = Some(barrier),
                Effect::Store(mut manifest) => {
                    if !rules.manifest_keeps_rows {
                        manifest.pending.iter_mut().for_each(|epoch| epoch.files.clear());
                    }
                    self.writing = Some((*manifest, false));
                }
                // Of what it was deployed with, a committer is told once more: that every task runs.
                Effect::Complete { checkpoint, .. } if self.queue.iter().any(|it| it.epoch == checkpoint) => {}
                Effect::Complete { checkpoint, prev, accounts, cut } => {
                    let sealed = self.segments.iter().filter(|(at, _)| *at > prev && *at <= checkpoint);
                    let rows: Vec<u64> = sealed.flat_map(|(_, rows)| rows.clone()).collect();
                    let barrier = Barrier { checkpoint, prev, triggered: self.now, is_full: false, is_last: false };
                    // The committer has these in hand: what the manifest forgot is not lost to it.
                    let files = vec![rows_file(self.token, barrier, &rows)];
                    self.queue.push(SealedEpoch {
                        epoch: checkpoint,
                        prev,
                        files,
                        rows: RowCounts::default(),
                        accounts,
                        cut,
                    });
                }
                Effect::Discard { checkpoints, files } => {
                    store.retain(|manifest| !checkpoints.contains(&manifest.checkpoint));
                    removed.extend(files);
                }
                Effect::Drain | Effect::Abort { .. } | Effect::CommitPositions(_) => {}
                // `sim` sweeps.
                Effect::Sweep { .. } | Effect::Answer { .. } => {}
            }
        }
    }

    fn key(&self) -> String {
        let coordinator = self.coordinator.as_ref().map(|it| {
            let unpublished: Vec<_> = it.unpublished().iter().map(|e| (e.epoch.0, e.prev.0, rows_of(e))).collect();
            let manifests: Vec<_> = it.manifests().map(|manifest| manifest.checkpoint.0).collect();
            let is_last = self.barrier.map(|barrier| barrier.is_last);
            let used = it.history().next().map(|entry| entry.checkpoint.0);
            (it.pending(), it.last_completed().0, it.published().0, unpublished, manifests, is_last, used)
        });
        let writing = self.writing.as_ref().map(|(manifest, landed)| (short(manifest), *landed));
        let queue: Vec<_> = self.queue.iter().map(|epoch| (epoch.epoch.0, epoch.prev.0, rows_of(epoch))).collect();
        let listed: Vec<_> = match &self.phase {
            Phase::FenceLate(listed) => listed.iter().map(short).collect(),
            _ => vec![],
        };
        let phase = std::mem::discriminant(&self.phase);
        let committer = (self.position, &self.segments, &self.unsealed, queue, self.is_unknown, self.last);
        let late = self.late.as_ref().map(short);
        format!("{:?}", (phase, listed, self.token, self.last_epoch, committer, writing, late, self.may_fail_a_write))
            + &format!("{coordinator:?}")
    }
}

type Short = (u64, u32, u64, Vec<(u64, u64)>);

fn short(manifest: &Manifest) -> Short {
    let pending = manifest.pending.iter().map(|epoch| (epoch.epoch.0, epoch.prev.0)).collect();
    (manifest.checkpoint.0, manifest.token.0 + manifest.attempt.0 * 100, manifest.splits[0].split.start, pending)
}

impl World {
    fn new(scope: Scope) -> Self {
        let Scope { incarnations, events, may_fail_a_write, may_lose_an_answer } = scope;
        World {
            events,
            may_lose_an_answer,
            token: 0,
            epoch: CheckpointId::ROOT,
            table: [0; MOST_EVENTS],
            store: vec![],
            removed: BTreeSet::new(),
            incarnations: vec![Incarnation::new(may_fail_a_write); incarnations],
        }
    }

    fn key(&self) -> u128 {
        let store: Vec<_> = self.store.iter().map(short).collect();
        let incarnations: Vec<_> = self.incarnations.iter().map(Incarnation::key).collect();
        let text = format!("{:?}", (self.token, self.epoch, self.table, store, &self.removed, incarnations));
        let half = |seed| u128::from(fnv(seed, text.as_bytes()));
        half(0xcbf2_9ce4_8422_2325) << 64 | half(0x1234_5678_9abc_def1)
    }

    /// The world after a step of incarnation `who`, if it can take it.
    fn after(&self, who: usize, step: Step, rules: Rules) -> Option<Result<World, Violation>> {
        let me = &self.incarnations[who];
        let runs = me.phase == Phase::Run;
        let can = match step {
            Step::Begin => {
                !runs && me.phase != Phase::Ended && (who == 0 || self.incarnations[who - 1].phase != Phase::Fence)
            }
            Step::Read => runs && me.position < self.events && me.barrier.is_none(),
            Step::Trigger => {
                let is_idle = me.coordinator.as_ref().is_some_and(|it| it.pending().is_none());
                let is_retry = me.position == self.events && me.last.is_none();
                runs && is_idle && (!me.unsealed.is_empty() || is_retry)
            }
            Step::Acknowledge => runs && me.barrier.is_some(),
            Step::Land => me.writing.as_ref().is_some_and(|(_, landed)| !landed),
            Step::LandLate => me.late.is_some(),
            Step::TellStored => runs && me.writing.as_ref().is_some_and(|(_, landed)| *landed),
            Step::TellNotStored => runs && me.writing.is_some() && me.may_fail_a_write,
            Step::Publish { is_answer_lost } if is_answer_lost && !self.may_lose_an_answer => false,
            Step::Publish { .. } => runs && !me.queue.is_empty() && !me.is_unknown,
            Step::ReadLedger => runs && me.is_unknown,
        };
        can.then(|| self.clone().take(who, step, rules))
    }

    fn take(mut self, who: usize, step: Step, rules: Rules) -> Result<World, Violation> {
        let is_youngest = self.incarnations[who + 1..].iter().all(|younger| younger.phase == Phase::Fence);
        let World { events, token, epoch, table, store, removed, incarnations, .. } = &mut self;
        let me = &mut incarnations[who];
        match step {
            Step::Begin => self.begin(who, rules)?,
            Step::Read => {
                me.unsealed.push(me.position);
                me.position += 1;
                if me.position == *events {
                    me.tell(Event::SourceDrained { subtask: subtask(0) }, rules, removed, store);
                }
            }
            Step::Trigger => {
                me.now = me.now.saturating_add(SETTINGS.interval);
                me.tell(Event::Tick, rules, removed, store);
            }
            Step::Acknowledge => {
                let barrier = me.barrier.take().expect("it can");
                me.segments.push((barrier.checkpoint, std::mem::take(&mut me.unsealed)));
                let since = me.segments.iter().filter(|(at, _)| *at > barrier.prev);
                let rows: Vec<u64> = since.flat_map(|(_, rows)| rows.clone()).collect();
                if barrier.is_last {
                    me.last = Some(barrier.checkpoint);
                }
                for (stage, snapshot) in snapshots(me, *events, barrier, &rows) {
                    let (checkpoint, subtask) = (barrier.checkpoint, subtask(stage));
                    let event = Event::Acknowledged { checkpoint, subtask, snapshot, cost: Cost::default() };
                    me.tell(event, rules, removed, store);
                }
            }
            Step::Land => {
                let (manifest, landed) = me.writing.as_mut().expect("it can");
                *landed = true;
                land(store, manifest.clone());
            }
            Step::LandLate => land(store, me.late.take().expect("it can")),
            Step::TellStored => {
                let (manifest, _) = me.writing.take().expect("it can");
                me.tell(Event::Stored { checkpoint: manifest.checkpoint }, rules, removed, store);
            }
            Step::TellNotStored => {
                let (manifest, landed) = me.writing.take().expect("it can");
                me.may_fail_a_write = false;
                let checkpoint = manifest.checkpoint;
                me.late = (!landed).then_some(manifest);
                me.last = None;
                me.tell(Event::NotStored { checkpoint, reason: "no answer".to_owned() }, rules, removed, store);
            }
            Step::Publish { is_answer_lost } => {
                let sent = me.queue[0].clone();
                if rules.publish_checks_token && *token != me.token {
                    me.phase = Phase::Ended;
                    return Ok(self);
                }
                if rules.publish_checks_prev && *epoch != sent.prev {
                    me.phase = Phase::Ended;
                    return if is_youngest { Err(Violation::Stuck) } else { Ok(self) };
                }
                if sent.files.iter().any(|file| removed.contains(&file.name)) {
                    return Err(Violation::Removed);
                }
                *epoch = sent.epoch;
                for row in rows_of(&sent) {
                    table[row as usize] += 1;
                }
                if table.iter().any(|&times| times > 1) {
                    return Err(Violation::Duplicate);
                }
                me.is_unknown = is_answer_lost;
                if !is_answer_lost {
                    me.published(rules, removed, store);
                }
            }
            Step::ReadLedger => {
                me.is_unknown = false;
                // Another token: fenced. Its own epoch: it was published. Without a check of the token nobody looks.
                if *token == me.token && *epoch == me.queue[0].epoch {
                    me.published(rules, removed, store);
                } else {
                    me.phase = Phase::Ended;
                }
            }
        }
        if self.incarnations[who].phase == Phase::Ended
            && is_youngest
            && self.table[..self.events as usize].contains(&0)
        {
            return Err(Violation::Loss);
        }
        Ok(self)
    }

    fn begin(&mut self, who: usize, rules: Rules) -> Result<(), Violation> {
        let me = &mut self.incarnations[who];
        match (std::mem::replace(&mut me.phase, Phase::Ended), rules.fence_before_choosing) {
            (Phase::Fence, true) => {
                self.token += 1;
                (me.token, me.last_epoch) = (self.token, self.epoch);
                me.phase = Phase::Choose;
            }
            (Phase::Fence, false) => {
                me.last_epoch = self.epoch;
                me.phase = Phase::FenceLate(self.store.clone());
            }
            (Phase::FenceLate(listed), _) => {
                self.token += 1;
                me.token = self.token;
                self.run(who, &listed, rules)?;
            }
            (Phase::Choose, _) => {
                let listed = self.store.clone();
                self.run(who, &listed, rules)?;
            }
            (Phase::Run | Phase::Ended, _) => unreachable!("it has begun"),
        }
        Ok(())
    }

    fn run(&mut self, who: usize, listed: &[Manifest], rules: Rules) -> Result<(), Violation> {
        let World { token, events, store, removed, incarnations, .. } = self;
        let me = &mut incarnations[who];
        let Choice { restored, pending } = match choose(listed.to_vec(), me.last_epoch) {
            Ok(choice) => choice,
            // It was fenced before it chose, and a younger one went on.
            Err(_) if me.token != *token => return Ok(()),
            Err(_) => return Err(Violation::Refused),
        };
        me.phase = Phase::Run;
        me.position = restored.as_ref().map_or(0, |manifest| manifest.splits[0].split.start);
        me.queue.clone_from(&pending);
        me.restored_token = restored.as_ref().map_or(0, |manifest| manifest.attempt.0);
        let restored_sequence = restored.as_ref().map_or(0, |manifest| manifest.checkpoint.sequence());
        let attempt = Attempt {
            job_id: JobId(1),
            attempt: AttemptNumber(me.token),
            token: Token(if rules.ids_hold_the_token { me.token } else { 1 }),
            nonce: Nonce(u128::from(me.token)),
            parallelism: 1,
            max_parallelism: MaxParallelism::new(1).expect("in range"),
            sources: vec![subtask(0)],
            operators: vec![subtask(1)],
            sink: subtask(2),
            last_epoch: me.last_epoch,
            pending,
            base: Accounts::default(),
            splits: vec![],
            stored: listed.to_vec(),
            wall_offset_ms: 0,
            last_sequence: if rules.ids_hold_the_token { 0 } else { restored_sequence },
        };
        me.coordinator = Some(Coordinator::new(SETTINGS, attempt, me.now));
        if me.position == *events {
            me.tell(Event::SourceDrained { subtask: subtask(0) }, rules, removed, store);
        }
        me.tell(Event::Running, rules, removed, store);
        Ok(())
    }
}

impl Incarnation {
    fn published(&mut self, rules: Rules, removed: &mut BTreeSet<String>, store: &mut Vec<Manifest>) {
        let epoch = self.queue.remove(0).epoch;
        self.tell(Event::Published { epoch }, rules, removed, store);
        if self.last == Some(epoch) {
            self.phase = Phase::Ended;
        }
    }
}

fn snapshots(me: &Incarnation, events: u64, barrier: Barrier, rows: &[u64]) -> [(u32, TaskSnapshot); 3] {
    let split = Split { id: SplitId("s".to_owned()), start: me.position, end: Some(events) };
    let splits = vec![SplitSnapshot { is_finished: me.position == events, ..SplitSnapshot::unread(split) }];
    let state = OperatorSnapshot {
        subtask: subtask(1),
        key_groups: KeyGroupRange { start: 0, end: 1 },
        watermark: Watermark::NONE,
        by_clock: Watermark::NONE,
        files: vec![],
    };
    let files = vec![rows_file(me.token, barrier, rows)];
    [
        (0, TaskSnapshot::Source { splits, events: 0, bad: 0 }),
        (1, TaskSnapshot::Operator { state, late: 0, fired: 0, open: 0 }),
        (2, TaskSnapshot::Sink { files, rows: RowCounts::of_result(rows.len() as u64) }),
    ]
}

/// An object that is there already is not written again.
fn land(store: &mut Vec<Manifest>, manifest: Manifest) {
    if store.iter().all(|stored| stored.checkpoint != manifest.checkpoint) {
        store.push(manifest);
        store.sort_by_key(|stored| stored.checkpoint);
    }
}

/// FNV-1a of 64 bits.
fn fnv(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Every state that can be reached, and every violation on the way.
fn explore(scope: Scope, rules: Rules, until: Option<Violation>) -> BTreeSet<Violation> {
    let mut seen = BTreeSet::new();
    let mut violations = BTreeSet::new();
    let mut finished = 0;
    let mut stack = vec![World::new(scope)];
    while let Some(world) = stack.pop() {
        for who in 0..scope.incarnations {
            for step in STEPS {
                match world.after(who, step, rules) {
                    Some(Ok(next)) if seen.insert(next.key()) => {
                        finished += u64::from(next.incarnations.last().expect("some").phase == Phase::Ended);
                        stack.push(next);
                    }
                    Some(Err(violation)) => {
                        violations.insert(violation);
                        if until == Some(violation) {
                            return violations;
                        }
                    }
                    Some(Ok(_)) | None => {}
                }
            }
        }
    }
    assert!(finished > 0, "the last incarnation finishes somewhere");
    println!("{scope:?}: {} states, {finished} of them finished", seen.len());
    violations
}

#[test]
fn two_incarnations_publish_every_event_exactly_once() {
    assert_eq!(explore(TWO, ALL, None), BTreeSet::new());
}

#[test]
fn three_incarnations_publish_every_event_exactly_once() {
    assert_eq!(explore(THREE, ALL, None), BTreeSet::new());
}

#[test]
fn without_token_and_prev_a_zombie_publishes_twice() {
    let rules = Rules { publish_checks_token: false, publish_checks_prev: false, ..ALL };
    assert!(explore(TWO, rules, Some(Violation::Duplicate)).contains(&Violation::Duplicate));
}

#[test]
fn rows_that_the_checkpoint_does_not_keep_are_lost() {
    let rules = Rules { manifest_keeps_rows: false, ..ALL };
    assert!(explore(TWO, rules, Some(Violation::Loss)).contains(&Violation::Loss));
}

#[test]
fn choosing_before_the_fence_gets_stuck_and_without_prev_publishes_twice() {
    let rules = Rules { fence_before_choosing: false, ..ALL };
    assert!(explore(TWO, rules, Some(Violation::Stuck)).contains(&Violation::Stuck));
    let rules = Rules { publish_checks_prev: false, ..rules };
    assert!(explore(TWO, rules, Some(Violation::Duplicate)).contains(&Violation::Duplicate));
}

#[test]
fn an_id_that_is_used_twice_loses_what_the_other_checkpoint_read() {
    let rules = Rules { ids_hold_the_token: false, ..ALL };
    let scope = Scope { incarnations: 3, events: 2, may_fail_a_write: false, may_lose_an_answer: false };
    assert!(explore(scope, rules, Some(Violation::Loss)).contains(&Violation::Loss));
}
