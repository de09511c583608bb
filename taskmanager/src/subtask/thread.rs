//! The plain thread of a subtask: calls `step`, waits between steps, accounts for the time, and catches panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use stream_core::job::TaskFailure;
use stream_runtime::clock::Clock;
use stream_runtime::connector::cause_chain;
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::subtask::{Step, Subtask, TaskError};

/// How long a thread may wait without looking whether it is to stop, or whether a flush is due. Gates and channels wake
/// their waiters when they are closed; this is for the rest.
pub(crate) const MAX_WAIT: Duration = Duration::from_millis(50);

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It read, worked off and handed on everything there was.
    Finished,
    /// It was stopped.
    Canceled,
    /// It could not go on.
    Failed(TaskFailure),
}

/// Builds a subtask and runs it until it has finished, failed or been stopped. A panic is a failure of this task only.
pub(crate) fn run(
    build: impl FnOnce() -> Result<Box<dyn Subtask>, TaskError>,
    on_running: impl FnOnce(),
    stop: &CancellationToken,
    clock: &dyn Clock,
    counters: &Counters,
) -> Outcome {
    let all_of_it = || {
        let mut subtask = build()?;
        on_running();
        step_until_done(subtask.as_mut(), stop, clock, counters)
    };
    // What the closure leaves half-changed is dropped with it, or closed with the attempt.
    let result = catch_unwind(AssertUnwindSafe(all_of_it));
    let result = result.unwrap_or_else(|panic| Err(TaskError::Panicked(panic_message(panic.as_ref()))));
    match result {
        Ok(outcome) => outcome,
        // What fails while its attempt is being canceled fails because of that.
        Err(_) if stop.is_cancelled() => Outcome::Canceled,
        Err(error) => Outcome::Failed(TaskFailure { causes: cause_chain(&error), is_final: error.is_final() }),
    }
}

fn step_until_done(
    subtask: &mut dyn Subtask,
    stop: &CancellationToken,
    clock: &dyn Clock,
    counters: &Counters,
) -> Result<Outcome, TaskError> {
    let mut now = clock.monotonic();
    while !stop.is_cancelled() {
        let step = subtask.step()?;
        if matches!(step, Step::AwaitingInput | Step::Backpressured) {
            // It may have copied state or answered a query before it waits.
            let then = std::mem::replace(&mut now, clock.monotonic());
            counters.add_busy(now.saturating_sub(then));
        }
        match step {
            Step::Finished => return Ok(Outcome::Finished),
            Step::Closed => return Ok(Outcome::Canceled),
            Step::AwaitingInput => subtask.wait_for_input(MAX_WAIT),
            Step::Backpressured => subtask.wait_for_room(MAX_WAIT),
            Step::Worked { .. } => {}
        }
        let then = std::mem::replace(&mut now, clock.monotonic());
        let passed = now.saturating_sub(then);
        match step {
            Step::AwaitingInput => counters.add_idle(passed),
            Step::Backpressured => counters.add_backpressured(passed),
            Step::Worked { waited } => {
                counters.add_idle(waited);
                counters.add_busy(passed.saturating_sub(waited));
            }
            Step::Finished | Step::Closed => {}
        }
    }
    Ok(Outcome::Canceled)
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subtask::testing::ManualClock;

    /// A subtask that does what it is told.
    struct Scripted(Box<dyn FnMut() -> Result<Step, TaskError>>);

    impl Subtask for Scripted {
        fn step(&mut self) -> Result<Step, TaskError> {
            (self.0)()
        }
        fn wait_for_input(&self, _max_wait: Duration) {}
        fn wait_for_room(&self, _max_wait: Duration) {}
    }

    fn run_steps(step: impl FnMut() -> Result<Step, TaskError> + 'static, stop: &CancellationToken) -> Outcome {
        let build = || Ok(Box::new(Scripted(Box::new(step))) as Box<dyn Subtask>);
        run(build, || {}, stop, &ManualClock::default(), &Counters::default())
    }

    #[test]
    fn panic_fails_the_task_and_keeps_its_message() {
        let outcome = run_steps(|| panic!("no {}", "way"), &CancellationToken::new());
        let failure = TaskFailure { causes: vec!["panicked: no way".to_owned()], is_final: false };
        assert_eq!(outcome, Outcome::Failed(failure));
    }

    #[test]
    fn stopped_task_is_canceled_even_if_stopping_made_it_fail() {
        let stop = CancellationToken::new();
        let stopper = stop.clone();
        let step = move || {
            stopper.cancel();
            Err(TaskError::EndedBeforeLast)
        };
        assert_eq!(run_steps(step, &stop), Outcome::Canceled);
        assert_eq!(run_steps(|| Ok(Step::AwaitingInput), &stop), Outcome::Canceled);
    }

    /// Each step and each wait takes 10 ms.
    struct Steady(ManualClock, Vec<Step>);

    impl Subtask for Steady {
        fn step(&mut self) -> Result<Step, TaskError> {
            self.0.advance(Duration::from_millis(10));
            Ok(self.1.pop().unwrap_or(Step::Finished))
        }
        fn wait_for_input(&self, _max_wait: Duration) {
            self.0.advance(Duration::from_millis(10));
        }
        fn wait_for_room(&self, _max_wait: Duration) {
            self.0.advance(Duration::from_millis(10));
        }
    }

    #[test]
    fn time_is_accounted_to_what_it_was_spent_on() {
        let clock = ManualClock::default();
        let counters = Counters::default();
        let steps = vec![
            Step::Finished,
            Step::Worked { waited: Duration::from_millis(3) },
            Step::Backpressured,
            Step::AwaitingInput,
        ];
        let subtask = Steady(clock.clone(), steps);
        let build = || Ok(Box::new(subtask) as Box<dyn Subtask>);
        assert_eq!(run(build, || {}, &CancellationToken::new(), &clock, &counters), Outcome::Finished);
        let ms = |time: Duration| time.as_millis();
        let counted = counters.snapshot();
        assert_eq!((ms(counted.busy), ms(counted.idle), ms(counted.backpressured)), (27, 13, 10));
    }
}
