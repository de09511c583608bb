//! Whether it makes sense at all: a service of whose last calls nearly all failed is left alone for a while, then one call at a
//! time feels the way.

use std::time::Duration;

/// The calls that are looked at: several times as many as are in flight at once, all of which one hiccup can fail.
const CALLS: u32 = 64;
/// So many failed among them, and it is left alone: far above what a service has on a bad day.
const FAILED: u32 = 52;
/// For how long the first time; it doubles each time that the way is still closed.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// And no longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The circuit breaker.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    state: State,
    /// The last calls, the newest lowest: 1 for one that failed.
    failed: u64,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calls go through.
    Closed,
    /// None does.
    Open { until: Duration },
    /// One at a time does.
    Probing,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { state: State::Closed, failed: 0, pause: FIRST_PAUSE }
    }
}

impl Breaker {
    /// Whether no call makes sense now.
    pub fn is_open(&self, now: Duration) -> bool {
        matches!(self.state, State::Open { until } if now < until)
    }

    /// Whether one call at a time feels the way, or will.
    pub fn is_probing(&self) -> bool {
        self.state != State::Closed
    }

    /// A call is made, although it was left alone: its time is over.
    pub fn on_call(&mut self) {
        if let State::Open { .. } = self.state {
            self.state = State::Probing;
        }
    }

    /// A call came through.
    pub fn on_success(&mut self) {
        match self.state {
            State::Probing => *self = Breaker::default(),
            State::Closed => self.record(false),
            // It was made before; the next one will tell.
            State::Open { .. } => {}
        }
    }

    /// A call failed.
    pub fn on_failure(&mut self, now: Duration) {
        match self.state {
            State::Probing => self.open(now),
            State::Closed => {
                self.record(true);
                if self.failed.count_ones() >= FAILED {
                    self.open(now);
                }
            }
            State::Open { .. } => {}
        }
    }

    /// It is to be left alone from now on.
    pub fn open(&mut self, now: Duration) {
        self.state = State::Open { until: now + self.pause };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.failed = 0;
    }

    fn record(&mut self, has_failed: bool) {
        const { assert!(CALLS == u64::BITS, "what is older falls out at the top") };
        self.failed = self.failed << 1 | u64::from(has_failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn service_that_fails_one_call_in_two_is_called_on() {
        let mut breaker = Breaker::default();
        for _ in 0..1000 {
            breaker.on_failure(SECOND);
            breaker.on_success();
            assert!(!breaker.is_open(SECOND));
        }
    }

    #[test]
    fn service_that_is_gone_is_left_alone_and_felt_for_ever_more_seldom() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILED {
            assert!(!breaker.is_open(SECOND));
            breaker.on_failure(SECOND);
        }
        let mut now = SECOND;
        for pause in [5, 10, 20, 40, 60, 60] {
            assert!(breaker.is_open(now) && breaker.is_probing());
            breaker.on_failure(now);
            assert!(breaker.is_open(now + SECOND * (pause - 1)));
            now += SECOND * pause;
            assert!(!breaker.is_open(now));
            breaker.on_call();
            assert!(breaker.is_probing());
            breaker.on_failure(now);
        }
        now += SECOND * 60;
        breaker.on_call();
        breaker.on_success();
        assert!(!breaker.is_open(now) && !breaker.is_probing());
        (1..FAILED).for_each(|_| breaker.on_failure(now));
        assert!(!breaker.is_open(now), "what failed before is forgotten");
        breaker.on_failure(now);
        assert!(breaker.is_open(now + SECOND * 4) && !breaker.is_open(now + SECOND * 5));
    }
}
