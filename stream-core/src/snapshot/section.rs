//! Sections as they are written and read, whatever their records are.
//!
//! A section is the byte of its records' format and then the records end to end; every number in them is a LEB128 varint.

use super::{BLOCK_BYTES, DecodeSnapshotError, Section};
use crate::key_group::KeyGroup;

/// A section with more bytes than this has little room left: the next record may begin another one.
const NEARLY_FULL: usize = BLOCK_BYTES - BLOCK_BYTES / 16;

/// The records of one key group while they are being written.
#[derive(Debug, Default)]
pub(crate) struct SectionWriter {
    full: Vec<Written>,
    last: Written,
    /// Where the next section goes, if a block was lent.
    next: Option<Vec<u8>>,
}

/// A section but for its key group.
#[derive(Debug, Default)]
struct Written {
    records: u64,
    bytes: Vec<u8>,
}

/// Reads the records of a section in their order.
#[derive(Debug)]
pub(crate) struct SectionReader<'a> {
    group: KeyGroup,
    records_left: u64,
    bytes: &'a [u8],
    at: usize,
}

impl SectionWriter {
    /// To be called before a record. Takes an empty block out of those that were lent if the record may begin a section; no sooner, since
    /// other groups want one too.
    pub(crate) fn take_block(&mut self, lent: &mut Vec<Vec<u8>>) {
        let may_begin = self.last.records == 0 || self.last.bytes.len() > NEARLY_FULL;
        if may_begin && self.next.is_none() {
            self.next = lent.pop();
        }
    }

    /// Begins a record of about so many bytes; returns where it is to be written. All records of a writer are of one format.
    pub(crate) fn record(&mut self, format: u8, bytes: usize) -> &mut Vec<u8> {
        let Written { records, bytes: out } = &mut self.last;
        if *records == 0 {
            *out = self.next.take().unwrap_or_default();
            out.push(format);
        } else if out.len() + bytes > BLOCK_BYTES {
            let next = self.next.take().unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES));
            let bytes = std::mem::replace(out, next);
            self.full.push(Written { records: std::mem::take(records), bytes });
            out.push(format);
        }
        *records += 1;
        out
    }

    /// How many records were written.
    #[cfg(test)]
    pub(crate) fn records(&self) -> u64 {
        self.full.iter().chain([&self.last]).map(|written| written.records).sum()
    }

    /// Gives back a block that no record went into.
    pub(crate) fn spare_block(&mut self) -> Option<Vec<u8>> {
        self.next.take()
    }

    /// The sections, none of which is empty.
    pub(crate) fn finish(self, group: KeyGroup) -> impl Iterator<Item = Section> {
        let all = self.full.into_iter().chain(std::iter::once(self.last)).filter(|written| written.records > 0);
        all.map(move |Written { records, bytes }| Section { group, records, bytes })
    }
}

impl<'a> SectionReader<'a> {
    /// # Errors
    /// If the records are of another format.
    pub(crate) fn new(section: &'a Section, format: u8) -> Result<Self, DecodeSnapshotError> {
        let Section { group, records, ref bytes } = *section;
        match bytes.first() {
            Some(&first) if first == format => Ok(SectionReader { group, records_left: records, bytes, at: 1 }),
            _ => Err(DecodeSnapshotError { group, at: 0 }),
        }
    }

    /// Whether another record begins here; if none does, nothing else may.
    ///
    /// # Errors
    /// If there are bytes behind the last record.
    pub(crate) fn begins_record(&mut self) -> Result<bool, DecodeSnapshotError> {
        match self.records_left.checked_sub(1) {
            Some(left) => {
                self.records_left = left;
                Ok(true)
            }
            None if self.at == self.bytes.len() => Ok(false),
            None => Err(self.error()),
        }
    }

    /// The next number.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn number(&mut self) -> Result<u64, DecodeSnapshotError> {
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

    /// The next number of either sign.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn signed(&mut self) -> Result<i64, DecodeSnapshotError> {
        Ok(unzigzag(self.number()?))
    }

    /// The next bytes, behind their length.
    ///
    /// # Errors
    /// If there are fewer.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeSnapshotError> {
        let length = self.number()?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let found = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let found = found.ok_or_else(|| self.error())?;
        self.at += found.len();
        Ok(found)
    }

    /// That what stands here is no record.
    pub(crate) fn error(&self) -> DecodeSnapshotError {
        DecodeSnapshotError { group: self.group, at: self.at }
    }
}

