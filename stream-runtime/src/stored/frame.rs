//! The frame around the content of a stored file.
//!
//! ```text
//! "GAPWISE" | kind u8 | format u16 | codec u8 | reserved u8 | content length u32 | stored length u32 | checksum u64 | stored bytes
//! ```
//!
//! Numbers are little-endian. The checksum is XXH3-64 over everything else, the head with zeros in the checksum's place
//! first, and is looked at before anything is decompressed. Codec 0 is none, 1 is zstd.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use super::{Fault, StoredError};

const MAGIC: &[u8; 7] = b"GAPWISE";
/// The format of today.
const FORMAT: u16 = 1;
const HEAD_BYTES: usize = 28;
const CHECKSUM_AT: usize = 20;
/// Fast, and enough for keys that repeat.
const ZSTD_LEVEL: i32 = 1;
/// What is not smaller than this is not worth compressing.
const MIN_COMPRESSED: usize = 256;

/// What a stored file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keyed state.
    State = 1,
    /// Result rows.
    Rows = 2,
    /// A checkpoint's manifest.
    Manifest = 3,
    /// A job as the jobmanager keeps it.
    Job = 4,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::State => "state",
            Kind::Rows => "rows",
            Kind::Manifest => "a manifest",
            Kind::Job => "a job",
        })
    }
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        [Kind::State, Kind::Rows, Kind::Manifest, Kind::Job].into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Records for people stay readable.
    fn is_compressed(self) -> bool {
        matches!(self, Kind::State | Kind::Rows)
    }
}

/// Puts a frame around `content`.
///
/// # Panics
/// If it has 4 GiB or more: who stores it has to cut it up.
pub(super) fn encode(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut file = vec![0; HEAD_BYTES];
    let is_compressed = kind.is_compressed() && content.len() >= MIN_COMPRESSED;
    if is_compressed {
        let compressed = zstd::bulk::compress(content, ZSTD_LEVEL).expect("zstd fails for want of memory only");
        file.extend_from_slice(&compressed);
    } else {
        file.extend_from_slice(content);
    }
    let length = |bytes: usize| u32::try_from(bytes).expect("a stored file is below 4 GiB").to_le_bytes();
    file[..7].copy_from_slice(MAGIC);
    file[7] = kind as u8;
    file[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    file[10] = is_compressed.into();
    file[12..16].copy_from_slice(&length(content.len()));
    let stored = length(file.len() - HEAD_BYTES);
    file[16..20].copy_from_slice(&stored);
    let checksum = checksum(&file);
    file[CHECKSUM_AT..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    file
}

/// The content of a file of that kind.
///
/// # Errors
/// If a byte of it is not as it was written, or it is of another kind or a later format.
pub(super) fn decode(name: &str, kind: Kind, file: &[u8]) -> Result<Vec<u8>, StoredError> {
    content(kind, file).map_err(|fault| StoredError { file: name.to_owned(), fault })
}

fn content(kind: Kind, file: &[u8]) -> Result<Vec<u8>, Fault> {
    let has = file.len() as u64;
    if !file.starts_with(&MAGIC[..file.len().min(MAGIC.len())]) {
        return Err(Fault::Foreign);
    }
    let head: &[u8; HEAD_BYTES] = file.first_chunk().ok_or(Fault::Truncated { has, expected: HEAD_BYTES as u64 })?;
    let format = u16::from_le_bytes([head[8], head[9]]);
    if format > FORMAT {
        return Err(Fault::Version(format));
    }
    let length = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let expected = HEAD_BYTES as u64 + u64::from(length(16));
    if has < expected {
        return Err(Fault::Truncated { has, expected });
    }
    let stored_checksum = u64::from_le_bytes(*head.last_chunk().expect("the head ends with the checksum"));
    if has > expected || checksum(file) != stored_checksum {
        return Err(Fault::Checksum);
    }
    let found = Kind::of(head[7]);
    if found != Some(kind) {
        let found = found.map_or_else(|| format!("kind {}", head[7]), |kind| kind.to_string());
        return Err(Fault::Kind { found, expected: kind });
    }
    let stored = &file[HEAD_BYTES..];
    let length = length(12) as usize;
    match head[10] {
        0 => Ok(stored.to_vec()),
        1 => zstd::bulk::decompress(stored, length).map_err(|error| Fault::Content(error.to_string())),
        codec => Err(Fault::Content(format!("codec {codec} is not known"))),
    }
}

fn checksum(file: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&file[..CHECKSUM_AT]);
    hash.update(&[0; HEAD_BYTES - CHECKSUM_AT]);
    hash.update(&file[HEAD_BYTES..]);
    hash.digest()
}
