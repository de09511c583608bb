//! OffsetCommit and OffsetFetch, for consumers that assign their partitions themselves.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
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
    let refusal = if request.group_id.is_empty() {
        Some(ResponseError::InvalidGroupId)
    } else if request.generation_id_or_member_epoch >= 0 || !request.member_id.is_empty() {
        // Nobody can have joined a group here.
        Some(ResponseError::UnknownMemberId)
    } else {
        None
    };
    let mut accepted = ByTopic::new();
    let mut codes = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let index = partition.partition_index;
            let outcome = match refusal {
                Some(e) => Err(e),
                None => accept(node, &topic.name, partition),
            };
            partitions.push((index, outcome.as_ref().err().copied()));
            if let Ok(committed) = outcome {
                accepted.entry(topic.name.to_string()).or_default().insert(index, committed);
            }
        }
        codes.push((topic.name, partitions));
    }
    let failed = node.group_offsets.commit(&request.group_id, accepted).err();
    let failed = failed.map(|e| super::storage_failed(&e).code);
    let topics = codes.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, error)| {
            let code = error.or(failed).map_or(0, |e| e.code());
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
        });
        OffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
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
    let topics = match request.topics {
        None => committed
            .iter()
            .map(|(topic, partitions)| {
                let name = TopicName(StrBytes::from_string(topic.clone()));
                report(name, partitions.iter().map(|(index, c)| (*index, Some(c))))
            })
            .collect(),
        Some(topics) => topics
            .into_iter()
            .map(|topic| {
                let partitions = committed.get(topic.name.as_str());
                let wanted = topic.partition_indexes.into_iter();
                report(topic.name, wanted.map(|index| (index, partitions.and_then(|p| p.get(&index)))))
            })
            .collect(),
    };
    OffsetFetchResponse::default().with_topics(topics)
}

fn report<'a>(
    name: TopicName,
    partitions: impl Iterator<Item = (i32, Option<&'a Committed>)>,
) -> OffsetFetchResponseTopic {
    let partitions = partitions.map(|(index, committed)| {
        let (offset, epoch, metadata) = committed.map_or((-1, -1, ""), |c| (c.offset, c.leader_epoch, &c.metadata));
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_metadata(Some(StrBytes::from_string(metadata.to_owned())))
    });
    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
}
