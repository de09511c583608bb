//! The frame of every stored file: 40 bytes of header, then the payload to the end of the file.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `GAPWISE` and a zero byte |
//! | 8 | 4 | [`FORMAT_VERSION`] |
//! | 12 | 1 | [`Kind`] |
//! | 13 | 1 | codec: 0 plain, 1 zstd |
//! | 14 | 2 | of rows: the index of their table, 0 for the result; else zero |
//! | 16 | 8 | length of the payload before compression |
//! | 24 | 8 | length of the payload in the file |
//! | 32 | 8 | XXH3-64, seed 0, of the 32 bytes above and the payload in the file |
//!
//! Numbers are little-endian. The magic, the version and their places never change, so that every version can name another.

use std::fmt;
use std::io::{self, Read, Write};

use stream_core::checkpoint::FORMAT_VERSION;
use stream_core::ids::TableIndex;
use xxhash_rust::xxh3::Xxh3Default;

use crate::store::{StoreError, StoreErrorKind};

const MAGIC: &[u8; 8] = b"GAPWISE\0";
const HEADER: usize = 40;
const TABLE_AT: usize = 14;
const CHECKSUM_AT: usize = 32;
const ZSTD_LEVEL: i32 = 1;

/// What a stored file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Keyed state.
    State = 1,
    /// Rows of an epoch.
    Rows = 2,
    /// A checkpoint's manifest.
    Manifest = 3,
    /// A job's record.
    Job = 4,
}

/// How a payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Codec {
    Plain = 0,
    Zstd = 1,
}

