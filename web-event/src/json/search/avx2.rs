//! Thirty-two and sixty-four bytes at a time, on processors of x86-64 since 2013.
//!
//! The only `unsafe` of this crate, of three kinds: a function that is compiled for AVX2 is called by whoever holds an
//! [`Avx2`], which exists only where that was detected; a vector is loaded from a reference to as many bytes; and bytes that
//! were seen to be ASCII are text.

#![allow(unsafe_code, reason = "measured: see docs/performance.md")]

use std::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_setzero_si256,
};

use super::{Portable, Search};

const LANES: usize = 32;
const BLOCK: usize = 2 * LANES;

/// The proof that this processor has AVX2.
#[derive(Debug, Clone, Copy)]
pub(in crate::json) struct Avx2(());

impl Avx2 {
    #[inline]
    pub(in crate::json) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

impl Search for Avx2 {
    #[inline(always)]
    fn text(self, bytes: &[u8]) -> Option<&str> {
        // SAFETY: `self` proves that the processor has AVX2.
        if unsafe { is_ascii(bytes) } {
            // SAFETY: ASCII is UTF-8.
            return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
        }
        Portable.text(bytes)
    }

    #[inline(always)]
    fn mark<const UTF8: bool>(self, bytes: &[u8], at: usize) -> usize {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe { mark::<UTF8>(bytes, at) }
    }

    #[inline(always)]
    fn past_escaped_quotes(self, bytes: &[u8], at: usize) -> usize {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe { past_escaped_quotes(bytes, at) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn is_ascii(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks();
    // The last bytes once more, together with those before them.
    let last = match bytes.last_chunk() {
        Some(last) => either(last),
        None if rest.is_ascii() => _mm256_setzero_si256(),
        None => return false,
    };
    let all = blocks.iter().fold(last, |all, block| _mm256_or_si256(all, either(block)));
    _mm256_movemask_epi8(all) == 0
}

/// The bits that any byte has of one half of a block or the other.
#[inline]
#[target_feature(enable = "avx2")]
fn either(block: &[u8; BLOCK]) -> __m256i {
    let (halves, _) = block.as_chunks();
    _mm256_or_si256(load(&halves[0]), load(&halves[1]))
}

#[inline]
#[target_feature(enable = "avx2")]
fn mark<const UTF8: bool>(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<LANES>) {
        let marks = marks::<UTF8>(chunk);
        if marks != 0 {
            return at + marks.trailing_zeros() as usize;
        }
        at += LANES;
    }
    mark_near_end::<UTF8>(bytes, at)
}

/// The same, where fewer bytes are left than a vector has: they are looked at together with those before them.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn mark_near_end<const UTF8: bool>(bytes: &[u8], at: usize) -> usize {
    let Some(last) = bytes.last_chunk::<LANES>() else { return Portable.mark::<UTF8>(bytes, at) };
    let rest = bytes.len() - at;
    let marks = u64::from(marks::<UTF8>(last)) >> (LANES - rest);
    if marks == 0 { bytes.len() } else { at + marks.trailing_zeros() as usize }
}

#[inline]
#[target_feature(enable = "avx2")]
fn past_escaped_quotes(bytes: &[u8], mut at: usize) -> usize {
    // Whether the byte at `at` is escaped.
    let mut carry = 0;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let (quotes, backslashes) = quotes_and_backslashes(block);
        if let Some(stop) = first_stop(at, quotes, backslashes, carry) {
            return stop;
        }
        carry = backslashes >> (BLOCK - 1);
        at += BLOCK;
    }
    let Some(last) = bytes.last_chunk() else { return Portable.past_escaped_quotes(bytes, at) };
    if at == bytes.len() {
        return at - carry as usize;
    }
    let before = BLOCK - (bytes.len() - at);
    let (quotes, backslashes) = quotes_and_backslashes(last);
    first_stop(at, quotes >> before, backslashes >> before, carry).unwrap_or(bytes.len())
}

/// The place of the first quote that is not escaped, or backslash that escapes something else, in a block that begins at
/// `at`. Behind it the bits may be wrong: a backslash that is escaped escapes nothing.
#[inline]
fn first_stop(at: usize, quotes: u64, backslashes: u64, carry: u64) -> Option<usize> {
    let escaped = backslashes << 1 | carry;
    let stops = quotes ^ escaped;
    if stops == 0 {
        return None;
    }
    let first = stops.trailing_zeros();
    Some(at + first as usize - (escaped >> first & 1) as usize)
}

/// A bit for each mark, the first byte lowest.
#[inline]
#[target_feature(enable = "avx2")]
fn marks<const UTF8: bool>(chunk: &[u8; LANES]) -> u32 {
    let lanes = load(chunk);
    let marks = _mm256_or_si256(equal(lanes, b'"'), equal(lanes, b'\\'));
    // The mask is of the highest bits, which only a byte that is not ASCII has.
    let marks = if UTF8 { marks } else { _mm256_or_si256(marks, lanes) };
    _mm256_movemask_epi8(marks).cast_unsigned()
}

#[inline]
#[target_feature(enable = "avx2")]
fn quotes_and_backslashes(block: &[u8; BLOCK]) -> (u64, u64) {
    let (halves, _) = block.as_chunks::<LANES>();
    let (low, high) = (load(&halves[0]), load(&halves[1]));
    let mask = |byte| {
        let mask = |lanes| u64::from(_mm256_movemask_epi8(equal(lanes, byte)).cast_unsigned());
        mask(high) << LANES | mask(low)
    };
    (mask(b'"'), mask(b'\\'))
}

#[inline]
#[target_feature(enable = "avx2")]
fn equal(lanes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(lanes, _mm256_set1_epi8(byte.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; LANES]) -> __m256i {
    // SAFETY: the reference is to as many bytes as are loaded, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
