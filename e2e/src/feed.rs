//! Traffic into a topic at a steady rate, while a cluster is being tormented.
//!
//! The producer is idempotent and never gives up, so that every event is in the topic once and in order, however often the
//! broker dies; what the topic holds is what counts all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use connectors::kafka::{Admin, ClientSettings};
use localcluster::deadline::Deadline;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::traffic::{Event, PARTITIONS, Traffic};

/// A broker that was killed is back by then.
const FLUSH_LIMIT: Duration = Duration::from_secs(120);
/// How long the producer serves its deliveries before it looks whether events are due.
const TURN: Duration = Duration::from_millis(10);

/// A thread that produces until it is stopped.
#[derive(Debug)]
pub struct Feed {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Traffic>>>,
}

/// Makes the topic.
///
/// # Errors
/// If the broker refuses.
pub async fn create_topic(bootstrap: &str, topic: &str) -> Result<()> {
    Admin::new(&ClientSettings::new(bootstrap)?)?.create_topic(topic, PARTITIONS).await?;
    Ok(())
}

/// How many records a topic holds.
///
/// # Errors
/// If the broker does not answer.
pub async fn topic_length(bootstrap: &str, topic: &str) -> Result<u64> {
    let ranges = Admin::new(&ClientSettings::new(bootstrap)?)?.all_watermarks(topic).await?;
    Ok(ranges.values().map(|range| range.end - range.start).sum())
}

/// Produces so many events at once, and waits until the topic has them.
///
/// # Errors
/// If the broker does not take them.
pub fn produce(bootstrap: &str, topic: &str, traffic: &mut Traffic, events: u64) -> Result<()> {
    let producer = producer(bootstrap)?;
    (0..events).try_for_each(|_| send(&producer, topic, &traffic.next_event()))?;
    flush(&producer)
}

/// Produces these records, and waits until the topic has them.
///
/// # Errors
/// If the broker does not take them.
pub fn produce_records(bootstrap: &str, topic: &str, records: &[Event]) -> Result<()> {
    let producer = producer(bootstrap)?;
    records.iter().try_for_each(|event| send(&producer, topic, event))?;
    flush(&producer)
}

/// Produces a record with a header, and waits until the topic has it.
///
/// # Errors
/// If the broker does not take it.
pub fn produce_with_header(bootstrap: &str, topic: &str, event: &Event, key: &str, value: &str) -> Result<()> {
    let producer = producer(bootstrap)?;
    let headers = OwnedHeaders::new().insert(Header { key, value: Some(value) });
    let record = BaseRecord::<(), str>::to(topic).partition(event.partition).payload(&event.json).headers(headers);
    producer.send(record).map_err(|(error, _)| error)?;
    flush(&producer)
}

/// Produces the events that end every session before them, and waits until the topic has them.
///
/// # Errors
/// If the broker does not take them.
pub fn close(bootstrap: &str, topic: &str, traffic: &Traffic) -> Result<()> {
    produce_records(bootstrap, topic, &traffic.closing_events())
}

impl Feed {
    /// Produces `rate` events a second from now on, or as many as the broker takes.
    ///
    /// # Errors
    /// If the producer cannot be made.
    pub fn start(bootstrap: &str, topic: &str, traffic: Traffic, rate: u64) -> Result<Feed> {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (producer, topic) = (producer(bootstrap)?, topic.to_owned());
        let (its_stop, its_sent) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::Builder::new()
            .name("feed".into())
            .spawn(move || feed(&producer, &topic, traffic, rate, &its_stop, &its_sent))?;
        Ok(Feed { stop, sent, thread: Some(thread) })
    }

    /// How many events this feed has sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it once the topic has every event; the traffic, to go on with.
    ///
    /// # Errors
    /// If the broker did not take them all.
    pub fn stop(mut self) -> Result<Traffic> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("taken here and in drop only");
        thread.join().map_err(|_| anyhow!("the feed panicked"))?
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn feed(
    producer: &BaseProducer,
    topic: &str,
    mut traffic: Traffic,
    rate: u64,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<Traffic> {
    let clock = Deadline::after(Duration::MAX);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = u64::try_from(clock.elapsed().as_millis())?.saturating_mul(rate) / 1000;
        while count < due && !stop.load(Ordering::Relaxed) {
            send(producer, topic, &traffic.next_event())?;
            count += 1;
            // Where the broker sets the pace, what is due is never reached.
            sent.store(count, Ordering::Relaxed);
        }
        producer.poll(TURN);
    }
    flush(producer)?;
    Ok(traffic)
}

fn producer(bootstrap: &str) -> Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        // For ever: what was begun is in the topic, once the broker is back.
        .set("message.timeout.ms", "0")
        .set("reconnect.backoff.max.ms", "500")
        .set("log_level", "2");
    Ok(config.create()?)
}

fn send(producer: &BaseProducer, topic: &str, event: &Event) -> Result<()> {
    let mut record = BaseRecord::<(), str>::to(topic).partition(event.partition).payload(&event.json);
    loop {
        record = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
            Err((error, _)) => return Err(error.into()),
        };
        producer.poll(TURN);
    }
}

fn flush(producer: &BaseProducer) -> Result<()> {
    producer.flush(FLUSH_LIMIT)?;
    let fatal = producer.client().fatal_error();
    ensure!(fatal.is_none(), "the producer gave up: {fatal:?}");
    Ok(())
}
