//! Reads partitions, on the thread that calls it.
//!
//! Records are handed on as slices of librdkafka's own memory, those of one partition together. An outage is waited for
//! and said once when it begins and once when it is over; what waiting does not mend is an error.

use std::time::Duration;

use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use stream_core::operator::Record;
use stream_core::pipeline::{SourceSpec, Split};
use stream_runtime::connector::{ConnectorError, SourceReader, SourceVisitor};

use super::batch_queue::{BatchQueue, Message};
use super::connection::{Connection, Failure};
use super::discover::{partition_of, split_name};
use super::error::{ClientWords, Error};
use super::settings::TopicSettings;

/// Records handed on at once: enough that the call costs nothing, few enough to stay in the first-level cache.
const RECORDS_AT_ONCE: usize = 256;

/// How long the question may take whether a broker is back.
const PROBE_WITHIN: Duration = Duration::from_millis(200);

/// The reader of a source subtask over some partitions of a topic.
pub struct Reader {
    settings: TopicSettings,
    /// `None` until there is something to read.
    queue: Option<BatchQueue>,
    partitions: Vec<Partition>,
    unfinished: usize,
    /// An outage that was told and is not known to be over.
    is_out: bool,
}

struct Partition {
    id: i32,
    position: u64,
    end: Option<u64>,
    state: State,
    told_end: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There may be more to read at once.
    Reading,
    /// Read to what is its end for now.
    AtEnd,
    /// Read to its bound; this was not told yet.
    Finished,
    /// Read to its bound.
    Told,
}

impl Reader {
    /// A reader; it connects in the background, and `poll` tells what becomes of that.
    ///
    /// # Errors
    /// If the settings cannot be used, or a split is no partition of the topic.
    pub fn open(spec: &SourceSpec, splits: &[Split]) -> Result<Self, ConnectorError> {
        let settings = TopicSettings::from_spec(spec).map_err(Error::from)?;
        let mut reader = Reader { settings, queue: None, partitions: Vec::new(), unfinished: 0, is_out: false };
        reader.add(splits)?;
        Ok(reader)
    }

    fn add(&mut self, splits: &[Split]) -> Result<(), Error> {
        let mut assigned = TopicPartitionList::new();
        let topic = &self.settings.topic;
        let failed = || Error::client("read the partitions", self.settings.client.brokers());
        for split in splits {
            let partition = Partition::new(split, topic)?;
            if partition.state == State::Reading {
                let offset = Offset::Offset(i64::try_from(split.start).unwrap_or(i64::MAX));
                assigned.add_partition_offset(topic, partition.id, offset).map_err(failed())?;
            }
            self.partitions.push(partition);
            self.unfinished += 1;
        }
        if assigned.count() == 0 {
            return Ok(());
        }
        if self.queue.is_none() {
            self.queue = Some(open_queue(&self.settings)?);
        }
        let consumer = self.queue.as_ref().expect("opened above").consumer();
        consumer.incremental_assign(&assigned).map_err(failed())
    }
}

/// A consumer that is at nobody's will but ours: no commits, no rebalancing, no jump to another offset.
fn open_queue(settings: &TopicSettings) -> Result<BatchQueue, Error> {
    let brokers = settings.client.brokers();
    let mut config = settings.client.client_config()?;
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        // An offset that is gone is an error, never a silent jump over records.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true");
    let defaults = [
        // By default a fetch that found the queue full is tried again only after a second.
        ("fetch.queue.backoff.ms", "10"),
        // What the client may hold for us; by default 64 MB.
        ("queued.max.messages.kbytes", "32768"),
    ];
    for (name, value) in defaults {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    let consumer = config.create_with_context(Connection::default());
    let consumer = consumer.map_err(Error::client("make a Kafka client", brokers))?;
    BatchQueue::new(consumer, &settings.topic).ok_or_else(|| Error::Read {
        split: settings.topic.clone(),
        source: ClientWords("the client has no queue".to_owned()),
    })
}

impl Partition {
    fn new(split: &Split, topic: &str) -> Result<Self, Error> {
        let is_empty = split.end.is_some_and(|end| split.start >= end);
        Ok(Partition {
            id: partition_of(&split.id, topic)?,
            position: split.start,
            end: split.end,
            state: if is_empty { State::Finished } else { State::Reading },
            told_end: None,
        })
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished | State::Told)
    }

    /// Moves on to `position`; records or marks before it were read or are not there.
    fn advance(&mut self, position: u64, state: State) {
        self.position = self.position.max(position);
        let is_finished = self.end.is_some_and(|end| self.position >= end);
        self.state = if is_finished { State::Finished } else { state };
    }
}