/// What is wrong with a stored file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// It does not begin as ours do.
    #[error("it is no file of Gapwise")]
    Foreign,
    /// Another version wrote it.
    #[error("it has format version {0}, this build reads version {FORMAT_VERSION}; use the release that wrote it")]
    Version(u32),
    /// Its end is missing.
    #[error("it is truncated: {found} of {expected} bytes")]
    Truncated {
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Something stands behind its end.
    #[error("it has {found} bytes instead of {expected}")]
    TooLong {
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A byte of it is not what was written.
    #[error("its checksum is wrong: the disk or a copy has damaged it")]
    Checksum,
    /// It is another kind of file than its name says.
    #[error("it is not a file of kind `{expected}` (found kind {found})")]
    Kind {
        /// What its place asks for.
        expected: Kind,
        /// The number that it has.
        found: u8,
    },
    /// Its checksum is right, and yet it does not hold what it should: another build wrote it.
    #[error("it does not hold {0}, although its checksum is right; use the release that wrote it")]
    Payload(&'static str),
    /// Its record cannot be read.
    #[error("its record cannot be read: {0}")]
    Json(String),
}

/// A file as it is being written.
pub(super) struct Framing {
    kind: Kind,
    codec: Codec,
    written: u64,
    out: Out,
}

enum Out {
    Plain(Vec<u8>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Framing {
    pub(super) fn new(kind: Kind, codec: Codec) -> Self {
        let header = vec![0; HEADER];
        let out = match codec {
            Codec::Plain => Out::Plain(header),
            Codec::Zstd => Out::Zstd(zstd::Encoder::new(header, ZSTD_LEVEL).expect("the level is one there is")),
        };
        Framing { kind, codec, written: 0, out }
    }

    /// Makes the header lie about the length before compression.
    #[cfg(test)]
    pub(super) fn understate(&mut self, written: u64) {
        self.written = written;
    }

    /// The whole file.
    pub(super) fn finish(self) -> Vec<u8> {
        let file = match self.out {
            Out::Plain(file) => file,
            Out::Zstd(encoder) => encoder.finish().expect("memory takes every write"),
        };
        seal(file, self.kind, self.codec, TableIndex::RESULT, self.written)
    }
}

impl Write for Framing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match &mut self.out {
            Out::Plain(file) => file.write(bytes)?,
            Out::Zstd(encoder) => encoder.write(bytes)?,
        };
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of rows for a table. They are there as a whole, and so are compressed at once: a stream would copy them through its window.
pub(super) fn rows_file(table: TableIndex, rows: &[u8]) -> Vec<u8> {
    let mut file = vec![0; HEADER + zstd::zstd_safe::compress_bound(rows.len())];
    let written = zstd::bulk::compress_to_buffer(rows, &mut file[HEADER..], ZSTD_LEVEL);
    file.truncate(HEADER + written.expect("there is room for what grows by compression"));
    seal(file, Kind::Rows, Codec::Zstd, table, rows.len() as u64)
}

/// Fills the header in, in front of a payload that had so many bytes before compression.
fn seal(mut file: Vec<u8>, kind: Kind, codec: Codec, table: TableIndex, written: u64) -> Vec<u8> {
    let stored = (file.len() - HEADER) as u64;
    file[..8].copy_from_slice(MAGIC);
    file[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    file[12] = kind as u8;
    file[13] = codec as u8;
    file[TABLE_AT..TABLE_AT + 2].copy_from_slice(&table.0.to_le_bytes());
    file[16..24].copy_from_slice(&written.to_le_bytes());
    file[24..CHECKSUM_AT].copy_from_slice(&stored.to_le_bytes());
    let checksum = checksum(&file);
    file[CHECKSUM_AT..HEADER].copy_from_slice(&checksum.to_le_bytes());
    file
}

/// The payload of a file, as it was before compression. Everything is compared before any of it is decompressed, and no more
/// is decompressed than the header says.
///
/// # Errors
/// If it is not a whole, undamaged file of this kind and version.
pub(super) fn open(kind: Kind, file: &[u8]) -> Result<Vec<u8>, StoredError> {
    let found = file.len() as u64;
    let known = file.len().min(MAGIC.len());
    if file[..known] != MAGIC[..known] {
        return Err(StoredError::Foreign);
    }
    if file.len() < HEADER {
        return Err(StoredError::Truncated { expected: HEADER as u64, found });
    }
    let version = u32::from_le_bytes(array(file, 8));
    if version != FORMAT_VERSION {
        return Err(StoredError::Version(version));
    }
    let expected = u64::from_le_bytes(array(file, 24)).saturating_add(HEADER as u64);
    if found < expected {
        return Err(StoredError::Truncated { expected, found });
    }
    if found > expected {
        return Err(StoredError::TooLong { expected, found });
    }
    if u64::from_le_bytes(array(file, CHECKSUM_AT)) != checksum(file) {
        return Err(StoredError::Checksum);
    }
    if file[12] != kind as u8 {
        return Err(StoredError::Kind { expected: kind, found: file[12] });
    }
    if kind != Kind::Rows && table(file) != TableIndex::RESULT {
        return Err(StoredError::Payload("zeros where a table would stand"));
    }
    let length = u64::from_le_bytes(array(file, 16));
    let payload = match file[13] {
        codec if codec == Codec::Plain as u8 => file[HEADER..].to_vec(),
        codec if codec == Codec::Zstd as u8 => decompress(&file[HEADER..], length)?,
        _ => return Err(StoredError::Payload("a payload of a known codec")),
    };
    if payload.len() as u64 != length {
        return Err(StoredError::Payload("as many bytes as its header says"));
    }
    Ok(payload)
}

/// The table of a file of rows that [`open`] has found to be whole.
pub(super) fn table(file: &[u8]) -> TableIndex {
    TableIndex(u16::from_le_bytes(array(file, TABLE_AT)))
}

const TOO_LONG: StoredError = StoredError::Payload("a payload that fits in memory");

fn decompress(payload: &[u8], length: u64) -> Result<Vec<u8>, StoredError> {
    let broken = |_| StoredError::Payload("a zstd frame");
    let decoder = zstd::Decoder::with_buffer(payload).map_err(broken)?;
    let mut out = Vec::new();
    // As much as it will be, where there is so much: doubled as it fills, large state would be copied again and again.
    let room = usize::try_from(length).map_err(|_| TOO_LONG)?;
    out.try_reserve_exact(room).map_err(|_| TOO_LONG)?;
    decoder.take(length.saturating_add(1)).read_to_end(&mut out).map_err(broken)?;
    Ok(out)
}

fn checksum(file: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(&file[..CHECKSUM_AT]);
    hash.update(&file[HEADER..]);
    hash.digest()
}

fn array<const N: usize>(file: &[u8], at: usize) -> [u8; N] {
    file[at..at + N].try_into().expect("the header is there")
}

impl StoredError {
    /// The same as the store's failure, naming the file.
    pub fn in_file(&self, name: &str) -> StoreError {
        StoreError::new(StoreErrorKind::Damaged, format!("`{name}` cannot be used: {self}"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::State => "state",
            Kind::Rows => "rows",
            Kind::Manifest => "manifest",
            Kind::Job => "job",
        })
    }
}
