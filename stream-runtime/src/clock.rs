//! The one place where the machine's time is read.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stream_core::time::Timestamp;

/// Tells the time; passed in, so that tests and simulations can give their own.
pub trait Clock: Send + Sync {
    /// The wall clock, for people and for comparing with records. May jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment, for measuring and for timeouts. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

#[allow(clippy::disallowed_methods, reason = "this is where the real clock lives")]
impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        SystemClock { started: Instant::now() }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is where the real clock lives")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(stream_core::time::millis(since))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}
