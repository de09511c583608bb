//! The stored form of a key and its windows.
//!
//! Version 1. A section is the version's byte and then records end to end; every number is a LEB128 varint:
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
use crate::key_group::KeyGroup;
use crate::snapshot::{DecodeSnapshotError, Section};

/// The first byte of every section.
const FORMAT: u8 = 1;

/// A group with more records than this has several sections. One that grew with the group would be moved to larger memory again
/// and again, and while it is, the task stands still.
const SECTION_BYTES: usize = 64 << 10;

/// What a record takes beside its key, if the key has the usual one or two windows.
const RECORD_BYTES: usize = 64;

/// The records of one key group while they are being written.
#[derive(Debug, Default)]
pub(super) struct SectionWriter {
    full: Vec<Written>,
    last: Written,
}

/// A section but for its key group.
#[derive(Debug, Default)]
struct Written {
    records: u64,
    bytes: Vec<u8>,
}

/// Reads the records of a section in their order.
#[derive(Debug)]
pub(super) struct SectionReader<'a> {
    group: KeyGroup,
    records_left: u64,
    bytes: &'a [u8],
    at: usize,
}

impl SectionWriter {
    /// Adds the record of a key with these windows.
    pub(super) fn write(&mut self, key: &[u8], windows: impl Iterator<Item = Span> + Clone) {
        if self.last.records > 0 && self.last.bytes.len() + key.len() + RECORD_BYTES > SECTION_BYTES {
            let next = Written { records: 0, bytes: Vec::with_capacity(SECTION_BYTES) };
            self.full.push(std::mem::replace(&mut self.last, next));
        }
        let Written { records, bytes: out } = &mut self.last;
        if out.is_empty() {
            out.push(FORMAT);
        }
        *records += 1;
        put(out, key.len() as u64);
        out.extend_from_slice(key);
        put(out, windows.clone().count() as u64);
        for window in windows {
            put(out, zigzag(window.start));
            put(out, window.end.abs_diff(window.start));
            put(out, window.count);
            put(out, window.reported);
        }
    }

    /// How many records were written.
    #[cfg(test)]
    pub(super) fn records(&self) -> u64 {
        self.full.iter().chain([&self.last]).map(|written| written.records).sum()
    }

    /// The sections, none of which is empty.
    pub(super) fn finish(self, group: KeyGroup) -> impl Iterator<Item = Section> {
        let all = self.full.into_iter().chain(std::iter::once(self.last)).filter(|written| written.records > 0);
        all.map(move |Written { records, bytes }| Section { group, records, bytes })
    }
}

impl<'a> SectionReader<'a> {
    /// # Errors
    /// If another version wrote the section.
    pub(super) fn new(section: &'a Section) -> Result<Self, DecodeSnapshotError> {
        let Section { group, records, ref bytes } = *section;
        match bytes.first() {
            Some(&FORMAT) => Ok(SectionReader { group, records_left: records, bytes, at: 1 }),
            _ => Err(DecodeSnapshotError { group, at: 0 }),
        }
    }

