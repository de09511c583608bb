//! The jobmanager: the real job, coordinator and choice, in the order of `jobmanager`'s preparation: fence, list, choose,
//! record, deploy.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use job_sessionize::options::Options;
use job_sessionize::pipeline::{columns, pipeline};
use stream_core::checkpoint::{self, Choice, Coordinator, LedgerEntry, Manifest, choose, is_token_new};
use stream_core::ids::{AttemptNumber, CheckpointId, JobId, Nonce, SubtaskId, TaskManagerId, Token};
use stream_core::job::{
    self, Effect, Event, ExponentialDelay, History, Job, JobState, RestartStrategy, TaskFailure, TaskState, Waiting,
};
use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::{Pipeline, SinkSpec, SourceSpec, StageKind, StartPosition};
use stream_core::plan::{Plan, slots_needed};
use stream_core::slot::SlotPool;
use stream_core::time::Timestamp;

use crate::faults::Fault;
use crate::invariants::Invariant;
use crate::mail::{Command, Deployment, Done, Mail, Report};
use crate::store::{Object, leader_name, manifest_name};
use crate::world;
use crate::world::{Request, World};

pub(crate) const JOB: JobId = JobId(7);
const TICK_MS: i64 = 100;
const SILENT_MS: i64 = 2000;
const SETTINGS: checkpoint::Settings = checkpoint::Settings {
    interval: Duration::from_millis(700),
    timeout: Duration::from_secs(3),
    retention: Duration::from_secs(6),
};

pub(crate) struct JobManager {
    pid: u32,
    leader: u32,
    records: u32,
    job: Job,
    is_submitted: bool,
    slots: SlotPool,
    taskmanagers: BTreeMap<String, Member>,
    pipeline: Pipeline,
    nonce: Nonce,
    /// Only where the fence comes last: what was listed before it.
    listed: Option<Vec<Manifest>>,
    ready: Option<(Arc<Deployment>, CheckpointId, Vec<Manifest>)>,
    coordinator: Option<Coordinator>,
    is_running: bool,
}

struct Member {
    pid: u32,
    link: u64,
    heard: i64,
}

