//! Lines out of a stream of bytes, without a copy or an allocation for each.

use std::io::{self, Read};

use memchr::memchr_iter;
use stream_core::operator::Record;

/// The longest line that is read. No record is near it; a file without newlines should fail, not fill the memory.
pub(super) const MAX_LINE_BYTES: usize = 64 << 20;

/// Bytes read at once. Larger reads save nothing, and what the kernel copied is still in the cache when it is decoded.
const READ_BYTES: usize = 256 << 10;

/// Records handed on at once: enough that the call costs nothing, few enough to stay in the first-level cache.
const RECORDS_AT_ONCE: usize = 256;

/// A buffer over the part of a stream that is being looked at.
#[derive(Debug)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// The first byte that belongs to a line not yet handed on.
    start: usize,
    /// The end of what was read.
    end: usize,
    /// Bytes after `start` known to hold no newline.
    scanned: usize,
    /// The place in the stream of the byte at `start`.
    offset: u64,
    /// Lines handed on or skipped.
    lines: u64,
    max_line: usize,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// More bytes.
    Bytes,
    /// Nothing yet.
    Nothing,
    /// The end of the stream.
    End,
}

/// A read that failed.
#[derive(Debug)]
pub(super) enum FillError {
    /// The line that begins after those already handed on is too long.
    LineTooLong,
    /// The stream failed.
    Io(io::Error),
}

impl Lines {
    /// A buffer for a stream whose next byte has the place `offset`.
    pub(super) fn new(offset: u64) -> Self {
        Self::with_sizes(offset, READ_BYTES, MAX_LINE_BYTES)
    }

    fn with_sizes(offset: u64, size: usize, max_line: usize) -> Self {
        Lines { bytes: vec![0; size], start: 0, end: 0, scanned: 0, offset, lines: 0, max_line }
    }

    /// Reads once.
    pub(super) fn fill(&mut self, input: &mut impl Read) -> Result<Filled, FillError> {
        self.make_room()?;
        match input.read(&mut self.bytes[self.end..]) {
            Ok(0) => Ok(Filled::End),
            Ok(count) => {
                self.end += count;
                Ok(Filled::Bytes)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(Filled::Nothing)
            }
            Err(error) => Err(FillError::Io(error)),
        }
    }

