//! What was acknowledged is still there after a restart.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{Client, LIMIT, Read, Sent, admin_options, count_partitions, wait_until};

/// What a consumer saw before the restart.
pub(crate) struct Before {
    records: Vec<Read>,
}

pub(crate) async fn prepare(client: &Client) -> Before {
    client.create_topic("durable", 3).await;
    client.produce("durable", &Sent::numbers(30), &[("compression.type", "lz4")]).await;
    client.produce("durable", &Sent::numbers(30), &[("enable.idempotence", "true")]).await;
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("durable", 0, Offset::Offset(10)).unwrap();
    client.admin().delete_records(&offsets, &admin_options()).await.unwrap();
    client.consumer(&[("group.id", "durable")]).commit(&offsets, CommitMode::Sync).unwrap();
    Before { records: client.read("durable", Offset::Beginning, 50, &[]) }
}

pub(crate) async fn compare(client: &Client, before: &Before) {
    let consumer = client.consumer(&[("group.id", "durable")]);
    wait_until("the broker leads its partitions again", || {
        consumer.fetch_watermarks("durable", 0, LIMIT).is_ok() && count_partitions(&consumer, "durable") == 3
    });
    assert_eq!(client.watermarks("durable"), (10, 60));
    assert_eq!(client.read("durable", Offset::Beginning, 50, &[]), before.records);
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition("durable", 0);
    let committed = consumer.committed_offsets(wanted, LIMIT).unwrap();
    assert_eq!(committed.find_partition("durable", 0).unwrap().offset(), Offset::Offset(10));
    assert_eq!(client.produce("durable", &[Sent::number(60)], &[("enable.idempotence", "true")]).await, [60]);
}
