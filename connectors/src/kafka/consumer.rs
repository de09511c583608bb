//! The client that a reader reads through.

use super::batch_queue::BatchQueue;
use super::connection::Connection;
use super::error::{ClientWords, Error};
use super::settings::TopicSettings;

/// What the client may hold for us, in KiB; by default it were 64 MiB. Where partitions are kept in step each may have a queue of its
/// own, and they share this.
const QUEUED_KIB: usize = 32 << 10;

/// What each queue may hold at least. With so little of each, five hundred partitions begin to take more than [`QUEUED_KIB`].
const QUEUED_KIB_AT_LEAST: usize = 64;

/// What a fetch brings of each partition at most, in KiB, as librdkafka has it. It may fill a queue and no more: a queue with less room than
/// that would mean idle time, and of a thousand partitions a MiB each would be all that there is of some before there is anything of others.
const FETCH_KIB: usize = 1 << 10;

/// What each of so many queues may hold, in KiB.
pub(super) fn queued_kib(queues: usize) -> usize {
    (QUEUED_KIB / queues.max(1)).max(QUEUED_KIB_AT_LEAST)
}

/// A consumer that is at nobody's will but ours: no commits, no rebalancing, no jump to another offset. Its partitions have up to so
/// many `queues`.
pub(super) fn open_queue(settings: &TopicSettings, queues: usize) -> Result<BatchQueue, Error> {
    let brokers = settings.client.brokers();
    let mut config = settings.client.client_config()?;
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        // An offset that is gone is an error, never a silent jump over records.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true");
    let queued_kib = queued_kib(queues);
    let (fetch_bytes, queued_kib) = ((FETCH_KIB.min(queued_kib) << 10).to_string(), queued_kib.to_string());
    let defaults = [
        // By default a fetch that found the queue full is tried again only after a second.
        ("fetch.queue.backoff.ms", "10"),
        ("queued.max.messages.kbytes", queued_kib.as_str()),
        ("fetch.message.max.bytes", fetch_bytes.as_str()),
        // Half a second by default. One that has waited is asked for once the answer about those that are at their end is there.
        ("fetch.wait.max.ms", if queues > 1 { "100" } else { "500" }),
    ];
    // Its other name.
    let is_fetch_set = config.get("max.partition.fetch.bytes").is_some();
    for (name, value) in defaults {
        if config.get(name).is_none() && !(is_fetch_set && name == "fetch.message.max.bytes") {
            config.set(name, value);
        }
    }
    let consumer = config.create_with_context(Connection::default());
    let consumer = consumer.map_err(Error::client("make a Kafka client", brokers))?;
    BatchQueue::new(consumer, &settings.topic).ok_or_else(|| Error::Read {
        split: settings.topic.clone(),
        source: ClientWords("the client has no queue".to_owned()),
    })
}