    /// Hands on every line that is whole, in groups, each with the offset that follows it, to `on_records`, which returns how many it
    /// took; with `is_end` also what remains. Stops where one is not taken; whether all were. Empty lines are left out; `\n` and `\r\n`
    /// end a line and are no part of it.
    pub(super) fn drain(&mut self, is_end: bool, mut on_records: impl FnMut(&[Record<'_>], u64) -> usize) -> bool {
        let pending = &self.bytes[self.start..self.end];
        let mut records = [Record { payload: None, offset: 0 }; RECORDS_AT_ONCE];
        let (mut count, mut line_start, mut lines) = (0, 0, 0);
        let mut left = None;
        let rest = is_end.then_some(pending.len());
        for line_end in memchr_iter(b'\n', &pending[self.scanned..]).map(|at| at + self.scanned).chain(rest) {
            let line = &pending[line_start..line_end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                records[count] = Record { payload: Some(line), offset: self.offset + line_start as u64 };
                count += 1;
            }
            lines += 1;
            line_start = (line_end + 1).min(pending.len());
            if count == records.len() {
                let taken = on_records(&records, self.offset + line_start as u64);
                left = records.get(taken).copied();
                count = 0;
            }
            if left.is_some() {
                break;
            }
        }
        if count > 0 {
            let taken = on_records(&records[..count], self.offset + line_start as u64);
            left = records[..count].get(taken).copied();
        }
        let all_taken = left.is_none();
        if let Some(left) = left {
            line_start = usize::try_from(left.offset - self.offset).expect("it is in the buffer");
            lines = memchr_iter(b'\n', &pending[..line_start]).count() as u64;
        }
        // Behind one that is left the line ends are looked for again.
        self.scanned = if all_taken { pending.len() - line_start } else { 0 };
        self.lines += lines;
        self.start += line_start;
        self.offset += line_start as u64;
        all_taken
    }

    /// The place in the stream of the first byte not yet handed on.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Lines that were handed on or skipped.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    fn make_room(&mut self) -> Result<(), FillError> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end > self.max_line {
            return Err(FillError::LineTooLong);
        }
        if self.end == self.bytes.len() {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Gives what it holds in pieces of the given sizes, over and over.
    struct Pieces<'a>(&'a [u8], Vec<usize>, usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.2 += 1;
            let size = self.1[self.2 % self.1.len()].min(buf.len()).min(self.0.len());
            buf[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    fn read(text: &str, pieces: &[usize], size: usize, max: usize) -> Result<Vec<(String, u64)>, u64> {
        let (mut lines, mut input) = (Lines::with_sizes(0, size, max), Pieces(text.as_bytes(), pieces.to_vec(), 0));
        let mut seen = Vec::new();
        loop {
            let filled = lines.fill(&mut input).map_err(|_| lines.lines() + 1)?;
            lines.drain(filled == Filled::End, |records, _| {
                for record in records {
                    let text = String::from_utf8(record.payload.unwrap().to_vec()).unwrap();
                    seen.push((text, record.offset));
                }
                records.len()
            });
            if filled == Filled::End {
                assert_eq!(lines.offset(), text.len() as u64);
                return Ok(seen);
            }
        }
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        let text = "one\r\n\n{\"two\":2}\n\r\nthree\rthree\nlast";
        let expected = [("one", 0), ("{\"two\":2}", 6), ("three\rthree", 18), ("last", 30)];
        let expected: Vec<_> = expected.iter().map(|&(line, offset)| (line.to_owned(), offset)).collect();
        for pieces in [vec![1], vec![2, 3], vec![1000], vec![7, 1, 5]] {
            for size in [1, 2, 5, 64] {
                assert_eq!(read(text, &pieces, size, 100).unwrap(), expected, "{pieces:?} {size}");
            }
        }
        assert_eq!(read("", &[1], 4, 10).unwrap(), []);
        assert_eq!(read("\n\n", &[1], 4, 10).unwrap(), []);
    }

    #[test]
    fn many_short_lines_come_in_groups_with_the_offset_after_each() {
        let text = "x\n".repeat(1000);
        let mut lines = Lines::with_sizes(5, 4096, 100);
        assert_eq!(lines.fill(&mut text.as_bytes()).unwrap(), Filled::Bytes);
        let mut groups = Vec::new();
        lines.drain(false, |records, next| {
            groups.push((records.len(), next));
            records.len()
        });
        assert_eq!(groups, [(256, 517), (256, 1029), (256, 1541), (232, 2005)]);
        assert_eq!((lines.offset(), lines.lines()), (2005, 1000));
    }

    #[test]
    fn lines_that_are_not_taken_are_handed_on_again() {
        let text: String = (0..700).map(|line| format!("{line}\n")).collect();
        let mut lines = Lines::new(0);
        assert_eq!(lines.fill(&mut text.as_bytes()).unwrap(), Filled::Bytes);
        let mut seen = String::new();
        for (most, is_all) in [(0, false), (300, false), (0, false), (256, false), (1000, true)] {
            let mut left = most;
            let all_taken = lines.drain(false, |records, _| {
                let taken = left.min(records.len());
                left -= taken;
                for record in &records[..taken] {
                    seen.push_str(std::str::from_utf8(record.payload.unwrap()).unwrap());
                    seen.push('\n');
                }
                taken
            });
            assert_eq!((all_taken, lines.lines()), (is_all, seen.lines().count() as u64));
            assert_eq!(lines.offset(), seen.len() as u64);
        }
        assert_eq!(seen, text);
    }

    #[test]
    fn a_line_without_end_is_refused_by_its_number() {
        let text = format!("a\nb\n{}\n", "x".repeat(100));
        assert_eq!(read(&text, &[64], 8, 50), Err(3));
        assert_eq!(read(&text, &[64], 8, 100).unwrap().len(), 3);
    }
}
