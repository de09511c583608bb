//! Transactions: Apache Kafka's promise, and devbroker's refusal.

use rdkafka::Offset;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, Producer};

use crate::client::{Client, LIMIT, Sent};

fn producer(client: &Client) -> FutureProducer {
    client.config(&[("transactional.id", "contract")]).create().unwrap()
}

pub(crate) async fn read_committed_hides_aborted_and_open_records(client: &Client) {
    client.create_topic("transactional", 1).await;
    let producer = producer(client);
    producer.init_transactions(LIMIT).unwrap();
    let send = async |numbers: std::ops::Range<i64>| {
        let records: Vec<_> = numbers.map(Sent::number).collect();
        for sent in client.produce_with(&producer, "transactional", &records).await {
            sent.unwrap();
        }
    };
    producer.begin_transaction().unwrap();
    send(0..3).await;
    producer.abort_transaction(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    send(3..5).await;
    producer.commit_transaction(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    send(5..6).await;

    let values = |isolation, count| {
        let read = client.read("transactional", Offset::Beginning, count, &[("isolation.level", isolation)]);
        read.into_iter().map(|r| r.value).collect::<Vec<_>>()
    };
    let sent = |numbers: std::ops::Range<i64>| numbers.map(|i| Sent::number(i).value).collect::<Vec<_>>();
    assert_eq!(values("read_uncommitted", 6), sent(0..6));
    assert_eq!(values("read_committed", 2), sent(3..5));
    producer.commit_transaction(LIMIT).unwrap();
    assert_eq!(values("read_committed", 3), sent(3..6));
}

pub(crate) async fn a_transactional_producer_is_refused_at_once(client: &Client) {
    client.create_topic("transactional", 1).await;
    let refused = producer(client).init_transactions(LIMIT).unwrap_err();
    let KafkaError::Transaction(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.code(), RDKafkaErrorCode::TransactionalIdAuthorizationFailed);
    assert!(refused.is_fatal());
    assert!(refused.string().contains("devbroker has no transactions"), "{refused}");
    // Without transactions everything is committed, and a reader of committed records sees it.
    client.produce("transactional", &Sent::numbers(2), &[]).await;
    let read = client.read("transactional", Offset::Beginning, 2, &[("isolation.level", "read_committed")]);
    assert_eq!(read.len(), 2);
}
