//! What is produced is what is read.

use std::time::Duration;

use rdkafka::Offset;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureProducer;

use crate::client::{Client, LIMIT, Read, Sent, assign, next};

/// Every codec of Kafka.
pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

pub(crate) async fn every_compression_is_read_back_as_it_was_sent(client: &Client) {
    let mut records = Sent::numbers(50);
    records[7].key = None;
    records[8].value = None;
    records[9].value = Some(Vec::new());
    records[10].headers = vec![("trace".to_owned(), Some(b"\x00\xff".to_vec())), ("empty".to_owned(), None)];
    for codec in CODECS {
        let topic = format!("compressed-{codec}");
        client.create_topic(&topic, 1).await;
        for round in 0..2 {
            let offsets = client.produce(&topic, &records, &[("compression.type", codec)]).await;
            assert_eq!(offsets, (round * 50..round * 50 + 50).collect::<Vec<_>>(), "{codec}");
        }
        let read = client.read(&topic, Offset::Beginning, 100, &[]);
        for (offset, (read, sent)) in (0..).zip(read.into_iter().zip(records.iter().chain(&records))) {
            assert_eq!(read, as_read(offset, sent), "{codec}");
        }
    }
}

fn as_read(offset: i64, sent: &Sent) -> Read {
    let Sent { timestamp, key, value, headers } = sent.clone();
    Read { offset, timestamp, key, value, headers }
}

pub(crate) async fn an_idempotent_producer_delivers_in_order_and_once(client: &Client) {
    client.create_topic("idempotent", 1).await;
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "7")];
    let offsets = client.produce("idempotent", &Sent::numbers(500), &settings).await;
    assert_eq!(offsets, (0..500).collect::<Vec<_>>());
    let second = client.produce("idempotent", &Sent::numbers(1), &settings).await;
    assert_eq!(second, [500]);
    let read = client.read("idempotent", Offset::Beginning, 500, &[]);
    assert!((0..).zip(&read).all(|(i, r)| r.value == Sent::number(i).value));
}

pub(crate) async fn a_record_too_large_for_the_broker_is_refused(client: &Client) {
    client.create_topic("large", 1).await;
    let producer: FutureProducer = client.config(&[("message.max.bytes", "5000000")]).create().unwrap();
    let of_size = |bytes| Sent { value: Some(vec![b'x'; bytes]), ..Sent::number(0) };
    let sent = client.produce_with(&producer, "large", &[of_size(1_000_000)]).await;
    assert_eq!(sent, [Ok(0)]);
    let sent = client.produce_with(&producer, "large", &[of_size(2_000_000)]).await;
    assert_eq!(sent, [Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge))]);
    assert_eq!(client.watermarks("large"), (0, 1));
}

pub(crate) async fn a_read_begins_at_its_offset_even_within_a_batch(client: &Client) {
    client.create_topic("offsets", 1).await;
    for _ in 0..3 {
        client.produce("offsets", &Sent::numbers(40), &[]).await;
    }
    for offset in [0, 1, 39, 40, 57, 119] {
        assert_eq!(client.read("offsets", Offset::Offset(offset), 1, &[])[0].offset, offset);
    }
    let tail = client.read("offsets", Offset::OffsetTail(5), 5, &[]);
    assert_eq!(tail.iter().map(|r| r.offset).collect::<Vec<_>>(), [115, 116, 117, 118, 119]);
}

pub(crate) async fn tiny_fetch_limits_still_make_progress(client: &Client) {
    client.create_topic("tiny", 1).await;
    for _ in 0..4 {
        client.produce("tiny", &Sent::numbers(25), &[]).await;
    }
    // Every batch is larger than that.
    let settings = [("fetch.message.max.bytes", "1"), ("message.max.bytes", "1000"), ("fetch.max.bytes", "1000")];
    let read = client.read("tiny", Offset::Beginning, 100, &settings);
    assert_eq!(read.iter().map(|r| r.offset).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}

pub(crate) async fn a_waiting_consumer_gets_a_new_record_at_once(client: &Client) {
    client.create_topic("waiting", 1).await;
    // A broker that only looked again at the end of the wait would answer after this.
    let wait = 2 * LIMIT;
    let consumer =
        client.consumer(&[("fetch.wait.max.ms", &wait.as_millis().to_string()), ("socket.timeout.ms", "90000")]);
    assign(&consumer, "waiting", Offset::Beginning);
    assert!(consumer.poll(Duration::from_secs(1)).is_none());
    client.produce("waiting", &[Sent::number(1)], &[]).await;
    assert_eq!(next(&consumer).offset, 0);
}
