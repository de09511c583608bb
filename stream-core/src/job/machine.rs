//! The state machine itself.

use std::collections::{BTreeMap, BTreeSet};

use super::restart::Backoff;
use super::{Effect, Event, JobState, Settings, TaskFailure, TaskState, Waiting};
use crate::ids::{AttemptNumber, SubtaskId, TaskManagerId};
use crate::pipeline::Split;
use crate::plan::Plan;
use crate::time::Timestamp;

/// A job and its tasks.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) settings: Settings,
    pub(super) state: JobState,
    /// What the next attempt waits for, where none runs.
    pub(super) waiting: Option<Waiting>,
    /// The current attempt; the last one, while the next is waited for.
    pub(super) attempt: AttemptNumber,
    pub(super) plan: Plan,
    /// One for each task of the plan.
    pub(super) tasks: BTreeMap<SubtaskId, TaskState>,
    /// By when the current phase must be over: every task initializes, or every task has ended.
    pub(super) deadline: Option<Timestamp>,
    /// Whether the attempt has completed a checkpoint.
    pub(super) has_progressed: bool,
    /// What the last attempt that failed failed with: the first failure's causes, outermost first. What fails after it is
    /// mostly its consequence.
    pub(super) last_failure: Vec<String>,
    pub(super) backoff: Backoff,
    pub(super) restarts: u32,
    /// Whether the attempt that is failing is the last.
    pub(super) is_beyond_help: bool,
    /// Whether slots are still to be released for the last attempt that was prepared.
    pub(super) holds_slots: bool,
}

impl Job {
    /// Takes an event in; the effects are to be carried out in their order.
    pub fn on(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.state.is_terminal() {
            return effects;
        }
        match event {
            Event::Submitted => self.on_submitted(&mut effects),
            Event::Planned { attempt, plan } => self.on_planned(now, attempt, plan, &mut effects),
            Event::NotPrepared { attempt, causes, is_final } => {
                self.on_not_prepared(now, attempt, causes, is_final, &mut effects);
            }
            Event::NoSlots { attempt } => self.on_no_slots(attempt, &mut effects),
            Event::Progressed { attempt } => self.has_progressed |= attempt == self.attempt,
            Event::SlotsChanged => self.on_slots_changed(&mut effects),
            Event::RestartRequested => self.on_restart(now, &mut effects),
            Event::Deployed { attempt, taskmanager } => self.on_deployed(attempt, &taskmanager),
            Event::TaskStateChanged { attempt, subtask, state, failure } if attempt == self.attempt => {
                self.on_task_state(now, subtask, state, failure, &mut effects);
            }
            Event::TaskStateChanged { .. } => {}
            Event::TaskManagerLost { taskmanager, reason } => {
                self.on_taskmanager_lost(now, &taskmanager, &reason, &mut effects);
            }
            Event::SplitsDiscovered(splits) => self.on_splits(splits, &mut effects),
            Event::CancelRequested => self.on_cancel(now, &mut effects),
            Event::Tick => self.on_tick(now, &mut effects),
        }
        self.go_on_once_all_tasks_ended(now, &mut effects);
        effects
    }

    /// The state it is in.
    pub fn state(&self) -> JobState {
        self.state
    }

    /// The current attempt, from 1.
    pub fn attempt(&self) -> AttemptNumber {
        self.attempt
    }

    /// Where its tasks run; empty while the job is created.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The state of one of its tasks.
    pub fn task_state(&self, subtask: SubtaskId) -> Option<TaskState> {
        self.tasks.get(&subtask).copied()
    }

    /// Why it is failing or failed, outermost first; empty otherwise.
    pub fn causes(&self) -> &[String] {
        match self.state {
            JobState::Failing | JobState::Failed => &self.last_failure,
            JobState::Created
            | JobState::Running
            | JobState::Restarting
            | JobState::Canceling
            | JobState::Canceled
            | JobState::Finished => &[],
        }
    }

    /// What the last attempt that failed failed with, outermost first, also while the job runs again.
    pub fn last_failure(&self) -> &[String] {
        &self.last_failure
    }

