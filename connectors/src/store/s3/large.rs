//! Objects that are too long for one request.
//!
//! A large object is uploaded in parts under a hidden name. Then the server copies it to its own, and puts that together
//! under the condition that the name is free: an upload in parts has no such condition of its own in our client. What a writer
//! that dies leaves under the hidden name is listed as unfinished; of an upload that did not come so far only a rule of the bucket
//! for incomplete uploads makes an end.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, MultipartUpload, ObjectStore as _, ObjectStoreExt, PutPayload, Result,
};

use super::super::name::{UNFINISHED, unfinished_name};
use super::S3;

/// The bytes of one request. At a megabyte a second it stays well below the time that a request has; S3 wants 5 MiB at least
/// and has 10,000 parts.
const PART: usize = 8 << 20;
/// From this length on an object is large: copying costs a few requests more, which small ones are to be spared.
const LARGE: usize = 2 * PART;
/// Parts of one object under way at once.
const AT_ONCE: usize = 4;
/// The most that S3 copies at once.
const MOST: usize = 5 << 30;

/// Whether an object is to be created by [`create`].
pub(super) fn is_large(bytes: &Bytes) -> bool {
    bytes.len() >= LARGE
}

/// Creates a large object.
pub(super) async fn create(store: &S3, key: &Path, bytes: &Bytes) -> Result<()> {
    if bytes.len() > MOST {
        let source = "an object of more than 5 GiB, which S3 does not copy; give the job a higher parallelism".into();
        return Err(Error::NotSupported { source });
    }
    let name = store.name(key).unwrap_or_default();
    let unfinished = store.key(&format!("{UNFINISHED}/{}", unfinished_name(name)));
    upload(&store.client, &unfinished, bytes).await?;
    let copied = store.patient.copy_if_not_exists(&unfinished, key).await;
    if let Err(error) = store.client.delete(&unfinished).await {
        tracing::debug!(key = %unfinished, error = super::failure::reason(&error), "cannot remove an unfinished object");
    }
    copied
}

async fn upload(client: &AmazonS3, key: &Path, bytes: &Bytes) -> Result<()> {
    let mut upload = client.put_multipart(key).await?;
    let starts = (0..bytes.len()).step_by(PART);
    let parts: Vec<_> = starts.map(|start| bytes.slice(start..bytes.len().min(start + PART))).collect();
    let puts: Vec<_> = parts.into_iter().map(|part| upload.put_part(PutPayload::from(part))).collect();
    let put: Result<()> = stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await;
    let finished = match put {
        Ok(()) => upload.complete().await.map(drop),
        Err(error) => Err(error),
    };
    if finished.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::debug!(%key, error = super::failure::reason(&error), "cannot give an upload up");
    }
    finished
}

/// Reads an object, in several requests if it is large.
pub(super) async fn read(client: &AmazonS3, key: &Path) -> Result<Bytes> {
    let found = client.get(key).await?;
    let (length, e_tag) = (found.meta.size, found.meta.e_tag.clone());
    if length < LARGE as u64 {
        return found.bytes().await;
    }
    // Its body would outlast the time of a request.
    drop(found);
    let ranges = (0..length).step_by(PART).map(|start| start..length.min(start + PART as u64));
    let reads = ranges.map(|range| {
        let options =
            GetOptions { range: Some(GetRange::Bounded(range)), if_match: e_tag.clone(), ..GetOptions::default() };
        async move { client.get_opts(key, options).await?.bytes().await }
    });
    let mut parts = stream::iter(reads).buffered(AT_ONCE);
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    while let Some(part) = parts.try_next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}
