//! Reads partitions, on the thread that calls it.
//!
//! Records are handed on as slices of librdkafka's own memory, those of one partition together. An outage is waited for
//! and said once when it begins and once when it is over; what waiting does not mend is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use stream_core::pipeline::{SourceSpec, Split};
use stream_runtime::connector::{ConnectorError, SourceReader, SourceVisitor};

use super::batch_queue::{BATCH, BatchQueue, Message};
use super::connection::Failure;
use super::consumer::{open_queue, queued_kib};
use super::discover::split_name;
use super::error::Error;
use super::failure::PartitionFailure;
use super::partition::{Doubt, Loss, Partition, State};
use super::settings::{OnDataLoss, TopicSettings};

/// How long the question may take whether a broker is back.
const PROBE_WITHIN: Duration = Duration::from_millis(200);

/// How long the question may take where a partition begins. It is asked once behind a loss, while nothing else is read.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// A partition that waits, and of which so many records came at once, has answers to fetches for itself: what it keeps of them in the
/// client is what it counts for there.
const DENSE: usize = 256;

/// Of how many partitions the client is asked for the end at each poll; of the others it is at the next ones.
const ENDS_AT_ONCE: usize = 32;

/// The reader of a source subtask over some partitions of a topic.
pub struct Reader {
    settings: TopicSettings,
    /// Before the queue, since they hold messages, and the client ends only once it has got them all back.
    partitions: Vec<Partition>,
    /// Where among them each number is.
    places: BTreeMap<i32, usize>,
    /// The first whose end is asked for next.
    next_end: usize,
    /// `None` until there is something to read.
    queue: Option<BatchQueue>,
    /// How many queues were to share the client's memory when it was opened.
    opened_for: usize,
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
        let mut reader = Reader {
            settings,
            queue: None,
            opened_for: 1,
            partitions: Vec::new(),
            places: BTreeMap::new(),
            next_end: 0,
            unfinished: 0,
            is_out: false,
            is_aligned,
        };
        reader.add(splits)?;
        Ok(reader)
    }

    fn add(&mut self, splits: &[Split]) -> Result<(), Error> {
        let known = self.partitions.len();
        for split in splits {
            let partition = Partition::new(split, &self.settings.topic)?;
            self.places.entry(partition.id).or_insert(self.partitions.len());
            self.partitions.push(partition);
            self.unfinished += 1;
        }
        let is_reopened = self.has_to_share();
        if is_reopened {
            self.close();
        }
        let from = if is_reopened { 0 } else { known };
        let mut assigned = TopicPartitionList::new();
        let topic = &self.settings.topic;
        let failed = || Error::client("read the partitions", self.settings.client.brokers());
        for partition in self.partitions[from..].iter().filter(|partition| !partition.is_finished()) {
            let offset = Offset::Offset(i64::try_from(partition.next()).unwrap_or(i64::MAX));
            assigned.add_partition_offset(topic, partition.id, offset).map_err(failed())?;
        }
        if assigned.count() == 0 {
            return Ok(());
        }
        if self.queue.is_none() {
            self.opened_for = if self.is_aligned { self.partitions.len() } else { 1 };
            self.queue = Some(open_queue(&self.settings, self.opened_for)?);
        }
        let consumer = self.queue.as_ref().expect("opened above").consumer();
        consumer.incremental_assign(&assigned).map_err(failed())
    }

    /// Whether partitions came that the client has no room for: what each may hold there is fixed when it is opened.
    fn has_to_share(&self) -> bool {
        let (share, given) = (queued_kib(self.partitions.len()), queued_kib(self.opened_for));
        self.is_aligned && self.queue.is_some() && 2 * share <= given
    }

    /// Closes the client, to be opened anew. What was received of it stays.
    fn close(&mut self) {
        let partitions = self.partitions.len();
        tracing::info!(
            topic = self.settings.topic,
            partitions,
            "opening the Kafka client anew: more partitions share its memory"
        );
        for partition in &mut self.partitions {
            // The client ends only once it has got all messages back.
            partition.hold();
            partition.is_apart = false;
        }
        self.queue = None;
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
        self.look_into_doubts(visitor)?;
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
        let Reader { settings, queue, partitions, places, .. } = self;
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
                            gone.into_iter().for_each(|gone| gone.doubt = Some(Doubt::OutOfRange));
                        }
                        checked => checked?,
                    }
                    continue;
                }
            };
            received = true;
            // Those of one partition mostly come together.
            if partitions.get(index).is_none_or(|partition| partition.id != id) {
                let Some(&found) = places.get(&id) else { continue };
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

    /// Asks what the partitions have that may have lost records, and reads on behind what is gone, or fails, as is wanted.
    fn look_into_doubts(&mut self, visitor: &mut dyn SourceVisitor) -> Result<(), Error> {
        let Reader { settings, queue: Some(queue), partitions, is_out, .. } = self else { return Ok(()) };
        let TopicSettings { client, topic, on_data_loss, .. } = settings;
        let failed = || Error::client("read on behind records that are gone", client.brokers());
        for (index, partition) in partitions.iter_mut().enumerate() {
            let Some(doubt) = partition.doubt.filter(|_| !partition.has_pending() && !partition.is_finished()) else {
                continue;
            };
            let within = if doubt == Doubt::OutOfRange { FIRST_WITHIN } else { PROBE_WITHIN };
            let (first, end) = match queue.consumer().fetch_watermarks(topic, partition.id, within) {
                Ok(available) => available,
                // It is asked again at the next poll, and an outage is told elsewhere.
                Err(_) if doubt == Doubt::EndsEarly || *is_out => continue,
                Err(error) => return Err(failed()(error)),
            };
            let [first, end] = [first, end].map(|offset| u64::try_from(offset).unwrap_or(0));
            partition.doubt = None;
            let loss = partition.loss(&(first..end));
            if let Some(loss) = loss {
                if *on_data_loss == OnDataLoss::Fail {
                    let split = split_name(topic, partition.id).0;
                    return Err(Error::OffsetOutOfRange { split, offset: partition.position() });
                }
                warn_of(loss, topic, partition);
                let position = partition.pass_over(loss, end);
                visitor.on_records(index, &[], position);
            }
            if doubt == Doubt::OutOfRange {
                let mut one = TopicPartitionList::new();
                let offset = Offset::Offset(i64::try_from(partition.position()).unwrap_or(i64::MAX));
                one.add_partition_offset(topic, partition.id, offset).map_err(failed())?;
                queue.consumer().incremental_unassign(&one).map_err(failed())?;
                if !partition.is_finished() {
                    queue.consumer().incremental_assign(&one).map_err(failed())?;
                    // One that was ever apart is not joined again by being assigned.
                    queue.join(partition.id);
                    partition.is_apart = false;
                }
            }
        }
        Ok(())
    }

    /// Keeps copies of what waits for others ([`Held`](super::held::Held)), and parts the queues of those of which much waits, so that the
    /// others go on being read. They are joined again once half of what was received of them before is handed on: so that stays bounded.
    fn part(&mut self, visitor: &dyn SourceVisitor) {
        let Reader { queue: Some(queue), partitions, .. } = self else { return };
        let most = queued_kib(partitions.len()) << 10;
        for (index, partition) in partitions.iter_mut().enumerate() {
            let is_much = partition.has_pending() && visitor.is_held(index) && {
                let (bytes, came) = partition.hold();
                bytes >= most || came >= DENSE
            };
            let is_apart = partition.has_to_be_apart(is_much);
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
        let asked = self.next_end..self.next_end + ENDS_AT_ONCE;
        self.next_end = if asked.end < self.partitions.len() { asked.end } else { 0 };
        for (index, partition) in self.partitions.iter_mut().enumerate().filter(|(_, p)| !p.is_finished()) {
            let known = || asked.contains(&index).then(|| queue.known_end(partition.id)).flatten();
            let end = partition.end.or_else(known);
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

/// Says what is gone, and what follows.
fn warn_of(loss: Loss, topic: &str, partition: &Partition) {
    let (partition, position) = (partition.id, partition.position());
    match loss {
        Loss::Unread { up_to } => tracing::warn!(
            topic,
            partition,
            was = position,
            first = up_to,
            "SOURCE_DATA_LOSS: records were deleted before they were read; reading on from the first record there is"
        ),
        Loss::Tail { from } => tracing::warn!(
            topic,
            partition,
            was = position,
            end = from,
            "SOURCE_DATA_LOSS: the partition ends before what was read of it: its leader had not got its last records, or the topic was \
             made anew; reading on from its end, so that nothing is read twice, and without what came before that"
        ),
        Loss::Bound { from, end } => tracing::warn!(
            topic,
            partition,
            position,
            end = from,
            was_end = end,
            "SOURCE_DATA_LOSS: the partition ends before the end that was to be read to; reading to what it has"
        ),
    }
}
