//! The form of every stored file: a frame that shows any damage before a byte of it is used, and what stands in it.
//!
//! | file | frame's payload |
//! |---|---|
//! | state | a keyed snapshot: its sections, from a directory by key group ([`encode_state`]) |
//! | rows | result rows as they travel ([`encode_rows`]) |
//! | manifest, job | JSON ([`encode_json`]) |
//!
//! Pure over bytes: where files lie is [`names`]' business, how they get there the store's. A format once released is read
//! for ever: `testdata/` keeps a file of each kind, and a test reads them.

mod frame;
pub mod names;
mod rows;
mod state;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stream_core::checkpoint::FileRef;
use xxhash_rust::xxh3::xxh3_64;

pub use frame::Kind;
pub use rows::{decode_rows, encode_rows};
pub use state::{decode_state, encode_state};

use crate::store::{StoreError, StoreErrorKind};

/// A stored file that is not what was written, or that this version cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored file `{file}` {fault}")]
pub struct StoredError {
    /// Its name in the store.
    pub file: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a stored file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is shorter than it says.
    #[error("is cut off: {has} bytes of {expected}")]
    Truncated {
        /// Its length.
        has: u64,
        /// The length that it should have.
        expected: u64,
    },
    /// It does not begin as our files do.
    #[error("is not one of Gapwise's")]
    Foreign,
    /// A later version wrote it.
    #[error("is of format {0}, which this version cannot read: use a newer one")]
    Version(u16),
    /// Its bytes are not those that were written.
    #[error("is damaged: its checksum is wrong")]
    Checksum,
    /// It holds something else.
    #[error("holds {found}, expected {expected}")]
    Kind {
        /// What it is.
        found: String,
        /// What it should be.
        expected: Kind,
    },
    /// Its checksum is right, and its content still makes no sense: a bug of the version that wrote it.
    #[error("cannot be understood: {0}")]
    Content(String),
}

/// The reference to a file of these bytes.
pub fn file_ref(name: impl Into<String>, bytes: &[u8]) -> FileRef {
    FileRef { name: name.into(), bytes: bytes.len() as u64, checksum: xxh3_64(bytes) }
}

/// Whether these are the bytes that a reference means.
///
/// # Errors
/// If the length or the checksum is another.
pub fn verify(file: &FileRef, bytes: &[u8]) -> Result<(), StoredError> {
    let fault = if bytes.len() as u64 != file.bytes {
        Fault::Truncated { has: bytes.len() as u64, expected: file.bytes }
    } else if xxh3_64(bytes) != file.checksum {
        Fault::Checksum
    } else {
        return Ok(());
    };
    Err(StoredError { file: file.name.clone(), fault })
}

/// A manifest or a job as a file.
///
/// # Panics
/// If the value has maps with keys that are no texts, which ours have not.
pub fn encode_json(kind: Kind, value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("our records have texts as keys");
    frame::encode(kind, &json)
}

/// Reads what [`encode_json`] wrote.
///
/// # Errors
/// If the bytes are anything else.
pub fn decode_json<T: DeserializeOwned>(file: &str, kind: Kind, bytes: &[u8]) -> Result<T, StoredError> {
    let payload = frame::decode(file, kind, bytes)?;
    serde_json::from_slice(&payload).map_err(|error| content(file, &error))
}

fn content(file: &str, error: &dyn std::fmt::Display) -> StoredError {
    StoredError { file: file.to_owned(), fault: Fault::Content(error.to_string()) }
}

impl From<StoredError> for StoreError {
    fn from(error: StoredError) -> Self {
        StoreError::new(StoreErrorKind::Damaged, error.to_string())
    }
}

#[cfg(test)]
mod tests;
