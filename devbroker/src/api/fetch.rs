//! Fetch: whole batches from an offset on, waiting a while for more if there are too few.
//!
//! Every fetch is a full one: fetch sessions are declined, which clients are prepared for.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};
use tokio::task::{self, JoinError};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::node::Node;

/// Longest wait for data, whatever the client asks: so that a connection does not outlive its use.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Largest response, whatever the client asks: Kafka's default `fetch.max.bytes` of a broker.
const MAX_RESPONSE_BYTES: usize = 55 << 20;

/// Answers a Fetch request, at the latest after the time it asks for or when the broker stops.
///
/// # Errors
/// If the reading task panicked.
///
/// # Cancel safety
/// Safe: nothing is changed.
pub(crate) async fn read(
    node: &Arc<Node>,
    request: FetchRequest,
    stopping: &CancellationToken,
) -> Result<FetchResponse, JoinError> {
    if request.session_id != 0 {
        let code = ResponseError::FetchSessionIdNotFound.code();
        return Ok(FetchResponse::default().with_error_code(code));
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let deadline = Instant::now() + wait;
    let mut changes = node.topics.changes();
    let request = Arc::new(request);
    loop {
        changes.mark_unchanged();
        let is_last_try = Instant::now() >= deadline || stopping.is_cancelled();
        if is_last_try || has_news(node, &request) {
            let (node, request) = (Arc::clone(node), Arc::clone(&request));
            let gathered = task::spawn_blocking(move || gather(&node, &request)).await?;
            if gathered.is_enough || is_last_try {
                return Ok(gathered.response);
            }
        }
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            // Both a change and the deadline mean: look again.
            _ = timeout_at(deadline, changes.changed()) => {}
        }
    }
}

/// Whether reading would find anything: a record, or an error to report. Looks at no file and waits for no writer.
fn has_news(node: &Node, request: &FetchRequest) -> bool {
    request.topics.iter().any(|topic| {
        topic.partitions.iter().any(|p| match node.topics.partition(&topic.topic, p.partition) {
            Some(partition) => p.fetch_offset != partition.end_offset(),
            None => true,
        })
    })
}

struct Gathered {
    response: FetchResponse,
    /// As many bytes as the client waits for, or an error it should not wait to hear.
    is_enough: bool,
}

fn gather(node: &Node, request: &FetchRequest) -> Gathered {
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_RESPONSE_BYTES);
    let (mut bytes, mut has_error) = (0usize, false);
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let data = read_partition(node, &topic.topic, wanted, max_bytes.saturating_sub(bytes), bytes == 0);
            bytes += data.records.as_ref().map_or(0, bytes::Bytes::len);
            has_error |= data.error_code != 0;
            partitions.push(data);
        }
        responses.push(FetchableTopicResponse::default().with_topic(topic.topic.clone()).with_partitions(partitions));
    }
    let is_enough = has_error || bytes >= usize::try_from(request.min_bytes).unwrap_or(0);
    Gathered { response: FetchResponse::default().with_responses(responses), is_enough }
}

fn read_partition(node: &Node, topic: &str, wanted: &FetchPartition, left: usize, is_first: bool) -> PartitionData {
    let data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(bytes::Bytes::new()));
    let failed = |data: PartitionData, e: ResponseError| data.with_error_code(e.code()).with_high_watermark(-1);
    let Some(partition) = node.topics.partition(topic, wanted.partition) else {
        return failed(data, ResponseError::UnknownTopicOrPartition);
    };
    let (data, reader) = {
        let log = partition.log();
        let (start, end) = (log.start_offset(), log.end_offset());
        let data = data.with_high_watermark(end).with_last_stable_offset(end).with_log_start_offset(start);
        (data, log.reader(wanted.fetch_offset))
    };
    let Some(reader) = reader else {
        return data.with_error_code(ResponseError::OffsetOutOfRange.code());
    };
    let max_bytes = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(left);
    match reader.read(max_bytes, is_first) {
        Ok(records) => data.with_records(Some(records)),
        Err(e) => failed(data, super::storage_failed(&e).code),
    }
}
