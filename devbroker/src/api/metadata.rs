//! Who the broker is, which topics there are, and who coordinates groups: always this one node.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::Refused;
use crate::batch::LEADER_EPOCH;
use crate::node::{NODE_ID, Node};
use crate::topics::{self, TopicError};

const CLUSTER_ID: &str = "devbroker";

/// Answers a Metadata request.
pub(crate) fn describe(node: &Node, request: MetadataRequest, version: i16) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(node.host.clone())
        .with_port(i32::from(node.port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_static_str(CLUSTER_ID)))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics(node, request, version))
}

fn topics(node: &Node, request: MetadataRequest, version: i16) -> Vec<MetadataResponseTopic> {
    // Before version 4 a client could not say that it did not want topics made.
    let may_create = request.allow_auto_topic_creation || version < 4;
    // Version 0 had no null, and asked for everything with an empty list.
    let named = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let Some(named) = named else {
        let all = node.topics.list().into_iter();
        return all.map(|(name, count)| topic(TopicName(StrBytes::from_string(name)), Ok(count))).collect();
    };
    let names = named.into_iter().filter_map(|t| t.name);
    let found = names.map(|name| (find(node, &name, may_create), name));
    found.map(|(found, name)| topic(name, found)).collect()
}

/// The topic's number of partitions; it is made now if that is asked for and allowed.
fn find(node: &Node, name: &TopicName, may_create: bool) -> Result<usize, Refused> {
    if let Some(count) = node.topics.partition_count(name) {
        return Ok(count);
    }
    if !topics::is_valid_name(name) {
        return Err(TopicError::Name.into());
    }
    match node.auto_create_partitions {
        Some(count) if may_create => match node.topics.create(name, count, false) {
            // Another client may have been faster.
            Ok(()) | Err(TopicError::Exists { .. }) => node.topics.partition_count(name).ok_or_else(unknown),
            Err(e) => Err(e.into()),
        },
        _ => Err(unknown()),
    }
}

fn unknown() -> Refused {
    ResponseError::UnknownTopicOrPartition.into()
}

fn topic(name: TopicName, found: Result<usize, Refused>) -> MetadataResponseTopic {
    let code = super::code_and_message(&found).0;
    let partition = |index: usize| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32) // at most MAX_PARTITIONS
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
    };
    MetadataResponseTopic::default()
        .with_error_code(code)
        .with_name(Some(name))
        .with_partitions((0..found.unwrap_or(0)).map(partition).collect())
}

/// Answers a FindCoordinator request: this node for a group, a clear refusal for a transaction.
pub(crate) fn find_coordinator(node: &Node, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    const GROUP: i8 = 0;
    if request.key_type != GROUP {
        let refused = no_transactions();
        return FindCoordinatorResponse::default()
            .with_error_code(refused.code.code())
            .with_error_message(refused.message)
            .with_node_id(BrokerId(-1))
            .with_port(-1);
    }
    FindCoordinatorResponse::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(node.host.clone())
        .with_port(i32::from(node.port))
}

/// The answer to whatever belongs to a transaction. An authorization error, because that is what clients do not retry.
pub(crate) fn no_transactions() -> Refused {
    let code = ResponseError::TransactionalIdAuthorizationFailed;
    Refused::new(code, "devbroker has no transactions; use Apache Kafka, or a producer without `transactional.id`")
}
