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
/// Restarts after exactly 100 ms, 200 ms, …
pub(super) const RESTARTING: Settings = Settings {
    restart: RestartStrategy::ExponentialDelay(ExponentialDelay {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(30),
        multiplier: 2,
        jitter: 0.0,
        attempts: None,
    }),
    ..SETTINGS
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
    fn submitted(settings: Settings) -> Self {
        let mut probe = Probe { job: Job::new(settings, 0), now: Timestamp(0) };
        assert_eq!(probe.on(Event::Submitted), [Effect::Prepare { attempt: FIRST }]);
        probe
    }

    fn planned() -> Self {
        let mut probe = Self::submitted(SETTINGS);
        probe.on(planned(1));
        probe
    }

    fn running() -> Self {
        let mut probe = Self::planned();
        probe.runs();
        probe
    }

    fn restarting() -> Self {
        let mut probe = Self::submitted(RESTARTING);
        probe.on(planned(1));
        probe.runs();
        probe
    }

    fn runs(&mut self) {
        for taskmanager in [tm(1), tm(2)] {
            let attempt = self.job.attempt();
            self.on(Event::Deployed { attempt, taskmanager });
        }
        self.all(TaskState::Initializing);
        self.all(TaskState::Running);
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        self.job.on(self.now, event)
    }

    fn task(&mut self, subtask: SubtaskId, state: TaskState) -> Vec<Effect> {
        let failure = TaskFailure::default();
        self.on(Event::TaskStateChanged { attempt: self.job.attempt(), subtask, state, failure })
    }

    fn all(&mut self, state: TaskState) -> Vec<Effect> {
        let tasks: Vec<SubtaskId> = self.job.plan().tasks().iter().map(|task| task.subtask).collect();
        tasks.into_iter().flat_map(|subtask| self.task(subtask, state)).collect()
    }

    fn fails(&mut self, subtask: SubtaskId, cause: &str) -> Vec<Effect> {
        self.fails_with(subtask, cause, false)
    }

    fn fails_with(&mut self, subtask: SubtaskId, cause: &str, is_final: bool) -> Vec<Effect> {
        let failure = TaskFailure { causes: vec![cause.to_owned()], is_final };
        self.on(Event::TaskStateChanged { attempt: self.job.attempt(), subtask, state: TaskState::Failed, failure })
    }

    fn after(&mut self, seconds: u64) -> Vec<Effect> {
        self.after_millis(1000 * seconds)
    }

    fn after_millis(&mut self, millis: u64) -> Vec<Effect> {
        self.now = self.now.saturating_add(Duration::from_millis(millis));
        self.on(Event::Tick)
    }
}

fn planned(attempt: u32) -> Event {
    Event::Planned { attempt: AttemptNumber(attempt), plan: plan() }
}

fn prepare(attempt: u32) -> Effect {
    Effect::Prepare { attempt: AttemptNumber(attempt) }
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
    let mut probe = Probe::submitted(SETTINGS);
    let deploy = |number| Effect::Deploy { attempt: FIRST, taskmanager: tm(number) };
    assert_eq!(probe.on(Event::Submitted), []);
    assert_eq!(probe.on(planned(1)), [deploy(1), deploy(2)]);
    assert_eq!(probe.job.state(), JobState::Running);
    assert_eq!(probe.on(planned(1)), []);
    probe.on(Event::Deployed { attempt: FIRST, taskmanager: tm(2) });
    assert_eq!(probe.job.task_state(subtask(0, 0)), Some(TaskState::Scheduled));
    assert_eq!(probe.job.task_state(subtask(0, 1)), Some(TaskState::Deploying));
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
    let mut probe = Probe::submitted(SETTINGS);
    assert_eq!(probe.on(Event::CancelRequested), ended(JobState::Canceled, &[]));
    assert_eq!(probe.on(planned(1)), []);
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
        let failure = TaskFailure { causes: Vec::new(), is_final: true };
        let event = Event::TaskStateChanged { attempt, subtask: subtask(0, 0), state: TaskState::Failed, failure };
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
    let mut probe = Probe::submitted(SETTINGS);
    let planned = Event::Planned { attempt: FIRST, plan: Plan::default() };
    assert_eq!(probe.on(planned), ended(JobState::Finished, &[]));
}

#[test]
fn failed_attempt_is_followed_by_the_next_after_a_pause() {
    let mut probe = Probe::restarting();
    assert_eq!(probe.fails(subtask(1, 1), "disk full"), [cancel(1), cancel(2)]);
    assert_eq!(probe.all(TaskState::Canceled), [Effect::ReleaseSlots]);
    assert_eq!(probe.job.state(), JobState::Restarting);
    assert_eq!(probe.job.waiting(), Some(Waiting::Pause { until: Timestamp(100) }));
    assert_eq!(probe.after_millis(99), []);
    assert_eq!(probe.after_millis(1), [prepare(2)]);
    assert_eq!(probe.on(planned(1)), [], "an answer about the attempt before changes nothing");
    assert_eq!(probe.on(planned(2)).len(), 2);
    assert_eq!((probe.job.state(), probe.job.restarts()), (JobState::Running, 1));
    assert_eq!((probe.job.causes().len(), probe.job.last_failure()[1].as_str()), (0, "disk full"));
    // It failed again, and had not got on: twice the pause. What an attempt before had done does not count.
    probe.on(Event::Progressed { attempt: FIRST });
    probe.fails(subtask(0, 0), "again");
    probe.all(TaskState::Canceled);
    assert_eq!(probe.job.waiting(), Some(Waiting::Pause { until: Timestamp(300) }));
}