fn make_pipeline(parallelism: u32) -> Pipeline {
    let source = SourceSpec {
        uri: "kafka://broker/topic".to_owned(),
        from: StartPosition::Earliest,
        is_bounded: true,
        watermark_delay: Duration::from_millis(crate::input::DELAY_MS.unsigned_abs()),
        idle_timeout: Duration::ZERO,
        close_when_idle: Duration::ZERO,
        max_future: Duration::ZERO,
        max_drift: Duration::ZERO,
        properties: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    let sink = SinkSpec {
        uri: "postgres://database".to_owned(),
        table: "sessions".to_owned(),
        side_tables: Vec::new(),
        columns: columns(),
        properties: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    let parallelism = NonZeroU32::new(parallelism).expect("at least one");
    pipeline(Options::default(), parallelism, MaxParallelism::DEFAULT, source, sink)
}

impl JobManager {
    pub(crate) fn start(pid: u32, world: &mut World) -> Self {
        let leader = world.store.leader() + 1;
        world.store.create(&leader_name(leader), Object::Leader).expect("nobody else has this number");
        let delay = ExponentialDelay { max: Duration::from_secs(1), ..ExponentialDelay::default() };
        let settings = job::Settings {
            deploy_timeout: Duration::from_secs(3),
            cancel_timeout: Duration::from_secs(2),
            restart: RestartStrategy::ExponentialDelay(delay),
        };
        let last = world.store.last_attempt();
        let history = History { restarts: 0, last_failure: vec![] };
        let parallelism = u32::try_from(world.random.between(1, 3)).expect("small");
        JobManager {
            pid,
            leader,
            records: 0,
            job: Job::recovered(settings, world.random.bits(), history, last),
            is_submitted: false,
            slots: SlotPool::default(),
            taskmanagers: BTreeMap::new(),
            pipeline: make_pipeline(parallelism),
            nonce: Nonce(0),
            listed: None,
            ready: None,
            coordinator: None,
            is_running: false,
        }
    }

    pub(crate) fn on(&mut self, mail: Mail, world: &mut World) -> bool {
        match mail {
            Mail::Tick => self.on_tick(world),
            Mail::LinkLost(link) => {
                let lost = self.taskmanagers.iter().find(|(_, member)| member.link == link);
                if let Some(name) = lost.map(|(name, _)| name.clone()) {
                    self.lose(&name, world);
                }
            }
            Mail::Register { link, from, name, running } => self.on_register(link, from, name, running, world),
            Mail::Heartbeat { link } => {
                if let Some(member) = self.taskmanagers.values_mut().find(|member| member.link == link) {
                    member.heard = world.now;
                }
            }
            Mail::Report { link, attempt, subtask, report } => {
                if self.taskmanagers.values().any(|member| member.link == link) {
                    self.on_report(attempt, subtask, report, world);
                }
            }
            Mail::Done(done) => return self.on_done(done, world),
            Mail::Command { .. } | Mail::Data { .. } | Mail::ExchangeLost(_) => unreachable!("for a taskmanager"),
        }
        true
    }

    pub(crate) fn rescale(&mut self, world: &mut World) -> bool {
        let can = self.job.state() == JobState::Running;
        if can {
            self.pipeline = make_pipeline(u32::try_from(world.random.between(1, 3)).expect("small"));
            self.apply(Event::RestartRequested, world);
        }
        can
    }

    fn on_tick(&mut self, world: &mut World) {
        world.after(TICK_MS, world::Event::To(self.pid, Mail::Tick));
        if !std::mem::replace(&mut self.is_submitted, true) {
            self.apply(Event::Submitted, world);
        }
        let silent = self.taskmanagers.iter().filter(|(_, member)| world.now - member.heard > SILENT_MS);
        for name in silent.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.lose(&name, world);
        }
        self.apply(Event::Tick, world);
        self.coordinate(checkpoint::Event::Tick, world);
    }

    fn on_register(&mut self, link: u64, from: u32, name: String, running: Vec<AttemptNumber>, world: &mut World) {
        self.lose(&name, world);
        self.slots.register(TaskManagerId(name.clone()), 3);
        for attempt in running {
            world.send((link, u64::from(from)), from, Mail::Command { link, attempt, command: Command::Cancel });
        }
        self.taskmanagers.insert(name, Member { pid: from, link, heard: world.now });
        if self.job.waiting() == Some(Waiting::Slots) {
            self.apply(Event::SlotsChanged, world);
        }
    }

    fn lose(&mut self, name: &str, world: &mut World) {
        let Some(member) = self.taskmanagers.remove(name) else { return };
        world.break_link(member.link);
        let taskmanager = TaskManagerId(name.to_owned());
        self.slots.remove(&taskmanager);
        self.apply(Event::TaskManagerLost { taskmanager, reason: "lost".to_owned() }, world);
    }

    fn apply(&mut self, event: Event, world: &mut World) {
        for effect in self.job.on(Timestamp(world.now), event) {
            self.carry_out(effect, world);
        }
    }

    fn carry_out(&mut self, effect: Effect, world: &mut World) {
        match effect {
            Effect::Prepare { attempt } => {
                self.nonce = Nonce(u128::from(world.random.bits()));
                let manifests = world.store.manifests();
                let highest = manifests.iter().map(|manifest| manifest.token).max().unwrap_or_default();
                self.listed = (!world.wiring.fences_first).then_some(manifests);
                let answer = Box::new(move |result| Done::Fenced(attempt, result));
                world.ask_postgres(self.pid, Request::Fence(highest, self.nonce, answer));
            }
            Effect::Deploy { attempt, taskmanager } => {
                let Some((deployment, ..)) = &self.ready else { return };
                let command = Command::Deploy(Arc::clone(deployment));
                self.command(&taskmanager.0, attempt, command, world);
                self.apply(Event::Deployed { attempt, taskmanager }, world);
            }
            Effect::CancelTasks { attempt, taskmanager } => {
                self.command(&taskmanager.0, attempt, Command::Cancel, world);
            }
            Effect::Disconnect { taskmanager } => self.lose(&taskmanager.0, world),
            Effect::ReleaseSlots => {
                self.coordinate(checkpoint::Event::Ended { reason: "over".to_owned() }, world);
                self.coordinator = None;
                self.slots.release(JOB);
            }
            Effect::JobEnded { state, causes } => match state {
                JobState::Finished => world.is_finished = true,
                _ => world.violate(Invariant::L2Progress, format!("the job is {state}: {causes:?}")),
            },
            Effect::AssignSplits { .. } => unreachable!("no splits are discovered"),
        }
    }

    fn on_done(&mut self, done: Done, world: &mut World) -> bool {
        match done {
            Done::Fenced(attempt, result) => self.on_fenced(attempt, result, world),
            Done::RecordStored(attempt, result) => {
                if world.store.leader() > self.leader {
                    world.trace.add(world.now, &format!("{}: steps down", self.pid));
                    return false;
                }
                match result {
                    Ok(()) => self.begin(attempt, world),
                    Err(cause) => self.not_prepared(attempt, cause, false, world),
                }
            }
            Done::ManifestStored(attempt, checkpoint, result) => {
                if attempt == self.job.attempt() {
                    let is_progress = result.is_ok()
                        && self.coordinator.as_ref().is_some_and(|coordinator| coordinator.is_progress(checkpoint));
                    let event = match result {
                        Ok(()) => checkpoint::Event::Stored { checkpoint },
                        Err(reason) => checkpoint::Event::NotStored { checkpoint, reason },
                    };
                    if is_progress {
                        self.apply(Event::Progressed { attempt }, world);
                    }
                    self.coordinate(event, world);
                }
            }
            Done::Orphans(attempt, names) => {
                if attempt == self.job.attempt() && self.coordinator.is_some() && !names.is_empty() {
                    world.faults.add(Fault::Orphans);
                    let delay = world.sweeps.between(1, 50);
                    world.after(delay, world::Event::Delete(self.leader, names));
                }
            }
            _ => unreachable!("for a taskmanager"),
        }
        true
    }

    fn not_prepared(&mut self, attempt: AttemptNumber, cause: String, is_final: bool, world: &mut World) {
        self.apply(Event::NotPrepared { attempt, causes: vec![cause], is_final }, world);
    }

    fn on_fenced(&mut self, attempt: AttemptNumber, result: Result<LedgerEntry, String>, world: &mut World) {
        if attempt != self.job.attempt() || self.job.waiting() != Some(Waiting::Preparation) {
            return;
        }
        let anchor = match result {
            Ok(anchor) => anchor,
            Err(cause) => return self.not_prepared(attempt, cause, false, world),
        };
        let stored = self.listed.take().unwrap_or_else(|| world.store.manifests());
        if world.wiring.ids_hold_token && !is_token_new(anchor.token, &stored) {
            return self.not_prepared(attempt, "the token was given before".to_owned(), false, world);
        }
        let Choice { restored, pending } = match choose(stored.clone(), anchor.last_epoch) {
            Ok(choice) => choice,
            Err(refusal) => return self.not_prepared(attempt, refusal.to_string(), true, world),
        };
        let Ok(slots) = self.slots.allocate(JOB, slots_needed(&self.pipeline)) else {
            return self.apply(Event::NoSlots { attempt }, world);
        };
        let splits = match &restored {
            Some(manifest) => manifest.splits.iter().map(|split| split.split.clone()).collect(),
            None => world.input.splits(),
        };
        let plan = Plan::new(&self.pipeline, splits, &slots);
        check_ownership(&plan, world);
        let locations = self.taskmanagers.iter().map(|(name, member)| (name.clone(), member.pid)).collect();
        let deployment = Deployment {
            token: anchor.token,
            nonce: self.nonce,
            restored,
            pending,
            plan,
            parallelism: self.pipeline.parallelism.get(),
            locations,
        };
        self.ready = Some((Arc::new(deployment), anchor.last_epoch, stored));
        self.records += 1;
        let name = format!("jobs/{:08}-{:08}", self.leader, self.records);
        let answer = Box::new(move |result| Done::RecordStored(attempt, result));
        world.put(self.pid, name, Object::Job(attempt), answer);
    }

    fn begin(&mut self, attempt: AttemptNumber, world: &mut World) {
        if attempt != self.job.attempt() || self.job.waiting() != Some(Waiting::Preparation) {
            return;
        }
        let Some((deployment, last_epoch, stored)) = self.ready.clone() else { return };
        let is_there = |name: &str| deployment.locations.iter().any(|(known, _)| known == name);
        let lost = deployment.plan.taskmanagers().into_iter().any(|taskmanager| {
            let member = self.taskmanagers.get(&taskmanager.0);
            let expected = deployment.locations.iter().find(|(known, _)| *known == taskmanager.0);
            !is_there(&taskmanager.0) || member.map(|member| member.pid) != expected.map(|(_, pid)| *pid)
        });
        if lost {
            self.apply(Event::NoSlots { attempt }, world);
            // As the service does: who came back meanwhile wakes nobody.
            if self.slots.check_free(slots_needed(&self.pipeline)).is_ok() {
                self.apply(Event::SlotsChanged, world);
            }
            return;
        }
        let of_kind = |kind| -> Vec<SubtaskId> {
            let tasks = deployment.plan.tasks().iter().filter(|task| task.kind == kind);
            tasks.map(|task| task.subtask).collect()
        };
        let token = if world.wiring.ids_hold_token { deployment.token } else { Token(0) };
        let coordinated = checkpoint::Attempt {
            job_id: JOB,
            attempt,
            token,
            nonce: deployment.nonce,
            parallelism: deployment.parallelism,
            max_parallelism: MaxParallelism::DEFAULT,
            sources: of_kind(StageKind::Source),
            operators: of_kind(StageKind::Operator),
            sink: of_kind(StageKind::Sink)[0],
            last_epoch,
            pending: deployment.pending.clone(),
            base: deployment.restored.as_ref().map(|manifest| manifest.accounts).unwrap_or_default(),
            splits: deployment.restored.as_ref().map(|manifest| manifest.splits.clone()).unwrap_or_default(),
            stored,
            last_sequence: 0,
            wall_offset_ms: 0,
        };
        self.coordinator = Some(Coordinator::new(SETTINGS, coordinated, Timestamp(world.now)));
        self.is_running = false;
        self.apply(Event::Planned { attempt, plan: deployment.plan.clone() }, world);
    }

    fn on_report(&mut self, attempt: AttemptNumber, subtask: SubtaskId, report: Report, world: &mut World) {
        if let Report::State(state) = report {
            self.apply(Event::TaskStateChanged { attempt, subtask, state, failure: TaskFailure::default() }, world);
            let runs =
                |task: &stream_core::plan::PlannedTask| self.job.task_state(task.subtask) == Some(TaskState::Running);
            let is_running = self.job.state() == JobState::Running && self.job.plan().tasks().iter().all(runs);
            if is_running && !std::mem::replace(&mut self.is_running, true) {
                self.coordinate(checkpoint::Event::Running, world);
            }
            return;
        }
        if attempt != self.job.attempt() {
            return;
        }
        let event = match report {
            Report::Acknowledged(checkpoint, snapshot) => {
                let cost = checkpoint::Cost::default();
                checkpoint::Event::Acknowledged { checkpoint, subtask, snapshot, cost }
            }
            Report::Declined(checkpoint, reason) => checkpoint::Event::Declined { checkpoint, subtask, reason },
            Report::Published(epoch) => checkpoint::Event::Published { epoch },
            Report::Drained => checkpoint::Event::SourceDrained { subtask },
            Report::State(_) => unreachable!("it was just treated"),
        };
        self.coordinate(event, world);
    }

    fn coordinate(&mut self, event: checkpoint::Event, world: &mut World) {
        let Some(coordinator) = &mut self.coordinator else { return };
        let effects = coordinator.on(Timestamp(world.now), event);
        if world.wiring == world::Wiring::WHOLE
            && let Err(broken) = coordinator.check()
        {
            world.violate(Invariant::I5Chain, broken.to_string());
        }
        let attempt = self.job.attempt();
        for effect in effects {
            match effect {
                checkpoint::Effect::Trigger(barrier) => {
                    // A token that Postgres has forgotten may be given twice; then the nonce tells, and no manifest has it.
                    let is_new = world.triggered.insert(barrier.checkpoint);
                    if !is_new && world.wiring.ids_hold_token && world.faults.count(Fault::LaggingFailover) == 0 {
                        world.violate(Invariant::I8Ids, format!("{} was triggered before", barrier.checkpoint));
                    }
                    self.command_all(attempt, Command::Trigger(barrier), world);
                }
                checkpoint::Effect::Store(manifest) => {
                    let checkpoint = manifest.checkpoint;
                    if !manifest.accounts.balance() || manifest.accounts.late > 0 {
                        world.violate(Invariant::I12Time, format!("{checkpoint}: {:?}", manifest.accounts));
                    }
                    let answer = Box::new(move |result| Done::ManifestStored(attempt, checkpoint, result));
                    world.put(self.pid, manifest_name(checkpoint), Object::Manifest(manifest), answer);
                }
                checkpoint::Effect::Complete { checkpoint, prev, accounts, cut: _ } => {
                    self.command_all(attempt, Command::Complete { checkpoint, prev, accounts }, world);
                }
                checkpoint::Effect::Abort { checkpoint, .. } => {
                    self.command_all(attempt, Command::Abort(checkpoint), world);
                }
                checkpoint::Effect::Discard { checkpoints, files } => {
                    let names = checkpoints.into_iter().map(manifest_name).chain(files).collect();
                    let delay = world.random.between(1, 50);
                    world.after(delay, world::Event::Delete(self.leader, names));
                }
                checkpoint::Effect::Sweep { below } => {
                    let delay = world.sweeps.between(1, 400);
                    world.after(delay, world::Event::Sweep(self.pid, attempt, below, None));
                }
                checkpoint::Effect::CommitPositions(_) => {}
                checkpoint::Effect::Drain | checkpoint::Effect::Answer { .. } => unreachable!("nobody asks"),
            }
        }
    }

    fn command_all(&mut self, attempt: AttemptNumber, command: Command, world: &mut World) {
        let names: Vec<String> = self.job.plan().taskmanagers().into_iter().map(|id| id.0.clone()).collect();
        names.iter().for_each(|name| self.command(name, attempt, command.clone(), world));
    }

    fn command(&mut self, name: &str, attempt: AttemptNumber, command: Command, world: &mut World) {
        if let Some(&Member { pid, link, .. }) = self.taskmanagers.get(name) {
            world.send((link, u64::from(pid)), pid, Mail::Command { link, attempt, command });
        }
    }
}

fn check_ownership(plan: &Plan, world: &mut World) {
    let mut groups: Vec<_> = plan.tasks().iter().filter_map(|task| task.key_groups).collect();
    groups.sort_by_key(|range| range.start);
    let is_whole = groups.first().is_some_and(|first| first.start == 0)
        && groups.last().is_some_and(|last| last.end == MaxParallelism::DEFAULT.get())
        && groups.windows(2).all(|pair| pair[0].end == pair[1].start);
    let mut splits: Vec<_> = plan.splits().map(|split| &split.id).collect();
    splits.sort();
    let expected = world.input.splits();
    if !is_whole || splits.into_iter().ne(expected.iter().map(|split| &split.id)) {
        world.violate(Invariant::I11Ownership, format!("{plan:?}"));
    }
}
