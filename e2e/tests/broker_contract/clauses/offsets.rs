//! Where a log begins and ends, what was when, and how far a consumer got.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::records::CODECS;
use crate::client::{Client, LIMIT, Sent, admin_options, count_partitions, wait_until};

pub(crate) async fn watermarks_count_the_records(client: &Client) {
    client.create_topic("watermarks", 2).await;
    assert_eq!(client.watermarks("watermarks"), (0, 0));
    client.produce("watermarks", &Sent::numbers(30), &[]).await;
    assert_eq!(client.watermarks("watermarks"), (0, 30));
    assert_eq!(client.consumer(&[]).fetch_watermarks("watermarks", 1, LIMIT).unwrap(), (0, 0));
}

pub(crate) async fn lookup_by_time_is_exact_for_every_compression(client: &Client) {
    const SECONDS: [i64; 6] = [50, 10, 90, 70, 200, 100];
    let at = |second: i64| 1_700_000_000_000 + second * 1_000;
    let records = SECONDS.map(|s| Sent { timestamp: at(s), ..Sent::number(s) });
    for codec in CODECS {
        let topic = format!("by-time-{codec}");
        client.create_topic(&topic, 1).await;
        // Two batches: offsets 0 to 2 and 3 to 5.
        client.produce(&topic, &records[..3], &[("compression.type", codec)]).await;
        client.produce(&topic, &records[3..], &[("compression.type", codec)]).await;
        for (second, expected) in [(0, 0), (10, 0), (50, 0), (51, 2), (90, 2), (91, 4), (200, 4)] {
            assert_eq!(client.offset_at(&topic, at(second)), Offset::Offset(expected), "{codec}, second {second}");
        }
        assert_eq!(client.offset_at(&topic, at(201)), Offset::End, "{codec}");
    }
}

fn partitions(topic: &str, offsets: &[(i32, Offset)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, *offset).unwrap();
    }
    list
}

fn committed(client: &Client, group: &str, topic: &str, partition: i32) -> (Offset, String) {
    let wanted = partitions(topic, &[(partition, Offset::Invalid)]);
    let found = client.consumer(&[("group.id", group)]).committed_offsets(wanted, LIMIT).unwrap();
    let found = found.find_partition(topic, partition).unwrap();
    found.error().unwrap();
    (found.offset(), found.metadata().to_owned())
}

pub(crate) async fn committed_offsets_come_back_with_their_metadata(client: &Client) {
    client.create_topic("committed", 2).await;
    client.produce("committed", &Sent::numbers(20), &[]).await;
    let consumer = client.consumer(&[("group.id", "reader")]);
    let offsets = partitions("committed", &[(0, Offset::Offset(12))]);
    offsets.find_partition("committed", 0).unwrap().set_metadata("checkpoint 7");
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    assert_eq!(committed(client, "reader", "committed", 0), (Offset::Offset(12), "checkpoint 7".to_owned()));
    assert_eq!(committed(client, "reader", "committed", 1), (Offset::Invalid, String::new()));
    assert_eq!(committed(client, "somebody-else", "committed", 0), (Offset::Invalid, String::new()));
    // Back as well as forth.
    consumer.commit(&partitions("committed", &[(0, Offset::Offset(3))]), CommitMode::Sync).unwrap();
    assert_eq!(committed(client, "reader", "committed", 0).0, Offset::Offset(3));
    let resumed = client.read("committed", Offset::Stored, 1, &[("group.id", "reader")]);
    assert_eq!(resumed[0].offset, 3);
}

pub(crate) async fn commits_of_a_deleted_topic_are_forgotten(client: &Client) {
    client.create_topic("forgotten", 1).await;
    client.produce("forgotten", &Sent::numbers(5), &[]).await;
    let consumer = client.consumer(&[("group.id", "forgetful")]);
    consumer.commit(&partitions("forgotten", &[(0, Offset::Offset(4))]), CommitMode::Sync).unwrap();
    client.admin().delete_topics(&["forgotten"], &admin_options()).await.unwrap();
    wait_until("the topic is gone", || count_partitions(&consumer, "forgotten") == 0);
    client.create_topic("forgotten", 1).await;
    wait_until("the commit is forgotten", || committed(client, "forgetful", "forgotten", 0).0 == Offset::Invalid);
}
