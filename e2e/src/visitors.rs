//! Events that open so many sessions, and events that come to them afterwards, as a seed draws them.
//!
//! Visitor i has an address and a host of its own, so one session. Every event is within minutes of event time, and the gap is an
//! hour: no session closes. A message has the three fields that the job reads, so that the broker is not what is measured.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use connectors::kafka::{Admin, ClientSettings, Producer};
use e2e::interrupted::Interrupted;
use e2e::random::Random;
use e2e::traffic::{BEGIN_MS, time_text};
use localcluster::deadline::{Deadline, pause};

/// As many as divide evenly among a few sources.
const PARTITIONS: i32 = 4;
/// Sessions begin within so much event time.
const OPENING_MS: u64 = 60_000;
/// A broker takes what is left by then.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);
/// Events are sent in heaps this far apart.
const BEAT: Duration = Duration::from_millis(10);
/// How often progress is told.
const TOLD_EVERY: u32 = 4096;

/// The visitors of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Visitors {
    client: ClientSettings,
    topic: String,
    sessions: u32,
}

/// A thread that sends events to visitors drawn at random until it is stopped.
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Visitors {
    /// Makes the topic.
    pub(crate) async fn new(bootstrap: &str, topic: &str, sessions: u32) -> Result<Visitors> {
        let client = ClientSettings::new(bootstrap)?;
        Admin::new(&client)?.create_topic(topic, PARTITIONS).await?;
        Ok(Visitors { client, topic: topic.to_owned(), sessions })
    }

    /// An event for each visitor, in the topic when this returns.
    pub(crate) fn open(&self, interrupted: &Interrupted, on_progress: &mut dyn FnMut(u64)) -> Result<()> {
        let producer = Producer::new(&self.client, &self.topic)?;
        let mut message = String::new();
        for visitor in 0..self.sessions {
            let at_ms = u64::from(visitor) * OPENING_MS / u64::from(self.sessions);
            write_event(visitor, at_ms, &mut message);
            producer.send(Some(partition(visitor)), message.as_bytes())?;
            if visitor.is_multiple_of(TOLD_EVERY) {
                interrupted.check()?;
                on_progress(visitor.into());
            }
        }
        producer.flush(FLUSH_LIMIT)?;
        on_progress(self.sessions.into());
        Ok(())
    }

    /// Sends `rate` events a second from now on, whose times go on with the clock.
    pub(crate) fn come_again(self, rate: u64, seed: u64) -> Result<Traffic> {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (its_stop, its_sent) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::Builder::new()
            .name("traffic".into())
            .spawn(move || self.send_until(&its_stop, &its_sent, rate, Random::new(seed)))?;
        Ok(Traffic { stop, sent, thread: Some(thread) })
    }

    fn send_until(&self, stop: &AtomicBool, sent: &AtomicU64, rate: u64, mut random: Random) -> Result<()> {
        let producer = Producer::new(&self.client, &self.topic)?;
        let clock = Deadline::after(Duration::MAX);
        let (mut message, mut count) = (String::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            let elapsed_ms = u64::try_from(clock.elapsed().as_millis())?;
            while count < elapsed_ms.saturating_mul(rate) / 1000 {
                let visitor = u32::try_from(random.below(self.sessions.into()))?;
                write_event(visitor, OPENING_MS + elapsed_ms, &mut message);
                producer.send(Some(partition(visitor)), message.as_bytes())?;
                count += 1;
            }
            sent.store(count, Ordering::Relaxed);
            pause(BEAT);
        }
        producer.flush(FLUSH_LIMIT)?;
        Ok(())
    }
}

impl Traffic {
    /// How many events it has sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; what was sent is in the topic.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("taken here and in drop only");
        thread.join().map_err(|_| anyhow!("the traffic panicked"))?
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn partition(visitor: u32) -> i32 {
    visitor.cast_signed().rem_euclid(PARTITIONS)
}

/// The event of a visitor so many ms behind the first.
fn write_event(visitor: u32, at_ms: u64, message: &mut String) {
    let [a, b, c, d] = visitor.to_be_bytes();
    let time = time_text(BEGIN_MS + at_ms.cast_signed());
    message.clear();
    write!(message, r#"{{"ip":"{a}.{b}.{c}.{d}","host":"www{}.techcreator.io","event_time":"{time}"}}"#, visitor % 7)
        .expect("text takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_differ_and_their_events_have_the_fields_that_the_job_reads() {
        let mut message = String::new();
        write_event(66_051, 1500, &mut message);
        assert_eq!(message, r#"{"ip":"0.1.2.3","host":"www6.techcreator.io","event_time":"2025-01-14T00:00:01.500Z"}"#);
        let one = message.clone();
        write_event(66_052, 1500, &mut message);
        assert_ne!(one, message);
    }
}
