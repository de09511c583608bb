//! One file for each group of requests: a decoded request in, a response out.
//!
//! Handlers are plain functions that may wait for the disk; only a fetch waits for anything else. Which versions of
//! them are offered stands in [`crate::dispatch`]. Tested from outside by the broker contract
//! test in `e2e`, and in `api/tests.rs` for what no ordinary client asks.

pub(crate) mod admin;
pub(crate) mod fetch;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
#[cfg(test)]
mod tests;

use std::error::Error;

use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tracing::error;

use crate::disk::DiskError;
use crate::topics::TopicError;

/// An error as the protocol carries it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: ResponseError,
    pub(crate) message: Option<StrBytes>,
}

impl Refused {
    pub(crate) fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self { code, message: Some(StrBytes::from_string(message.into())) }
    }
}

impl From<ResponseError> for Refused {
    fn from(code: ResponseError) -> Self {
        Self { code, message: None }
    }
}

impl From<DiskError> for Refused {
    fn from(e: DiskError) -> Self {
        storage_failed(&e)
    }
}

impl From<TopicError> for Refused {
    fn from(e: TopicError) -> Self {
        let code = match &e {
            TopicError::Name => ResponseError::InvalidTopicException,
            TopicError::Exists { .. } => ResponseError::TopicAlreadyExists,
            TopicError::Unknown { .. } => ResponseError::UnknownTopicOrPartition,
            TopicError::Partitions { .. } => ResponseError::InvalidPartitions,
            TopicError::Disk(e) => return storage_failed(e),
        };
        Self::new(code, e.to_string())
    }
}

/// Logs a failure of the disk, of which the client learns only that it happened.
pub(crate) fn storage_failed(e: &dyn Error) -> Refused {
    let cause = e.source().map(ToString::to_string);
    error!(error = %e, cause, "storage failed");
    Refused::new(ResponseError::KafkaStorageError, e.to_string())
}

/// The error code of an outcome, 0 if it is none, and the message that goes with it.
pub(crate) fn code_and_message<T>(outcome: &Result<T, Refused>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(_) => (0, None),
        Err(refused) => (refused.code.code(), refused.message.clone()),
    }
}
