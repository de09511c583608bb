//! The Kafka source against a real broker: where it begins, where it ends, what it tells on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use connectors::RealConnectors;
use connectors::kafka::{Admin, ClientSettings};
use e2e::broker::Broker;
use localcluster::deadline::Deadline;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use stream_core::ids::SplitId;
use stream_core::operator::Record;
use stream_core::pipeline::{SourceSpec, Split, StartPosition};
use stream_core::time::EventTime;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, Connectors, SourceReader, SourceVisitor};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::kafka_data_loss;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The time of record `i`, in milliseconds.
const fn time_of(i: i64) -> i64 {
    1_736_874_072_000 + 1000 * i
}

/// One broker for all: each clause has topics of its own.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_source() -> Result<()> {
    let mut kafka = Kafka::start()?;
    reading_begins_where_it_is_asked_to_and_ends_at_what_was_the_end(&kafka)
        .await
        .context("reading begins where it is asked to and ends at what was the end")?;
    a_bounded_reader_tells_each_record_once_and_none_beyond_the_end(&kafka)
        .await
        .context("a bounded reader tells each record once and none beyond the end")?;
    an_unbounded_reader_gets_what_comes_later_new_partitions_and_tombstones(&kafka)
        .await
        .context("an unbounded reader gets what comes later new partitions and tombstones")?;
    let log = Log::start();
    partitions_that_come_later_share_the_client_and_nothing_is_lost_or_read_twice(&kafka, &log)
        .await
        .context("partitions that come later share the client and nothing is lost or read twice")?;
    a_reader_goes_on_after_the_broker_was_killed_and_started_again(&mut kafka, &log)
        .await
        .context("a reader goes on after the broker was killed and started again")?;
    records_and_topics_that_are_gone_are_an_error_and_no_silent_jump(&kafka)
        .await
        .context("records and topics that are gone are an error and no silent jump")?;
    kafka_data_loss::clauses(&kafka).await
}

async fn reading_begins_where_it_is_asked_to_and_ends_at_what_was_the_end(kafka: &Kafka) -> Result<()> {
    kafka.admin()?.create_topic("starts", 3).await?;
    kafka.produce("starts", 0..30)?;
    let starts = async |from, group: &str| -> Result<Vec<(u64, Option<u64>)>> {
        let splits = connectors().discover(&kafka.source("starts", from, true, group)).await?;
        assert!(splits.iter().map(|split| split.id.0.as_str()).eq(["starts/0", "starts/1", "starts/2"]));
        Ok(splits.iter().map(|split| (split.start, split.end)).collect())
    };
    let all = |start: [u64; 3]| start.map(|start| (start, Some(10))).to_vec();
    assert_eq!(starts(StartPosition::Earliest, "g").await?, all([0, 0, 0]));
    assert_eq!(starts(StartPosition::Latest, "g").await?, all([10, 10, 10]));
    // Record 13 is the fifth of partition 1; the next of the others are 14 and 15.
    assert_eq!(starts(StartPosition::At(EventTime(time_of(13))), "g").await?, all([5, 4, 4]));
    assert_eq!(starts(StartPosition::At(EventTime(time_of(12) + 1)), "g").await?, all([5, 4, 4]));
    assert_eq!(starts(StartPosition::At(EventTime(time_of(1000))), "g").await?, all([10, 10, 10]));
    assert_eq!(starts(StartPosition::Committed, "g").await?, all([0, 0, 0]), "nothing is committed yet");
    kafka.commit("starts", 1, 7, "g")?;
    assert_eq!(starts(StartPosition::Committed, "g").await?, all([0, 7, 0]));
    assert_eq!(starts(StartPosition::Committed, "another").await?, all([0, 0, 0]));
    let position = |partition: i32, start| Split { id: SplitId(format!("starts/{partition}")), start, end: Some(10) };
    let source = kafka.source("starts", StartPosition::Earliest, true, "g");
    connectors().commit_positions(&source, &[position(0, 4), position(2, 9)]).await?;
    assert_eq!(starts(StartPosition::Committed, "g").await?, all([4, 7, 9]), "only those that were told");
    let unbounded = connectors().discover(&kafka.source("starts", StartPosition::Earliest, false, "g")).await?;
    assert!(unbounded.iter().all(|split| split.end.is_none()));
    Ok(())
}

