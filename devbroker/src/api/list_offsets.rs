//! ListOffsets (earliest, latest, by time) and OffsetForLeaderEpoch.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::{Refused, code_and_message};
use crate::batch::LEADER_EPOCH;
use crate::node::Node;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Answers a ListOffsets request.
pub(crate) fn list(node: &Node, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let outcome = find(node, &topic.name, wanted.partition_index, wanted.timestamp);
            let (code, _) = code_and_message(&outcome);
            let (offset, timestamp) = outcome.unwrap_or((-1, -1));
            ListOffsetsPartitionResponse::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(code)
                .with_offset(offset)
                .with_timestamp(timestamp)
                .with_leader_epoch(if offset < 0 { -1 } else { LEADER_EPOCH })
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// Offset and timestamp; both are -1 where no record is that late.
fn find(node: &Node, topic: &str, index: i32, timestamp: i64) -> Result<(i64, i64), Refused> {
    let partition = node.topics.partition(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let log = partition.log();
    match timestamp {
        LATEST => Ok((log.end_offset(), -1)),
        EARLIEST => Ok((log.start_offset(), -1)),
        0.. => {
            let found = log.first_at_or_after(timestamp).map_err(|e| super::storage_failed(&e))?;
            Ok(found.map_or((-1, -1), |f| (f.offset, f.timestamp)))
        }
        _ => Err(ResponseError::UnsupportedVersion.into()),
    }
}

/// Answers an OffsetForLeaderEpoch request: the one epoch there is ends where the log ends.
pub(crate) fn for_leader_epoch(node: &Node, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let end = EpochEndOffset::default().with_partition(wanted.partition);
            match node.topics.partition(&topic.topic, wanted.partition) {
                None => end.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
                Some(_) if wanted.leader_epoch != LEADER_EPOCH => end,
                Some(partition) => end.with_leader_epoch(LEADER_EPOCH).with_end_offset(partition.end_offset()),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
