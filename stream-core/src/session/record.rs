//! The stored form of a key and its windows.
//!
//! Version 1. A section holds records as `snapshot::section` has it:
//!
//! ```text
//! record = key length, key bytes, number of windows, that many windows
//! window = start (zigzag, ms since 1970), end − start (ms, above 0), count, reported (at most count)
//! ```
//!
//! What follows from the snapshot's watermark is not stored: whether a window has fired, when its timer is due, and that it
//! has expired. Nor is the key's hash: it is [`hash_key`](crate::key_group::hash_key) of the bytes by requirement, costs a few
//! nanoseconds, would add eight bytes to about forty, and computing it shows a record that lies in another group's section.

use super::Span;
use crate::snapshot::section::{SectionReader, SectionWriter, put, put_bytes, put_signed};
use crate::snapshot::{DecodeSnapshotError, Section};

/// The first byte of every section.
const FORMAT: u8 = 1;

/// What a record takes beside its key, if the key has the usual one or two windows.
const RECORD_BYTES: usize = 64;

/// Writes the record of a key with these windows.
pub(super) fn write(section: &mut SectionWriter, key: &[u8], windows: impl Iterator<Item = Span> + Clone) {
    let out = section.record(FORMAT, key.len() + RECORD_BYTES);
    put_bytes(out, key);
    put(out, windows.clone().count() as u64);
    for window in windows {
        put_signed(out, window.start);
        put(out, window.end.abs_diff(window.start));
        put(out, window.count);
        put(out, window.reported);
    }
}

/// A reader of a section for [`read`].
///
/// # Errors
/// If another version wrote the section.
pub(super) fn reader(section: &Section) -> Result<SectionReader<'_>, DecodeSnapshotError> {
    SectionReader::new(section, FORMAT)
}

/// The next record's key, its windows in `windows`; nothing behind the last.
///
/// # Errors
/// If there is no record, or more than the section says.
pub(super) fn read<'a>(
    reader: &mut SectionReader<'a>,
    windows: &mut Vec<Span>,
) -> Result<Option<&'a [u8]>, DecodeSnapshotError> {
    if !reader.begins_record()? {
        return Ok(None);
    }
    let key = reader.bytes()?;
    windows.clear();
    for _ in 0..reader.number()? {
        windows.push(read_window(reader)?);
    }
    Ok(Some(key))
}

fn read_window(reader: &mut SectionReader<'_>) -> Result<Span, DecodeSnapshotError> {
    let (start, length) = (reader.signed()?, reader.number()?);
    let (count, reported) = (reader.number()?, reader.number()?);
    match start.checked_add_unsigned(length) {
        Some(end) if end > start && reported <= count => Ok(Span { start, end, count, reported }),
        _ => Err(reader.error()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key_group::KeyGroup;

    fn span() -> impl Strategy<Value = Span> {
        let time = prop_oneof![any::<i64>(), -1000_i64..1000];
        (time, 1_u64..=u64::MAX, any::<u64>(), any::<u64>()).prop_map(|(start, length, count, reported)| {
            let start = start.min(i64::MAX - 1);
            let end = start.saturating_add_unsigned(length);
            Span { start, end, count, reported: reported.min(count) }
        })
    }

    type Record = (Vec<u8>, Vec<Span>);

    fn read_all(section: &Section) -> Result<Vec<Record>, DecodeSnapshotError> {
        let mut reader = reader(section)?;
        let (mut windows, mut records) = (Vec::new(), Vec::new());
        while let Some(key) = read(&mut reader, &mut windows)? {
            records.push((key.to_vec(), windows.clone()));
        }
        Ok(records)
    }

    proptest! {
        #[test]
        fn section_reads_back_what_was_written_and_no_part_of_it_reads_as_a_whole(
            records in prop::collection::vec((any::<Vec<u8>>(), prop::collection::vec(span(), 1..4)), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut writer = SectionWriter::default();
            for (key, windows) in &records {
                write(&mut writer, key, windows.iter().copied());
            }
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
        write(&mut writer, b"k", [Span { start: 0, end: 5, count: 1, reported: 0 }].into_iter());
        let section = writer.finish(KeyGroup(3)).next().expect("a record was written");
        assert_eq!(section.bytes, [1, 1, b'k', 1, 0, 5, 1, 0], "version 1 is stored and must not change");
    }
}
