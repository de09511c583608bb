//! A taskmanager: attempts with their tasks, and the connection to a jobmanager.

use std::collections::BTreeMap;
use std::sync::Arc;

use stream_core::ids::{AttemptNumber, SubtaskId};
use stream_core::job::TaskState;
use stream_core::pipeline::StageKind;

use crate::mail::{Command, Deployment, Done, Item, Mail, Report};
use crate::subtask::{Context, Subtask};
use crate::world::{Event, Link, Role, World};

const TICK_MS: i64 = 25;
const HEARTBEAT_MS: i64 = 300;

pub(crate) struct TaskManager {
    pid: u32,
    pub(crate) name: String,
    link: Option<(u64, u32)>,
    next_try: i64,
    next_heartbeat: i64,
    attempts: BTreeMap<AttemptNumber, Attempt>,
    /// What came before its deployment.
    early: Vec<(AttemptNumber, SubtaskId, SubtaskId, Item)>,
    /// Attempts up to this one are over here.
    ended: Option<AttemptNumber>,
}

struct Attempt {
    deployment: Arc<Deployment>,
    tasks: BTreeMap<SubtaskId, Subtask>,
}

impl TaskManager {
    pub(crate) fn new(pid: u32, name: String) -> Self {
        let (next_try, next_heartbeat) = (0, 0);
        let attempts = BTreeMap::new();
        TaskManager { pid, name, link: None, next_try, next_heartbeat, attempts, early: vec![], ended: None }
    }

    pub(crate) fn newest_attempt(&self) -> Option<AttemptNumber> {
        self.attempts.keys().last().copied()
    }

    pub(crate) fn on(&mut self, mail: Mail, world: &mut World) -> bool {
        match mail {
            Mail::Tick => self.on_tick(world),
            Mail::LinkLost(link) => {
                if self.link.take_if(|(current, _)| *current == link).is_some() {
                    self.next_try = world.now + world.random.between(50, 500);
                    let all: Vec<AttemptNumber> = self.attempts.keys().copied().collect();
                    all.into_iter().for_each(|attempt| self.each(attempt, None, world, |task, at| task.orphan(at)));
                }
            }
            Mail::Command { attempt, command, .. } => self.on_command(attempt, command, world),
            Mail::Data { attempt, from, to, item } => {
                if self.attempts.contains_key(&attempt) {
                    self.each(attempt, Some(to), world, |task, at| task.on_item(from, item.clone(), at));
                } else if self.ended < Some(attempt) {
                    self.early.push((attempt, from, to, item));
                }
            }
            Mail::ExchangeLost(attempt) => self.end(attempt, TaskState::Failed, world),
            Mail::Done(done) => self.on_done(done, world),
            Mail::Register { .. } | Mail::Report { .. } | Mail::Heartbeat { .. } => unreachable!("for a jobmanager"),
        }
        true
    }

    fn on_tick(&mut self, world: &mut World) {
        let next = TICK_MS + world.random.between(0, 15);
        world.after(next, Event::To(self.pid, Mail::Tick));
        match self.link {
            None if world.now >= self.next_try => self.connect(world),
            Some((link, to)) if world.now >= self.next_heartbeat => {
                self.next_heartbeat = world.now + HEARTBEAT_MS;
                world.send((link, u64::from(to)), to, Mail::Heartbeat { link });
            }
            _ => {}
        }
        let all: Vec<AttemptNumber> = self.attempts.keys().copied().collect();
        all.into_iter().for_each(|attempt| self.each(attempt, None, world, |task, at| task.on_tick(at)));
    }

    fn connect(&mut self, world: &mut World) {
        let jobmanagers = world.processes.iter().filter(|(_, process)| matches!(process.role, Role::JobManager(_)));
        let jobmanagers: Vec<u32> = jobmanagers.map(|(&pid, _)| pid).collect();
        let newest = jobmanagers.last().copied();
        let Some(to) = (if world.random.percent(80) { newest } else { world.random.pick(&jobmanagers) }) else {
            return;
        };
        let link = world.number();
        world.links.insert(link, Link { ends: [self.pid, to] });
        self.link = Some((link, to));
        let running = self.attempts.keys().copied().collect();
        let mail = Mail::Register { link, from: self.pid, name: self.name.clone(), running };
        world.send((link, u64::from(to)), to, mail);
    }

