//! Questions to a cluster, answered or given up within a few seconds: partitions, ends, times, committed offsets; and
//! offsets to be committed.
//!
//! All of it blocks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use stream_core::time::EventTime;

use super::connection::{Connection, Failure};
use super::error::{ClientWords, Error, is_no_topic, is_not_authorized};
use super::settings::ClientSettings;

/// How long one request may take before its outcome is looked at.
const REQUEST_WITHIN: Duration = Duration::from_secs(1);
/// How long to wait after a broker's refusal before it is asked again: a new topic has leaders a moment after it is there.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long all requests may take: enough for a cluster far away or one that elects a leader, short for a person who waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// More log lines and errors than one request brings about.
const NEWS_AT_ONCE: u32 = 32;

/// The offsets of some partitions.
pub type Offsets = BTreeMap<i32, u64>;

/// A client that reads no records.
pub struct Lookup {
    consumer: BaseConsumer<Connection>,
    brokers: String,
}

impl Lookup {
    /// A client; it connects when it is asked something.
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub fn new(settings: &ClientSettings) -> Result<Self, Error> {
        let brokers = settings.brokers().to_owned();
        let mut config = settings.client_config()?;
        config.set("enable.auto.commit", "false").set("allow.auto.create.topics", "false");
        let consumer = config.create_with_context(Connection::default());
        let consumer = consumer.map_err(Error::client("make a Kafka client", &brokers))?;
        Ok(Lookup { consumer, brokers })
    }

