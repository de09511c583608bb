//! Produce and InitProducerId: one batch for each partition goes to the end of its log.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, ProducerId,
};

use super::{Refused, code_and_message, metadata};
use crate::batch::Invalid;
use crate::log::AppendError;
use crate::node::Node;
use crate::producers::Refusal;

/// Answers a Produce request. With `acks=0` the answer is not to be sent.
pub(crate) fn append(node: &Node, request: ProduceRequest) -> ProduceResponse {
    let refusal = if request.transactional_id.is_some() {
        Some(metadata::no_transactions())
    } else if !(-1..=1).contains(&request.acks) {
        Some(ResponseError::InvalidRequiredAcks.into())
    } else {
        None
    };
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.into_iter().map(|partition| {
            let outcome = match &refusal {
                Some(r) => Err(Refused { code: r.code, message: r.message.clone() }),
                None => append_one(node, &topic.name, partition.index, partition.records),
            };
            report(partition.index, &outcome)
        });
        let partitions = partitions.collect();
        TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
    });
    ProduceResponse::default().with_responses(topics.collect())
}

/// Whether any partition of a response failed.
pub(crate) fn has_failed(response: &ProduceResponse) -> bool {
    response.responses.iter().flat_map(|t| &t.partition_responses).any(|p| p.error_code != 0)
}

fn append_one(node: &Node, topic: &str, index: i32, records: Option<Bytes>) -> Result<(i64, i64), Refused> {
    let partition = node.topics.partition(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    // Since version 3 a request holds exactly one batch for a partition.
    let batch = records.ok_or_else(|| Refused::new(ResponseError::InvalidRecord, "no records"))?;
    node.topics.append(&partition, &batch).map_err(|e| {
        let code = match &e {
            AppendError::Invalid(Invalid::TooLarge { .. }) => ResponseError::MessageTooLarge,
            AppendError::Invalid(Invalid::Magic { .. }) => ResponseError::UnsupportedForMessageFormat,
            AppendError::Invalid(Invalid::Compression { .. }) => ResponseError::UnsupportedCompressionType,
            AppendError::Invalid(Invalid::Attributes | Invalid::Counts) => ResponseError::InvalidRecord,
            AppendError::Invalid(Invalid::Short { .. } | Invalid::Length { .. } | Invalid::Checksum) => {
                ResponseError::CorruptMessage
            }
            AppendError::Refused(Refusal::StaleEpoch { .. }) => ResponseError::InvalidProducerEpoch,
            AppendError::Refused(Refusal::OutOfOrder { .. }) => ResponseError::OutOfOrderSequenceNumber,
            AppendError::Io(_) => return super::storage_failed(&e),
        };
        Refused::new(code, e.to_string())
    })
}

fn report(index: i32, outcome: &Result<(i64, i64), Refused>) -> PartitionProduceResponse {
    let (base_offset, start_offset) = *outcome.as_ref().unwrap_or(&(-1, -1));
    let (code, message) = code_and_message(outcome);
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code)
        .with_error_message(message)
        .with_base_offset(base_offset)
        .with_log_append_time_ms(-1) // the records keep the producer's time
        .with_log_start_offset(start_offset)
}

/// Answers an InitProducerId request: always a new id, as Kafka does for a producer without transactions.
pub(crate) fn init_producer_id(node: &Node, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let outcome = match request.transactional_id {
        Some(_) => Err(metadata::no_transactions()),
        None => node.producer_ids.next().map_err(Refused::from),
    };
    let (code, _) = code_and_message(&outcome);
    let (id, epoch) = outcome.map_or((-1, -1), |id| (id, 0));
    InitProducerIdResponse::default().with_error_code(code).with_producer_id(ProducerId(id)).with_producer_epoch(epoch)
}
