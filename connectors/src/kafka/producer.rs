//! Messages into a topic, for tools and tests.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::connection::Connection;
use super::error::{ClientWords, Error};
use super::settings::ClientSettings;

/// How many bytes wait to be sent before [`Producer::send`] waits too.
const QUEUE_KIB: &str = "32768";

/// How long `send` waits for room before it looks again.
const ROOM_WITHIN: Duration = Duration::from_millis(100);

/// Deliveries are counted when the producer is polled, which a tool does as it sends: every so many messages.
const POLL_EVERY: u64 = 256;

/// A producer into one topic. It blocks when its queue is full; it counts what was delivered and what was not.
pub struct Producer {
    producer: BaseProducer<Context>,
    topic: String,
    brokers: String,
    sent: AtomicU64,
}

/// What became of the messages so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Handed over by the caller.
    pub sent: u64,
    /// Taken by the broker.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
}

impl Producer {
    /// A producer; it connects when it has something to send.
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub fn new(settings: &ClientSettings, topic: &str) -> Result<Self, Error> {
        Self::with(settings, topic, &[])
    }

    /// A producer whose record batches have so many records each, if those of one partition are sent one after the other. What is
    /// left of a batch waits for [`Producer::flush`], or for a second.
    ///
    /// # Errors
    /// As [`Producer::new`].
    pub fn in_batches(settings: &ClientSettings, topic: &str, records: NonZeroU16) -> Result<Self, Error> {
        Self::with(settings, topic, &[("batch.num.messages", &records.to_string()), ("linger.ms", "1000")])
    }

    fn with(settings: &ClientSettings, topic: &str, more: &[(&str, &str)]) -> Result<Self, Error> {
        let brokers = settings.brokers().to_owned();
        let mut config = settings.client_config()?;
        config
            .set("queue.buffering.max.kbytes", QUEUE_KIB)
            .set("queue.buffering.max.messages", "200000")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "30000");
        for &(name, value) in more {
            config.set(name, value);
        }
        // A consumer's settings mean nothing here, and librdkafka says so each time.
        config.remove("group.id");
        let producer = config.create_with_context(Context::default());
        let producer = producer.map_err(Error::client("make a Kafka producer", &brokers))?;
        Ok(Producer { producer, topic: topic.to_owned(), brokers, sent: AtomicU64::new(0) })
    }

    /// Queues a message without a key; with `None` for the partition, librdkafka spreads them.
    ///
    /// # Errors
    /// If it is too large, or the topic is not there.
    pub fn send(&self, partition: Option<i32>, payload: &[u8]) -> Result<(), Error> {
        self.send_keyed(partition, None, Some(payload))
    }

    /// Queues a message; without a payload it is a tombstone.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn send_keyed(&self, partition: Option<i32>, key: Option<&[u8]>, payload: Option<&[u8]>) -> Result<(), Error> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
        (record.partition, record.key, record.payload) = (partition, key, payload);
        loop {
            record = match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
                Err((error, _)) => return Err(Error::client("produce a message", &self.brokers)(error)),
            };
            self.producer.poll(ROOM_WITHIN);
        }
        if self.sent.fetch_add(1, Ordering::Relaxed) % POLL_EVERY == POLL_EVERY - 1 {
            self.producer.poll(Duration::ZERO);
        }
        Ok(())
    }

    /// Waits until every message was delivered or given up.
    ///
    /// # Errors
    /// If any was given up, or `within` passed.
    pub fn flush(&self, within: Duration) -> Result<Deliveries, Error> {
        let flushed = self.producer.flush(within);
        let deliveries = self.deliveries();
        let undelivered = deliveries.sent - deliveries.delivered;
        if flushed.is_ok() && undelivered == 0 {
            return Ok(deliveries);
        }
        let context = self.producer.context();
        let reason = context.first_failure();
        let connection = context.connection.failure();
        match (connection, reason) {
            (Some(failure), _) if deliveries.delivered == 0 => Err(failure.into_error(&self.brokers)),
            (_, reason) => Err(Error::NotDelivered {
                failed: undelivered,
                sent: deliveries.sent,
                topic: self.topic.clone(),
                source: ClientWords(
                    reason.map_or("they still wait to be sent".to_owned(), |reason| reason.to_string()),
                ),
            }),
        }
    }

    /// What became of the messages so far.
    pub fn deliveries(&self) -> Deliveries {
        let context = self.producer.context();
        Deliveries {
            sent: self.sent.load(Ordering::Relaxed),
            delivered: context.delivered.load(Ordering::Relaxed),
            failed: context.failed.load(Ordering::Relaxed),
        }
    }
}

/// What became of the messages of a producer, and of its connections.
#[derive(Default)]
pub(super) struct Context {
    pub(super) connection: Connection,
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<KafkaError>>,
}

impl Context {
    /// Why the first message was given up that was.
    pub(super) fn first_failure(&self) -> Option<KafkaError> {
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.connection.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.delivered.fetch_add(1, Ordering::Relaxed),
            Err((error, _)) => {
                let mut first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.clone());
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}
