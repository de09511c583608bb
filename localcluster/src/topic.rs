//! The topic that events go into: looked up or created, and a producer for it.

use std::num::NonZeroU16;

use connectors::kafka::{self, Admin, ClientSettings, Producer, SettingsError};
use stream_core::secret::Secret;

use crate::settings::{Kafka, Settings};
use crate::state_dir::StateDir;

/// As many as the demo's events are spread over, and more than one taskmanager's slots.
pub const PARTITIONS: i32 = 3;

/// Why a topic cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Our own Kafka is not up.
    #[error("no kafka is running here; `make up` starts one, or set KAFKA_URL to yours")]
    NotUp,
    /// Key or secret alone.
    #[error("one of KAFKA_WEB_TRAFFIC_KEY and KAFKA_WEB_TRAFFIC_SECRET is not set; set both for SASL_SSL, or none")]
    HalfALogin,
    /// The settings for Kafka make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Kafka does not do it.
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
    /// The topic is not there.
    #[error(
        "there is no topic `{topic}` at {brokers}; `make up` creates it on a kafka of its own, elsewhere create it first"
    )]
    Missing {
        /// The topic.
        topic: String,
        /// Where it was looked for.
        brokers: String,
    },
}

/// A topic that is there.
#[derive(Debug)]
pub struct Topic {
    client: ClientSettings,
    name: String,
    partitions: Vec<i32>,
}

impl Topic {
    /// Looks the topic up.
    ///
    /// # Errors
    /// If Kafka cannot be reached, or has no such topic.
    pub async fn open(settings: &Settings, state: &StateDir, name: &str) -> Result<Topic, Error> {
        let client = client(settings, state)?;
        let admin = Admin::new(&client)?;
        if !admin.topics().await?.iter().any(|topic| topic == name) {
            return Err(Error::Missing { topic: name.to_owned(), brokers: settings.kafka_url() });
        }
        let partitions = admin.partitions(name).await?;
        Ok(Topic { client, name: name.to_owned(), partitions })
    }

    /// Creates the topic with so many partitions, or takes it as it is.
    ///
    /// # Errors
    /// If Kafka cannot be reached or refuses.
    pub async fn open_or_create(
        settings: &Settings,
        state: &StateDir,
        name: &str,
        partitions: i32,
    ) -> Result<Topic, Error> {
        let client = client(settings, state)?;
        let admin = Admin::new(&client)?;
        admin.create_topic(name, partitions).await?;
        let partitions = admin.partitions(name).await?;
        Ok(Topic { client, name: name.to_owned(), partitions })
    }

    /// The names of all topics.
    ///
    /// # Errors
    /// If Kafka cannot be reached.
    pub async fn names(settings: &Settings, state: &StateDir) -> Result<Vec<String>, Error> {
        Ok(Admin::new(&client(settings, state)?)?.topics().await?)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its partitions; line i of a file goes to number i mod N of them.
    #[must_use]
    pub fn partitions(&self) -> &[i32] {
        &self.partitions
    }

    /// A producer into it.
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub fn producer(&self) -> Result<Producer, Error> {
        Ok(Producer::new(&self.client, &self.name)?)
    }

    /// A producer into it with so many records in each batch: [`Producer::in_batches`].
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub fn producer_in_batches(&self, records: NonZeroU16) -> Result<Producer, Error> {
        Ok(Producer::in_batches(&self.client, &self.name, records)?)
    }
}

fn client(settings: &Settings, state: &StateDir) -> Result<ClientSettings, Error> {
    if !matches!(settings.kafka, Kafka::Users(_)) && state.running("kafka").is_none() {
        return Err(Error::NotUp);
    }
    let client = ClientSettings::new(&settings.kafka_url())?;
    let login = ["KAFKA_WEB_TRAFFIC_KEY", "KAFKA_WEB_TRAFFIC_SECRET"].map(|name| settings.variable(name));
    match login {
        [Some(key), Some(secret)] => Ok(client.with_credentials(&key, Secret::new(secret))),
        [None, None] => Ok(client),
        _ => Err(Error::HalfALogin),
    }
}