async fn a_bounded_reader_tells_each_record_once_and_none_beyond_the_end(kafka: &Kafka) -> Result<()> {
    kafka.admin()?.create_topic("bounded", 3).await?;
    kafka.admin()?.create_topic("empty", 1).await?;
    kafka.produce("bounded", 0..5000)?;
    let source = kafka.source("bounded", StartPosition::Earliest, true, "g");
    let splits = connectors().discover(&source).await?;
    kafka.produce("bounded", 5000..5100)?;
    let mut told = Told::default();
    let mut reader = connectors().open_source(&source, &splits)?;
    read_until(reader.as_mut(), &mut told, |told| told.finished.len() == 3)?;
    assert!(told.texts() == numbers(0..5000));
    assert_eq!(told.finished, BTreeSet::from([0, 1, 2]));
    assert!(splits.iter().enumerate().all(|(index, split)| told.known_ends[&index] == split.end.unwrap()));
    // It has nothing more to say, and says it at once.
    reader.poll(LIMIT, &mut told)?;
    assert_eq!(told.records.len(), 5000);

    let source = kafka.source("empty", StartPosition::Earliest, true, "g");
    let splits = connectors().discover(&source).await?;
    let mut told = Told::default();
    connectors().open_source(&source, &splits)?.poll(LIMIT, &mut told)?;
    assert_eq!((told.finished.len(), told.records.len()), (1, 0));
    Ok(())
}

async fn an_unbounded_reader_gets_what_comes_later_new_partitions_and_tombstones(kafka: &Kafka) -> Result<()> {
    kafka.admin()?.create_topic("later", 1).await?;
    kafka.produce("later", 0..10)?;
    let source = kafka.source("later", StartPosition::Earliest, false, "g");
    let splits = connectors().discover(&source).await?;
    let mut reader = connectors().open_source(&source, &splits)?;
    let mut told = Told::default();
    read_until(reader.as_mut(), &mut told, |told| told.records.len() == 10 && !told.at_end.is_empty())?;
    kafka.produce("later", 10..20)?;
    read_until(reader.as_mut(), &mut told, |told| told.records.len() == 20)?;
    kafka.send("later", 0, 20, None)?;
    read_until(reader.as_mut(), &mut told, |told| told.tombstones == 1)?;

    kafka.admin()?.create_partitions("later", 2).await?;
    let mut found = Vec::new();
    let deadline = Deadline::after(LIMIT);
    while found.len() < 2 && !deadline.has_passed() {
        found = connectors().discover(&source).await?;
    }
    let new: Vec<Split> = found.into_iter().filter(|split| !splits.contains(split)).collect();
    assert_eq!(new.iter().map(|split| split.id.0.as_str()).collect::<Vec<_>>(), ["later/1"]);
    reader.add_splits(&new)?;
    kafka.send("later", 1, 21, Some("in the new partition"))?;
    read_until(reader.as_mut(), &mut told, |told| told.records.contains(&(1, "in the new partition".to_owned())))?;
    assert!(told.finished.is_empty());
    Ok(())
}

