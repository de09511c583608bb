//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords.
//!
//! Topic settings are accepted and ignored, as a development cluster's are mostly about retention; those that would
//! change what a consumer reads are refused.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};

use super::{Refused, code_and_message};
use crate::node::{NODE_ID, Node};

/// What "the broker's default" number of partitions is, unless topics are made on demand with another one.
const DEFAULT_PARTITIONS: i32 = 1;

/// Answers a CreateTopics request.
pub(crate) fn create_topics(node: &Node, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let results = request.topics.into_iter().map(|topic| {
        let outcome = create_topic(node, &topic, request.validate_only);
        let (code, message) = code_and_message(&outcome);
        CreatableTopicResult::default()
            .with_name(topic.name)
            .with_error_code(code)
            .with_error_message(message)
            .with_num_partitions(*outcome.as_ref().unwrap_or(&-1))
            .with_replication_factor(if outcome.is_ok() { 1 } else { -1 })
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn create_topic(node: &Node, topic: &CreatableTopic, dry_run: bool) -> Result<i32, Refused> {
    topic.configs.iter().try_for_each(check_setting)?;
    if !matches!(topic.replication_factor, 1 | -1) {
        let message = format!("replication factor `{}`: devbroker is a single broker, use 1", topic.replication_factor);
        return Err(Refused::new(ResponseError::InvalidReplicationFactor, message));
    }
    if topic.assignments.iter().any(|a| a.broker_ids != [BrokerId(NODE_ID)]) {
        let message = format!("the only broker is `{NODE_ID}`");
        return Err(Refused::new(ResponseError::InvalidReplicaAssignment, message));
    }
    let count = match topic.num_partitions {
        -1 if topic.assignments.is_empty() => node.auto_create_partitions.unwrap_or(DEFAULT_PARTITIONS),
        -1 => i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX),
        count => count,
    };
    node.topics.create(&topic.name, count, dry_run)?;
    Ok(count)
}

fn check_setting(setting: &CreatableTopicConfig) -> Result<(), Refused> {
    let value = setting.value.as_deref().unwrap_or_default();
    match &*setting.name {
        "cleanup.policy" if value.contains("compact") => {}
        "message.timestamp.type" if value != "CreateTime" => {}
        _ => return Ok(()),
    }
    let message = format!("devbroker cannot do `{}={value}`; use Apache Kafka for that", &*setting.name);
    Err(Refused::new(ResponseError::InvalidConfig, message))
}

/// Answers a DeleteTopics request.
pub(crate) fn delete_topics(node: &Node, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let results = request.topic_names.into_iter().map(|name| {
        let deleted = node.topics.delete(&name).map_err(Refused::from);
        let outcome = deleted.and_then(|()| node.group_offsets.forget_topic(&name).map_err(Refused::from));
        let (code, message) = code_and_message(&outcome);
        DeletableTopicResult::default().with_name(Some(name)).with_error_code(code).with_error_message(message)
    });
    DeleteTopicsResponse::default().with_responses(results.collect())
}

/// Answers a CreatePartitions request.
pub(crate) fn create_partitions(node: &Node, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let results = request.topics.into_iter().map(|topic| {
        let outcome = node.topics.grow(&topic.name, topic.count, request.validate_only).map_err(Refused::from);
        let (code, message) = code_and_message(&outcome);
        CreatePartitionsTopicResult::default().with_name(topic.name).with_error_code(code).with_error_message(message)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

/// Answers a DeleteRecords request.
pub(crate) fn delete_records(node: &Node, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let outcome = delete_before(node, &topic.name, wanted.partition_index, wanted.offset);
            DeleteRecordsPartitionResult::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(code_and_message(&outcome).0)
                .with_low_watermark(outcome.unwrap_or(-1))
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn delete_before(node: &Node, topic: &str, index: i32, offset: i64) -> Result<i64, Refused> {
    const EVERYTHING: i64 = -1;
    let partition = node.topics.partition(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let mut log = partition.log();
    let offset = if offset == EVERYTHING { log.end_offset() } else { offset };
    if !(0..=log.end_offset()).contains(&offset) {
        return Err(ResponseError::OffsetOutOfRange.into());
    }
    log.delete_before(offset)?;
    Ok(log.start_offset())
}
