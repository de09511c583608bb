//! Records deleted on demand.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{Client, Sent, admin_options, assign, poll};

async fn delete_before(client: &Client, topic: &str, offset: Offset) -> Result<Offset, KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, offset).unwrap();
    let deleted = client.admin().delete_records(&list, &admin_options()).await?;
    let deleted = deleted.find_partition(topic, 0).unwrap();
    deleted.error()?;
    Ok(deleted.offset())
}

pub(crate) async fn deleted_records_move_the_low_watermark_and_are_not_read(client: &Client) {
    client.create_topic("trimmed", 1).await;
    client.produce("trimmed", &Sent::numbers(100), &[]).await;
    assert_eq!(delete_before(client, "trimmed", Offset::Offset(40)).await, Ok(Offset::Offset(40)));
    assert_eq!(client.watermarks("trimmed"), (40, 100));
    // Offset 40 lies within the one batch there is.
    assert_eq!(client.read("trimmed", Offset::Beginning, 1, &[])[0].offset, 40);
    assert_eq!(client.offset_at("trimmed", Sent::number(0).timestamp), Offset::Offset(40));
    assert_eq!(delete_before(client, "trimmed", Offset::End).await, Ok(Offset::Offset(100)));
    assert_eq!(client.watermarks("trimmed"), (100, 100));
    assert_eq!(client.produce("trimmed", &[Sent::number(100)], &[]).await, [100]);
    assert_eq!(client.read("trimmed", Offset::Beginning, 1, &[])[0].offset, 100);
}

pub(crate) async fn a_read_below_the_low_watermark_is_out_of_range(client: &Client) {
    client.create_topic("below", 1).await;
    client.produce("below", &Sent::numbers(20), &[]).await;
    delete_before(client, "below", Offset::Offset(10)).await.unwrap();
    let reset = client.read("below", Offset::Offset(5), 1, &[("auto.offset.reset", "earliest")]);
    assert_eq!(reset[0].offset, 10);
    for outside in [5, 21] {
        let consumer = client.consumer(&[("auto.offset.reset", "error")]);
        assign(&consumer, "below", Offset::Offset(outside));
        let error = poll(&consumer).expect("an answer in time").map(|_| ()).unwrap_err();
        assert_eq!(error, KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset), "offset {outside}");
    }
}

pub(crate) async fn an_impossible_deletion_is_refused(client: &Client) {
    client.create_topic("kept", 1).await;
    client.produce("kept", &Sent::numbers(3), &[]).await;
    let refused = delete_before(client, "kept", Offset::Offset(4)).await.unwrap_err();
    assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetOutOfRange));
    assert_eq!(client.watermarks("kept"), (0, 3));
}
