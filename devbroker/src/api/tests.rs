//! What the contract test cannot show, because librdkafka would not ask for it or Apache Kafka does not do it.
#![allow(clippy::unwrap_used)]

use kafka_protocol::error::ResponseError as Code;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use tempfile::TempDir;

use super::*;
use crate::node::Node;
use crate::options::Options;
use crate::testing::batch_of;

fn node(auto_create_partitions: Option<i32>) -> (Node, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { auto_create_partitions, fsync: true, ..Options::in_dir(dir.path()) };
    (Node::open(&options, ("localhost".to_owned(), 9092)).unwrap(), dir)
}

fn name(name: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(name))
}

#[test]
fn a_topic_is_made_on_first_use_only_where_broker_and_client_want_it() {
    let cases = [(Some(3), true, 4, 3), (Some(3), false, 4, 0), (Some(3), false, 3, 3), (None, true, 4, 0)];
    for (partitions, allowed, version, made) in cases {
        let (node, _dir) = node(partitions);
        let topic = MetadataRequestTopic::default().with_name(Some(name("wanted")));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(allowed);
        let answer = metadata::describe(&node, request, version);
        assert_eq!(answer.topics[0].partitions.len(), made);
        let unknown = Code::UnknownTopicOrPartition.code();
        assert_eq!(answer.topics[0].error_code, if made > 0 { 0 } else { unknown });
        assert_eq!(node.topics.partition_count("wanted").unwrap_or(0), made);
    }
}

#[test]
fn settings_that_would_change_what_is_read_are_refused_and_others_ignored() {
    let (node, _dir) = node(None);
    let create = |setting: &'static str, value: &'static str| {
        let config = CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(setting))
            .with_value(Some(StrBytes::from_static_str(value)));
        let topic = CreatableTopic::default().with_name(name("t")).with_num_partitions(1).with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic.with_configs(vec![config])]);
        admin::create_topics(&node, request).topics.remove(0)
    };
    let refused = create("cleanup.policy", "compact");
    assert_eq!(refused.error_code, Code::InvalidConfig.code());
    assert!(refused.error_message.unwrap().contains("use Apache Kafka"));
    assert_eq!(create("message.timestamp.type", "LogAppendTime").error_code, Code::InvalidConfig.code());
    assert_eq!(create("retention.ms", "1000").error_code, 0);
}

#[test]
fn partitions_can_be_assigned_to_the_one_broker_only() {
    let (node, _dir) = node(None);
    let create = |topic: TopicName, broker| {
        let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(broker)]);
        let topic = CreatableTopic::default().with_name(topic).with_num_partitions(-1).with_replication_factor(-1);
        let topic = topic.with_assignments(vec![assignment; 2]);
        admin::create_topics(&node, CreateTopicsRequest::default().with_topics(vec![topic])).topics.remove(0)
    };
    assert_eq!(create(name("a"), 2).error_code, Code::InvalidReplicaAssignment.code());
    assert_eq!(create(name("b"), 1).num_partitions, 2);
}

#[test]
fn a_produce_request_says_what_is_wrong_with_each_partition() {
    let (node, _dir) = node(None);
    node.topics.create("t", 1, false).unwrap();
    let produce = |partition, records, acks, transactional: Option<&'static str>| {
        let data = PartitionProduceData::default().with_index(partition).with_records(records);
        let topic = TopicProduceData::default().with_name(name("t")).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_topic_data(vec![topic])
            .with_transactional_id(transactional.map(|id| TransactionalId(StrBytes::from_static_str(id))));
        produce::append(&node, request).responses.remove(0).partition_responses.remove(0)
    };
    let good = batch_of(&[(1, "a")]);
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        Some(bytes.into())
    };
    let code = |r: produce_response::PartitionProduceResponse| r.error_code;
    assert_eq!(code(produce(1, Some(good.clone()), 1, None)), Code::UnknownTopicOrPartition.code());
    assert_eq!(code(produce(0, Some(good.clone()), 2, None)), Code::InvalidRequiredAcks.code());
    assert_eq!(code(produce(0, Some(good.clone()), 1, Some("tx"))), Code::TransactionalIdAuthorizationFailed.code());
    assert_eq!(code(produce(0, None, 1, None)), Code::InvalidRecord.code());
    assert_eq!(code(produce(0, changed(16, 1), 1, None)), Code::UnsupportedForMessageFormat.code());
    assert_eq!(code(produce(0, changed(67, b'z'), 1, None)), Code::CorruptMessage.code());
    let stored = produce(0, Some(good.clone()), 1, None);
    assert_eq!((stored.error_code, stored.base_offset, stored.log_start_offset), (0, 0, 0));
}

#[test]
fn a_commit_is_refused_by_partition_and_all_of_a_group_can_be_fetched() {
    let (node, _dir) = node(None);
    node.topics.create("t", 2, false).unwrap();
    let commit = |group: &'static str, generation, partition, metadata: String| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(5)
            .with_committed_metadata(Some(StrBytes::from_string(metadata)));
        let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(StrBytes::from_static_str(group)))
            .with_generation_id_or_member_epoch(generation)
            .with_topics(vec![topic]);
        offsets::commit(&node, request).topics[0].partitions[0].error_code
    };
    assert_eq!(commit("", -1, 0, String::new()), Code::InvalidGroupId.code());
    assert_eq!(commit("g", 3, 0, String::new()), Code::UnknownMemberId.code());
    assert_eq!(commit("g", -1, 2, String::new()), Code::UnknownTopicOrPartition.code());
    assert_eq!(commit("g", -1, 0, "x".repeat(4_097)), Code::OffsetMetadataTooLarge.code());
    assert_eq!(commit("g", -1, 1, "kept".to_owned()), 0);
    let fetch = |topics: Option<Vec<OffsetFetchRequestTopic>>| {
        let group = GroupId(StrBytes::from_static_str("g"));
        let request = OffsetFetchRequest::default().with_group_id(group).with_topics(topics);
        let partitions = offsets::fetch(&node, request).topics.remove(0).partitions;
        partitions.iter().map(|p| (p.partition_index, p.committed_offset)).collect::<Vec<_>>()
    };
    assert_eq!(fetch(None), [(1, 5)]);
    let both = OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
    assert_eq!(fetch(Some(vec![both])), [(0, -1), (1, 5)]);
}
