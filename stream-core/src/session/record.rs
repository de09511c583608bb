//! The stored form of a key and its windows.
//!
//! A section holds records as `snapshot::section` has it, in version 1, or in version 2 where windows have ids
//! (`session::changes`):
//!
//! ```text
//! record = key length, key bytes, number of windows, that many windows
//! window = start (zigzag, ms since 1970), end − start (ms, above 0), count, reported (at most count); in version 2 also id (0: none)
//! ```
//!
//! What follows from the snapshot's watermark is not stored: whether a window has fired, when its timer is due, and that it
//! has expired. Nor is the key's hash: it is [`hash_key`](crate::key_group::hash_key) of the bytes by requirement, costs a few
//! nanoseconds, would add eight bytes to about forty, and computing it shows a record that lies in another group's section.

use super::store::KeyBytes;
use super::{Span, WindowId};
use crate::snapshot::section::{SectionReader, SectionWriter, put, put_signed};
use crate::snapshot::{DecodeSnapshotError, Section};

/// The first byte of every section: version 1.
const FORMAT: u8 = 1;
/// Version 2.
const FORMAT_WITH_IDS: u8 = 2;

/// What a record takes beside its key, if the key has the usual one or two windows.
const RECORD_BYTES: usize = 64;

/// A window as it is stored.
pub(super) type Stored = (Span, Option<WindowId>);

/// Writes the record of a key with these windows.
pub(super) fn write(section: &mut SectionWriter, key: KeyBytes<'_>, windows: impl Iterator<Item = Span> + Clone) {
    let out = section.record(FORMAT, key.len() + RECORD_BYTES);
    put(out, key.len() as u64);
    key.write(out);
    put(out, windows.clone().count() as u64);
    windows.for_each(|window| put_window(out, window));
}

/// The same, with the windows' ids.
pub(super) fn write_with_ids(
    section: &mut SectionWriter,
    key: KeyBytes<'_>,
    windows: impl Iterator<Item = Stored> + Clone,
) {
    let out = section.record(FORMAT_WITH_IDS, key.len() + RECORD_BYTES);
    put(out, key.len() as u64);
    key.write(out);
    put(out, windows.clone().count() as u64);
    for (window, id) in windows {
        put_window(out, window);
        put(out, id.map_or(0, WindowId::get));
    }
}

fn put_window(out: &mut Vec<u8>, window: Span) {
    put_signed(out, window.start);
    put(out, window.end.abs_diff(window.start));
    put(out, window.count);
    put(out, window.reported);
}

/// Reads the records of a section of either version.
pub(super) struct Reader<'a> {
    records: SectionReader<'a>,
    has_ids: bool,
}

impl<'a> Reader<'a> {
    /// # Errors
    /// If another version wrote the section.
    pub(super) fn new(section: &'a Section) -> Result<Self, DecodeSnapshotError> {
        let has_ids = section.bytes.first() == Some(&FORMAT_WITH_IDS);
        let format = if has_ids { FORMAT_WITH_IDS } else { FORMAT };
        Ok(Reader { records: SectionReader::new(section, format)?, has_ids })
    }

    /// The next record's key, its windows in `windows`; nothing behind the last.
    ///
    /// # Errors
    /// If there is no record, or more than the section says.
    pub(super) fn next(&mut self, windows: &mut Vec<Stored>) -> Result<Option<&'a [u8]>, DecodeSnapshotError> {
        if !self.records.begins_record()? {
            return Ok(None);
        }
        let key = self.records.bytes()?;
        windows.clear();
        for _ in 0..self.records.number()? {
            let window = read_window(&mut self.records)?;
            let id = if self.has_ids { WindowId::new(self.records.number()?) } else { None };
            windows.push((window, id));
        }
        Ok(Some(key))
    }

    /// That what stands here is no record.
    pub(super) fn error(&self) -> DecodeSnapshotError {
        self.records.error()
    }
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

    type Record = (Vec<u8>, Vec<Stored>);

    fn read_all(section: &Section) -> Result<Vec<Record>, DecodeSnapshotError> {
        let mut reader = Reader::new(section)?;
        let (mut windows, mut records) = (Vec::new(), Vec::new());
        while let Some(key) = reader.next(&mut windows)? {
            records.push((key.to_vec(), windows.clone()));
        }
        Ok(records)
    }

    proptest! {
        #[test]
        fn section_reads_back_what_was_written_and_no_part_of_it_reads_as_a_whole(
            mut records in prop::collection::vec(
                (any::<Vec<u8>>(), prop::collection::vec((span(), any::<u64>().prop_map(WindowId::new)), 1..4)), 1..5
            ),
            has_ids in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut writer = SectionWriter::default();
            for (key, windows) in &mut records {
                if has_ids {
                    write_with_ids(&mut writer, key.as_slice().into(), windows.iter().copied());
                } else {
                    write(&mut writer, key.as_slice().into(), windows.iter().map(|(span, _)| *span));
                    windows.iter_mut().for_each(|(_, id)| *id = None);
                }
            }
            let mut section = writer.finish(KeyGroup(7)).next().expect("records were written");
            prop_assert_eq!(read_all(&section), Ok(records));
            section.bytes.truncate(cut.index(section.bytes.len()));
            prop_assert!(read_all(&section).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            records in 0_u64..5, format in FORMAT..=FORMAT_WITH_IDS, mut bytes in any::<Vec<u8>>()
        ) {
            bytes.insert(0, format);
            let _ = read_all(&Section { group: KeyGroup(0), records, bytes });
        }
    }

    #[test]
    fn formats_are_pinned() {
        let span = Span { start: 0, end: 5, count: 1, reported: 0 };
        let mut writer = SectionWriter::default();
        write(&mut writer, b"k".as_slice().into(), [span].into_iter());
        let section = writer.finish(KeyGroup(3)).next().expect("a record was written");
        assert_eq!(section.bytes, [1, 1, b'k', 1, 0, 5, 1, 0], "version 1 is stored and must not change");
        let mut writer = SectionWriter::default();
        write_with_ids(&mut writer, b"k".as_slice().into(), [(span, WindowId::new(7)), (span, None)].into_iter());
        let section = writer.finish(KeyGroup(3)).next().expect("a record was written");
        let expected = [2, 1, b'k', 2, 0, 5, 1, 0, 7, 0, 5, 1, 0, 0];
        assert_eq!(section.bytes, expected, "version 2 is stored and must not change");
    }
}
