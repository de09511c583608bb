//! What follows a failed attempt, and after which pause.
//!
//! The pause grows with every failure, and begins anew once an attempt has completed a checkpoint, other than the one that
//! it begins with (`Coordinator::is_progress`): a job that gets on is in no crash loop, however often its machines die. (Flink's `restart-strategy.type: exponential-delay` waits for an hour without
//! failures instead; a cluster that loses a machine every few minutes would come to pause for a minute each time.) No randomness is read here: the jitter comes from a seed that is given.

use std::time::Duration;

use crate::random::SplitMix64;

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RestartStrategy {
    /// The job fails with its first attempt.
    Never,
    /// The next attempt begins after a pause that grows from failure to failure.
    ExponentialDelay(ExponentialDelay),
}

/// How the pauses between attempts grow. The names are those of Flink's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialDelay {
    /// The first pause.
    pub initial: Duration,
    /// The longest pause, apart from the jitter.
    pub max: Duration,
    /// What each pause is multiplied by to become the next.
    pub multiplier: u32,
    /// By which part of itself a pause is made longer or shorter at random, so that jobs that failed together do not come
    /// back together; from 0 to 1.
    pub jitter: f64,
    /// How many failures in a row, with no checkpoint completed between them, are restarted from; `None` for all of them.
    pub attempts: Option<u32>,
}

impl Default for ExponentialDelay {
    /// 100 ms, doubled up to 30 s, give or take a tenth; without end.
    fn default() -> Self {
        ExponentialDelay {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            multiplier: 2,
            jitter: 0.1,
            attempts: None,
        }
    }
}

/// The failures in a row and the pause that each is worth.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    strategy: RestartStrategy,
    failures: u32,
    random: SplitMix64,
}

impl Backoff {
    /// No failure yet.
    pub(super) fn new(strategy: RestartStrategy, seed: u64) -> Self {
        Backoff { strategy, failures: 0, random: SplitMix64::new(seed) }
    }

    /// Whether a failure can be restarted from at all.
    pub(super) fn restarts(&self) -> bool {
        self.strategy != RestartStrategy::Never
    }

    /// An attempt failed, which had got on or had not: the pause before the next one; `None` if there is none.
    pub(super) fn on_failure(&mut self, has_progressed: bool) -> Option<Duration> {
        let RestartStrategy::ExponentialDelay(delay) = self.strategy else { return None };
        if has_progressed {
            self.failures = 0;
        }
        if delay.attempts.is_some_and(|attempts| self.failures >= attempts) {
            return None;
        }
        let factor = delay.multiplier.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let pause = delay.initial.saturating_mul(factor).min(delay.max);
        let swing = delay.jitter.clamp(0.0, 1.0) * (2.0 * self.next_fraction() - 1.0);
        Some(pause.mul_f64(1.0 + swing))
    }

    /// From 0 to 1.
    fn next_fraction(&mut self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "32 bits fit a double")]
        let fraction = (self.random.bits() >> 32) as f64 / f64::from(u32::MAX);
        fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEADY: ExponentialDelay = ExponentialDelay {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(30),
        multiplier: 2,
        jitter: 0.0,
        attempts: None,
    };

    fn backoff(delay: ExponentialDelay) -> Backoff {
        Backoff::new(RestartStrategy::ExponentialDelay(delay), 7)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_progress() {
        let mut backoff = backoff(STEADY);
        let mut next = |has_progressed| backoff.on_failure(has_progressed).expect("it goes on").as_millis();
        assert_eq!([next(false), next(false), next(false)], [100, 200, 400]);
        for _ in 0..60 {
            next(false);
        }
        assert_eq!([next(false), next(true), next(false)], [30_000, 100, 200]);
    }

    #[test]
    fn jitter_swings_around_the_pause_and_comes_from_the_seed_alone() {
        let delay = ExponentialDelay { jitter: 0.1, max: STEADY.initial, ..STEADY };
        let pauses = || {
            let mut backoff = backoff(delay);
            (0..100).map(|_| backoff.on_failure(false).expect("it goes on")).collect::<Vec<_>>()
        };
        let (first, second) = (pauses(), pauses());
        assert_eq!(first, second);
        let (low, high) = (Duration::from_millis(90), Duration::from_millis(110));
        assert!(first.iter().all(|pause| (low..=high).contains(pause)));
        assert!(first.iter().any(|pause| *pause < STEADY.initial) && first.iter().any(|pause| *pause > STEADY.initial));
    }

    #[test]
    fn failures_in_a_row_are_counted_where_they_are_limited() {
        let mut backoff = backoff(ExponentialDelay { attempts: Some(2), ..STEADY });
        assert!(backoff.on_failure(false).is_some() && backoff.on_failure(false).is_some());
        assert_eq!(backoff.on_failure(false), None);
        assert!(backoff.on_failure(true).is_some());
        assert_eq!(Backoff::new(RestartStrategy::Never, 0).on_failure(false), None);
    }
}
