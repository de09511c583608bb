//! librdkafka with few words: the clauses say what they need and no more.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, Timestamp, TopicPartitionList};

/// Nothing here takes long; a busy machine does.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// What comes back of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record to be sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Sent {
    /// Key, value and time made of a number, so that each record is different.
    pub(crate) fn number(i: i64) -> Self {
        Self {
            timestamp: 1_700_000_000_000 + i,
            key: Some(format!("key {i}").into_bytes()),
            value: Some(format!("value {i}, {}", "compressible ".repeat(20)).into_bytes()),
            headers: Vec::new(),
        }
    }

    pub(crate) fn numbers(count: i64) -> Vec<Self> {
        (0..count).map(Self::number).collect()
    }
}

/// Clients for one broker.
pub(crate) struct Client {
    bootstrap_servers: String,
}

impl Client {
    pub(crate) fn of(bootstrap_servers: &str) -> Self {
        Self { bootstrap_servers: bootstrap_servers.to_owned() }
    }

    /// A configuration for this broker, with more settings.
    pub(crate) fn config(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap_servers);
        // Errors come sooner than by default, and a reconnect after a restart too.
        config.set("message.timeout.ms", "20000").set("reconnect.backoff.max.ms", "500");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config(&[]).create().unwrap()
    }

    /// Makes a topic and waits until every partition has a leader.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let results = self.admin().create_topics([&topic], &admin_options()).await.unwrap();
        assert_eq!(results, [Ok(name.to_owned())]);
        let consumer = self.consumer(&[]);
        wait_until("the new topic has leaders", || {
            let count = count_partitions(&consumer, name);
            count == usize::try_from(partitions).unwrap()
        });
    }

    /// Sends records to partition 0, as one producer, and waits for each; returns their offsets.
    pub(crate) async fn produce(&self, topic: &str, records: &[Sent], settings: &[(&str, &str)]) -> Vec<i64> {
        // Long enough that the records share a batch.
        let producer: FutureProducer = self.config(&[&[("linger.ms", "50")], settings].concat()).create().unwrap();
        self.produce_with(&producer, topic, records).await.into_iter().collect::<Result<_, _>>().unwrap()
    }

    /// Sends records to partition 0; each offset or error.
    pub(crate) async fn produce_with(
        &self,
        producer: &FutureProducer,
        topic: &str,
        records: &[Sent],
    ) -> Vec<Result<i64, KafkaError>> {
        let mut deliveries = Vec::new();
        for sent in records {
            let mut record = FutureRecord::to(topic).partition(0).timestamp(sent.timestamp);
            record.key = sent.key.as_ref();
            record.payload = sent.value.as_ref();
            if !sent.headers.is_empty() {
                let headers = sent
                    .headers
                    .iter()
                    .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: value.as_ref() }));
                record = record.headers(headers);
            }
            deliveries.push(producer.send_result(record).map_err(|(e, _)| e).unwrap());
        }
        let mut offsets = Vec::new();
        for delivery in deliveries {
            let delivered = tokio::time::timeout(LIMIT, delivery).await.expect("a delivery report in time").unwrap();
            offsets.push(delivered.map(|d| d.offset).map_err(|(e, _)| e));
        }
        offsets
    }

    /// A consumer that reads what it assigns itself. Offsets outside the log go to the beginning.
    pub(crate) fn consumer(&self, settings: &[(&str, &str)]) -> BaseConsumer {
        let defaults = [("group.id", "contract"), ("enable.auto.commit", "false"), ("auto.offset.reset", "earliest")];
        self.config(&[&defaults, settings].concat()).create().unwrap()
    }

    /// Reads `count` records of partition 0 from `offset` on.
    pub(crate) fn read(&self, topic: &str, offset: Offset, count: usize, settings: &[(&str, &str)]) -> Vec<Read> {
        let consumer = self.consumer(settings);
        assign(&consumer, topic, offset);
        (0..count).map(|_| next(&consumer)).collect()
    }

    /// Low and high watermark of partition 0.
    pub(crate) fn watermarks(&self, topic: &str) -> (i64, i64) {
        self.consumer(&[]).fetch_watermarks(topic, 0, LIMIT).unwrap()
    }

    /// The first offset of partition 0 at or after a time.
    pub(crate) fn offset_at(&self, topic: &str, timestamp: i64) -> Offset {
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(topic, 0, Offset::Offset(timestamp)).unwrap();
        let offsets = self.consumer(&[]).offsets_for_times(times, LIMIT).unwrap();
        offsets.find_partition(topic, 0).unwrap().offset()
    }
}

pub(crate) fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT))
}

pub(crate) fn assign(consumer: &BaseConsumer, topic: &str, offset: Offset) {
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, offset).unwrap();
    consumer.assign(&partitions).unwrap();
}

/// The next record of a consumer, which must come.
pub(crate) fn next(consumer: &BaseConsumer) -> Read {
    read(&poll(consumer).expect("a record in time").unwrap())
}

fn read(message: &BorrowedMessage<'_>) -> Read {
    Read {
        offset: message.offset(),
        timestamp: match message.timestamp() {
            Timestamp::CreateTime(t) => t,
            other => panic!("the producer's time, not {other:?}"),
        },
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message
            .headers()
            .map(|all| all.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect())
            .unwrap_or_default(),
    }
}

/// The next record or consumer error. Errors of a connection are not those: librdkafka goes on by itself.
pub(crate) fn poll(consumer: &BaseConsumer) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
    let deadline = deadline();
    loop {
        match consumer.poll(now_until(deadline)?) {
            Some(Err(KafkaError::Global(_))) => {}
            Some(other) => return Some(other),
            None => {}
        }
    }
}

/// How many partitions a topic has that can be used; 0 if there is no such topic.
pub(crate) fn count_partitions(consumer: &BaseConsumer, topic: &str) -> usize {
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
    let topic = &metadata.topics()[0];
    if topic.error().is_some() {
        return 0;
    }
    topic.partitions().iter().filter(|p| p.error().is_none() && p.leader() >= 0).count()
}

/// Waits for a condition that the broker promises to bring about.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = deadline();
    while !is_so() {
        assert!(now_until(deadline).is_some(), "waited in vain: {what}");
        // Each look is a request to the broker; this keeps them to twenty a second.
        #[allow(clippy::disallowed_methods, reason = "the pause between two looks at a condition that has a deadline")]
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[allow(clippy::disallowed_methods, reason = "a deadline for a real broker is kept on the real clock")]
pub(crate) fn deadline() -> Instant {
    Instant::now() + LIMIT
}

/// The time left, at most a second; `None` once the deadline has passed.
#[allow(clippy::disallowed_methods, reason = "a deadline for a real broker is kept on the real clock")]
fn now_until(deadline: Instant) -> Option<Duration> {
    let left = deadline.checked_duration_since(Instant::now())?;
    Some(left.min(Duration::from_secs(1)))
}
