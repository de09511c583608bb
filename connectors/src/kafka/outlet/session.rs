//! A producer that holds a transactional id, and what the register said when it took it over.

use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use rdkafka::{Offset, TopicPartitionList};
use stream_core::ids::CheckpointId;
use stream_runtime::fail_point::{self, Point};

use super::Target;
use super::records::Record;
use crate::kafka::connection::Connection;
use crate::kafka::error::{ClientWords, Error, is_no_topic, is_not_authorized};
use crate::kafka::lookup::Lookup;
use crate::kafka::producer::Context;

/// The partition for which the register is committed, since every topic has it.
const REGISTER_PARTITION: i32 = 0;
/// How long taking the id over may take: what another producer has open is brought to its end first.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(10);
/// How long a transaction may be open before the cluster aborts it: enough for an epoch of as many rows of 64 KiB as there may
/// be, and a third of what a cluster allows by default.
const TRANSACTION_WITHIN: Duration = Duration::from_secs(300);
/// How long each of the last steps of a transaction may take, and a record to be delivered.
const COMMIT_WITHIN: Duration = Duration::from_secs(20);
const ABORT_WITHIN: Duration = Duration::from_secs(5);
/// Records are sent in batches no larger than that, or alone, so that a topic that takes the largest takes all.
const BATCH_BYTES: &str = "131072";
/// Records that wait to be sent before [`Session::send`] waits too.
const QUEUE_KIB: &str = "32768";
const ROOM_WITHIN: Duration = Duration::from_millis(10);

/// Holds the id until another does.
pub(super) struct Session {
    target: Target,
    producer: BaseProducer<Context>,
    group: ConsumerGroupMetadata,
    partitions: i64,
    last_epoch: Option<CheckpointId>,
}

impl Session {
    /// Takes the id over, and reads the register behind that. Blocks.
    ///
    /// # Errors
    /// If there is no such topic, the cluster cannot be reached, or allows no transaction.
    pub(super) fn open(target: &Target) -> Result<Self, Error> {
        let Target { client, topic, .. } = target;
        let lookup = Lookup::new(client)?;
        let partitions = lookup.partitions(topic).map_err(|error| of_outlet(error, target))?.len();
        let producer = take_over(target, TAKE_OVER_WITHIN)?;
        let committed = lookup.committed(topic, &[REGISTER_PARTITION]).map_err(|error| of_outlet(error, target))?;
        Ok(Session {
            target: target.clone(),
            producer,
            group: lookup.group().expect("the client was given a group"),
            partitions: i64::try_from(partitions).unwrap_or(i64::MAX),
            last_epoch: committed.get(&REGISTER_PARTITION).copied().map(CheckpointId),
        })
    }

    /// What the register says.
    pub(super) fn last_epoch(&self) -> Option<CheckpointId> {
        self.last_epoch
    }

    /// Begins a transaction.
    pub(super) fn begin(&self) -> Result<(), Error> {
        self.producer.begin_transaction().map_err(|error| self.failed(error))
    }

    /// Adds a record to it. Blocks while many wait to be sent.
    pub(super) fn send(&self, record: Record) -> Result<(), Error> {
        let Record { headers, value, source_partition } = record;
        let partition = source_partition.and_then(|source| i32::try_from(source.rem_euclid(self.partitions)).ok());
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.target.topic).headers(headers);
        (record.partition, record.payload) = (partition, value.as_deref());
        loop {
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), record)) => record,
                Err((error, _)) => return Err(self.failed(error)),
            };
            self.producer.poll(ROOM_WITHIN);
            if let Some(failure) = self.producer.context().first_failure() {
                return Err(self.failed(failure));
            }
        }
    }

    /// Moves the register to an epoch, and makes that and the records visible.
    pub(super) fn commit(&mut self, epoch: CheckpointId) -> Result<(), Error> {
        let failed = |error| self.failed(error);
        let mut register = TopicPartitionList::with_capacity(1);
        let offset = Offset::Offset(i64::try_from(epoch.0).expect("a token has 31 bits"));
        register.add_partition_offset(&self.target.topic, REGISTER_PARTITION, offset).map_err(failed)?;
        self.producer.send_offsets_to_transaction(&register, &self.group, COMMIT_WITHIN).map_err(failed)?;
        self.producer.flush(COMMIT_WITHIN).map_err(failed)?;
        fail_point::reach(Point::OutletRowsSent);
        self.producer.commit_transaction(COMMIT_WITHIN).map_err(failed)?;
        fail_point::reach(Point::OutletCommitted);
        self.last_epoch = Some(epoch);
        // A broker that refused us for a moment, and takes us now, must not make the next passing failure a final one.
        self.producer.context().connection.forget_failure();
        Ok(())
    }

    /// Gives up what is open, so that readers do not wait for it; who takes the id over next does so too.
    pub(super) fn abort(self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let flushed = self.producer.flush(ABORT_WITHIN);
        if let Err(error) = flushed.and_then(|()| self.producer.abort_transaction(ABORT_WITHIN)) {
            tracing::debug!(topic = self.target.topic, %error, "a transaction was left open");
        }
    }

    /// The first record that failed says more than the transaction that cannot be committed for it.
    fn failed(&self, error: KafkaError) -> Error {
        let context = self.producer.context();
        failed(&self.target, &context.connection, &context.first_failure().unwrap_or(error))
    }
}

