//! What a topic may hold beside plain records, read from a real broker: compressed batches, headers, transactions, compaction; and
//! partitions that have to wait for others.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::RealConnectors;
use e2e::broker::Broker;
use localcluster::deadline::Deadline;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use stream_core::operator::Record;
use stream_core::pipeline::{SourceSpec, StartPosition};
use stream_runtime::connector::{Connectors, SourceReader, SourceVisitor};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

const LIMIT: Duration = Duration::from_secs(60);
/// Of each partition that waits or is waited for: more than the client keeps of one that waits.
const MANY: u64 = 120_000;

#[tokio::test(flavor = "multi_thread")]
async fn kafka_records() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let kafka = Kafka { broker: Broker::start(dir.path())? };
    every_compression_and_headers_are_read(&kafka).await.context("every compression and headers are read")?;
    a_held_partition_waits_and_loses_nothing(&kafka).await.context("a held partition waits and loses nothing")?;
    if matches!(kafka.broker, Broker::Apache(_)) {
        aborted_records_are_not_read_and_the_end_is_known_behind_them(&kafka).await.context("aborted records")?;
        a_compacted_topic_is_read_with_its_gaps(&kafka).await.context("a compacted topic")?;
    }
    Ok(())
}

async fn every_compression_and_headers_are_read(kafka: &Kafka) -> Result<()> {
    kafka.create("compressed", 1, &[]).await?;
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let producer: BaseProducer = kafka.client().set("compression.type", codec).set("linger.ms", "50").create()?;
        for number in 0..100 {
            let text = format!("{codec} {number} {}", "compressible ".repeat(20));
            let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some("0123456789abcdef") });
            let record = BaseRecord::<(), str>::to("compressed").payload(&text).headers(headers);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(LIMIT)?;
    }
    let (mut reader, mut told) = (kafka.open("compressed", true).await?, Told::default());
    read_until(reader.as_mut(), &mut told, |told| told.finished == 1)?;
    for codec in codecs {
        let count = told.texts.iter().filter(|text| text.starts_with(codec)).count();
        ensure!(count == 100, "{count} records of {codec}");
    }
    Ok(())
}

/// Partition 1 is taken a record now and then as long as partition 0 is not read to its end, and partition 2 not at all.
async fn a_held_partition_waits_and_loses_nothing(kafka: &Kafka) -> Result<()> {
    kafka.create("held", 3, &[]).await?;
    let producer: BaseProducer = kafka.client().set("queue.buffering.max.messages", "1000000").create()?;
    let text = "x".repeat(400);
    for number in 0..3 * MANY {
        let partition = i32::try_from(number % 3)?;
        producer
            .send(BaseRecord::<(), str>::to("held").partition(partition).payload(&text))
            .map_err(|(error, _)| error)?;
    }
    producer.flush(LIMIT)?;
    let (mut reader, mut told) = (kafka.open("held", false).await?, Told { awaits: Some(MANY), ..Told::default() });
    let begun = Deadline::after(LIMIT);
    read_until(reader.as_mut(), &mut told, |told| told.taken.get(&0) == Some(&MANY))?;
    // What follows in the poll that brought the last one is free already.
    let free = |split: usize| told.taken.get(&split).copied().unwrap_or_default();
    ensure!(free(1) < MANY / 10 && free(2) <= 1024, "{:?}", told.taken);
    ensure!(!told.at_end.contains(&1) && !told.at_end.contains(&2), "one that waits is not at its end");
    eprintln!("partition 0 was read within {:?}, while the others waited", begun.elapsed());
    read_until(reader.as_mut(), &mut told, |told| told.at_end.len() == 3)?;
    eprintln!("all were read within {:?}", begun.elapsed());
    ensure!(told.taken == BTreeMap::from([(0, MANY), (1, MANY), (2, MANY)]), "{:?}", told.taken);
    Ok(())
}

async fn aborted_records_are_not_read_and_the_end_is_known_behind_them(kafka: &Kafka) -> Result<()> {
    kafka.create("aborted", 1, &[]).await?;
    let producer: BaseProducer = kafka.client().set("transactional.id", "aborted").create()?;
    block_in_place(|| {
        producer.init_transactions(LIMIT)?;
        for (text, is_committed) in [("first", true), ("never", false), ("second", true), ("never", false)] {
            producer.begin_transaction()?;
            let record = BaseRecord::<(), str>::to("aborted").payload(text);
            producer.send(record).map_err(|(error, _)| error)?;
            // An abort does not serve the deliveries of this kind of producer.
            producer.flush(LIMIT)?;
            if is_committed { producer.commit_transaction(LIMIT)? } else { producer.abort_transaction(LIMIT)? }
        }
        anyhow::Ok(())
    })?;
    for is_bounded in [true, false] {
        let (mut reader, mut told) = (kafka.open("aborted", is_bounded).await?, Told::default());
        // The last four offsets are of an aborted record and of marks.
        read_until(reader.as_mut(), &mut told, |told| told.finished == 1 || told.at_end.contains(&0))?;
        ensure!(told.texts == ["first", "second"] && (told.finished == 1) == is_bounded, "{told:?}");
    }
    Ok(())
}

