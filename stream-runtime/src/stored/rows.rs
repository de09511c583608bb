//! Result rows as a file: the bytes of a [`RowBatch`], whose layout is that of Postgres' binary `COPY`.

use stream_core::row::{Column, RowBatch};

use super::frame::{self, Kind};
use super::{StoredError, content};

/// Rows as a file.
pub fn encode_rows(rows: &RowBatch) -> Vec<u8> {
    frame::encode(Kind::Rows, rows.as_bytes())
}

/// Reads what [`encode_rows`] wrote of rows of these columns.
///
/// # Errors
/// If the bytes are anything else, or the rows have other columns.
pub fn decode_rows(file: &str, bytes: &[u8], columns: &[Column]) -> Result<RowBatch, StoredError> {
    let payload = frame::decode(file, Kind::Rows, bytes)?;
    RowBatch::from_bytes(payload, columns).map_err(|error| content(file, &error))
}
