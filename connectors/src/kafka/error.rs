//! What can go wrong with Kafka, in words for the person who named the topic.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use stream_core::ids::CheckpointId;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind};

use super::settings::SettingsError;

/// Kafka cannot be used as asked, or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See there.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The broker does not answer.
    #[error(
        "cannot reach Kafka at `{brokers}`; check the address, and that the broker runs and can be reached from here"
    )]
    Unreachable {
        /// The addresses asked.
        brokers: String,
        /// In the client's words.
        source: ClientWords,
    },
    /// The TLS handshake fails.
    #[error("no TLS connection to Kafka at `{brokers}`; check `security.protocol`, the port and `ssl.ca.location`")]
    Tls {
        /// The addresses asked.
        brokers: String,
        /// In the client's words.
        source: ClientWords,
    },
    /// The credentials are refused.
    #[error("Kafka at `{brokers}` refuses the credentials; check the key and the secret")]
    Refused {
        /// The addresses asked.
        brokers: String,
        /// In the client's words.
        source: ClientWords,
    },
    /// No such topic.
    #[error("no topic `{topic}` at {brokers}; create it, check --source, or take it as it comes with --wait-for-topic")]
    NoTopic {
        /// Its name.
        topic: String,
        /// The addresses asked.
        brokers: String,
    },
    /// The credentials are good, but not for this.
    #[error("not allowed to use topic `{topic}` (or the consumer group) at {brokers}; ask for the right to read it")]
    NotAuthorized {
        /// Its name.
        topic: String,
        /// The addresses asked.
        brokers: String,
    },
    /// Not the name of a partition of this topic.
    #[error("split `{split}` is no partition of topic `{topic}`")]
    ForeignSplit {
        /// The split's name.
        split: String,
        /// The topic's.
        topic: String,
    },
    /// The records from there on were deleted before they were read, or the topic was made anew.
    #[error(
        "SOURCE_DATA_LOSS: offset {offset} of `{split}` is not in the topic (any more): records were deleted before they were read, \
         or the topic was made anew; submit the job again with the --from that you want, or with `--on-data-loss earliest`, by which \
         it goes on with the first record that is there and was not read"
    )]
    OffsetOutOfRange {
        /// The partition.
        split: String,
        /// The offset asked for.
        offset: u64,
    },
    /// The brokers say that they have no such topic, or not this partition of it. One that has just started may say so of any.
    #[error(
        "{brokers} no longer knows topic `{topic}`; the job tries again; if it was deleted, cancel the job, or create it again"
    )]
    TopicGone {
        /// Its name.
        topic: String,
        /// The addresses asked.
        brokers: String,
    },
    /// Anything else that goes wrong while reading a partition.
    #[error("cannot read `{split}`")]
    Read {
        /// The partition.
        split: String,
        /// In the client's words.
        source: ClientWords,
    },
    /// Messages that were not delivered.
    #[error("{failed} of {sent} messages for topic `{topic}` were not delivered")]
    NotDelivered {
        /// How many.
        failed: u64,
        /// Of how many.
        sent: u64,
        /// Where to.
        topic: String,
        /// Why the first was not, in the client's words.
        source: ClientWords,
    },
    /// A topic for rows is not there.
    #[error("no topic `{topic}` at {brokers} to put rows into; create it")]
    NoOutlet {
        /// Its name.
        topic: String,
        /// The addresses asked.
        brokers: String,
    },
    /// It is not there, and cannot be made.
    #[error(
        "no topic `{topic}` at {brokers} to put rows into, and it could not be created; create it, or ask for the right to"
    )]
    TopicNotMade {
        /// Its name.
        topic: String,
        /// The addresses asked.
        brokers: String,
        /// Why not.
        source: Box<Error>,
    },
    /// The cluster has no transactions, or none for us.
    #[error(
        "Kafka at {brokers} refuses a transaction, without which rows would be in topic `{topic}` twice; grant `Write` on transactional ids \
         that begin with `gapwise-`, such as `{id}`, or keep the rows in a table"
    )]
    NoTransactions {
        /// The topic.
        topic: String,
        /// The addresses asked.
        brokers: String,
        /// The transactional id.
        id: String,
        /// In the client's words.
        source: ClientWords,
    },
    /// The credentials are good, but not for this.
    #[error(
        "not allowed to put rows into topic `{topic}` at {brokers} as `{id}`; grant `Write` and `Read` on it, `Read` on groups and `Write` \
         on transactional ids that begin with `gapwise-`"
    )]
    OutletNotAuthorized {
        /// The topic.
        topic: String,
        /// The addresses asked.
        brokers: String,
        /// The group, and the transactional id.
        id: String,
    },
    /// A record above the topic's limit.
    #[error(
        "a record is too large for topic `{topic}`, and the rows behind it wait; let `max.message.bytes` of the topic be 262144 or more"
    )]
    RecordTooLarge {
        /// The topic.
        topic: String,
        /// In the client's words.
        source: ClientWords,
    },
    /// A cluster with shorter transactions.
    #[error("Kafka at {brokers} allows no transaction of {within:?}; let its `transaction.max.timeout.ms` be as much")]
    TransactionTooLong {
        /// The addresses asked.
        brokers: String,
        /// What is needed.
        within: Duration,
        /// In the client's words.
        source: ClientWords,
    },
    /// The topic has rows that the checkpoint behind an epoch knows nothing of.
    #[error(
        "topic `{topic}` has epoch {last}, and epoch {epoch} was made without it, behind {prev}: rows would be there twice. This follows \
         when the newest checkpoint was lost with the process that published, or the sink was set back; to go on all the same, \
         delete the offset of group `{group}` for the topic"
    )]
    OutletPassed {
        /// The topic.
        topic: String,
        /// The group whose offset is the epoch.
        group: String,
        /// What the topic has.
        last: CheckpointId,
        /// What was to be published.
        epoch: CheckpointId,
        /// What that follows on.
        prev: CheckpointId,
    },
    /// Rows that did not get into their topic, which may be mended by another try.
    #[error("cannot publish rows into topic `{topic}` of Kafka at {brokers}")]
    NotPublished {
        /// The topic.
        topic: String,
        /// The addresses asked.
        brokers: String,
        /// In the client's words.
        source: ClientWords,
    },
    /// Another failure of the client library.
    #[error("cannot {action} at {brokers}")]
    Client {
        /// What was tried.
        action: &'static str,
        /// The addresses asked.
        brokers: String,
        /// In the client's words.
        source: KafkaError,
    },
}

