//! Topics made and removed, for tools and tests; a job changes no topic.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use stream_core::time::EventTime;

use super::connection::Connection;
use super::error::Error;
use super::lookup::{Lookup, Offsets};
use super::settings::ClientSettings;

/// How long a change may take.
const CHANGE_WITHIN: Duration = Duration::from_secs(30);

/// How long to wait before a broker is asked again for a topic that was just made, and how often.
const NEWS_WAIT: Duration = Duration::from_millis(50);
const NEWS_TRIES: u32 = 200;

/// A client that may change topics. Cheap to clone; its methods need a tokio runtime.
#[derive(Clone)]
pub struct Admin {
    client: Arc<AdminClient<Connection>>,
    lookup: Arc<Lookup>,
    brokers: String,
}

impl Admin {
    /// A client; it connects when it is first used.
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub fn new(settings: &ClientSettings) -> Result<Self, Error> {
        let brokers = settings.brokers().to_owned();
        let client = settings.client_config()?.create_with_context(Connection::default());
        let client = Arc::new(client.map_err(Error::client("make a Kafka client", &brokers))?);
        Ok(Admin { client, lookup: Arc::new(Lookup::new(settings)?), brokers })
    }

    /// Creates a topic and waits until its partitions can be used; whether it was not there before.
    ///
    /// # Errors
    /// If the cluster does not do it.
    pub async fn create_topic(&self, topic: &str, partitions: i32) -> Result<bool, Error> {
        self.create(NewTopic::new(topic, partitions, TopicReplication::Fixed(1))).await
    }

    /// The same with as many partitions and copies of each as the cluster gives by default.
    ///
    /// # Errors
    /// If the cluster does not do it.
    pub async fn create_topic_by_default(&self, topic: &str) -> Result<bool, Error> {
        self.create(NewTopic::new(topic, -1, TopicReplication::Fixed(-1))).await
    }

    async fn create(&self, new: NewTopic<'_>) -> Result<bool, Error> {
        let topic = new.name;
        let done = self.client.create_topics([&new], &options()).await;
        let is_new = match done.map_err(self.failed("create a topic"))?.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => false,
            Some(Err((_, code))) => return Err(self.failed("create a topic")(KafkaError::AdminOp(code))),
            Some(Ok(_)) | None => true,
        };
        let (name, partitions) = (topic.to_owned(), self.partitions_of_new(topic).await?);
        self.ask(move |lookup| lookup.all_watermarks(&name, &partitions)).await?;
        Ok(is_new)
    }

    /// A broker may hear of a topic only some time after the controller made it.
    async fn partitions_of_new(&self, topic: &str) -> Result<Vec<i32>, Error> {
        for _ in 0..NEWS_TRIES {
            match self.partitions(topic).await {
                Err(Error::NoTopic { .. }) => tokio::time::sleep(NEWS_WAIT).await,
                answer => return answer,
            }
        }
        self.partitions(topic).await
    }

    /// Deletes a topic; whether it was there.
    ///
    /// # Errors
    /// If the cluster does not do it.
    pub async fn delete_topic(&self, topic: &str) -> Result<bool, Error> {
        let done = self.client.delete_topics(&[topic], &options()).await;
        match done.map_err(self.failed("delete a topic"))?.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))) => Ok(false),
            Some(Err((_, code))) => Err(self.failed("delete a topic")(KafkaError::AdminOp(code))),
            Some(Ok(_)) | None => Ok(true),
        }
    }

    /// Adds partitions to a topic, up to this number.
    ///
    /// # Errors
    /// If the cluster does not do it.
    pub async fn create_partitions(&self, topic: &str, total: usize) -> Result<(), Error> {
        let done = self.client.create_partitions([&NewPartitions::new(topic, total)], &options()).await;
        match done.map_err(self.failed("add partitions"))?.into_iter().next() {
            Some(Err((_, code))) => Err(self.failed("add partitions")(KafkaError::AdminOp(code))),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Deletes the records of a partition that lie before an offset.
    ///
    /// # Errors
    /// If the cluster does not do it.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: u64) -> Result<(), Error> {
        let failed = || self.failed("delete records");
        let offset = Offset::Offset(i64::try_from(before).unwrap_or(i64::MAX));
        let mut records = TopicPartitionList::new();
        records.add_partition_offset(topic, partition, offset).map_err(failed())?;
        let done = self.client.delete_records(&records, &options()).await.map_err(failed())?;
        done.elements().iter().try_for_each(|each| each.error()).map_err(failed())
    }

    /// See [`Lookup::topics`].
    ///
    /// # Errors
    /// As there.
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        self.ask(Lookup::topics).await
    }

    /// See [`Lookup::partitions`].
    ///
    /// # Errors
    /// As there.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>, Error> {
        let topic = topic.to_owned();
        self.ask(move |lookup| lookup.partitions(&topic)).await
    }

    /// See [`Lookup::watermarks`].
    ///
    /// # Errors
    /// As there.
    pub async fn watermarks(&self, topic: &str, partition: i32) -> Result<Range<u64>, Error> {
        let topic = topic.to_owned();
        self.ask(move |lookup| lookup.watermarks(&topic, partition)).await
    }

    /// The [`Lookup::watermarks`] of every partition.
    ///
    /// # Errors
    /// As there.
    pub async fn all_watermarks(&self, topic: &str) -> Result<BTreeMap<i32, Range<u64>>, Error> {
        let topic = topic.to_owned();
        self.ask(move |lookup| {
            let partitions = lookup.partitions(&topic)?;
            lookup.all_watermarks(&topic, &partitions)
        })
        .await
    }

    /// See [`Lookup::offsets_for_time`].
    ///
    /// # Errors
    /// As there.
    pub async fn offsets_for_time(&self, topic: &str, partitions: &[i32], time: EventTime) -> Result<Offsets, Error> {
        let (topic, partitions) = (topic.to_owned(), partitions.to_vec());
        self.ask(move |lookup| lookup.offsets_for_time(&topic, &partitions, time)).await
    }

    /// Asks on a thread where blocking is allowed.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Lookup) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let lookup = Arc::clone(&self.lookup);
        match tokio::task::spawn_blocking(move || question(&lookup)).await {
            Ok(answer) => answer,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(KafkaError) -> Error {
        let failure = self.client.inner().context().failure();
        let brokers = self.brokers.clone();
        move |error| match failure {
            // A change that times out says no more than that; what the connection died of does.
            Some(failure) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
                failure.into_error(&brokers)
            }
            _ => Error::client(action, &brokers)(error),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(CHANGE_WITHIN)).operation_timeout(Some(CHANGE_WITHIN))
}
