//! Waiting for a condition, with an end to it: the one place of this crate that reads a clock or sleeps.
//!
//! Nothing here can be told about an event in another process (a port that opens, a pid that goes), so it looks again
//! every few milliseconds. It never sleeps and hopes: what ends the wait is the condition or the deadline.

use std::time::{Duration, Instant};

/// Short enough not to be noticed by a person, long enough not to be noticed by a CPU.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A point on the monotonic clock after which waiting is over.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    limit: Duration,
}

impl Deadline {
    /// The deadline `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Deadline {
        Deadline { started: now(), limit }
    }

    /// How long ago this deadline was set.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        now().duration_since(self.started)
    }

    /// Whether the time is up.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.elapsed() >= self.limit
    }

    /// Calls `look` until it finds something, or the time is up (`None`). Looks at least once.
    ///
    /// # Errors
    /// The first error of `look`, at once: it is for what waiting cannot mend, such as a process that died.
    pub fn wait_for<T, E>(&self, mut look: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if self.has_passed() {
                return Ok(None);
            }
            pause(LOOK_AGAIN_AFTER);
        }
    }

    /// Calls `holds` until it is true, or the time is up (`false`).
    pub fn wait_until(&self, mut holds: impl FnMut() -> bool) -> bool {
        let found: Result<Option<()>, std::convert::Infallible> = self.wait_for(|| Ok(holds().then_some(())));
        matches!(found, Ok(Some(())))
    }
}

/// Sleeps for `time`; for loops that pace themselves, such as live traffic.
#[expect(
    clippy::disallowed_methods,
    reason = "the crate's only sleep: there is no event to wait for in another process"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "the crate's only clock: deadlines for real processes")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_is_seen_even_when_the_time_is_up() {
        assert!(Deadline::after(Duration::ZERO).wait_until(|| true));
    }

    #[test]
    fn a_condition_that_never_holds_ends_with_the_deadline() {
        let mut looks = 0;
        let held = Deadline::after(Duration::from_millis(50)).wait_until(|| {
            looks += 1;
            false
        });
        assert!(!held);
        assert!(looks >= 2);
    }

    #[test]
    fn an_error_ends_the_wait_at_once() {
        let deadline = Deadline::after(Duration::from_secs(3600));
        let seen: Result<Option<()>, &str> = deadline.wait_for(|| Err("died"));
        assert_eq!(seen, Err("died"));
    }
}