    /// How often it was restarted after a failure or on request.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// What the next attempt waits for, where none runs.
    pub fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }

    fn on_deployed(&mut self, attempt: AttemptNumber, taskmanager: &TaskManagerId) {
        if attempt != self.attempt {
            return;
        }
        for subtask in self.tasks_on(taskmanager) {
            self.advance(subtask, TaskState::Deploying);
        }
    }

    fn on_task_state(
        &mut self,
        now: Timestamp,
        subtask: SubtaskId,
        state: TaskState,
        failure: TaskFailure,
        effects: &mut Vec<Effect>,
    ) {
        if !self.advance(subtask, state) {
            return;
        }
        let task = self.plan.task(subtask).expect("every task with a state is planned");
        match state {
            TaskState::Failed => {
                let TaskFailure { mut causes, is_final } = failure;
                causes.insert(0, format!("{task} on taskmanager `{}` failed", task.slot.taskmanager));
                self.is_beyond_help |= is_final && self.state == JobState::Running;
                self.fail(now, causes, effects);
            }
            // Nobody here asked for it: its taskmanager shuts down, say.
            TaskState::Canceled => {
                let cause = format!("{task} was canceled by its taskmanager `{}`", task.slot.taskmanager);
                self.fail(now, vec![cause], effects);
            }
            TaskState::Created
            | TaskState::Scheduled
            | TaskState::Deploying
            | TaskState::Initializing
            | TaskState::Running
            | TaskState::Canceling
            | TaskState::Finished => {}
        }
    }

    fn on_taskmanager_lost(
        &mut self,
        now: Timestamp,
        taskmanager: &TaskManagerId,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) {
        let lost = self.live_tasks_on(taskmanager);
        if lost.is_empty() {
            return;
        }
        for subtask in lost {
            self.advance(subtask, TaskState::Failed);
        }
        self.fail(now, vec![format!("lost taskmanager `{taskmanager}`: {reason}")], effects);
    }

    fn on_splits(&mut self, splits: Vec<Split>, effects: &mut Vec<Effect>) {
        if self.state != JobState::Running {
            return;
        }
        for (subtask, splits) in self.plan.assign_new_splits(splits) {
            let task = self.plan.task(subtask).expect("splits go to tasks of the plan");
            let taskmanager = task.slot.taskmanager.clone();
            effects.push(Effect::AssignSplits { attempt: self.attempt, taskmanager, subtask, splits });
        }
    }

    fn on_cancel(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.state {
            JobState::Created | JobState::Running => {
                self.state = JobState::Canceling;
                self.cancel_live_tasks(now, effects);
            }
            // The tasks are being canceled already, or there are none; the deadline for that stays.
            JobState::Restarting => self.state = JobState::Canceling,
            JobState::Failing if self.backoff.restarts() && !self.is_beyond_help => self.state = JobState::Canceling,
            // It is ending already, and a failure's causes must not be lost.
            JobState::Failing | JobState::Canceling => {}
            JobState::Failed | JobState::Canceled | JobState::Finished => {}
        }
    }

    fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.prepare_after_the_pause(now, effects);
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        match self.state {
            JobState::Running => self.fail_if_not_deployed(now, effects),
            JobState::Canceling | JobState::Failing | JobState::Restarting => {
                self.give_up_on_silent_taskmanagers(effects);
            }
            JobState::Created | JobState::Failed | JobState::Canceled | JobState::Finished => {}
        }
    }

    fn fail_if_not_deployed(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_silent = |subtask: SubtaskId| self.tasks[&subtask] < TaskState::Initializing;
        let Some(task) = self.plan.tasks().iter().find(|task| is_silent(task.subtask)) else { return };
        let cause = format!(
            "taskmanager `{}` did not start {task} within {:?}",
            task.slot.taskmanager, self.settings.deploy_timeout
        );
        self.fail(now, vec![cause], effects);
    }

    fn give_up_on_silent_taskmanagers(&mut self, effects: &mut Vec<Effect>) {
        for taskmanager in self.taskmanagers_with_live_tasks() {
            for subtask in self.live_tasks_on(&taskmanager) {
                self.advance(subtask, TaskState::Canceled);
            }
            effects.push(Effect::Disconnect { taskmanager });
        }
    }

    /// The attempt fails, unless it is ending already.
    fn fail(&mut self, now: Timestamp, causes: Vec<String>, effects: &mut Vec<Effect>) {
        match self.state {
            JobState::Created | JobState::Running => {
                self.state = JobState::Failing;
                self.last_failure = causes;
                self.cancel_live_tasks(now, effects);
            }
            JobState::Failing | JobState::Restarting | JobState::Canceling => {}
            JobState::Failed | JobState::Canceled | JobState::Finished => {}
        }
    }

    pub(super) fn cancel_live_tasks(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.deadline = Some(now.saturating_add(self.settings.cancel_timeout));
        for taskmanager in self.taskmanagers_with_live_tasks() {
            for subtask in self.live_tasks_on(&taskmanager) {
                self.advance(subtask, TaskState::Canceling);
            }
            effects.push(Effect::CancelTasks { attempt: self.attempt, taskmanager });
        }
    }

    /// Moves a task on; `false` if it is unknown, has ended, or was further already.
    fn advance(&mut self, subtask: SubtaskId, next: TaskState) -> bool {
        match self.tasks.get_mut(&subtask) {
            Some(state) if state.can_become(next) => {
                *state = next;
                true
            }
            Some(_) | None => false,
        }
    }

    fn tasks_on(&self, taskmanager: &TaskManagerId) -> Vec<SubtaskId> {
        let tasks = self.plan.tasks().iter().filter(|task| task.slot.taskmanager == *taskmanager);
        tasks.map(|task| task.subtask).collect()
    }

    fn live_tasks_on(&self, taskmanager: &TaskManagerId) -> Vec<SubtaskId> {
        let mut tasks = self.tasks_on(taskmanager);
        tasks.retain(|subtask| !self.tasks[subtask].is_terminal());
        tasks
    }

    fn taskmanagers_with_live_tasks(&self) -> BTreeSet<TaskManagerId> {
        let live = self.plan.tasks().iter().filter(|task| !self.tasks[&task.subtask].is_terminal());
        live.map(|task| task.slot.taskmanager.clone()).collect()
    }
}
