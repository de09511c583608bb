//! OffsetCommit and OffsetFetch, for consumers that assign their partitions themselves.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::group_offsets::{ByTopic, Committed};
use crate::node::Node;

/// Kafka's default `offset.metadata.max.bytes`.
const MAX_METADATA_BYTES: usize = 4_096;

/// Answers an OffsetCommit request: what is valid is stored, all of it or none.
pub(crate) fn commit(node: &Node, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let is_member = request.generation_id_or_member_epoch >= 0 || !request.member_id.is_empty();
    let mut accepted = ByTopic::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let index = partition.partition_index;
            let outcome = match request.group_id.as_str() {
                "" => Err(ResponseError::InvalidGroupId),
                // Nobody can have joined a group here.
                _ if is_member => Err(ResponseError::UnknownMemberId),
                _ => accept(node, &topic.name, partition),
            };
            let code = outcome.as_ref().err().map_or(0, ResponseError::code);
            if let Ok(committed) = outcome {
                accepted.entry(topic.name.to_string()).or_default().insert(index, committed);
            }
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
        });
        let partitions = partitions.collect();
        topics.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
    }
    if let Err(e) = node.group_offsets.commit(&request.group_id, accepted) {
        let code = super::storage_failed(&e).code.code();
        let stored = topics.iter_mut().flat_map(|t| &mut t.partitions).filter(|p| p.error_code == 0);
        stored.for_each(|p| p.error_code = code);
    }
    OffsetCommitResponse::default().with_topics(topics)
}

fn accept(node: &Node, topic: &str, partition: OffsetCommitRequestPartition) -> Result<Committed, ResponseError> {
    if node.topics.partition(topic, partition.partition_index).is_none() {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let metadata = partition.committed_metadata.map_or_else(String::new, |m| m.to_string());
    if metadata.len() > MAX_METADATA_BYTES {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(Committed { offset: partition.committed_offset, leader_epoch: partition.committed_leader_epoch, metadata })
}

/// Answers an OffsetFetch request: -1 where nothing was committed.
pub(crate) fn fetch(node: &Node, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let committed = node.group_offsets.of_group(&request.group_id);
    let everything = || {
        let topics = committed.iter().map(|(topic, partitions)| {
            let name = TopicName(StrBytes::from_string(topic.clone()));
            OffsetFetchRequestTopic::default()
                .with_name(name)
                .with_partition_indexes(partitions.keys().copied().collect())
        });
        topics.collect()
    };
    let topics = request.topics.unwrap_or_else(everything).into_iter().map(|topic| {
        let partitions = committed.get(topic.name.as_str());
        let wanted = topic.partition_indexes.iter();
        let partitions = wanted.map(|index| report(*index, partitions.and_then(|p| p.get(index)))).collect();
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn report(index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartition {
    let (offset, epoch, metadata) = committed.map_or((-1, -1, ""), |c| (c.offset, c.leader_epoch, &c.metadata));
    OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(epoch)
        .with_metadata(Some(StrBytes::from_string(metadata.to_owned())))
}
