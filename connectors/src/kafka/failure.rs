//! What goes wrong while a partition is read: what passes, and what does not.

use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::discover::split_name;
use super::error::{ClientWords, Error};
use super::settings::TopicSettings;

/// What librdkafka said about a partition, before it is known whether that matters.
pub(super) struct PartitionFailure<'a> {
    /// Which; `None` if it concerns the client as a whole.
    pub(super) partition: Option<i32>,
    /// The offset it happened at, if it says so.
    pub(super) offset: Option<u64>,
    /// A `rd_kafka_resp_err_t`.
    pub(super) code: i32,
    /// In librdkafka's words.
    pub(super) words: &'a [u8],
}

impl PartitionFailure<'_> {
    /// Fails if waiting does not mend it.
    pub(super) fn check(&self, settings: &TopicSettings) -> Result<(), Error> {
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
