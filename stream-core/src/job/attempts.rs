//! From one attempt to the next: when one is prepared, planned, over, and what follows it.

use std::collections::BTreeMap;

use super::restart::Backoff;
use super::{Effect, Job, JobState, Settings, TaskState, Waiting};
use crate::ids::{AttemptNumber, SubtaskId, TaskManagerId};
use crate::plan::Plan;
use crate::time::Timestamp;

/// What is known of a job from an earlier life of the jobmanager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How often it was restarted.
    pub restarts: u32,
    /// What the last attempt that failed failed with, outermost first.
    pub last_failure: Vec<String>,
}

impl Job {
    /// A job without an attempt; [`super::Event::Submitted`] begins the first. Pauses are jittered by `seed`.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Job {
            settings,
            state: JobState::Created,
            waiting: None,
            attempt: AttemptNumber(0),
            plan: Plan::default(),
            tasks: BTreeMap::new(),
            deadline: None,
            has_progressed: false,
            last_failure: Vec::new(),
            backoff: Backoff::new(settings.restart, seed),
            restarts: 0,
            is_beyond_help: false,
            holds_slots: false,
        }
    }

    /// The same job, whose attempts are numbered on from this one: it ran before, under the same id.
    #[must_use]
    pub fn following(self, last: AttemptNumber) -> Self {
        Job { attempt: last, ..self }
    }

    /// A job that runs: every task of the plan was reported by its taskmanager, under this very attempt.
    pub fn adopted(
        settings: Settings,
        seed: u64,
        history: History,
        attempt: AttemptNumber,
        plan: Plan,
        tasks: &BTreeMap<SubtaskId, TaskState>,
        now: Timestamp,
    ) -> Self {
        let state_of = |subtask| tasks.get(&subtask).copied().unwrap_or(TaskState::Deploying);
        let tasks: BTreeMap<SubtaskId, TaskState> =
            plan.tasks().iter().map(|task| (task.subtask, state_of(task.subtask))).collect();
        let is_running = tasks.values().all(|&state| state == TaskState::Running);
        Job {
            state: JobState::Running,
            attempt,
            deadline: (!is_running).then(|| now.saturating_add(settings.deploy_timeout)),
            last_failure: history.last_failure,
            restarts: history.restarts,
            holds_slots: true,
            plan,
            tasks,
            ..Job::new(settings, seed)
        }
    }

    /// A job whose attempts up to this one are over; [`super::Event::Submitted`] begins the next.
    pub fn recovered(settings: Settings, seed: u64, history: History, last: AttemptNumber) -> Self {
        Job {
            state: JobState::Restarting,
            attempt: last,
            last_failure: history.last_failure,
            restarts: history.restarts,
            ..Job::new(settings, seed)
        }
    }

    pub(super) fn on_submitted(&mut self, effects: &mut Vec<Effect>) {
        let is_fresh = matches!(self.state, JobState::Created | JobState::Restarting);
        if is_fresh && self.waiting.is_none() && self.tasks.is_empty() {
            self.prepare(effects);
        }
    }

    pub(super) fn on_planned(&mut self, now: Timestamp, attempt: AttemptNumber, plan: Plan, effects: &mut Vec<Effect>) {
        if !self.is_preparing(attempt) {
            return;
        }
        self.state = JobState::Running;
        self.waiting = None;
        self.has_progressed = false;
        self.tasks = plan.tasks().iter().map(|task| (task.subtask, TaskState::Scheduled)).collect();
        self.plan = plan;
        self.deadline = Some(now.saturating_add(self.settings.deploy_timeout));
        let deploy = |taskmanager: &TaskManagerId| Effect::Deploy { attempt, taskmanager: taskmanager.clone() };
        effects.extend(self.plan.taskmanagers().into_iter().map(deploy));
    }

    pub(super) fn on_not_prepared(
        &mut self,
        now: Timestamp,
        attempt: AttemptNumber,
        causes: Vec<String>,
        is_final: bool,
        effects: &mut Vec<Effect>,
    ) {
        if !self.is_preparing(attempt) {
            return;
        }
        self.last_failure = causes;
        self.release_slots(effects);
        if is_final { self.end(JobState::Failed, effects) } else { self.restart_after_a_pause(now, effects) }
    }

    pub(super) fn on_no_slots(&mut self, attempt: AttemptNumber, effects: &mut Vec<Effect>) {
        if self.is_preparing(attempt) {
            self.release_slots(effects);
            self.state = JobState::Restarting;
            self.waiting = Some(Waiting::Slots);
        }
    }

    pub(super) fn on_slots_changed(&mut self, effects: &mut Vec<Effect>) {
        if self.waiting == Some(Waiting::Slots) {
            self.prepare(effects);
        }
    }

    pub(super) fn on_restart(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.state == JobState::Running {
            self.state = JobState::Restarting;
            self.cancel_live_tasks(now, effects);
        }
    }

    pub(super) fn prepare_after_the_pause(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(Waiting::Pause { until }) = self.waiting
            && now >= until
        {
            self.prepare(effects);
        }
    }

    /// What follows once nothing of the attempt runs any more.
    pub(super) fn go_on_once_all_tasks_ended(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.tasks.values().all(|state| state.is_terminal()) {
            return;
        }
        let has_finished = self.tasks.values().all(|&state| state == TaskState::Finished);
        match self.state {
            JobState::Running => self.end(JobState::Finished, effects),
            JobState::Canceling => self.end(JobState::Canceled, effects),
            JobState::Failing if self.is_beyond_help => self.end(JobState::Failed, effects),
            JobState::Failing => {
                self.release_slots(effects);
                self.restart_after_a_pause(now, effects);
            }
            JobState::Restarting if self.waiting.is_none() && self.holds_slots => {
                if has_finished {
                    // It was quicker than the request to give way.
                    return self.end(JobState::Finished, effects);
                }
                self.release_slots(effects);
                self.restarts += 1;
                self.prepare(effects);
            }
            JobState::Created | JobState::Restarting | JobState::Failed | JobState::Canceled | JobState::Finished => {}
        }
    }

    fn restart_after_a_pause(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.backoff.on_failure(std::mem::take(&mut self.has_progressed)) {
            Some(pause) => {
                self.state = JobState::Restarting;
                self.deadline = None;
                self.waiting = Some(Waiting::Pause { until: now.saturating_add(pause) });
                self.restarts += 1;
            }
            None => self.end(JobState::Failed, effects),
        }
    }

    fn prepare(&mut self, effects: &mut Vec<Effect>) {
        self.attempt = AttemptNumber(self.attempt.0 + 1);
        self.deadline = None;
        self.plan = Plan::default();
        self.tasks.clear();
        self.waiting = Some(Waiting::Preparation);
        self.holds_slots = true;
        effects.push(Effect::Prepare { attempt: self.attempt });
    }

    fn is_preparing(&self, attempt: AttemptNumber) -> bool {
        self.waiting == Some(Waiting::Preparation) && attempt == self.attempt
    }

    fn release_slots(&mut self, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.holds_slots) {
            effects.push(Effect::ReleaseSlots);
        }
    }

    fn end(&mut self, state: JobState, effects: &mut Vec<Effect>) {
        self.state = state;
        self.waiting = None;
        self.deadline = None;
        self.release_slots(effects);
        effects.push(Effect::JobEnded { state, causes: self.causes().to_vec() });
    }
}
