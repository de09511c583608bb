//! Events that open so many sessions, and events that come to them afterwards, as a seed draws them.
//!
//! Visitor i has an address and a host of its own, so one session. Every event is within minutes of event time, and the gap is an
//! hour: no session closes. A message has the three fields that the job reads, so that the broker is not what is measured.

use std::fmt::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use connectors::kafka::{Admin, ClientSettings, Producer};
use localcluster::deadline::{Deadline, pause};

use crate::interrupted::Interrupted;
use crate::random::Random;
use crate::traffic::{BEGIN_MS, time_text};

/// As many as divide evenly among a few sources.
const PARTITIONS: i32 = 4;
/// Sessions begin within so much event time.
const OPENING_MS: u64 = 60_000;
/// A broker takes what is left by then.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);
/// Events are sent in heaps this far apart.
const BEAT: Duration = Duration::from_millis(10);
/// The largest heap of those that are sent as fast as they are read.
const BURST: u64 = 50_000;
/// How often progress is told.
const TOLD_EVERY: u32 = 4096;

/// The visitors of a topic.
#[derive(Clone, Debug)]
pub struct Visitors {
    client: ClientSettings,
    topic: String,
    sessions: u32,
}

/// How fast events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many a second.
    Rate(u64),
    /// As fast as they are read: so many are always in the topic and not yet read, as far as [`Visits::set_read`] tells.
    Unread(u64),
}

/// A thread that sends events to visitors drawn at random until it is stopped.
#[derive(Debug)]
pub struct Visits {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    pace: Mutex<Pace>,
    /// Since the sessions were opened.
    sent: AtomicU64,
    /// Of all events, those that opened the sessions too.
    read: AtomicU64,
}

impl Visitors {
    /// Makes the topic.
    ///
    /// # Errors
    /// If the broker refuses.
    pub async fn new(bootstrap: &str, topic: &str, sessions: u32) -> Result<Visitors> {
        let client = ClientSettings::new(bootstrap)?;
        Admin::new(&client)?.create_topic(topic, PARTITIONS).await?;
        Ok(Visitors { client, topic: topic.to_owned(), sessions })
    }

    /// An event for each visitor, in the topic when this returns.
    ///
    /// # Errors
    /// If the broker does not take them, or Ctrl-C was pressed.
    pub fn open(&self, interrupted: &Interrupted, on_progress: &mut dyn FnMut(u64)) -> Result<()> {
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

    /// Sends events at this pace from now on, whose times go on with the clock.
    ///
    /// # Errors
    /// If there is no thread.
    pub fn come_again(&self, pace: Pace, seed: u64) -> Result<Visits> {
        let (stop, sent, read) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(self.sessions.into()));
        let shared = Arc::new(Shared { stop, pace: Mutex::new(pace), sent, read });
        let (its, visitors) = (Arc::clone(&shared), self.clone());
        let thread = std::thread::Builder::new()
            .name("visits".into())
            .spawn(move || visitors.send_until_stopped(&its, Random::new(seed)))?;
        Ok(Visits { shared, thread: Some(thread) })
    }

    fn send_until_stopped(&self, shared: &Shared, mut random: Random) -> Result<()> {
        let producer = Producer::new(&self.client, &self.topic)?;
        let clock = Deadline::after(Duration::MAX);
        let (mut message, mut count, mut due_milli, mut looked_ms) = (String::new(), 0, 0_u64, 0);
        while !shared.stop.load(Ordering::Relaxed) {
            let elapsed_ms = u64::try_from(clock.elapsed().as_millis())?;
            let passed_ms = elapsed_ms - std::mem::replace(&mut looked_ms, elapsed_ms);
            let due = match *shared.pace.lock().unwrap_or_else(PoisonError::into_inner) {
                Pace::Rate(rate) => {
                    due_milli += rate.saturating_mul(passed_ms);
                    due_milli / 1000
                }
                Pace::Unread(most) => {
                    let read = shared.read.load(Ordering::Relaxed);
                    let due = (read + most).saturating_sub(self.sessions.into()).min(count + BURST);
                    due_milli = due.max(count) * 1000;
                    due
                }
            };
            while count < due {
                let visitor = draw(&mut random, self.sessions);
                write_event(visitor, OPENING_MS + elapsed_ms, &mut message);
                producer.send(Some(partition(visitor)), message.as_bytes())?;
                count += 1;
            }
            shared.sent.store(count, Ordering::Relaxed);
            pause(BEAT);
        }
        producer.flush(FLUSH_LIMIT)?;
        Ok(())
    }

    /// How many visitors have come in each of these parts of all events, those that opened the sessions too, in the order in which they
    /// were sent. The parts are in order and have nothing in common.
    pub fn came(&self, seed: u64, parts: &[Range<u64>]) -> Vec<u64> {
        let mut random = Random::new(seed);
        // The last part in which each came, from 1.
        let mut last_part = vec![0_u32; self.sessions as usize];
        let mut at = 0;
        let mut next = || {
            let event = at;
            at += 1;
            u32::try_from(event)
                .ok()
                .filter(|event| *event < self.sessions)
                .unwrap_or_else(|| draw(&mut random, self.sessions))
        };
        let mut before = 0;
        let came = |(number, part): (u32, &Range<u64>)| {
            for _ in before..part.start {
                next();
            }
            before = part.end.max(part.start);
            let is_first = |visitor: &u32| std::mem::replace(&mut last_part[*visitor as usize], number) != number;
            part.clone().map(|_| next()).filter(is_first).count() as u64
        };
        (1..).zip(parts).map(came).collect()
    }
}

impl Visits {
    /// How many events it has sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Goes on at another pace.
    pub fn set_pace(&self, pace: Pace) {
        *self.shared.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }

    /// So many of all events are read. What was said before and was more still counts: a job that begins again has them to read again.
    pub fn set_read(&self, events: u64) {
        self.shared.read.fetch_max(events, Ordering::Relaxed);
    }

    /// Ends it; what was sent is in the topic.
    ///
    /// # Errors
    /// If the broker did not take everything.
    pub fn stop(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("taken here and in drop only");
        thread.join().map_err(|_| anyhow!("the visits panicked"))?
    }
}

impl Drop for Visits {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn draw(random: &mut Random, sessions: u32) -> u32 {
    u32::try_from(random.below(sessions.into())).expect("below a number of 32 bits")
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
    fn who_came_is_counted_once_in_each_part() {
        let client = ClientSettings::new("127.0.0.1:1").expect("well-formed");
        let visitors = Visitors { client, topic: String::new(), sessions: 10 };
        assert_eq!(visitors.came(1, &[0..10, 10..10, 10..11]), [10, 0, 1]);
        let all = visitors.came(1, &[10..1_000, 1_000..1_005]);
        assert_eq!(all[0], 10);
        let mut random = Random::new(1);
        let drawn: Vec<u32> = (0..995).map(|_| draw(&mut random, 10)).collect();
        let last: std::collections::BTreeSet<&u32> = drawn[990..].iter().collect();
        assert_eq!(all[1], last.len() as u64);
    }

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
