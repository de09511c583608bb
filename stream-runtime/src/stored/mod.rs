//! The files of a checkpoint, as bytes: keyed state, rows, manifests, job records.
//!
//! Every file has the same [`frame`]: a header that says what it is, and a checksum that is compared before anything else
//! is believed. Nothing here reads or writes a file; [`crate::store`] does. What a section of state or a row holds is not
//! known here either.
//!
//! The payloads, little-endian throughout:
//!
//! * *state*, zstd: kind `u8` (0 full, 1 delta), watermark `i64`, number of sections `u32`; then for each section, in
//!   the order of their key groups, of which each may have several, key group `u16`, records `u64`, length `u64`, and so many
//!   bytes;
//! * *rows*, zstd: rows of one table as [`RowBatch`] has them;
//! * *manifest* and *job*, plain: JSON, which people can read behind the header.
//!
//! Tests: every damaged byte and every truncation is detected, and the files in `testdata/v1`, which an earlier build wrote,
//! can still be read.

pub mod frame;
pub mod names;
mod state;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stream_core::checkpoint::{FORMAT_VERSION, FileRef, Manifest};
use stream_core::key_group::KeyGroupRange;
use stream_core::row::RowBatch;
use stream_core::snapshot::KeyedSnapshot;
use stream_core::table::Schemas;

use frame::{Codec, Framing};
pub use frame::{Kind, StoredError};

use crate::store::StoreError;

/// A file of state.
pub fn encode_state(snapshot: &KeyedSnapshot) -> Vec<u8> {
    let mut file = Framing::new(Kind::State, Codec::Zstd);
    state::write(snapshot, &mut file);
    file.finish()
}

/// What a file of state holds for the key groups of `range`.
///
/// # Errors
/// If `bytes` are not those of `file`, or not in this format.
pub fn decode_state(file: &FileRef, bytes: &[u8], range: KeyGroupRange) -> Result<KeyedSnapshot, StoreError> {
    verify(file, bytes)?;
    let snapshot = frame::open(Kind::State, bytes).and_then(|payload| state::read(&payload, range));
    snapshot.map_err(|error| error.in_file(&file.name))
}

/// A file of rows.
pub fn encode_rows(rows: &RowBatch) -> Vec<u8> {
    frame::rows_file(rows.table(), rows.as_bytes())
}

/// The rows of a file.
///
/// # Errors
/// If `bytes` are not those of `file`, or its rows are of none of these tables.
pub fn decode_rows(file: &FileRef, bytes: &[u8], schemas: &Schemas) -> Result<RowBatch, StoreError> {
    verify(file, bytes)?;
    let rows = frame::open(Kind::Rows, bytes).and_then(|payload| {
        let table = frame::table(bytes);
        let columns = schemas.columns(table).ok_or(StoredError::Payload("rows of one of the sink's tables"))?;
        RowBatch::from_bytes(table, payload, columns)
            .map_err(|_| StoredError::Payload("rows of the columns of the sink's table"))
    });
    rows.map_err(|error| error.in_file(&file.name))
}

/// A file of a manifest.
pub fn encode_manifest(manifest: &Manifest) -> Vec<u8> {
    encode_json(Kind::Manifest, manifest)
}

/// The manifest of the file `name`, which is for messages.
///
/// # Errors
/// If the bytes are damaged, or another version wrote them.
pub fn decode_manifest(name: &str, bytes: &[u8]) -> Result<Manifest, StoreError> {
    let manifest: Manifest = decode_json(Kind::Manifest, name, bytes)?;
    if manifest.version != FORMAT_VERSION {
        return Err(StoredError::Version(manifest.version).in_file(name));
    }
    Ok(manifest)
}

/// A file of a job's record, whose fields are its keeper's own.
pub fn encode_job<T: Serialize>(job: &T) -> Vec<u8> {
    encode_json(Kind::Job, job)
}

/// The record of the file `name`, which is for messages.
///
/// # Errors
/// If the bytes are damaged, or another version wrote them.
pub fn decode_job<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, StoreError> {
    decode_json(Kind::Job, name, bytes)
}

/// What a manifest says of a file with these bytes; `name` is relative to the job's folder.
pub fn file_ref(name: impl Into<String>, bytes: &[u8]) -> FileRef {
    FileRef { name: name.into(), bytes: bytes.len() as u64, checksum: checksum(bytes) }
}

/// Whether `bytes` are those that a manifest means.
///
/// # Errors
/// If their number or their checksum differs.
pub fn verify(file: &FileRef, bytes: &[u8]) -> Result<(), StoreError> {
    let length = bytes.len() as u64;
    let outcome = match () {
        () if length < file.bytes => Err(StoredError::Truncated { expected: file.bytes, found: length }),
        () if length > file.bytes => Err(StoredError::TooLong { expected: file.bytes, found: length }),
        () if checksum(bytes) != file.checksum => Err(StoredError::Checksum),
        () => Ok(()),
    };
    outcome.map_err(|error| error.in_file(&file.name))
}

/// XXH3-64 with seed 0, which [`FileRef::checksum`] has of the whole file.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

fn encode_json<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    let mut file = Framing::new(kind, Codec::Plain);
    serde_json::to_writer_pretty(&mut file, value).expect("records have text keys, and memory takes every write");
    file.finish()
}

fn decode_json<T: DeserializeOwned>(kind: Kind, name: &str, bytes: &[u8]) -> Result<T, StoreError> {
    let payload = frame::open(kind, bytes).map_err(|error| error.in_file(name))?;
    serde_json::from_slice(&payload).map_err(|error| StoredError::Json(error.to_string()).in_file(name))
}
