use std::time::Duration;

use super::*;
use crate::ids::{SlotId, StageIndex, SubtaskIndex};
use crate::plan::testing::{pipeline, split};
use crate::time::Timestamp;

pub(super) const SETTINGS: Settings = Settings {
    deploy_timeout: Duration::from_secs(10),
    cancel_timeout: Duration::from_secs(5),
    restart: RestartStrategy::Never,
};
pub(super) const FIRST: AttemptNumber = AttemptNumber(1);

pub(super) fn tm(number: u32) -> TaskManagerId {
    TaskManagerId(format!("tm-{number}"))
}

/// Two taskmanagers: source and window on both, the sink on the first.
pub(super) fn plan() -> Plan {
    let slot = |number| SlotId { taskmanager: tm(number), index: 0 };
    Plan::new(&pipeline(2), vec![split("t/0"), split("t/1")], &[slot(1), slot(2)])
}

fn subtask(stage: u32, index: u32) -> SubtaskId {
    SubtaskId { stage: StageIndex(stage), index: SubtaskIndex(index) }
}

/// A job and the hour.
struct Probe {
    job: Job,
    now: Timestamp,
}

impl Probe {
    fn planned() -> Self {
        let mut probe = Probe { job: Job::new(SETTINGS), now: Timestamp(0) };
        probe.on(Event::Planned(plan()));
        probe
    }

    fn running() -> Self {
        let mut probe = Self::planned();
        for taskmanager in [tm(1), tm(2)] {
            probe.on(Event::Deployed { attempt: FIRST, taskmanager });
        }
        probe.all(TaskState::Initializing);
        probe.all(TaskState::Running);
        probe
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        self.job.on(self.now, event)
    }

    fn task(&mut self, subtask: SubtaskId, state: TaskState) -> Vec<Effect> {
        self.on(Event::TaskStateChanged { attempt: FIRST, subtask, state, causes: Vec::new() })
    }

    fn all(&mut self, state: TaskState) -> Vec<Effect> {
        let tasks: Vec<SubtaskId> = self.job.plan().tasks().iter().map(|task| task.subtask).collect();
        tasks.into_iter().flat_map(|subtask| self.task(subtask, state)).collect()
    }

    fn fails(&mut self, subtask: SubtaskId, cause: &str) -> Vec<Effect> {
        let causes = vec![cause.to_owned()];
        self.on(Event::TaskStateChanged { attempt: FIRST, subtask, state: TaskState::Failed, causes })
    }

    fn after(&mut self, seconds: u64) -> Vec<Effect> {
        self.now = self.now.saturating_add(Duration::from_secs(seconds));
        self.on(Event::Tick)
    }
}

fn cancel(number: u32) -> Effect {
    Effect::CancelTasks { attempt: FIRST, taskmanager: tm(number) }
}

fn ended(state: JobState, causes: &[&str]) -> [Effect; 2] {
    let causes = causes.iter().map(|&cause| cause.to_owned()).collect();
    [Effect::ReleaseSlots, Effect::JobEnded { state, causes }]
}

#[test]
fn planned_job_is_deployed_to_each_taskmanager_once() {
    let mut job = Job::new(SETTINGS);
    let deploy = |number| Effect::Deploy { attempt: FIRST, taskmanager: tm(number) };
    assert_eq!(job.on(Timestamp(0), Event::Planned(plan())), [deploy(1), deploy(2)]);
    assert_eq!(job.state(), JobState::Running);
    assert_eq!(job.on(Timestamp(0), Event::Planned(plan())), []);
    job.on(Timestamp(0), Event::Deployed { attempt: FIRST, taskmanager: tm(2) });
    assert_eq!(job.task_state(subtask(0, 0)), Some(TaskState::Scheduled));
    assert_eq!(job.task_state(subtask(0, 1)), Some(TaskState::Deploying));
}

#[test]
fn job_whose_tasks_all_finish_is_finished() {
    let mut probe = Probe::running();
    assert_eq!(probe.all(TaskState::Finished), ended(JobState::Finished, &[]));
    assert_eq!(probe.on(Event::CancelRequested), []);
    assert_eq!(probe.job.state(), JobState::Finished);
}

#[test]
fn first_failure_cancels_the_others_and_its_causes_are_kept() {
    let mut probe = Probe::running();
    assert_eq!(probe.fails(subtask(1, 1), "disk full"), [cancel(1), cancel(2)]);
    assert_eq!(probe.job.state(), JobState::Failing);
    assert_eq!(probe.fails(subtask(1, 0), "lost its upstream"), []);
    assert_eq!(
        probe.all(TaskState::Canceled),
        ended(JobState::Failed, &["window[1] on taskmanager `tm-2` failed", "disk full"])
    );
}

#[test]
fn canceled_job_waits_for_its_tasks() {
    let mut probe = Probe::running();
    assert_eq!(probe.on(Event::CancelRequested), [cancel(1), cancel(2)]);
    assert_eq!(probe.on(Event::CancelRequested), []);
    assert_eq!(probe.task(subtask(0, 0), TaskState::Running), []);
    assert_eq!(probe.job.task_state(subtask(0, 0)), Some(TaskState::Canceling));
    assert_eq!(probe.all(TaskState::Canceled), ended(JobState::Canceled, &[]));
}