impl SourceReader for Reader {
    fn add_splits(&mut self, splits: &[Split]) -> Result<(), ConnectorError> {
        Ok(self.add(splits)?)
    }

    fn hold(&mut self, split: usize, is_held: bool) -> Result<(), ConnectorError> {
        let (Some(queue), partition) = (&self.queue, &self.partitions[split]) else { return Ok(()) };
        if partition.is_finished() {
            return Ok(());
        }
        let mut one = TopicPartitionList::new();
        one.add_partition(&self.settings.topic, partition.id);
        // What the client had fetched of it is dropped, and fetched again from behind the last record that was taken.
        let done = if is_held { queue.consumer().pause(&one) } else { queue.consumer().resume(&one) };
        Ok(done.map_err(Error::client("hold a partition", self.settings.client.brokers()))?)
    }

    fn poll(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<(), ConnectorError> {
        self.tell_finished(visitor);
        if self.unfinished == 0 {
            return Ok(());
        }
        let received = self.receive(max_wait, visitor)?;
        self.watch_connection(received)?;
        if !self.is_out {
            self.tell_ends(visitor);
        }
        self.tell_finished(visitor);
        Ok(())
    }
}

impl Reader {
    /// Reads a batch and hands its records on; whether there was any message.
    fn receive(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<bool, Error> {
        let Reader { settings, queue, partitions, .. } = self;
        let Some(queue) = queue else { return Ok(false) };
        let batch = queue.receive(max_wait);
        let mut records = [Record { payload: None, offset: 0 }; RECORDS_AT_ONCE];
        let (mut count, mut current, mut received) = (0, 0, false);
        for message in batch.iter() {
            let (id, is_record) = match message {
                Message::Record { partition, .. } => (partition, true),
                Message::End { partition, .. } => (partition, false),
                Message::Failure { partition, offset, code, words } => {
                    let failure = PartitionFailure { partition, offset, code, words };
                    failure.check(settings)?;
                    continue;
                }
            };
            received = true;
            let Some(index) = partitions.iter().position(|partition| partition.id == id) else { continue };
            if count > 0 && (index != current || count == records.len() || !is_record) {
                visitor.on_records(current, &records[..count], partitions[current].position);
                count = 0;
            }
            current = index;
            let partition = &mut partitions[index];
            if partition.is_finished() {
                continue;
            }
            match message {
                // What lies beyond the bound belongs to another run.
                Message::Record { offset, .. } | Message::End { offset, .. }
                    if partition.end.is_some_and(|end| offset >= end) =>
                {
                    if count > 0 {
                        visitor.on_records(index, &records[..count], partition.position);
                        count = 0;
                    }
                    partition.advance(offset, State::AtEnd);
                }
                Message::Record { offset, payload, .. } => {
                    records[count] = Record { payload, offset };
                    count += 1;
                    partition.advance(offset + 1, State::Reading);
                }
                Message::End { offset, .. } => partition.advance(offset, State::AtEnd),
                Message::Failure { .. } => {}
            }
        }
        if count > 0 {
            visitor.on_records(current, &records[..count], partitions[current].position);
        }
        Ok(received)
    }

    /// Tells an outage once, and its end; fails if waiting is pointless.
    fn watch_connection(&mut self, received: bool) -> Result<(), Error> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let brokers = self.settings.client.brokers();
        let connection = queue.consumer().context();
        if !received && connection.has_failed() {
            match connection.failure() {
                Some(failure @ Failure::Refused(_)) => return Err(failure.into_error(brokers)),
                Some(Failure::Lost(words) | Failure::Tls(words)) if !self.is_out => {
                    tracing::warn!(brokers, reason = %words, "Kafka cannot be reached; trying again until it can");
                    self.is_out = true;
                }
                _ => {}
            }
        }
        if self.is_out && (received || self.is_reachable()) {
            tracing::info!(brokers, "Kafka can be reached again");
            self.is_out = false;
        }
        Ok(())
    }

