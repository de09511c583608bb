//! Consumers that subscribe, so that the broker would share out the partitions.

use std::time::Duration;

use rdkafka::consumer::Consumer;

use crate::client::{Client, Sent, next};

pub(crate) async fn a_subscriber_gets_its_partitions(client: &Client) {
    client.create_topic("subscribed", 1).await;
    client.produce("subscribed", &Sent::numbers(3), &[]).await;
    let consumer = client.consumer(&[("group.id", "subscriber")]);
    consumer.subscribe(&["subscribed"]).unwrap();
    assert_eq!((0..3).map(|_| next(&consumer).offset).collect::<Vec<_>>(), [0, 1, 2]);
}

pub(crate) async fn a_subscriber_gets_nothing_and_stays_alive(client: &Client) {
    client.create_topic("subscribed", 1).await;
    client.produce("subscribed", &Sent::numbers(3), &[]).await;
    let consumer = client.consumer(&[("group.id", "subscriber")]);
    consumer.subscribe(&["subscribed"]).unwrap();
    let first = consumer.poll(Duration::from_secs(2));
    assert!(!matches!(first, Some(Ok(_))), "{first:?}");
    assert_eq!(consumer.assignment().unwrap().count(), 0);
}