    /// The partitions of a topic, in order.
    ///
    /// # Errors
    /// If there is no such topic, the cluster cannot be reached, or it refuses the credentials.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, Error> {
        self.ask(topic, |within| {
            let metadata = self.consumer.fetch_metadata(Some(topic), within)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            if let Some(error) = found.and_then(|found| found.error()) {
                return Err(KafkaError::MetadataFetch(error.into()));
            }
            let partitions = found.map(|found| found.partitions().iter().map(|p| p.id()).collect::<Vec<_>>());
            let mut partitions = partitions.filter(|partitions| !partitions.is_empty());
            if let Some(partitions) = &mut partitions {
                partitions.sort_unstable();
            }
            partitions.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))
        })
    }

    /// The topics there are, without Kafka's own.
    ///
    /// # Errors
    /// If the cluster cannot be reached, or refuses the credentials.
    pub fn topics(&self) -> Result<Vec<String>, Error> {
        let metadata = self.ask("", |within| self.consumer.fetch_metadata(None, within))?;
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        Ok(names.filter(|name| !name.starts_with("__")).collect())
    }

    /// The offset of a partition's first record, and the one that follows its last readable record. With the isolation
    /// level `read_committed`, which is the default, records of open transactions are not readable.
    ///
    /// # Errors
    /// As [`Lookup::partitions`].
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Range<u64>, Error> {
        let (low, high) = self.ask(topic, |within| self.consumer.fetch_watermarks(topic, partition, within))?;
        Ok(unsigned(low)..unsigned(high))
    }

    /// The [`Lookup::watermarks`] of several partitions, by two requests to each broker and not to each partition.
    ///
    /// # Errors
    /// As [`Lookup::partitions`].
    pub fn all_watermarks(&self, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, Range<u64>>, Error> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        // In this order: what is deleted meanwhile was there before the end that is found.
        let firsts = self.edge(topic, partitions, Offset::Beginning)?;
        let ends = self.edge(topic, partitions, Offset::End)?;
        Ok(firsts.into_iter().map(|(partition, first)| (partition, first..ends[&partition])).collect())
    }

    /// The first or the last offset of each of these partitions.
    fn edge(&self, topic: &str, partitions: &[i32], edge: Offset) -> Result<Offsets, Error> {
        // As times, the numbers that librdkafka has for them are what Kafka's request has for them (KIP-79).
        let asked = list(topic, partitions, edge)?;
        self.ask(topic, |within| {
            let answer = self.consumer.offsets_for_times(asked.clone(), within)?;
            answer.elements().iter().try_for_each(|each| each.error())?;
            let offsets = known_offsets(&answer);
            // One that has no leader is not asked for.
            let is_whole = offsets.len() == partitions.len();
            if is_whole { Ok(offsets) } else { Err(KafkaError::OffsetFetch(RDKafkaErrorCode::LeaderNotAvailable)) }
        })
    }

    /// For each partition the offset of the first record of at least this time; a partition without one is left out.
    ///
    /// # Errors
    /// As [`Lookup::partitions`].
    pub fn offsets_for_time(&self, topic: &str, partitions: &[i32], time: EventTime) -> Result<Offsets, Error> {
        // Kafka gives negative times a meaning of their own; nothing is older than 1970.
        let asked = list(topic, partitions, Offset::Offset(time.0.max(0)))?;
        let answer = self.ask(topic, |within| self.consumer.offsets_for_times(asked.clone(), within))?;
        Ok(known_offsets(&answer))
    }

    /// For each partition the group's committed offset; a partition without one is left out.
    ///
    /// # Errors
    /// As [`Lookup::partitions`].
    pub fn committed(&self, topic: &str, partitions: &[i32]) -> Result<Offsets, Error> {
        let asked = list(topic, partitions, Offset::Invalid)?;
        let answer = self.ask(topic, |within| {
            let answer = self.consumer.committed_offsets(asked.clone(), within)?;
            // For instance that a transaction is about to change it, which does not mean that there is none.
            answer.elements().iter().try_for_each(|each| each.error())?;
            Ok(answer)
        })?;
        Ok(known_offsets(&answer))
    }

    /// What a transaction needs to commit offsets for the group.
    pub(super) fn group(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }

    /// Commits offsets for the group, which tools show its lag by.
    ///
    /// # Errors
    /// As [`Lookup::partitions`].
    pub fn commit(&self, topic: &str, offsets: &Offsets) -> Result<(), Error> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (&partition, &offset) in offsets {
            let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            list.add_partition_offset(topic, partition, offset).map_err(Error::client("name a partition", topic))?;
        }
        // A commit has no limit of its own; this question has, and leaves the group's coordinator found.
        let partitions: Vec<i32> = offsets.keys().copied().collect();
        self.committed(topic, &partitions)?;
        self.ask(topic, |_| self.consumer.commit(&list, CommitMode::Sync))
    }

    /// Asks until there is an answer, or none is to be expected.
    fn ask<T>(&self, topic: &str, request: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, Error> {
        let mut last = None;
        let mut spent = Duration::ZERO;
        while spent < ANSWER_WITHIN {
            let error = match request(REQUEST_WITHIN) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let (topic, brokers) = (topic.to_owned(), self.brokers.clone());
            match error.rdkafka_error_code() {
                Some(code) if is_no_topic(code) => return Err(Error::NoTopic { topic, brokers }),
                Some(code) if is_not_authorized(code) => return Err(Error::NotAuthorized { topic, brokers }),
                _ => {}
            }
            self.hear_news();
            if self.failure().is_some_and(|failure| failure.is_final()) {
                break;
            }
            // A broker's own errors, which have positive codes, come at once; librdkafka's come when the time is up.
            let is_refusal = error.rdkafka_error_code().is_some_and(|code| code as i32 > 0);
            if is_refusal {
                let _ = self.consumer.poll(ASK_AGAIN_AFTER);
            }
            spent += if is_refusal { ASK_AGAIN_AFTER } else { REQUEST_WITHIN };
            last = Some(error);
        }
        let spoken = last.map_or_else(String::new, |error| error.to_string());
        let failure = self.failure().unwrap_or(Failure::Lost(ClientWords(spoken)));
        Err(failure.into_error(&self.brokers))
    }

    /// What connections died of waits in the client's queue until it is polled.
    fn hear_news(&self) {
        for _ in 0..NEWS_AT_ONCE {
            let _ = self.consumer.poll(Duration::ZERO);
        }
    }

    fn failure(&self) -> Option<Failure> {
        self.consumer.context().failure()
    }
}

fn list(topic: &str, partitions: &[i32], offset: Offset) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for &partition in partitions {
        list.add_partition_offset(topic, partition, offset).map_err(Error::client("name a partition", topic))?;
    }
    Ok(list)
}

fn known_offsets(list: &TopicPartitionList) -> Offsets {
    let known = |offset| match offset {
        Offset::Offset(offset) => u64::try_from(offset).ok(),
        Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
    };
    list.elements().iter().filter_map(|each| Some((each.partition(), known(each.offset())?))).collect()
}

fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}
