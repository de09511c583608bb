//! What librdkafka costs: all messages of a topic by its batch queue, and nothing done with them.
#![allow(unsafe_code, reason = "rdkafka has no safe form of rd_kafka_consume_batch_queue")]

use std::collections::BTreeMap;
use std::ptr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use localcluster::deadline::Deadline;
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_queue_destroy,
    rd_kafka_queue_get_consumer, rd_kafka_resp_err_t,
};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

const BROKER_LIMIT: Duration = Duration::from_secs(30);
/// As many as the product takes at once.
const BATCH: usize = 1024;
/// A topic that has not been read to its end has a next message by then.
const NEXT_MESSAGE_LIMIT: Duration = Duration::from_secs(30);
const WAIT_MS: i32 = 100;

/// Takes the messages that are there now; how many there were.
pub(super) fn all(bootstrap: &str, topic: &str) -> Result<u64> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "limit").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create()?;
    let mut left = assign(&consumer, topic)?;
    // SAFETY: the client is alive, and outlives the queue, which is given back below.
    let queue = unsafe { rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    ensure!(!queue.is_null(), "the consumer has no queue");
    let mut messages: Vec<*mut rd_kafka_message_t> = vec![ptr::null_mut(); BATCH];
    let (mut count, mut deadline) = (0, Deadline::after(NEXT_MESSAGE_LIMIT));
    while !left.is_empty() && !deadline.has_passed() {
        let mut taken = take(queue, 0, &mut messages);
        if taken == 0 {
            // With a time limit the call waits for all it has room for.
            taken = take(queue, WAIT_MS, &mut messages[..1]);
        }
        for &message in &messages[..taken] {
            // SAFETY: it was received once; it is read before it is destroyed, and not used behind that.
            let (code, partition, offset) = unsafe {
                let code = (&raw const (*message).err).cast::<i32>().read();
                let place = ((*message).partition, (*message).offset);
                rd_kafka_message_destroy(message);
                (code, place.0, place.1)
            };
            // What goes wrong with a connection passes; what does not come is told at the deadline.
            if code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as i32 {
                count += 1;
                deadline = Deadline::after(NEXT_MESSAGE_LIMIT);
                if left.get(&partition).is_some_and(|&end| offset + 1 >= end) {
                    left.remove(&partition);
                }
            }
        }
    }
    // SAFETY: the queue is used no more.
    unsafe { rd_kafka_queue_destroy(queue) };
    ensure!(left.is_empty(), "the messages up to {left:?} did not come");
    Ok(count)
}

/// Reads every partition from its first message; with the ends of those that have any.
fn assign(consumer: &BaseConsumer, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let metadata = consumer.fetch_metadata(Some(topic), BROKER_LIMIT)?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions();
    // The product asks for all of them at once, too.
    let asked = |edge: Offset| -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(topic, partition.id(), edge)?;
        }
        Ok(consumer.offsets_for_times(list, BROKER_LIMIT)?)
    };
    let (firsts, ends) = (asked(Offset::Beginning)?.to_topic_map(), asked(Offset::End)?.to_topic_map());
    let (mut list, mut left) = (TopicPartitionList::new(), BTreeMap::new());
    for ((name, partition), end) in ends {
        let first = firsts.get(&(name, partition)).copied().context("asked for")?;
        list.add_partition_offset(topic, partition, first)?;
        if first != end {
            left.insert(partition, end.to_raw().context("an offset")?);
        }
    }
    consumer.assign(&list)?;
    Ok(left)
}

fn take(queue: *mut rdkafka::bindings::rd_kafka_queue_t, wait_ms: i32, room: &mut [*mut rd_kafka_message_t]) -> usize {
    // SAFETY: the queue is alive, and there is room for as many pointers as are said.
    let count = unsafe { rd_kafka_consume_batch_queue(queue, wait_ms, room.as_mut_ptr(), room.len()) };
    usize::try_from(count).unwrap_or(0)
}
