//! Topics and partitions come and go.

use std::time::Duration;

use rdkafka::Offset;
use rdkafka::admin::{NewPartitions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureProducer;

use crate::client::{Client, LIMIT, Sent, admin_options, count_partitions, wait_until};

pub(crate) async fn a_created_topic_has_its_partitions_and_can_get_more(client: &Client) {
    client.create_topic("growing", 3).await;
    let consumer = client.consumer(&[]);
    let grow = async |count| {
        client.admin().create_partitions([&NewPartitions::new("growing", count)], &admin_options()).await.unwrap()
    };
    assert_eq!(grow(5).await, [Ok("growing".to_owned())]);
    wait_until("the new partitions are there", || count_partitions(&consumer, "growing") == 5);
    assert_eq!(grow(4).await, [Err(("growing".to_owned(), RDKafkaErrorCode::InvalidPartitions))]);
    for partition in 0..5 {
        assert_eq!(consumer.fetch_watermarks("growing", partition, LIMIT).unwrap(), (0, 0));
    }
    let everything = consumer.fetch_metadata(None, LIMIT).unwrap();
    assert!(everything.topics().iter().any(|t| t.name() == "growing" && t.partitions().len() == 5));
}

pub(crate) async fn what_cannot_be_created_is_refused_with_its_own_error(client: &Client) {
    client.create_topic("taken", 1).await;
    let create = async |name: &str, partitions, replicas| {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        let mut results = client.admin().create_topics([&topic], &admin_options()).await.unwrap();
        results.remove(0).unwrap_err().1
    };
    assert_eq!(create("taken", 1, 1).await, RDKafkaErrorCode::TopicAlreadyExists);
    assert_eq!(create("not/a/name", 1, 1).await, RDKafkaErrorCode::InvalidTopic);
    assert_eq!(create("replicated", 1, 3).await, RDKafkaErrorCode::InvalidReplicationFactor);
    let unknown = client.admin().delete_topics(&["never-made"], &admin_options()).await.unwrap();
    assert_eq!(unknown, [Err(("never-made".to_owned(), RDKafkaErrorCode::UnknownTopicOrPartition))]);
}

pub(crate) async fn an_unknown_topic_or_partition_is_an_error_and_is_not_made(client: &Client) {
    let consumer = client.consumer(&[]);
    let metadata = consumer.fetch_metadata(Some("unknown"), LIMIT).unwrap();
    let code = metadata.topics()[0].error().map(RDKafkaErrorCode::from);
    assert_eq!(code, Some(RDKafkaErrorCode::UnknownTopicOrPartition));
    assert!(consumer.fetch_watermarks("unknown", 0, Duration::from_secs(2)).is_err());
    let settings = [("topic.metadata.propagation.max.ms", "100")];
    let producer: FutureProducer = client.config(&settings).create().unwrap();
    let sent = client.produce_with(&producer, "unknown", &[Sent::number(0)]).await;
    // librdkafka's own verdict, or the broker's, whichever it hears first.
    let unknown = [RDKafkaErrorCode::UnknownTopic, RDKafkaErrorCode::UnknownTopicOrPartition];
    assert!(matches!(&sent[..], [Err(KafkaError::MessageProduction(code))] if unknown.contains(code)), "{sent:?}");
    let everything = consumer.fetch_metadata(None, LIMIT).unwrap();
    assert!(everything.topics().iter().all(|t| t.name() != "unknown"));
}

pub(crate) async fn a_deleted_topic_is_gone_and_a_new_one_of_its_name_is_empty(client: &Client) {
    client.create_topic("deleted", 2).await;
    client.produce("deleted", &Sent::numbers(10), &[]).await;
    let deleted = client.admin().delete_topics(&["deleted"], &admin_options()).await.unwrap();
    assert_eq!(deleted, [Ok("deleted".to_owned())]);
    let consumer = client.consumer(&[]);
    wait_until("the topic is gone", || count_partitions(&consumer, "deleted") == 0);
    client.create_topic("deleted", 1).await;
    assert_eq!(client.watermarks("deleted"), (0, 0));
    assert_eq!(client.produce("deleted", &[Sent::number(77)], &[]).await, [0]);
    assert_eq!(client.read("deleted", Offset::Beginning, 1, &[])[0].value, Sent::number(77).value);
}
