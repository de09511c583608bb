//! Random events in random order, then an orderly end: whatever happens, the promises of a job hold.

use proptest::prelude::*;

use super::tests::{RESTARTING, SETTINGS, plan, tm};
use super::*;
use crate::time::Timestamp;

#[derive(Clone, Debug)]
enum Step {
    Deployed(u32),
    Task { place: usize, attempt: u32, state: TaskState, is_final: bool },
    Lost(u32),
    Cancel,
    Planned { attempt: u32 },
    NotPrepared { attempt: u32, is_final: bool },
    NoSlots { attempt: u32 },
    SlotsChanged,
    Restart,
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![
        4 => Just(TaskState::Initializing),
        4 => Just(TaskState::Running),
        4 => Just(TaskState::Finished),
        2 => Just(TaskState::Canceled),
        1 => Just(TaskState::Failed),
    ];
    prop_oneof![
        4 => (1_u32..4).prop_map(Step::Deployed),
        30 => (0_usize..6, 0_u32..5, state, prop::bool::weighted(0.1))
            .prop_map(|(place, attempt, state, is_final)| Step::Task { place, attempt, state, is_final }),
        1 => (1_u32..4).prop_map(Step::Lost),
        1 => Just(Step::Cancel),
        12 => (0_u32..4).prop_map(|attempt| Step::Planned { attempt }),
        1 => (0_u32..4, prop::bool::weighted(0.1)).prop_map(|(attempt, is_final)| Step::NotPrepared { attempt, is_final }),
        1 => (0_u32..4).prop_map(|attempt| Step::NoSlots { attempt }),
        2 => Just(Step::SlotsChanged),
        1 => Just(Step::Restart),
        3 => (0_u64..4000).prop_map(Step::Tick),
    ]
}

/// Most words are about the current attempt, some about one before or after it.
fn attempt(current: AttemptNumber, which: u32) -> AttemptNumber {
    AttemptNumber(match which {
        0 => current.0.saturating_sub(1),
        1 => current.0 + 1,
        _ => current.0,
    })
}

fn event(step: Step, current: AttemptNumber, now: &mut Timestamp) -> Event {
    match step {
        Step::Deployed(number) => Event::Deployed { attempt: current, taskmanager: tm(number) },
        Step::Task { place, attempt: which, state, is_final } => {
            // The last place is a task that is not.
            let subtask =
                plan().tasks().get(place).map_or(
                    SubtaskId { stage: crate::ids::StageIndex(9), index: crate::ids::SubtaskIndex(9) },
                    |task| task.subtask,
                );
            let attempt = attempt(current, which);
            let failure = TaskFailure { causes: vec!["cause".to_owned()], is_final };
            Event::TaskStateChanged { attempt, subtask, state, failure }
        }
        Step::Lost(number) => Event::TaskManagerLost { taskmanager: tm(number), reason: "lost".to_owned() },
        Step::Cancel => Event::CancelRequested,
        Step::Planned { attempt: which } => Event::Planned { attempt: attempt(current, which), plan: plan() },
        Step::NotPrepared { attempt: which, is_final } => {
            Event::NotPrepared { attempt: attempt(current, which), causes: vec!["cause".to_owned()], is_final }
        }
        Step::NoSlots { attempt: which } => Event::NoSlots { attempt: attempt(current, which) },
        Step::SlotsChanged => Event::SlotsChanged,
        Step::Restart => Event::RestartRequested,
        Step::Tick(ms) => {
            *now = now.saturating_add(Duration::from_millis(ms));
            Event::Tick
        }
    }
}

/// What a job promised, seen from outside.
#[derive(Default)]
struct Watcher {
    prepared: u32,
    released: u32,
    ended: Option<JobState>,
    /// The last attempt whose tasks were canceled.
    canceled: Option<AttemptNumber>,
}

