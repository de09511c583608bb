//! How often: calls at even distances (the generic cell rate algorithm), with a little room to catch up.

use std::time::Duration;

/// How far calls may be ahead of their even distances: what a queue was late by.
const SLACK: Duration = Duration::from_millis(100);

/// When the next call may be made.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    distance: Duration,
    /// When the next call is due, if all keep their distance.
    due: Duration,
    /// No call before.
    paused_until: Duration,
}

impl Rate {
    /// So many calls for each second.
    pub fn new(rate: f64) -> Self {
        // An hour between two calls is no rate any more; less than a nanosecond no limit.
        let distance = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX).min(Duration::from_secs(3600));
        Rate { distance, due: Duration::ZERO, paused_until: Duration::ZERO }
    }

    /// When the next call may be made.
    pub fn next(&self) -> Duration {
        self.due.saturating_sub(SLACK).max(self.paused_until)
    }

    /// When the call may be made that has so many before it.
    pub fn next_behind(&self, now: Duration, calls: usize) -> Duration {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        self.next().max(now).saturating_add(self.distance.saturating_mul(calls))
    }

    /// Whether a call may be made now; it is then counted.
    pub fn take(&mut self, now: Duration) -> bool {
        let may = now >= self.next();
        if may {
            self.due = self.due.max(now) + self.distance;
        }
        may
    }

    /// No call before that.
    pub fn pause(&mut self, until: Duration) {
        self.paused_until = self.paused_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How many calls are made within so many milliseconds by somebody who tries at each.
    fn calls(rate: &mut Rate, from_ms: u32, to_ms: u32) -> usize {
        (from_ms..to_ms).flat_map(|now| [now; 10]).filter(|&now| rate.take(MS * now)).count()
    }

    #[test]
    fn calls_keep_their_distance_whoever_asks_and_make_up_for_little() {
        let mut rate = Rate::new(100.0);
        assert_eq!(calls(&mut rate, 0, 1000), 100 + 10);
        assert_eq!(calls(&mut rate, 1000, 2000), 100);
        assert_eq!(calls(&mut rate, 9000, 10_000), 100 + 10, "silence is no credit for later");
    }

    #[test]
    fn nothing_is_called_in_a_pause_and_next_says_when() {
        let mut rate = Rate::new(10.0);
        assert!(rate.take(MS) && rate.take(MS) && !rate.take(MS));
        assert_eq!(rate.next(), MS * 101);
        assert_eq!(rate.next_behind(MS, 3), MS * 401);
        rate.pause(MS * 5000);
        assert!(!rate.take(MS * 4999) && rate.take(MS * 5000));
    }

    #[test]
    fn rates_that_are_hardly_any_or_hardly_limits_do_not_overflow() {
        assert!(Rate::new(f64::MIN_POSITIVE).take(MS));
        assert!(Rate::new(f64::INFINITY).take(MS));
        assert!(Rate::new(1e-300).next_behind(MS, usize::MAX) > MS);
    }
}
