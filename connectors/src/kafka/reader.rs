//! Reads partitions, on the thread that calls it.
//!
//! Records are handed on as slices of librdkafka's own memory, those of one partition together. An outage is waited for
//! and said once when it begins and once when it is over; what waiting does not mend is an error.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use stream_core::pipeline::{SourceSpec, Split};
use stream_runtime::connector::{ConnectorError, SourceReader, SourceVisitor};

use super::batch_queue::{BATCH, BatchQueue, Message};
use super::connection::Failure;
use super::consumer::open_queue;
use super::error::Error;
use super::failure::PartitionFailure;
use super::partition::{Partition, State};
use super::settings::{OnDataLoss, TopicSettings};

/// How long the question may take whether a broker is back.
const PROBE_WITHIN: Duration = Duration::from_millis(200);

/// How long the question may take where a partition begins. It is asked once behind a loss, while nothing else is read.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// The reader of a source subtask over some partitions of a topic.
pub struct Reader {
    settings: TopicSettings,
    /// Before the queue, since they hold messages, and the client ends only once it has got them all back.
    partitions: Vec<Partition>,
    /// `None` until there is something to read.
    queue: Option<BatchQueue>,
    unfinished: usize,
    /// An outage that was told and is not known to be over.
    is_out: bool,
    /// Whether partitions are kept in step, so that one may have to wait for others.
    is_aligned: bool,
}

impl Reader {
    /// A reader; it connects in the background, and `poll` tells what becomes of that.
    ///
    /// # Errors
    /// If the settings cannot be used, or a split is no partition of the topic.
    pub fn open(spec: &SourceSpec, splits: &[Split]) -> Result<Self, ConnectorError> {
        let settings = TopicSettings::from_spec(spec).map_err(Error::from)?;
        let is_aligned = !spec.max_drift.is_zero();
        let mut reader =
            Reader { settings, queue: None, partitions: Vec::new(), unfinished: 0, is_out: false, is_aligned };
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
            let queues = if self.is_aligned { self.partitions.len() } else { 1 };
            self.queue = Some(open_queue(&self.settings, queues)?);
        }
        let consumer = self.queue.as_ref().expect("opened above").consumer();
        consumer.incremental_assign(&assigned).map_err(failed())
    }
}

impl SourceReader for Reader {
    fn add_splits(&mut self, splits: &[Split]) -> Result<(), ConnectorError> {
        Ok(self.add(splits)?)
    }

    fn poll(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<(), ConnectorError> {
        self.tell_finished(visitor);
        if self.unfinished == 0 {
            return Ok(());
        }
        let received = self.receive(max_wait, visitor)?;
        self.hand_on(visitor);
        self.part(visitor);
        self.pass_over_what_is_gone()?;
        self.watch_connection(received)?;
        if !self.is_out {
            self.tell_ends(visitor);
        }
        self.tell_finished(visitor);
        Ok(())
    }
}

impl Reader {
    /// Receives a batch, unless there is still something to hand on; whether there was or is anything.
    fn receive(&mut self, max_wait: Duration, visitor: &dyn SourceVisitor) -> Result<bool, Error> {
        let Reader { settings, queue, partitions, .. } = self;
        let Some(queue) = queue else { return Ok(false) };
        if partitions.iter().enumerate().any(|(index, partition)| partition.has_pending() && !visitor.is_held(index)) {
            return Ok(true);
        }
        let (mut index, mut received) = (0, false);
        for message in queue.receive(max_wait) {
            let id = match message.read() {
                Message::Record { partition, .. } | Message::End { partition, .. } => partition,
                Message::Failure { partition, offset, code, words } => {
                    let failure = PartitionFailure { partition, offset, code, words };
                    match failure.check(settings) {
                        Err(Error::OffsetOutOfRange { .. }) if settings.on_data_loss == OnDataLoss::Earliest => {
                            let gone = partitions.iter_mut().find(|gone| Some(gone.id) == partition);
                            gone.into_iter().for_each(|gone| gone.is_gone = true);
                        }
                        checked => checked?,
                    }
                    continue;
                }
            };
            received = true;
            // Those of one partition mostly come together.
            if partitions.get(index).is_none_or(|partition| partition.id != id) {
                let Some(found) = partitions.iter().position(|partition| partition.id == id) else { continue };
                index = found;
            }
            partitions[index].receive(message);
        }
        Ok(received)
    }

    /// Hands on what was received, some of each partition in turn, as far as it is taken. No more than a batch at once: who takes it
    /// may have to wait for room.
    fn hand_on(&mut self, visitor: &mut dyn SourceVisitor) {
        let mut left = BATCH;
        let mut is_more = true;
        while is_more && left > 0 {
            is_more = false;
            for (index, partition) in self.partitions.iter_mut().enumerate() {
                let handed_on = partition.hand_on(index, left, visitor);
                left -= handed_on;
                is_more |= handed_on > 0;
            }
        }
    }

    /// Reads on from the first record that is there, where the next one is gone and that is wanted.
    fn pass_over_what_is_gone(&mut self) -> Result<(), Error> {
        let Reader { settings: TopicSettings { client, topic, .. }, queue: Some(queue), partitions, .. } = self else {
            return Ok(());
        };
        let failed = || Error::client("read on behind records that are gone", client.brokers());
        for partition in partitions.iter_mut().filter(|partition| partition.is_gone && !partition.has_pending()) {
            let (first, end) = queue.consumer().fetch_watermarks(topic, partition.id, FIRST_WITHIN).map_err(failed())?;
            let [from, up_to] = [first, end].map(|offset| u64::try_from(offset).unwrap_or(0));
            let was = partition.jump(from, up_to);
            tracing::warn!(
                topic,
                partition = partition.id,
                was,
                first,
                "SOURCE_DATA_LOSS: reading on from the first record there is"
            );
            let mut one = TopicPartitionList::new();
            one.add_partition_offset(topic, partition.id, Offset::Offset(first)).map_err(failed())?;
            queue.consumer().incremental_unassign(&one).map_err(failed())?;
            if !partition.is_finished() {
                queue.consumer().incremental_assign(&one).map_err(failed())?;
                // One that was ever apart is not joined again by being assigned.
                queue.join(partition.id);
                partition.is_apart = false;
            }
        }
        Ok(())
    }

    /// Parts the queues of those that wait for others, so that these go on being read, and joins them again once what was received of
    /// them before is handed on: so that stays bounded.
    fn part(&mut self, visitor: &dyn SourceVisitor) {
        let Reader { queue: Some(queue), partitions, .. } = self else { return };
        for (index, partition) in partitions.iter_mut().enumerate() {
            let is_held = partition.has_pending() && visitor.is_held(index);
            let is_apart = is_held || (partition.is_apart && partition.has_pending());
            if is_apart != partition.is_apart {
                partition.is_apart = is_apart;
                queue.set_apart(partition.id, is_apart);
            }
        }
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
            if partition.state == State::AtEnd && !partition.has_pending() {
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