    fn on_command(&mut self, attempt: AttemptNumber, command: Command, world: &mut World) {
        match command {
            Command::Deploy(deployment) => self.deploy(attempt, deployment, world),
            Command::Cancel => self.end(attempt, TaskState::Canceled, world),
            Command::Trigger(barrier) => self.each(attempt, None, world, |task, at| task.on_trigger(barrier, at)),
            Command::Complete { checkpoint, prev, accounts } => {
                self.each(attempt, None, world, |task, at| task.on_complete(checkpoint, prev, accounts, at));
            }
            Command::Abort(checkpoint) => self.each(attempt, None, world, |task, at| task.on_abort(checkpoint, at)),
        }
    }

    fn deploy(&mut self, attempt: AttemptNumber, deployment: Arc<Deployment>, world: &mut World) {
        if self.attempts.contains_key(&attempt) {
            return;
        }
        let mine = deployment.plan.tasks().iter().filter(|task| task.slot.taskmanager.0 == self.name);
        let subtasks: Vec<(SubtaskId, StageKind)> = mine.map(|task| (task.subtask, task.kind)).collect();
        let tasks = subtasks.iter().map(|&(id, kind)| (id, Subtask::new(id, kind, &deployment, world)));
        let tasks = tasks.collect();
        self.attempts.insert(attempt, Attempt { deployment, tasks });
        for (subtask, _) in subtasks {
            self.report(attempt, subtask, Report::State(TaskState::Running), world);
        }
        let (ours, others) = std::mem::take(&mut self.early).into_iter().partition(|early| early.0 == attempt);
        self.early = others;
        let ours: Vec<(AttemptNumber, SubtaskId, SubtaskId, Item)> = ours;
        for (_, from, to, item) in ours {
            self.each(attempt, Some(to), world, |task, at| task.on_item(from, item.clone(), at));
        }
    }

    /// All tasks of an attempt end here.
    fn end(&mut self, attempt: AttemptNumber, state: TaskState, world: &mut World) {
        self.ended = self.ended.max(Some(attempt));
        self.early.retain(|early| early.0 > attempt);
        let Some(ended) = self.attempts.remove(&attempt) else { return };
        for (subtask, task) in ended.tasks {
            if !task.is_finished() {
                self.report(attempt, subtask, Report::State(state), world);
            }
        }
    }

    fn on_done(&mut self, done: Done, world: &mut World) {
        match done {
            Done::StateStored(attempt, subtask, ticket, result) => {
                self.each(attempt, Some(subtask), world, |task, at| task.on_state_stored(ticket, result.clone(), at));
            }
            Done::RowsStored(attempt, ticket, result) => {
                self.each(attempt, None, world, |task, at| task.on_rows_stored(ticket, result.clone(), at));
            }
            Done::Looked(attempt, result) => {
                self.each(attempt, None, world, |task, at| task.on_looked(result.clone(), at));
            }
            Done::Published(attempt, result) => {
                self.each(attempt, None, world, |task, at| task.on_published(result.clone(), at));
            }
            _ => unreachable!("for a jobmanager"),
        }
    }

    /// Does something with the tasks of an attempt, or with one; sends what they say.
    fn each(
        &mut self,
        attempt: AttemptNumber,
        only: Option<SubtaskId>,
        world: &mut World,
        mut act: impl FnMut(&mut Subtask, &mut Context<'_>),
    ) {
        let Some(running) = self.attempts.get_mut(&attempt) else { return };
        let deployment = Arc::clone(&running.deployment);
        let (mut reports, mut is_failed) = (Vec::new(), false);
        for (&subtask, task) in &mut running.tasks {
            if only.is_some_and(|only| only != subtask) || task.is_finished() {
                continue;
            }
            let mut context = Context {
                pid: self.pid,
                attempt,
                subtask,
                deployment: &deployment,
                world: &mut *world,
                reports: vec![],
                failure: None,
            };
            act(task, &mut context);
            is_failed |= context.failure.is_some();
            reports.extend(context.reports.into_iter().map(|report| (subtask, report)));
            if task.is_finished() {
                reports.push((subtask, Report::State(TaskState::Finished)));
            }
        }
        let is_over = running.tasks.values().all(Subtask::is_finished);
        for (subtask, report) in reports {
            self.report(attempt, subtask, report, world);
        }
        if is_failed {
            self.end(attempt, TaskState::Failed, world);
        } else if is_over {
            self.attempts.remove(&attempt);
            self.ended = self.ended.max(Some(attempt));
        }
    }

    fn report(&mut self, attempt: AttemptNumber, subtask: SubtaskId, report: Report, world: &mut World) {
        if let Some((link, to)) = self.link {
            world.send((link, u64::from(to)), to, Mail::Report { link, attempt, subtask, report });
        }
    }
}
