//! Live traffic: events of now, at a steady rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connectors::kafka::Deliveries;
use stream_runtime::clock::{Clock, SystemClock};

use super::WebEvents;
use crate::deadline;
use crate::topic::{Error, Topic};

/// Events are sent in small heaps this far apart.
const BEAT: Duration = Duration::from_millis(10);

/// So many are sent before it looks at the clock and whether to stop.
const AT_ONCE: u64 = 10_000;

/// One event in four is up to so many ms old when it is sent, as if it came a longer way.
const DISORDER_MS: u32 = 5_000;

/// How long the last messages may take once it is over.
const FLUSH_WITHIN: Duration = Duration::from_secs(30);

/// What live traffic looks like.
#[derive(Debug, Clone, Copy)]
pub struct Live {
    /// Events a second.
    pub rate: u64,
    /// When to stop; `None` goes on until told.
    pub duration: Option<Duration>,
    /// Another seed gives other visitors.
    pub seed: u64,
    /// How many visitors.
    pub ips: u32,
}

impl Live {
    /// Produces events until the duration is over or `stop` is set, then waits until the broker has them all. Blocks.
    ///
    /// # Errors
    /// If the broker does not take them.
    pub fn produce(&self, topic: &Topic, stop: &AtomicBool, on_beat: &mut dyn FnMut(u64)) -> Result<Deliveries, Error> {
        let producer = topic.producer()?;
        let clock = SystemClock::new();
        let mut events = WebEvents::new(self.seed, self.ips);
        let mut line = Vec::new();
        let mut sent: u64 = 0;
        while !stop.load(Ordering::Relaxed) {
            let elapsed = clock.monotonic().min(self.duration.unwrap_or(Duration::MAX));
            let due = self.due(elapsed);
            let upto = due.min(sent + AT_ONCE);
            while sent < upto {
                let late = events.below(4) == 0;
                let behind = if late { events.below(DISORDER_MS) } else { 0 };
                line.clear();
                events.write(clock.now().0 - i64::from(behind), &mut line);
                let turn = usize::try_from(sent).unwrap_or(usize::MAX) % topic.partitions().len().max(1);
                producer.send(topic.partitions().get(turn).copied(), line.trim_ascii_end())?;
                sent += 1;
            }
            on_beat(sent);
            if self.duration.is_some_and(|duration| elapsed >= duration) {
                break;
            }
            // Who cannot keep up still stops when told.
            if upto == due {
                deadline::pause(BEAT);
            }
        }
        Ok(producer.flush(FLUSH_WITHIN)?)
    }

    /// How many events should have been sent after this time.
    fn due(&self, elapsed: Duration) -> u64 {
        u64::try_from(elapsed.as_micros() * u128::from(self.rate) / 1_000_000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_whatever_the_beats_do() {
        let live = Live { rate: 1500, duration: None, seed: 1, ips: 10 };
        assert_eq!(live.due(Duration::from_millis(10)), 15);
        assert_eq!(live.due(Duration::from_millis(1333)), 1999);
        assert_eq!(live.due(Duration::from_secs(3600)), 5_400_000);
    }
}
