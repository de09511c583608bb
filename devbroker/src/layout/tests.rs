#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;
use crate::dispatch;

fn text() -> StrBytes {
    StrBytes::from_static_str("some-name")
}

fn name() -> TopicName {
    TopicName(text())
}

/// A request of each API with something in every array, as `version` can carry it.
fn sample(key: ApiKey, version: i16) -> RequestKind {
    let one = BrokerId(1);
    match key {
        ApiKey::Produce => {
            let partition = || PartitionProduceData::default().with_records(Some(Bytes::from_static(&[7; 300])));
            let topic =
                TopicProduceData::default().with_name(name()).with_partition_data(vec![partition(), partition()]);
            RequestKind::Produce(ProduceRequest::default().with_topic_data(vec![topic.clone(), topic]))
        }
        ApiKey::Fetch => {
            let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![FetchPartition::default(); 2]);
            let request = FetchRequest::default().with_topics(vec![topic; 2]);
            let forgotten = ForgottenTopic::default().with_topic(name()).with_partitions(vec![1, 2]);
            let request = if version >= 7 { request.with_forgotten_topics_data(vec![forgotten]) } else { request };
            RequestKind::Fetch(if version >= 11 { request.with_rack_id(text()) } else { request })
        }
        ApiKey::ListOffsets => {
            let topic = ListOffsetsTopic::default().with_name(name());
            let topic = topic.with_partitions(vec![ListOffsetsPartition::default(); 2]);
            RequestKind::ListOffsets(ListOffsetsRequest::default().with_topics(vec![topic; 2]))
        }
        ApiKey::Metadata => {
            let topics = vec![MetadataRequestTopic::default().with_name(Some(name())); 3];
            RequestKind::Metadata(MetadataRequest::default().with_topics(Some(topics)))
        }
        ApiKey::OffsetCommit => {
            let partition = OffsetCommitRequestPartition::default().with_committed_metadata(Some(text()));
            let topic = OffsetCommitRequestTopic::default().with_name(name()).with_partitions(vec![partition; 2]);
            RequestKind::OffsetCommit(
                OffsetCommitRequest::default().with_group_id(GroupId(text())).with_topics(vec![topic]),
            )
        }
        ApiKey::OffsetFetch => {
            let topic = OffsetFetchRequestTopic::default().with_name(name()).with_partition_indexes(vec![1, 2, 3]);
            RequestKind::OffsetFetch(
                OffsetFetchRequest::default().with_group_id(GroupId(text())).with_topics(Some(vec![topic])),
            )
        }
        ApiKey::FindCoordinator => RequestKind::FindCoordinator(FindCoordinatorRequest::default().with_key(text())),
        ApiKey::ApiVersions if version >= 3 => {
            let request = ApiVersionsRequest::default().with_client_software_name(text());
            RequestKind::ApiVersions(request.with_client_software_version(text()))
        }
        ApiKey::ApiVersions => RequestKind::ApiVersions(ApiVersionsRequest::default()),
        ApiKey::CreateTopics => {
            let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![one; 2]);
            let config = CreatableTopicConfig::default().with_name(text()).with_value(Some(text()));
            let topic = CreatableTopic::default().with_name(name()).with_assignments(vec![assignment; 2]);
            let topic = topic.with_configs(vec![config; 2]);
            RequestKind::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic]))
        }
        ApiKey::DeleteTopics => {
            RequestKind::DeleteTopics(DeleteTopicsRequest::default().with_topic_names(vec![name(), name()]))
        }
        ApiKey::DeleteRecords => {
            let topic = DeleteRecordsTopic::default().with_name(name());
            let topic = topic.with_partitions(vec![DeleteRecordsPartition::default(); 2]);
            RequestKind::DeleteRecords(DeleteRecordsRequest::default().with_topics(vec![topic; 2]))
        }
        ApiKey::InitProducerId => RequestKind::InitProducerId(InitProducerIdRequest::default()),
        ApiKey::OffsetForLeaderEpoch => {
            let topic = OffsetForLeaderTopic::default().with_topic(name());
            let topic = topic.with_partitions(vec![OffsetForLeaderPartition::default(); 2]);
            RequestKind::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest::default().with_topics(vec![topic]))
        }
        ApiKey::CreatePartitions => {
            let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![one]);
            let topic = CreatePartitionsTopic::default().with_name(name()).with_assignments(Some(vec![assignment; 2]));
            RequestKind::CreatePartitions(CreatePartitionsRequest::default().with_topics(vec![topic]))
        }
        other => unreachable!("{other:?} is not offered"),
    }
}

fn encoded(key: ApiKey, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_client_id(Some(text()));
    header.encode(&mut bytes, key.request_header_version(version)).unwrap();
    sample(key, version).encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

fn everything_offered() -> impl Iterator<Item = (ApiKey, i16)> {
    dispatch::OFFERED.iter().flat_map(|(key, min, max)| (*min..=*max).map(|version| (*key, version)))
}

#[test]
fn every_offered_request_has_the_shape_that_its_encoder_gives_it() {
    for (key, version) in everything_offered() {
        let request = encoded(key, version);
        assert_eq!(check(key, version, &request), Ok(()), "{key:?} v{version}");
        assert_eq!(check(key, version, &request[..request.len() - 1]), Err(Malformed), "{key:?} v{version} cut");
    }
}

/// No change of four bytes in a row may panic or reserve memory beyond what the limit of elements allows: on a failed
/// allocation this test would not fail but die.
#[test]
fn requests_with_damaged_bytes_are_refused_or_decoded_but_never_fatal() {
    for (key, version) in everything_offered() {
        let request = encoded(key, version);
        for at in 8..request.len() - 3 {
            for damage in [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0; 4], [0x80; 4]] {
                let mut damaged = request.clone();
                damaged[at..at + 4].copy_from_slice(&damage);
                drop(dispatch::decode(damaged.into()));
            }
        }
    }
}
