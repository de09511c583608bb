//! The stored form of a count.
//!
//! Version 1. A section holds records as `snapshot::section` has it:
//!
//! ```text
//! record = window's first instant (zigzag, ms since 1970), key length, key bytes, count (above 0)
//! ```
//!
//! A count is the snapshot's unit, not a key with all it has: a head can have any number of keys, and one that is asked for all day
//! must not be written whole again and again.

use crate::snapshot::section::{SectionReader, SectionWriter, put, put_bytes, put_signed};
use crate::snapshot::{DecodeSnapshotError, Section};

/// The first byte of every section: version 1 of this kind of record. Those of sessions have numbers of their own, from 1 on, so
/// that neither reads the other's.
const FORMAT: u8 = 0x41;

/// What a record takes beside its key, at most.
const RECORD_BYTES: usize = 25;

/// What [`read`] reads.
pub(super) struct Record<'a> {
    /// The window, by its first instant.
    pub(super) start: i64,
    pub(super) key: &'a [u8],
    pub(super) count: u64,
}

/// Writes the count of a key in a window.
pub(super) fn write(section: &mut SectionWriter, start: i64, key: &[u8], count: u64) {
    let out = section.record(FORMAT, key.len() + RECORD_BYTES);
    put_signed(out, start);
    put_bytes(out, key);
    put(out, count);
}

/// A reader of a section for [`read`].
///
/// # Errors
/// If another version wrote the section, or another operator.
pub(super) fn reader(section: &Section) -> Result<SectionReader<'_>, DecodeSnapshotError> {
    SectionReader::new(section, FORMAT)
}

/// The next record; nothing behind the last.
///
/// # Errors
/// If there is no record, or more than the section says.
pub(super) fn read<'a>(reader: &mut SectionReader<'a>) -> Result<Option<Record<'a>>, DecodeSnapshotError> {
    if !reader.begins_record()? {
        return Ok(None);
    }
    let (start, key, count) = (reader.signed()?, reader.bytes()?, reader.number()?);
    if count == 0 {
        return Err(reader.error());
    }
    Ok(Some(Record { start, key, count }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key_group::KeyGroup;

    fn read_all(section: &Section) -> Result<Vec<(i64, Vec<u8>, u64)>, DecodeSnapshotError> {
        let (mut reader, mut records) = (reader(section)?, Vec::new());
        while let Some(Record { start, key, count }) = read(&mut reader)? {
            records.push((start, key.to_vec(), count));
        }
        Ok(records)
    }

    proptest! {
        #[test]
        fn section_reads_back_what_was_written_and_no_part_of_it_reads_as_a_whole(
            records in prop::collection::vec((any::<i64>(), any::<Vec<u8>>(), 1..=u64::MAX), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut writer = SectionWriter::default();
            records.iter().for_each(|(start, key, count)| write(&mut writer, *start, key, *count));
            let mut section = writer.finish(KeyGroup(7)).next().expect("records were written");
            prop_assert_eq!(read_all(&section), Ok(records));
            section.bytes.truncate(cut.index(section.bytes.len()));
            prop_assert!(read_all(&section).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(records in 0_u64..5, mut bytes in any::<Vec<u8>>()) {
            bytes.insert(0, FORMAT);
            let _ = read_all(&Section { group: KeyGroup(0), records, bytes });
        }
    }

    #[test]
    fn format_is_pinned() {
        let mut writer = SectionWriter::default();
        write(&mut writer, -300, b"k", 2);
        let section = writer.finish(KeyGroup(3)).next().expect("a record was written");
        assert_eq!(section.bytes, [0x41, 0xd7, 4, 1, b'k', 2], "version 1 is stored and must not change");
    }
}