async fn partitions_that_come_later_share_the_client_and_nothing_is_lost_or_read_twice(
    kafka: &Kafka,
    log: &Log,
) -> Result<()> {
    kafka.admin()?.create_topic("shared", 8).await?;
    kafka.produce("shared", 0..4000)?;
    let in_step = Duration::from_secs(3600);
    let source = SourceSpec { max_drift: in_step, ..kafka.source("shared", StartPosition::Earliest, true, "g") };
    let splits = connectors().discover(&source).await?;
    let mut reader = connectors().open_source(&source, &splits[..1])?;
    let mut told = Told::default();
    read_until(reader.as_mut(), &mut told, |told| !told.records.is_empty())?;
    reader.add_splits(&splits[1..])?;
    read_until(reader.as_mut(), &mut told, |told| told.finished.len() == 8)?;
    assert!(told.texts() == numbers(0..4000));
    assert_eq!(log.lines_with("opening the Kafka client anew"), 1);
    Ok(())
}

async fn a_reader_goes_on_after_the_broker_was_killed_and_started_again(kafka: &mut Kafka, log: &Log) -> Result<()> {
    kafka.admin()?.create_topic("restarted", 2).await?;
    kafka.produce("restarted", 0..100)?;
    let source = kafka.source("restarted", StartPosition::Earliest, false, "g");
    let splits = connectors().discover(&source).await?;
    let mut reader = connectors().open_source(&source, &splits)?;
    let mut told = Told::default();
    read_until(reader.as_mut(), &mut told, |told| told.records.len() == 100)?;
    tokio::task::block_in_place(|| kafka.broker.kill());
    read_until(reader.as_mut(), &mut told, |_| log.lines_with("Kafka cannot be reached") == 1)?;
    tokio::task::block_in_place(|| kafka.broker.restart())?;
    kafka.produce("restarted", 100..200)?;
    read_until(reader.as_mut(), &mut told, |told| told.records.len() >= 200)?;
    assert_eq!((log.lines_with("Kafka cannot be reached"), log.lines_with("can be reached again")), (1, 1));
    assert!(told.texts() == numbers(0..200));
    Ok(())
}

async fn records_and_topics_that_are_gone_are_an_error_and_no_silent_jump(kafka: &Kafka) -> Result<()> {
    kafka.admin()?.create_topic("gone", 1).await?;
    kafka.produce("gone", 0..10)?;
    let source = kafka.source("gone", StartPosition::Earliest, false, "g");
    let splits = connectors().discover(&source).await?;
    kafka.admin()?.delete_records("gone", 0, 5).await?;
    let mut reader = connectors().open_source(&source, &splits)?;
    let mut told = Told::default();
    let error = read_until(reader.as_mut(), &mut told, |_| false).unwrap_err();
    let error: ConnectorError = error.downcast()?;
    assert_eq!(error.kind, ConnectorErrorKind::DataLoss);
    assert!(error.message.contains("gone/0") && error.message.contains('0'), "{error}");
    assert_eq!(told.records.len(), 0);

    let none = connectors().discover(&kafka.source("none", StartPosition::Earliest, false, "g")).await.unwrap_err();
    assert!(none.kind == ConnectorErrorKind::NotFound && none.message.contains("none"), "{none}");
    Ok(())
}

/// What a reader told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) records: BTreeSet<(usize, String)>,
    tombstones: usize,
    pub(crate) next: BTreeMap<usize, u64>,
    at_end: BTreeSet<usize>,
    pub(crate) finished: BTreeSet<usize>,
    known_ends: BTreeMap<usize, u64>,
}