/// A producer that holds the id.
///
/// # Errors
/// As [`Session::open`].
pub(super) fn take_over(target: &Target, within: Duration) -> Result<BaseProducer<Context>, Error> {
    let brokers = target.client.brokers();
    let mut config = target.client.client_config()?;
    config
        .set("transactional.id", &target.id)
        .set("transaction.timeout.ms", TRANSACTION_WITHIN.as_millis().to_string())
        .set("message.timeout.ms", COMMIT_WITHIN.as_millis().to_string())
        .set("batch.size", BATCH_BYTES)
        .set("queue.buffering.max.kbytes", QUEUE_KIB)
        // What was set for reading may be less than a record.
        .set("message.max.bytes", "1000000");
    // Consumers' settings mean nothing here, and librdkafka says so each time.
    config.remove("group.id");
    config.remove("isolation.level");
    let producer: BaseProducer<Context> =
        config.create_with_context(Context::default()).map_err(Error::client("make a Kafka client", brokers))?;
    match producer.init_transactions(within) {
        Ok(()) => Ok(producer),
        Err(error) => Err(failed(target, &producer.context().connection, &error)),
    }
}

/// What is not there, or not allowed, of an outlet.
fn of_outlet(error: Error, Target { client, topic, id }: &Target) -> Error {
    let (topic, brokers, id) = (topic.clone(), client.brokers().to_owned(), id.clone());
    match error {
        Error::NoTopic { .. } => Error::NoOutlet { topic, brokers },
        Error::NotAuthorized { .. } => Error::OutletNotAuthorized { topic, brokers, id },
        error => error,
    }
}

/// What librdkafka's words mean for whoever named the topic.
fn failed(target: &Target, connection: &Connection, error: &KafkaError) -> Error {
    let Target { client, topic, id } = target.clone();
    let brokers = client.brokers().to_owned();
    let words = match error {
        KafkaError::Transaction(error) => error.string(),
        error => error.to_string(),
    };
    let source = ClientWords(words);
    match error.rdkafka_error_code() {
        Some(Code::TransactionalIdAuthorizationFailed | Code::UnsupportedFeature | Code::UnsupportedVersion) => {
            Error::NoTransactions { topic, brokers, id, source }
        }
        Some(code) if is_not_authorized(code) => Error::OutletNotAuthorized { topic, brokers, id },
        Some(code) if is_no_topic(code) => Error::NoOutlet { topic, brokers },
        Some(Code::MessageSizeTooLarge) => Error::RecordTooLarge { topic, source },
        Some(Code::InvalidTransactionTimeout) => {
            Error::TransactionTooLong { brokers, within: TRANSACTION_WITHIN, source }
        }
        _ => match connection.failure() {
            Some(failure) if failure.is_final() => failure.into_error(&brokers),
            _ => Error::NotPublished { topic, brokers, source },
        },
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientContext;
    use rdkafka::config::RDKafkaLogLevel;
    use stream_core::outlet::OutletSpec;
    use stream_runtime::connector::PublishError;

    use super::super::publish_error;
    use super::*;

    #[test]
    fn refusal_that_is_over_makes_nothing_final() {
        let spec = OutletSpec { uri: "kafka://h:1/late".to_owned(), properties: [].into(), secrets: [].into() };
        let target = Target::new(&spec, "gapwise-1-late_events".to_owned()).expect("valid");
        let timed_out = KafkaError::MessageProduction(Code::OperationTimedOut);
        let is_final = |connection: &Connection| {
            matches!(publish_error(failed(&target, connection, &timed_out)), PublishError::Final(_))
        };
        let connection = Connection::default();
        let line = "[thrd:ssl://h:1/1]: ssl://h:1/1: SSL handshake failed: certificate has expired";
        connection.log(RDKafkaLogLevel::Error, "FAIL", line);
        assert!(is_final(&connection));
        connection.forget_failure();
        assert!(!is_final(&connection));
    }

    #[test]
    fn what_somebody_has_to_mend_is_told_and_what_passes_is_tried_again() {
        let uri = "kafka://h:1/late".to_owned();
        let spec = OutletSpec { uri, properties: [].into(), secrets: [].into() };
        let target = Target::new(&spec, "gapwise-1-late_events".to_owned()).expect("valid");
        let told = |code| {
            let error = failed(&target, &Connection::default(), &KafkaError::MessageProduction(code));
            match publish_error(error) {
                PublishError::Final(error) => error.to_string(),
                PublishError::Passing(_) => "passes".to_owned(),
                other => panic!("{other}"),
            }
        };
        let rights = "`Read` on groups and `Write` on transactional ids that begin with `gapwise-`";
        assert!(told(Code::TopicAuthorizationFailed).ends_with(rights));
        assert!(told(Code::GroupAuthorizationFailed).ends_with(rights));
        assert!(told(Code::TransactionalIdAuthorizationFailed).contains("refuses a transaction"));
        assert_eq!(told(Code::UnknownTopicOrPartition), "no topic `late` at h:1 to put rows into; create it");
        assert!(told(Code::MessageSizeTooLarge).starts_with("a record is too large for topic `late`"));
        assert!(told(Code::InvalidTransactionTimeout).contains("allows no transaction of 300s"));
        for code in [Code::Fenced, Code::ProducerFenced, Code::OperationTimedOut, Code::BrokerTransportFailure] {
            assert_eq!(told(code), "passes", "{code}");
        }
    }
}
