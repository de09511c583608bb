//! The bytes of a file of state, and of a file of rows.
//!
//! Both begin with eight bytes that tell what they are and in which version. A state file then has the sections of its
//! snapshot, each with its key group, its number of records and its length, so that a reader takes what it owns and
//! skips the rest; a row file has the rows as they travel. That the bytes are those which were written is not said here: a
//! [`FileRef`] has their length and checksum, and is checked first.

use bytes::Bytes;
use stream_core::checkpoint::FileRef;
use stream_core::key_group::{KeyGroup, KeyGroupRange, hash_key};
use stream_core::row::{Column, RowBatch};
use stream_core::snapshot::{KeyedSnapshot, Section};
use stream_runtime::store::{StoreError, StoreErrorKind};

const STATE: &[u8; 8] = b"gwstate1";
const ROWS: &[u8; 8] = b"gwrows_1";

/// XXH3-64, which keys are hashed with, too.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    hash_key(bytes).0
}

/// Whether these are the bytes that `file` names.
///
/// # Errors
/// If they are not.
pub(super) fn check(file: &FileRef, bytes: &[u8]) -> Result<(), StoreError> {
    match bytes.len() as u64 == file.bytes && checksum(bytes) == file.checksum {
        true => Ok(()),
        false => Err(damaged(file, "its bytes are not those that were written")),
    }
}

/// A snapshot as it is stored.
pub(super) fn encode_state(snapshot: &KeyedSnapshot) -> Vec<u8> {
    const HEADER: usize = 2 + 8 + 8;
    let sections = snapshot.sections.iter().map(|section| HEADER + section.bytes.len());
    let mut bytes = Vec::with_capacity(STATE.len() + sections.sum::<usize>());
    bytes.extend_from_slice(STATE);
    for section in &snapshot.sections {
        bytes.extend_from_slice(&section.group.0.to_le_bytes());
        bytes.extend_from_slice(&section.records.to_le_bytes());
        bytes.extend_from_slice(&(section.bytes.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&section.bytes);
    }
    bytes
}

/// The sections of a stored snapshot that belong to `key_groups`.
///
/// # Errors
/// If the bytes are no snapshot.
pub(super) fn decode_state(
    file: &FileRef,
    bytes: &[u8],
    key_groups: KeyGroupRange,
) -> Result<Vec<Section>, StoreError> {
    let mut rest = bytes.strip_prefix(STATE).ok_or_else(|| damaged(file, "it is no state of this version"))?;
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let (section, behind) = split_section(rest).ok_or_else(|| damaged(file, "it breaks off"))?;
        rest = behind;
        let (group, records, bytes) = section;
        if key_groups.contains(group) {
            sections.push(Section { group, records, bytes: bytes.to_vec() });
        }
    }
    Ok(sections)
}

type RawSection<'a> = (KeyGroup, u64, &'a [u8]);

fn split_section(bytes: &[u8]) -> Option<(RawSection<'_>, &[u8])> {
    let (group, rest) = bytes.split_first_chunk()?;
    let (records, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    Some(((KeyGroup(u16::from_le_bytes(*group)), u64::from_le_bytes(*records), bytes), rest))
}

/// Rows as they are stored.
pub(super) fn encode_rows(rows: &RowBatch) -> Vec<u8> {
    [ROWS, rows.as_bytes()].concat()
}

/// The rows of a file.
///
/// # Errors
/// If the bytes are no rows of these columns.
pub(super) fn decode_rows(file: &FileRef, bytes: &Bytes, columns: &[Column]) -> Result<RowBatch, StoreError> {
    let rows = bytes.strip_prefix(ROWS).ok_or_else(|| damaged(file, "it has no rows of this version"))?;
    RowBatch::from_bytes(rows.to_vec(), columns).map_err(|error| damaged(file, &error.to_string()))
}

fn damaged(file: &FileRef, why: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Damaged, format!("the checkpoint file `{}` is damaged: {why}", file.name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stream_core::row::ColumnType;
    use stream_core::snapshot::SnapshotKind;
    use stream_core::watermark::Watermark;

    use super::*;

    fn named(bytes: &[u8]) -> FileRef {
        FileRef { name: "f".to_owned(), bytes: bytes.len() as u64, checksum: checksum(bytes) }
    }

    #[test]
    fn state_survives_and_a_reader_takes_what_it_owns() {
        let section = |group, text: &str| Section { group: KeyGroup(group), records: 3, bytes: text.into() };
        let sections = vec![section(1, "a"), section(2, ""), section(7, "ccc")];
        let snapshot = KeyedSnapshot { kind: SnapshotKind::Full, watermark: Watermark(5), sections };
        let bytes = encode_state(&snapshot);
        let decode = |start, end| decode_state(&named(&bytes), &bytes, KeyGroupRange { start, end }).unwrap();
        assert_eq!(decode(0, 128), snapshot.sections);
        assert_eq!(decode(2, 7), [section(2, "")]);
        for length in 0..bytes.len() - 1 {
            let whole_sections = [8, 8 + 19, 8 + 19 + 18];
            let decoded = decode_state(&named(&bytes), &bytes[..length], KeyGroupRange { start: 0, end: 128 });
            assert_eq!(decoded.is_ok(), whole_sections.contains(&length), "{length} bytes");
        }
    }

    #[test]
    fn rows_survive_and_other_bytes_are_refused() {
        let columns = [Column { name: "n".to_owned(), column_type: ColumnType::BigInt }];
        let mut rows = RowBatch::default();
        for n in 0..3 {
            rows.row(1).bigint(n);
        }
        let bytes = Bytes::from(encode_rows(&rows));
        assert_eq!(decode_rows(&named(&bytes), &bytes, &columns).unwrap(), rows);
        assert!(decode_rows(&named(&bytes), &bytes.slice(..bytes.len() - 1), &columns).is_err());
        assert!(decode_rows(&named(&bytes), &encode_state_of_nothing(), &columns).is_err());
    }

    fn encode_state_of_nothing() -> Bytes {
        encode_state(&KeyedSnapshot { kind: SnapshotKind::Full, watermark: Watermark(0), sections: Vec::new() }).into()
    }

    #[test]
    fn other_bytes_than_those_written_are_named() {
        let file = named(b"abc");
        assert_eq!(check(&file, b"abc"), Ok(()));
        for bytes in [b"abd".as_slice(), b"ab", b""] {
            let error = check(&file, bytes).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Damaged);
            assert!(error.message.contains("`f` is damaged"), "{error}");
        }
    }
}