/// What librdkafka says about a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientWords(pub String);

impl Error {
    /// Wraps what librdkafka reported of an attempt to `action`.
    pub(super) fn client(action: &'static str, brokers: &str) -> impl FnOnce(KafkaError) -> Error {
        let brokers = brokers.to_owned();
        move |source| Error::Client { action, brokers, source }
    }

    fn kind(&self) -> ConnectorErrorKind {
        match self {
            Error::Settings(_) | Error::ForeignSplit { .. } => ConnectorErrorKind::Invalid,
            Error::Unreachable { .. } | Error::Tls { .. } => ConnectorErrorKind::Unreachable,
            Error::Refused { .. }
            | Error::NotAuthorized { .. }
            | Error::OutletNotAuthorized { .. }
            | Error::NoTransactions { .. } => ConnectorErrorKind::Denied,
            Error::NoTopic { .. } | Error::TopicGone { .. } | Error::NoOutlet { .. } | Error::TopicNotMade { .. } => {
                ConnectorErrorKind::NotFound
            }
            Error::OffsetOutOfRange { .. } => ConnectorErrorKind::DataLoss,
            Error::Read { .. }
            | Error::NotDelivered { .. }
            | Error::RecordTooLarge { .. }
            | Error::TransactionTooLong { .. }
            | Error::OutletPassed { .. }
            | Error::NotPublished { .. }
            | Error::Client { .. } => ConnectorErrorKind::Failed,
        }
    }
}

impl From<Error> for ConnectorError {
    fn from(error: Error) -> Self {
        let (kind, message) = (error.kind(), error.to_string());
        match error {
            Error::Unreachable { source, .. }
            | Error::Tls { source, .. }
            | Error::Refused { source, .. }
            | Error::Read { source, .. }
            | Error::NotDelivered { source, .. }
            | Error::NoTransactions { source, .. }
            | Error::RecordTooLarge { source, .. }
            | Error::TransactionTooLong { source, .. }
            | Error::NotPublished { source, .. } => ConnectorError::caused_by(kind, message, source),
            Error::TopicNotMade { source, .. } => ConnectorError::caused_by(kind, message, source),
            Error::Client { source, .. } => ConnectorError::caused_by(kind, message, source),
            Error::Settings(_)
            | Error::NoTopic { .. }
            | Error::NotAuthorized { .. }
            | Error::ForeignSplit { .. }
            | Error::OffsetOutOfRange { .. }
            | Error::NoOutlet { .. }
            | Error::OutletNotAuthorized { .. }
            | Error::OutletPassed { .. }
            | Error::TopicGone { .. } => ConnectorError::new(kind, message),
        }
    }
}

/// Whether a failed request for a topic says that there is none.
pub(super) fn is_no_topic(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition
    )
}

/// Whether a failed request says that the credentials do not suffice.
pub(super) fn is_not_authorized(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
    )
}