    /// The next record's key, its windows in `windows`; nothing behind the last.
    ///
    /// # Errors
    /// If there is no record, or more than the section says.
    pub(super) fn next(&mut self, windows: &mut Vec<Span>) -> Result<Option<&'a [u8]>, DecodeSnapshotError> {
        if self.records_left == 0 {
            return if self.at == self.bytes.len() { Ok(None) } else { Err(self.error()) };
        }
        self.records_left -= 1;
        let key_length = self.number()?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let key = usize::try_from(key_length).ok().and_then(|length| rest.get(..length));
        let key = key.ok_or_else(|| self.error())?;
        self.at += key.len();
        windows.clear();
        for _ in 0..self.number()? {
            let window = self.window()?;
            windows.push(window);
        }
        Ok(Some(key))
    }

    /// That what stands here is no record.
    pub(super) fn error(&self) -> DecodeSnapshotError {
        DecodeSnapshotError { group: self.group, at: self.at }
    }

    fn window(&mut self) -> Result<Span, DecodeSnapshotError> {
        let start = unzigzag(self.number()?);
        let length = self.number()?;
        let (count, reported) = (self.number()?, self.number()?);
        match start.checked_add_unsigned(length) {
            Some(end) if end > start && reported <= count => Ok(Span { start, end, count, reported }),
            _ => Err(self.error()),
        }
    }

    fn number(&mut self) -> Result<u64, DecodeSnapshotError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.error())?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            self.at += 1;
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.error())
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small numbers of either sign become small numbers.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span() -> impl Strategy<Value = Span> {
        let time = prop_oneof![any::<i64>(), -1000_i64..1000];
        (time, 1_u64..=u64::MAX, any::<u64>(), any::<u64>()).prop_map(|(start, length, count, reported)| {
            let start = start.min(i64::MAX - 1);
            let end = start.saturating_add_unsigned(length);
            Span { start, end, count, reported: reported.min(count) }
        })
    }

    type Record = (Vec<u8>, Vec<Span>);

    fn read(section: &Section) -> Result<Vec<Record>, DecodeSnapshotError> {
        let mut reader = SectionReader::new(section)?;
        let (mut windows, mut records) = (Vec::new(), Vec::new());
        while let Some(key) = reader.next(&mut windows)? {
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
                writer.write(key, windows.iter().copied());
            }
            let mut section = writer.finish(KeyGroup(7)).next().expect("records were written");
            prop_assert_eq!(read(&section), Ok(records));
            section.bytes.truncate(cut.index(section.bytes.len()));
            prop_assert!(read(&section).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(records in 0_u64..5, mut bytes in any::<Vec<u8>>()) {
            bytes.insert(0, FORMAT);
            let _ = read(&Section { group: KeyGroup(0), records, bytes });
        }
    }

    #[test]
    fn other_version_and_bytes_behind_the_last_record_are_refused_where_they_stand() {
        let mut writer = SectionWriter::default();
        writer.write(b"k", [Span { start: 0, end: 5, count: 1, reported: 0 }].into_iter());
        let good = writer.finish(KeyGroup(3)).next().expect("a record was written");
        assert_eq!(good.bytes, [1, 1, b'k', 1, 0, 5, 1, 0], "version 1 is stored and must not change");
        let mut newer = good.clone();
        newer.bytes[0] = 2;
        assert_eq!(read(&newer), Err(DecodeSnapshotError { group: KeyGroup(3), at: 0 }));
        let mut longer = good;
        longer.bytes.push(0);
        assert_eq!(read(&longer), Err(DecodeSnapshotError { group: KeyGroup(3), at: 8 }));
    }

    #[test]
    fn a_large_group_has_several_sections_none_of_which_ever_moved_to_larger_memory() {
        let window = Span { start: 0, end: 5, count: 1, reported: 0 };
        let keys: Vec<Vec<u8>> = (0..10_000_u32).map(|key| format!("key {key:30}").into_bytes()).collect();
        let mut writer = SectionWriter::default();
        keys.iter().for_each(|key| writer.write(key, [window].into_iter()));
        let sections: Vec<Section> = writer.finish(KeyGroup(3)).collect();
        assert!(sections.len() > 5 && sections.iter().all(|section| section.bytes.len() <= SECTION_BYTES));
        assert!(sections.iter().skip(1).all(|section| section.bytes.capacity() == SECTION_BYTES));
        let records = sections.iter().flat_map(|section| read(section).expect("own records"));
        assert!(records.eq(keys.into_iter().map(|key| (key, vec![window]))));
        let mut writer = SectionWriter::default();
        writer.write(&[7; 2 * SECTION_BYTES], [window].into_iter());
        writer.write(b"k", [window].into_iter());
        let sections: Vec<u64> = writer.finish(KeyGroup(3)).map(|section| section.records).collect();
        assert_eq!(sections, [1, 1], "a record of any size is in one section");
        assert_eq!(SectionWriter::default().finish(KeyGroup(3)).count(), 0);
    }
}