impl SourceVisitor for Told {
    fn on_records(&mut self, split: usize, records: &[Record<'_>], next_offset: u64) -> usize {
        for record in records {
            assert!(record.offset >= self.next.get(&split).copied().unwrap_or_default(), "offsets never go back");
            match record.payload {
                Some(payload) => {
                    let text = String::from_utf8(payload.to_vec()).unwrap();
                    assert!(self.records.insert((split, text)), "told twice");
                }
                None => self.tombstones += 1,
            }
            self.next.insert(split, record.offset + 1);
        }
        // Without records it is told where it goes on behind a loss.
        assert!(records.is_empty() || self.next[&split] <= next_offset);
        self.next.insert(split, next_offset);
        records.len()
    }

    fn on_end_of_split_for_now(&mut self, split: usize) {
        self.at_end.insert(split);
    }

    fn on_split_finished(&mut self, split: usize) {
        assert!(self.finished.insert(split), "told twice");
    }

    fn on_known_end(&mut self, split: usize, end: u64) {
        self.known_ends.insert(split, end);
    }
}

impl Told {
    pub(crate) fn texts(&self) -> BTreeSet<String> {
        self.records.iter().map(|(_, text)| text.clone()).collect()
    }
}

pub(crate) fn numbers(range: std::ops::Range<i64>) -> BTreeSet<String> {
    range.map(|i| i.to_string()).collect()
}

pub(crate) fn connectors() -> RealConnectors {
    RealConnectors::new(Handle::current())
}

pub(crate) fn read_until(
    reader: &mut dyn SourceReader,
    told: &mut Told,
    is_enough: impl Fn(&Told) -> bool,
) -> Result<()> {
    tokio::task::block_in_place(|| {
        let deadline = Deadline::after(LIMIT);
        while !is_enough(told) {
            anyhow::ensure!(!deadline.has_passed(), "waited in vain; told so far: {told:?}");
            reader.poll(Duration::from_millis(100), told)?;
        }
        Ok(())
    })
}

/// What the product logs, from now on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> Log {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    fn lines_with(&self, words: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).lines().filter(|line| line.contains(words)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A broker of its own, and clients that do what the product does not.
pub(crate) struct Kafka {
    broker: Broker,
    _dir: TempDir,
}

impl Kafka {
    pub(crate) fn start() -> Result<Kafka> {
        let dir = tempfile::tempdir()?;
        Ok(Kafka { broker: Broker::start(dir.path())?, _dir: dir })
    }

    pub(crate) fn admin(&self) -> Result<Admin> {
        Ok(Admin::new(&ClientSettings::new(&self.broker.bootstrap_servers())?)?)
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.broker.bootstrap_servers()).set("reconnect.backoff.max.ms", "500");
        config
    }

    /// Record i, whose text is i, into partition i mod n.
    pub(crate) fn produce(&self, topic: &str, numbers: std::ops::Range<i64>) -> Result<()> {
        let producer: BaseProducer = self.client().create()?;
        let partitions = producer.client().fetch_metadata(Some(topic), LIMIT)?.topics()[0].partitions().len();
        for i in numbers {
            let (text, partition) = (i.to_string(), i32::try_from(i % i64::try_from(partitions)?)?);
            let record = BaseRecord::<(), str>::to(topic).partition(partition).timestamp(time_of(i)).payload(&text);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        Ok(producer.flush(LIMIT)?)
    }

    fn send(&self, topic: &str, partition: i32, number: i64, text: Option<&str>) -> Result<()> {
        let producer: BaseProducer = self.client().create()?;
        let mut record = BaseRecord::<(), str>::to(topic).partition(partition).timestamp(time_of(number));
        record.payload = text;
        producer.send(record).map_err(|(error, _)| error)?;
        Ok(producer.flush(LIMIT)?)
    }

    fn commit(&self, topic: &str, partition: i32, offset: i64, group: &str) -> Result<()> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create()?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        Ok(consumer.commit(&offsets, CommitMode::Sync)?)
    }

    pub(crate) fn source(&self, topic: &str, from: StartPosition, is_bounded: bool, group: &str) -> SourceSpec {
        SourceSpec {
            uri: format!("kafka://{}/{topic}", self.broker.bootstrap_servers()),
            from,
            is_bounded,
            watermark_delay: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            close_when_idle: Duration::ZERO,
            max_future: Duration::ZERO,
            max_drift: Duration::ZERO,
            properties: BTreeMap::from([("group.id".to_owned(), group.to_owned())]),
            secrets: BTreeMap::new(),
        }
    }
}
