//! From the bytes of a request to its handler, and from the response back to bytes.
//!
//! What is offered here is exactly what works: groups (JoinGroup and on) and transactions are not, so a client that
//! needs them can say so. Tested by `layout/tests.rs`, `tests/` and the contract test in `e2e`.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use thiserror::Error;
use tokio::task::{self, JoinError};
use tokio_util::sync::CancellationToken;

use crate::api::{admin, fetch, list_offsets, metadata, offsets, produce};
use crate::layout::{self, Malformed};
use crate::node::Node;

/// The requests that are answered, with the first and last version of each. They end where topic ids replace names,
/// and where a request speaks for several groups.
pub(crate) const OFFERED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 6),
    (ApiKey::Metadata, 0, 9),
    (ApiKey::OffsetCommit, 2, 8),
    (ApiKey::OffsetFetch, 1, 7),
    (ApiKey::FindCoordinator, 0, 3),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 6),
    (ApiKey::DeleteTopics, 1, 5),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::CreatePartitions, 0, 3),
];

/// Why a request cannot be answered. As with Kafka, the connection is closed then.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("`{bytes}` bytes are too few for a request")]
    Short { bytes: usize },
    #[error("request `{key}` version `{version}` is not supported (consumer groups and transactions are not)")]
    Unsupported { key: i16, version: i16 },
    #[error("request `{key:?}` version `{version}`")]
    Malformed { key: ApiKey, version: i16, source: Malformed },
    #[error("cannot decode request `{key:?}` version `{version}`: {reason:#}")]
    Decode { key: ApiKey, version: i16, reason: anyhow::Error },
    #[error("cannot encode the response to `{key:?}` version `{version}`: {reason:#}")]
    Encode { key: ApiKey, version: i16, reason: anyhow::Error },
    #[error("a batch sent with `acks=0` was refused, of which the client learns only by this")]
    SilentlyRefused,
    #[error("the request handler panicked")]
    Panicked(#[from] JoinError),
}

/// A request, decoded.
#[derive(Debug)]
pub(crate) struct Request {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    /// `None` for ApiVersions in a version of the future, which must be told what versions there are.
    body: Option<Box<RequestKind>>,
}

/// Decodes one request.
pub(crate) fn decode(mut frame: Bytes) -> Result<Request, Error> {
    let mut start = frame.get(..8).ok_or(Error::Short { bytes: frame.len() })?;
    let (number, version, correlation_id) = (start.get_i16(), start.get_i16(), start.get_i32());
    let unsupported = Error::Unsupported { key: number, version };
    let Some((key, min, max)) = OFFERED.iter().copied().find(|(key, ..)| *key as i16 == number) else {
        return Err(unsupported);
    };
    match version {
        _ if (min..=max).contains(&version) => {}
        _ if key == ApiKey::ApiVersions => return Ok(Request { key, version: 0, correlation_id, body: None }),
        _ => return Err(unsupported),
    }
    layout::check(key, version, &frame).map_err(|source| Error::Malformed { key, version, source })?;
    let mut decode = || {
        RequestHeader::decode(&mut frame, key.request_header_version(version))?;
        RequestKind::decode(key, &mut frame, version)
    };
    let body = decode().map_err(|reason| Error::Decode { key, version, reason })?;
    Ok(Request { key, version, correlation_id, body: Some(Box::new(body)) })
}

/// Handles a request; `None` if it wants no answer.
///
/// # Errors
/// [`Error::SilentlyRefused`], [`Error::Encode`], [`Error::Panicked`].
pub(crate) async fn answer(
    node: &Arc<Node>,
    request: Request,
    stopping: &CancellationToken,
) -> Result<Option<BytesMut>, Error> {
    let Request { key, version, correlation_id, body } = request;
    let response = match body.map(|body| *body) {
        None => Some(api_versions(ResponseError::UnsupportedVersion.code()).into()),
        Some(RequestKind::Fetch(request)) => Some(fetch::read(node, request, stopping).await?.into()),
        Some(body) => {
            let wants_answer = !matches!(&body, RequestKind::Produce(request) if request.acks == 0);
            let node = Arc::clone(node);
            match task::spawn_blocking(move || handle(&node, body, version)).await? {
                Some(ResponseKind::Produce(r)) if !wants_answer && produce::has_failed(&r) => {
                    return Err(Error::SilentlyRefused);
                }
                Some(_) if !wants_answer => return Ok(None),
                response => response,
            }
        }
    };
    let response = response.ok_or(Error::Unsupported { key: key as i16, version })?;
    encode(key, version, correlation_id, &response).map(Some)
}

/// The handler of each request but Fetch. `None` for what [`OFFERED`] does not list.
fn handle(node: &Node, request: RequestKind, version: i16) -> Option<ResponseKind> {
    Some(match request {
        RequestKind::ApiVersions(_) => api_versions(0).into(),
        RequestKind::Metadata(r) => metadata::describe(node, r, version).into(),
        RequestKind::FindCoordinator(r) => metadata::find_coordinator(node, &r).into(),
        RequestKind::Produce(r) => produce::append(node, r).into(),
        RequestKind::InitProducerId(r) => produce::init_producer_id(node, &r).into(),
        RequestKind::ListOffsets(r) => list_offsets::list(node, r).into(),
        RequestKind::OffsetForLeaderEpoch(r) => list_offsets::for_leader_epoch(node, r).into(),
        RequestKind::OffsetCommit(r) => offsets::commit(node, r).into(),
        RequestKind::OffsetFetch(r) => offsets::fetch(node, r).into(),
        RequestKind::CreateTopics(r) => admin::create_topics(node, r).into(),
        RequestKind::DeleteTopics(r) => admin::delete_topics(node, r).into(),
        RequestKind::CreatePartitions(r) => admin::create_partitions(node, r).into(),
        RequestKind::DeleteRecords(r) => admin::delete_records(node, r).into(),
        _ => return None,
    })
}

fn api_versions(error_code: i16) -> ApiVersionsResponse {
    let offered = OFFERED.iter().map(|(key, min, max)| {
        ApiVersion::default().with_api_key(*key as i16).with_min_version(*min).with_max_version(*max)
    });
    ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(offered.collect())
}

/// The response with its length before it, as it goes on the wire.
fn encode(key: ApiKey, version: i16, correlation_id: i32, response: &ResponseKind) -> Result<BytesMut, Error> {
    const LENGTH_BYTES: usize = 4;
    let mut bytes = BytesMut::zeroed(LENGTH_BYTES);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header
        // For ApiVersions this is always version 0, so that a client of any age can read it.
        .encode(&mut bytes, key.response_header_version(version))
        .and_then(|()| response.encode(&mut bytes, version))
        .map_err(|reason| Error::Encode { key, version, reason })?;
    let length = (bytes.len() - LENGTH_BYTES) as u32; // far below: a response holds at most 55 MiB of records
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}
