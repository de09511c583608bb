//! Random events in random order, then an orderly end: whatever happens, the promises of a job hold.

use proptest::prelude::*;

use super::tests::{FIRST, SETTINGS, plan, tm};
use super::*;
use crate::time::Timestamp;

#[derive(Clone, Debug)]
enum Step {
    Deployed(u32),
    Task { place: usize, attempt: u32, state: TaskState },
    Lost(u32),
    Cancel,
    Replan,
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
        20 => (0_usize..6, 0_u32..3, state).prop_map(|(place, attempt, state)| Step::Task { place, attempt, state }),
        1 => (1_u32..4).prop_map(Step::Lost),
        1 => Just(Step::Cancel),
        1 => Just(Step::Replan),
        3 => (0_u64..4000).prop_map(Step::Tick),
    ]
}

fn event(step: Step, now: &mut Timestamp) -> Event {
    match step {
        Step::Deployed(number) => Event::Deployed { attempt: FIRST, taskmanager: tm(number) },
        Step::Task { place, attempt, state } => {
            // The last place is a task that is not.
            let subtask =
                plan().tasks().get(place).map_or(
                    SubtaskId { stage: crate::ids::StageIndex(9), index: crate::ids::SubtaskIndex(9) },
                    |task| task.subtask,
                );
            // Most reports are of the current attempt.
            let attempt = AttemptNumber(if attempt == 2 { 7 } else { 1 });
            Event::TaskStateChanged { attempt, subtask, state, causes: vec!["cause".to_owned()] }
        }
        Step::Lost(number) => Event::TaskManagerLost { taskmanager: tm(number), reason: "lost".to_owned() },
        Step::Cancel => Event::CancelRequested,
        Step::Replan => Event::Planned(plan()),
        Step::Tick(ms) => {
            *now = now.saturating_add(Duration::from_millis(ms));
            Event::Tick
        }
    }
}

/// What a job promised, seen from outside.
#[derive(Default)]
struct Watcher {
    released: u32,
    ended: Option<JobState>,
    canceled_once: bool,
}

impl Watcher {
    fn observe(&mut self, before: &Job, after: &Job, effects: &[Effect]) {
        assert!(self.ended.is_none() || effects.is_empty(), "an effect after the end: {effects:?}");
        assert!(!before.state().is_terminal() || before.state() == after.state());
        for task in before.plan().tasks() {
            let (was, is) = (before.task_state(task.subtask), after.task_state(task.subtask));
            assert!(was <= is && (was == is || !was.is_some_and(TaskState::is_terminal)), "{task}: {was:?} to {is:?}");
        }
        assert!(before.causes().is_empty() || before.causes() == after.causes(), "the first failure's causes are kept");

        let cancels = effects.iter().any(|effect| matches!(effect, Effect::CancelTasks { .. }));
        assert!(!(cancels && self.canceled_once), "tasks are canceled once");
        self.canceled_once |= cancels;
        for effect in effects {
            match effect {
                Effect::ReleaseSlots => self.released += 1,
                Effect::JobEnded { state, causes } => {
                    assert_eq!(self.released, 1, "slots are released before the end is told");
                    assert_eq!(*state == JobState::Failed, !causes.is_empty());
                    self.ended = Some(*state);
                }
                Effect::Deploy { .. }
                | Effect::AssignSplits { .. }
                | Effect::CancelTasks { .. }
                | Effect::Disconnect { .. } => {}
            }
        }
        let all_ended =
            after.plan().tasks().iter().all(|task| after.task_state(task.subtask).is_some_and(TaskState::is_terminal));
        assert!(!all_ended || after.state().is_terminal(), "all tasks ended, the job did not");
        assert_eq!(after.state().is_terminal(), self.ended == Some(after.state()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_job_ends_once_with_its_slots_released(steps in proptest::collection::vec(step(), 0..60)) {
        let mut now = Timestamp(0);
        let mut story = vec![(now, Event::Planned(plan()))];
        for step in steps {
            let event = event(step, &mut now);
            story.push((now, event));
        }
        // However it went: a cancel, and time enough for everybody to answer.
        story.push((now, Event::CancelRequested));
        story.push((now.saturating_add(SETTINGS.cancel_timeout), Event::Tick));

        let mut job = Job::new(SETTINGS);
        let mut watcher = Watcher::default();
        for (time, event) in story {
            let before = job.clone();
            let effects = job.on(time, event);
            watcher.observe(&before, &job, &effects);
        }
        prop_assert!(job.state().is_terminal());
        prop_assert_eq!(watcher.released, 1);
    }
}