impl Watcher {
    fn observe(&mut self, before: &Job, after: &Job, event: &Event, effects: &[Effect]) {
        assert!(self.ended.is_none() || effects.is_empty(), "an effect after the end: {effects:?}");
        assert!(!before.state().is_terminal() || before.state() == after.state());
        assert!(before.attempt() <= after.attempt(), "attempts only grow");
        if before.attempt() == after.attempt() {
            for task in before.plan().tasks() {
                let (was, is) = (before.task_state(task.subtask), after.task_state(task.subtask));
                let is_over = was.is_some_and(TaskState::is_terminal);
                assert!(was <= is && (was == is || !is_over), "{task}: {was:?} to {is:?}");
            }
        }
        if before.state() == JobState::Failing {
            assert_eq!(before.last_failure(), after.last_failure(), "the first failure's causes are kept");
        }
        if let Event::TaskStateChanged { attempt, .. }
        | Event::Planned { attempt, .. }
        | Event::NotPrepared { attempt, .. }
        | Event::NoSlots { attempt } = event
            && *attempt != before.attempt()
        {
            assert_eq!(effects, [], "words of another attempt change nothing");
        }

        if effects.iter().any(|effect| matches!(effect, Effect::CancelTasks { .. })) {
            assert_ne!(self.canceled, Some(before.attempt()), "an attempt's tasks are canceled once");
            self.canceled = Some(before.attempt());
        }
        for effect in effects {
            match effect {
                Effect::Prepare { attempt } => {
                    assert_eq!(self.released, self.prepared, "slots are released before the next attempt");
                    self.prepared += 1;
                    assert_eq!(attempt.0, self.prepared, "each preparation has a number of its own");
                }
                Effect::ReleaseSlots => {
                    self.released += 1;
                    assert_eq!(self.released, self.prepared, "slots are released once for each attempt");
                }
                Effect::JobEnded { state, causes } => {
                    assert_eq!(self.released, self.prepared, "slots are released before the end is told");
                    assert_eq!(*state == JobState::Failed, !causes.is_empty());
                    self.ended = Some(*state);
                }
                Effect::Deploy { .. }
                | Effect::AssignSplits { .. }
                | Effect::CancelTasks { .. }
                | Effect::Disconnect { .. } => {}
            }
        }
        assert_eq!(after.state().is_terminal(), self.ended == Some(after.state()));
        let has_ended = |job: &Job| {
            job.plan().tasks().iter().all(|task| job.task_state(task.subtask).is_some_and(TaskState::is_terminal))
        };
        let is_at_rest = after.state().is_terminal() || after.waiting().is_some() || after.state() == JobState::Created;
        assert!(!has_ended(after) || is_at_rest, "all tasks ended, and nothing follows");
        assert!(after.waiting().is_none() || has_ended(after), "an attempt waits for the tasks of the one before");
    }
}

fn run(settings: Settings, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut now = Timestamp(0);
    let mut job = Job::new(settings, 0);
    let mut watcher = Watcher::default();
    let mut tell = |job: &mut Job, now: Timestamp, event: Event| {
        let before = job.clone();
        let effects = job.on(now, event.clone());
        watcher.observe(&before, job, &event, &effects);
    };
    tell(&mut job, now, Event::Submitted);
    for step in steps {
        let event = event(step, job.attempt(), &mut now);
        tell(&mut job, now, event);
    }
    // However it went: a cancel, and time enough for everybody to answer.
    tell(&mut job, now, Event::CancelRequested);
    tell(&mut job, now.saturating_add(settings.cancel_timeout), Event::Tick);
    prop_assert!(job.state().is_terminal());
    prop_assert_eq!(watcher.released, watcher.prepared);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_job_ends_once_with_its_slots_released(steps in proptest::collection::vec(step(), 0..60)) {
        run(SETTINGS, steps)?;
    }

    #[test]
    fn every_job_that_restarts_can_be_ended(steps in proptest::collection::vec(step(), 0..200)) {
        run(RESTARTING, steps)?;
    }
}