    /// Whether the leader of a partition that is read answers. The end of a partition is told but once by librdkafka, so
    /// after an outage nothing else says that a quiet topic is still quiet.
    fn is_reachable(&self) -> bool {
        let Some(queue) = &self.queue else { return false };
        let Some(partition) = self.partitions.iter().find(|partition| !partition.is_finished()) else { return false };
        queue.consumer().fetch_watermarks(&self.settings.topic, partition.id, PROBE_WITHIN).is_ok()
    }

    fn tell_ends(&mut self, visitor: &mut dyn SourceVisitor) {
        let Some(queue) = &self.queue else { return };
        for (index, partition) in self.partitions.iter_mut().enumerate().filter(|(_, p)| !p.is_finished()) {
            let end = partition.end.or_else(|| queue.known_end(partition.id));
            if let Some(end) = end.filter(|_| end != partition.told_end) {
                visitor.on_known_end(index, end);
                partition.told_end = Some(end);
            }
            if partition.state == State::AtEnd {
                visitor.on_end_of_split_for_now(index);
            }
        }
    }

    fn tell_finished(&mut self, visitor: &mut dyn SourceVisitor) {
        let mut finished = TopicPartitionList::new();
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            if partition.state == State::Finished {
                partition.state = State::Told;
                self.unfinished -= 1;
                finished.add_partition(&self.settings.topic, partition.id);
                if let Some(end) = partition.end.filter(|_| partition.told_end.is_none()) {
                    visitor.on_known_end(index, end);
                }
                visitor.on_split_finished(index);
            }
        }
        if finished.count() > 0
            && let Some(queue) = &self.queue
            // One that was empty from the start was never assigned, which is no failure.
            && let Err(error) = queue.consumer().incremental_unassign(&finished)
        {
            tracing::debug!(%error, "cannot stop fetching a finished partition");
        }
    }
}

/// What librdkafka said about a partition, before it is known whether that matters.
struct PartitionFailure<'a> {
    partition: Option<i32>,
    offset: Option<u64>,
    code: i32,
    words: &'a [u8],
}

impl PartitionFailure<'_> {
    /// Fails if waiting does not mend it.
    fn check(&self, settings: &TopicSettings) -> Result<(), Error> {
        const OUT_OF_RANGE: [i32; 2] =
            [Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE as i32, Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32];
        const GONE: [i32; 3] = [
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as i32,
            Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC as i32,
            Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION as i32,
        ];
        const NOT_AUTHORIZED: [i32; 2] = [
            Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as i32,
            Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED as i32,
        ];
        const REFUSED: [i32; 2] =
            [Code::RD_KAFKA_RESP_ERR__AUTHENTICATION as i32, Code::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED as i32];
        // These and others like them pass; librdkafka tries again by itself.
        const PASSING: [i32; 9] = [
            Code::RD_KAFKA_RESP_ERR__TRANSPORT as i32,
            Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32,
            Code::RD_KAFKA_RESP_ERR__RESOLVE as i32,
            Code::RD_KAFKA_RESP_ERR__TIMED_OUT as i32,
            Code::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE as i32,
            Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as i32,
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as i32,
            Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as i32,
            Code::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE as i32,
        ];
        let topic = settings.topic.clone();
        let brokers = settings.client.brokers().to_owned();
        let split = self.partition.map_or_else(|| topic.clone(), |partition| split_name(&topic, partition).0);
        let source = ClientWords(String::from_utf8_lossy(self.words).into_owned());
        match self.code {
            code if OUT_OF_RANGE.contains(&code) => {
                Err(Error::OffsetOutOfRange { split, offset: self.offset.unwrap_or_default() })
            }
            code if GONE.contains(&code) => Err(Error::TopicGone { topic, brokers }),
            code if NOT_AUTHORIZED.contains(&code) => Err(Error::NotAuthorized { topic, brokers }),
            code if REFUSED.contains(&code) => Err(Error::Refused { brokers, source }),
            code if PASSING.contains(&code) => {
                tracing::debug!(split, code, reason = %source, "a fetch failed; librdkafka tries again");
                Ok(())
            }
            _ => Err(Error::Read { split, source }),
        }
    }
}