#[test]
fn task_that_fails_or_finishes_while_canceled_leaves_the_job_canceled() {
    let mut probe = Probe::running();
    probe.on(Event::CancelRequested);
    assert_eq!(probe.fails(subtask(0, 0), "torn"), []);
    assert_eq!(probe.all(TaskState::Finished), ended(JobState::Canceled, &[]));
}

#[test]
fn job_canceled_before_its_plan_ends_at_once() {
    let mut job = Job::new(SETTINGS);
    assert_eq!(job.on(Timestamp(0), Event::CancelRequested), ended(JobState::Canceled, &[]));
    assert_eq!(job.on(Timestamp(0), Event::Planned(plan())), []);
}

#[test]
fn lost_taskmanager_fails_the_job_and_is_named() {
    let mut probe = Probe::running();
    let lost = |number, reason: &str| Event::TaskManagerLost { taskmanager: tm(number), reason: reason.to_owned() };
    assert_eq!(probe.on(lost(3, "not ours")), []);
    assert_eq!(probe.on(lost(2, "its connection broke")), [cancel(1)]);
    assert_eq!(
        probe.on(lost(1, "it too")),
        ended(JobState::Failed, &["lost taskmanager `tm-2`: its connection broke"])
    );
}

#[test]
fn taskmanager_lost_after_its_tasks_finished_changes_nothing() {
    let mut probe = Probe::running();
    probe.task(subtask(0, 1), TaskState::Finished);
    probe.task(subtask(1, 1), TaskState::Finished);
    assert_eq!(probe.on(Event::TaskManagerLost { taskmanager: tm(2), reason: "gone".to_owned() }), []);
    assert_eq!(probe.job.state(), JobState::Running);
}

#[test]
fn task_canceled_by_nobody_fails_the_job() {
    let mut probe = Probe::running();
    probe.task(subtask(0, 1), TaskState::Canceled);
    assert_eq!(probe.job.causes(), ["source[1] was canceled by its taskmanager `tm-2`"]);
}

#[test]
fn message_of_another_attempt_changes_nothing() {
    let mut probe = Probe::running();
    for attempt in [AttemptNumber(0), AttemptNumber(2)] {
        let event =
            Event::TaskStateChanged { attempt, subtask: subtask(0, 0), state: TaskState::Failed, causes: Vec::new() };
        assert_eq!(probe.on(event), []);
    }
    assert_eq!(probe.job.task_state(subtask(0, 0)), Some(TaskState::Running));
    assert_eq!(probe.task(subtask(7, 0), TaskState::Failed), []);
}

#[test]
fn deployment_that_nobody_answers_fails_the_job() {
    let mut probe = Probe::planned();
    probe.on(Event::Deployed { attempt: FIRST, taskmanager: tm(1) });
    probe.task(subtask(0, 0), TaskState::Initializing);
    assert_eq!(probe.after(9), []);
    assert_eq!(probe.after(1), [cancel(1), cancel(2)]);
    assert_eq!(probe.job.causes(), ["taskmanager `tm-2` did not start source[1] within 10s"]);
}

#[test]
fn slow_initialization_is_waited_for() {
    let mut probe = Probe::planned();
    probe.all(TaskState::Initializing);
    assert_eq!(probe.after(3600), []);
    assert_eq!(probe.job.state(), JobState::Running);
}

#[test]
fn taskmanager_that_does_not_confirm_a_cancel_is_disconnected() {
    let mut probe = Probe::running();
    probe.on(Event::CancelRequested);
    for (stage, index) in [(0, 0), (1, 0), (2, 0)] {
        probe.task(subtask(stage, index), TaskState::Canceled);
    }
    assert_eq!(probe.after(4), []);
    let effects = probe.after(1);
    assert_eq!(effects[0], Effect::Disconnect { taskmanager: tm(2) });
    assert_eq!(effects[1..], ended(JobState::Canceled, &[]));
}

#[test]
fn new_splits_go_to_their_source_task() {
    let mut probe = Probe::running();
    let found = || Event::SplitsDiscovered(vec![split("t/0"), split("t/1"), split("t/2")]);
    assert_eq!(
        probe.on(found()),
        [Effect::AssignSplits {
            attempt: FIRST,
            taskmanager: tm(1),
            subtask: subtask(0, 0),
            splits: vec![split("t/2")]
        }]
    );
    assert_eq!(probe.on(found()), []);
    probe.on(Event::CancelRequested);
    assert_eq!(probe.on(Event::SplitsDiscovered(vec![split("t/3")])), []);
}

#[test]
fn job_without_tasks_is_finished_at_once() {
    let mut job = Job::new(SETTINGS);
    assert_eq!(job.on(Timestamp(0), Event::Planned(Plan::default())), ended(JobState::Finished, &[]));
}
