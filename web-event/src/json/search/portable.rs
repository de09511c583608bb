//! Eight bytes at a time, in one register of any processor.

use super::Search;

/// The lowest bit of each of eight bytes.
const LOW: u64 = 0x0101_0101_0101_0101;
/// The highest.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The way that needs nothing.
#[derive(Debug, Clone, Copy)]
pub(in crate::json) struct Portable;

impl Search for Portable {
    #[inline(always)]
    fn text(self, bytes: &[u8]) -> Option<&str> {
        std::str::from_utf8(bytes).ok()
    }

    #[inline(always)]
    fn mark<const UTF8: bool>(self, bytes: &[u8], mut at: usize) -> usize {
        while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let marks = marks::<UTF8>(u64::from_le_bytes(*chunk));
            if marks != 0 {
                return at + marks.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        let is_mark = |&byte: &u8| byte == b'"' || byte == b'\\' || (!UTF8 && !byte.is_ascii());
        bytes[at..].iter().position(is_mark).map_or(bytes.len(), |nth| at + nth)
    }

    #[inline]
    fn past_escaped_quotes(self, bytes: &[u8], mut at: usize) -> usize {
        // The mark of the byte after a backslash that ended the last chunk.
        let mut carry = 0;
        while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            let backslashes = bytes_equal(word, b'\\');
            let escaped = backslashes << 8 | carry;
            // A quote that is not escaped, or something escaped that is not a quote.
            let stops = bytes_equal(word, b'"') ^ escaped;
            if stops != 0 {
                let is_escaped = escaped >> stops.trailing_zeros() & 1;
                return at + stops.trailing_zeros() as usize / 8 - is_escaped as usize;
            }
            carry = backslashes >> 56;
            at += 8;
        }
        at - usize::from(carry != 0)
    }
}

/// The high bit of each byte of `word` that equals `byte`, and no other.
#[inline]
fn bytes_equal(word: u64, byte: u8) -> u64 {
    let other = word ^ (LOW * u64::from(byte));
    !(((other & !HIGH) + !HIGH) | other) & HIGH
}

/// The high bit of each byte of `word` that must be looked at. Bytes above the lowest mark may be marked wrongly (a borrow
/// runs upwards); only the lowest is used.
#[inline]
fn marks<const UTF8: bool>(word: u64) -> u64 {
    let zeros = |w: u64| w.wrapping_sub(LOW) & !w & HIGH;
    let found = zeros(word ^ (LOW * b'"' as u64)) | zeros(word ^ (LOW * b'\\' as u64));
    if UTF8 { found } else { found | (word & HIGH) }
}