async fn a_compacted_topic_is_read_with_its_gaps(kafka: &Kafka) -> Result<()> {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("delete.retention.ms", "0"),
    ];
    kafka.create("compacted", 1, &settings).await?;
    let producer: BaseProducer = kafka.client().create()?;
    let round = |round: u32| {
        for key in 0..10 {
            let (key, text) = (format!("key {key}"), format!("key {key} round {round}"));
            let record = BaseRecord::to("compacted").key(&key);
            // Key 9 ends as a tombstone.
            let record = if key == "key 9" && round > 0 { record } else { record.payload(&text) };
            producer.send(record).map_err(|(error, _)| error)?;
        }
        anyhow::Ok(producer.flush(LIMIT)?)
    };
    // The segment that is written to is never compacted, so more are begun.
    let begun = Deadline::after(LIMIT);
    for number in 0.. {
        round(number)?;
        let (mut reader, mut told) = (kafka.open("compacted", true).await?, Told::default());
        read_until(reader.as_mut(), &mut told, |told| told.finished == 1)?;
        ensure!(told.texts.iter().filter(|text| text.ends_with(&format!("round {number}"))).count() >= 9, "{told:?}");
        if told.gaps > 0 {
            eprintln!("compacted after {:?}: {} records and {} gaps", begun.elapsed(), told.texts.len(), told.gaps);
            return Ok(());
        }
        ensure!(!begun.has_passed(), "the topic was not compacted");
    }
    Ok(())
}

/// What a reader told, as far as it was taken.
#[derive(Debug, Default)]
struct Told {
    texts: Vec<String>,
    taken: BTreeMap<usize, u64>,
    next: BTreeMap<usize, u64>,
    gaps: u64,
    at_end: BTreeSet<usize>,
    finished: usize,
    /// How many records of split 0 the others wait for.
    awaits: Option<u64>,
    /// How often it was asked whether a split is held.
    asked: Cell<u64>,
}

impl SourceVisitor for Told {
    fn on_records(&mut self, split: usize, records: &[Record<'_>], next_offset: u64) -> usize {
        let most = if self.is_waiting(split) { 1 } else { records.len() };
        let (taken, left) = records.split_at(most.min(records.len()));
        for record in taken {
            let next = self.next.entry(split).or_default();
            assert!(record.offset >= *next, "offsets never go back");
            self.gaps += u64::from(record.offset > *next);
            *next = record.offset + 1;
            if self.awaits.is_none() {
                self.texts.extend(record.payload.map(|payload| String::from_utf8_lossy(payload).into_owned()));
            }
            *self.taken.entry(split).or_default() += 1;
        }
        assert!(!left.is_empty() || self.next.get(&split).is_none_or(|next| *next <= next_offset));
        taken.len()
    }

    fn is_held(&self, split: usize) -> bool {
        // Now and then one is free for a record.
        self.asked.set(self.asked.get() + 1);
        self.is_waiting(split) && (split == 2 || !self.asked.get().is_multiple_of(100))
    }

    fn on_end_of_split_for_now(&mut self, split: usize) {
        self.at_end.insert(split);
    }

    fn on_split_finished(&mut self, _split: usize) {
        self.finished += 1;
    }

    fn on_known_end(&mut self, _split: usize, _end: u64) {}
}

impl Told {
    fn is_waiting(&self, split: usize) -> bool {
        self.awaits.is_some_and(|awaits| split > 0 && self.taken.get(&0).is_none_or(|taken| *taken < awaits))
    }
}

fn read_until(reader: &mut dyn SourceReader, told: &mut Told, is_enough: impl Fn(&Told) -> bool) -> Result<()> {
    block_in_place(|| {
        let deadline = Deadline::after(LIMIT);
        while !is_enough(told) {
            ensure!(!deadline.has_passed(), "waited in vain; taken so far: {:?}", told.taken);
            reader.poll(Duration::from_millis(20), told)?;
        }
        Ok(())
    })
}

struct Kafka {
    broker: Broker,
}

impl Kafka {
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.broker.bootstrap_servers());
        config
    }

    async fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        for made in admin.create_topics([&new], &AdminOptions::new()).await? {
            made.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
        }
        Ok(())
    }

    async fn open(&self, topic: &str, is_bounded: bool) -> Result<Box<dyn SourceReader>> {
        let source = SourceSpec {
            uri: format!("kafka://{}/{topic}", self.broker.bootstrap_servers()),
            from: StartPosition::Earliest,
            is_bounded,
            watermark_delay: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            close_when_idle: Duration::ZERO,
            max_future: Duration::ZERO,
            max_drift: Duration::from_secs(1),
            properties: BTreeMap::new(),
            secrets: BTreeMap::new(),
        };
        let connectors = RealConnectors::new(Handle::current());
        let splits = connectors.discover(&source).await?;
        Ok(connectors.open_source(&source, &splits)?)
    }
}