/// Writes a number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a number of either sign: a small one is short.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, (number << 1 ^ number >> 63).cast_unsigned());
}

/// Writes bytes behind their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: u8 = 7;

    fn read(section: &Section) -> Result<Vec<Vec<u8>>, DecodeSnapshotError> {
        let mut reader = SectionReader::new(section, FORMAT)?;
        let mut records = Vec::new();
        while reader.begins_record()? {
            records.push(reader.bytes()?.to_vec());
        }
        Ok(records)
    }

    fn write(writer: &mut SectionWriter, record: &[u8]) {
        put_bytes(writer.record(FORMAT, record.len() + 10), record);
    }

    #[test]
    fn other_format_and_bytes_behind_the_last_record_are_refused_where_they_stand() {
        let mut writer = SectionWriter::default();
        write(&mut writer, b"k");
        let good = writer.finish(KeyGroup(3)).next().expect("a record was written");
        let mut newer = good.clone();
        newer.bytes[0] += 1;
        assert_eq!(read(&newer), Err(DecodeSnapshotError { group: KeyGroup(3), at: 0 }));
        let mut longer = good;
        longer.bytes.push(0);
        assert_eq!(read(&longer), Err(DecodeSnapshotError { group: KeyGroup(3), at: 3 }));
    }

    #[test]
    fn sections_lie_in_the_blocks_that_were_lent_as_long_as_there_are_any() {
        let mut lent: Vec<Vec<u8>> = (0..2).map(|_| Vec::with_capacity(BLOCK_BYTES)).collect();
        let places: Vec<*const u8> = lent.iter().rev().map(|block| block.as_ptr()).collect();
        let mut writer = SectionWriter::default();
        for _ in 0..3 {
            writer.take_block(&mut lent);
            write(&mut writer, &[7; BLOCK_BYTES - 20]);
        }
        let sections: Vec<Section> = writer.finish(KeyGroup(3)).collect();
        let found: Vec<*const u8> = sections.iter().map(|section| section.bytes.as_ptr()).collect();
        assert_eq!((&found[..2], sections.len()), (&places[..], 3));
    }

    #[test]
    fn a_block_is_left_to_other_groups_until_the_section_may_be_full() {
        let mut lent: Vec<Vec<u8>> = (0..3).map(|_| Vec::with_capacity(BLOCK_BYTES)).collect();
        let mut writer = SectionWriter::default();
        for (length, left) in [(10, 2), (NEARLY_FULL, 2), (10, 1), (10, 1)] {
            writer.take_block(&mut lent);
            write(&mut writer, &vec![7; length]);
            assert_eq!(lent.len(), left, "before a record of {length} bytes");
        }
        assert!(writer.spare_block().is_some() && writer.spare_block().is_none());
    }

    #[test]
    fn a_large_group_has_several_sections_none_of_which_ever_moved_to_larger_memory() {
        let keys: Vec<Vec<u8>> = (0..10_000_u32).map(|key| format!("key {key:40}").into_bytes()).collect();
        let mut writer = SectionWriter::default();
        keys.iter().for_each(|key| write(&mut writer, key));
        let sections: Vec<Section> = writer.finish(KeyGroup(3)).collect();
        assert!(sections.len() > 5 && sections.iter().all(|section| section.bytes.len() <= BLOCK_BYTES));
        assert!(sections.iter().skip(1).all(|section| section.bytes.capacity() == BLOCK_BYTES));
        let records = sections.iter().flat_map(|section| read(section).expect("own records"));
        assert!(records.eq(keys));
        let mut writer = SectionWriter::default();
        write(&mut writer, &[7; 2 * BLOCK_BYTES]);
        write(&mut writer, b"k");
        let sections: Vec<u64> = writer.finish(KeyGroup(3)).map(|section| section.records).collect();
        assert_eq!(sections, [1, 1], "a record of any size is in one section");
        assert_eq!(SectionWriter::default().finish(KeyGroup(3)).count(), 0);
    }
}