#[test]
fn attempt_that_completed_a_checkpoint_begins_the_pauses_anew() {
    let mut probe = Probe::restarting();
    for attempt in 2..5 {
        probe.fails(subtask(0, 0), "flaky");
        probe.all(TaskState::Canceled);
        assert_eq!(probe.after(1), [prepare(attempt)]);
        probe.on(planned(attempt));
        probe.runs();
        probe.on(Event::Progressed { attempt: AttemptNumber(attempt) });
    }
    probe.fails(subtask(0, 0), "flaky");
    probe.all(TaskState::Canceled);
    let until = probe.now.saturating_add(Duration::from_millis(100));
    assert_eq!(probe.job.waiting(), Some(Waiting::Pause { until }));
}

#[test]
fn failure_that_no_other_attempt_can_mend_ends_the_job_and_keeps_its_causes() {
    let mut probe = Probe::restarting();
    probe.fails_with(subtask(0, 0), "records are gone", true);
    assert_eq!(probe.on(Event::CancelRequested), []);
    let effects = probe.all(TaskState::Canceled);
    let causes = ["source[0] on taskmanager `tm-1` failed", "records are gone"];
    assert_eq!(effects, ended(JobState::Failed, &causes));

    let mut probe = Probe::restarting();
    probe.fails(subtask(0, 1), "first");
    probe.fails_with(subtask(0, 0), "records are gone", true);
    probe.all(TaskState::Canceled);
    assert_eq!(probe.job.state(), JobState::Restarting, "what fails behind the first failure may be its consequence");
}

#[test]
fn attempt_that_cannot_be_prepared_is_tried_again_unless_that_is_no_use() {
    let not_prepared = |attempt, is_final| Event::NotPrepared {
        attempt: AttemptNumber(attempt),
        causes: vec!["no ledger".to_owned()],
        is_final,
    };
    let mut probe = Probe::submitted(RESTARTING);
    assert_eq!(probe.on(not_prepared(1, false)), [Effect::ReleaseSlots]);
    assert_eq!(probe.job.state(), JobState::Restarting);
    assert_eq!(probe.on(not_prepared(1, true)), [], "it is over already");
    assert_eq!(probe.after(1), [prepare(2)]);
    assert_eq!(probe.on(not_prepared(2, true)), ended(JobState::Failed, &["no ledger"]));
    assert_eq!(Probe::submitted(SETTINGS).on(not_prepared(1, false)), ended(JobState::Failed, &["no ledger"]));
}

#[test]
fn job_without_slots_waits_for_them_as_long_as_it_takes() {
    let mut probe = Probe::submitted(RESTARTING);
    assert_eq!(probe.on(Event::NoSlots { attempt: FIRST }), [Effect::ReleaseSlots]);
    assert_eq!((probe.job.state(), probe.job.waiting()), (JobState::Restarting, Some(Waiting::Slots)));
    assert_eq!(probe.after(3600), []);
    assert_eq!(probe.on(Event::SlotsChanged), [prepare(2)]);
    assert_eq!(probe.on(Event::SlotsChanged), []);
}

#[test]
fn restart_on_request_needs_no_pause_and_is_no_failure() {
    let mut probe = Probe::restarting();
    assert_eq!(probe.on(Event::RestartRequested), [cancel(1), cancel(2)]);
    assert_eq!(probe.on(Event::RestartRequested), []);
    assert_eq!(probe.fails(subtask(1, 0), "torn down"), []);
    assert_eq!(probe.all(TaskState::Canceled), [Effect::ReleaseSlots, prepare(2)]);
    assert_eq!((probe.job.restarts(), probe.job.last_failure().len()), (1, 0));
}

#[test]
fn job_that_restarts_can_be_canceled_at_any_time() {
    // While its tasks end.
    let mut probe = Probe::restarting();
    probe.fails(subtask(1, 1), "disk full");
    assert_eq!(probe.on(Event::CancelRequested), []);
    assert_eq!(probe.all(TaskState::Canceled), ended(JobState::Canceled, &[]));
    // In the pause.
    let mut probe = Probe::restarting();
    probe.fails(subtask(1, 1), "disk full");
    probe.all(TaskState::Canceled);
    assert_eq!(probe.on(Event::CancelRequested), [Effect::JobEnded { state: JobState::Canceled, causes: Vec::new() }]);
    // While it waits for slots.
    let mut probe = Probe::submitted(RESTARTING);
    probe.on(Event::NoSlots { attempt: FIRST });
    assert_eq!(probe.on(Event::CancelRequested), [Effect::JobEnded { state: JobState::Canceled, causes: Vec::new() }]);
}

#[test]
fn adopted_job_goes_on_under_its_attempt_and_recovered_one_under_the_next() {
    let history = || History { restarts: 3, last_failure: vec!["old".to_owned()] };
    let tasks = plan().tasks().iter().map(|task| (task.subtask, TaskState::Running)).collect();
    let job = Job::adopted(RESTARTING, 0, history(), AttemptNumber(4), plan(), &tasks, Timestamp(0));
    let mut probe = Probe { job, now: Timestamp(0) };
    assert_eq!(
        (probe.job.state(), probe.job.attempt(), probe.job.restarts()),
        (JobState::Running, AttemptNumber(4), 3)
    );
    assert_eq!(probe.on(Event::Submitted), []);
    assert_eq!(probe.all(TaskState::Finished), ended(JobState::Finished, &[]));

    let mut job = Job::recovered(RESTARTING, 0, history(), AttemptNumber(4));
    assert_eq!(job.state(), JobState::Restarting);
    assert_eq!(job.on(Timestamp(0), Event::Submitted), [prepare(5)]);
}
