//! What is found in topics and files, and whether that is what was sent.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Cluster;
use e2e::job::RECOVERY_LIMIT;
use localcluster::deadline::Deadline;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

/// That these are the same, each as often.
pub(crate) fn compare(what: &str, mut found: Vec<String>, mut sent: Vec<String>) -> Result<()> {
    found.sort_unstable();
    sent.sort_unstable();
    let twice: Vec<&String> = found.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    let missing: Vec<&String> = sent.iter().filter(|text| found.binary_search(text).is_err()).collect();
    ensure!(found == sent, "{what}: {} sent, {} found; twice {twice:?}, missing {missing:?}", sent.len(), found.len());
    Ok(())
}

/// What a reader of a topic finds.
pub(crate) struct Found {
    partition: i32,
    pub(crate) value: String,
    headers: Vec<(String, String)>,
}

impl Found {
    fn header(&self, name: &str) -> Result<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).with_context(|| format!("no header `{name}`: {:?}", self.headers))
    }

    /// Whether it says whose it is, and where its record stands.
    pub(crate) fn is_of(&self, topic: &str, job: &str, table: &str, more: &str) -> Result<()> {
        let said = [self.header("gapwise.topic")?, self.header("gapwise.job_id")?, self.header("gapwise.table")?];
        ensure!(said == [topic, job, table], "{said:?}");
        let (token, sequence) = self.header("gapwise.epoch")?.split_once('.').context("an epoch")?;
        let _: (u32, u32, u64) = (token.parse()?, sequence.parse()?, self.header("gapwise.offset")?.parse()?);
        let of_source: i32 = self.header("gapwise.partition")?.parse()?;
        ensure!(self.partition <= of_source && !self.header(more)?.is_empty(), "{:?}", self.headers);
        Ok(())
    }
}

/// Of a client.
pub(crate) fn config(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.broker.bootstrap_servers());
    config
}

/// Every committed record of a topic.
pub(crate) fn read(cluster: &Cluster, topic: &str) -> Result<Vec<Found>> {
    let mut config = config(cluster);
    config.set("group.id", "a-reader").set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), RECOVERY_LIMIT)?;
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut all = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions)? {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let (mut found, mut ended) = (Vec::new(), 0);
    let deadline = Deadline::after(RECOVERY_LIMIT);
    while ended < partitions {
        ensure!(!deadline.has_passed(), "{topic}: {ended} of {partitions} partitions read, {} records", found.len());
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                let headers = message.headers().context("headers")?.iter();
                let headers = headers.map(|header| (header.key.to_owned(), text(header.value))).collect();
                found.push(Found { partition: message.partition(), value: text(message.payload()), headers });
            }
        }
    }
    Ok(found)
}

/// Whose event it was, of a late event's row as JSON.
pub(crate) fn ip(json: &str) -> Result<String> {
    let row: Value = serde_json::from_str(json)?;
    Ok(row["ip"].as_str().context("an ip")?.to_owned())
}

/// The record, of a bad one's row as JSON: as Postgres shows bytes.
pub(crate) fn raw(json: &str) -> Result<String> {
    let row: Value = serde_json::from_str(json)?;
    let digits = row["record"].as_str().and_then(|text| text.strip_prefix("\\x")).context("bytes")?.as_bytes();
    let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    Ok(String::from_utf8(digits.chunks(2).map(byte).collect::<Result<_>>()?)?)
}
