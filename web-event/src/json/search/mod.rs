//! Where the next quote or backslash stands.
//!
//! The one question that is asked of every byte of a message, and so the one that is answered in as many ways as there
//! are kinds of processors: [`Portable`] takes eight bytes at a time by plain arithmetic, `Avx2` thirty-two or sixty-four.
//! Which one is decided while the program runs, so that one binary serves old and new processors. Both say the same; a
//! property test and a fuzz target (`Projection::portable`) hold them to it.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
pub(super) use portable::Portable;

/// A way to search.
pub(super) trait Search: Copy {
    /// The bytes as text, if they are strict UTF-8.
    fn text(self, bytes: &[u8]) -> Option<&str>;

    /// The place of the first mark at or after `at`, or the length if there is none. Marks are quotes and backslashes,
    /// and if the bytes are not known to be `UTF8` also all that is not ASCII.
    fn mark<const UTF8: bool>(self, bytes: &[u8], at: usize) -> usize;

    /// Steps over text and escaped quotes, in bytes that are UTF-8. Returns the place of the first mark that is no
    /// part of an escaped quote, or a place before it.
    ///
    /// JSON within JSON is a quote every few bytes. Taking them a word or a block at a time costs a fraction of going from one
    /// to the next, because where to look next does not depend on what was found.
    fn past_escaped_quotes(self, bytes: &[u8], at: usize) -> usize;
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes among which marks are frequent, in messages shorter and longer than any vector.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let frequent = proptest::sample::select(&[b'"', b'\\', b'a', b'#', b'[', 0x00, 0x80, 0xa2, 0xdc, 0xff][..]);
        prop_oneof![
            proptest::collection::vec(frequent, 0..200),
            proptest::collection::vec(prop_oneof![60 => Just(b'x'), 1 => any::<u8>()], 0..300),
            "([a-z]{0,9}\\\\\"){0,30}[a-z\\\\\"]{0,90}".prop_map(String::into_bytes),
        ]
    }

    /// The first mark that is neither part of an escaped quote, as the cursor looks for it.
    fn past_escaped_quotes(search: impl Search, bytes: &[u8], mut at: usize) -> usize {
        loop {
            at = search.mark::<true>(bytes, search.past_escaped_quotes(bytes, at));
            if !bytes[at..].starts_with(b"\\\"") {
                return at;
            }
            at += 2;
        }
    }

    proptest! {
        #[test]
        fn every_way_finds_the_same(bytes in bytes()) {
            let Some(avx2) = Avx2::detect() else { return Ok(()) };
            for at in 0..=bytes.len() {
                prop_assert_eq!(avx2.text(&bytes[at..]), Portable.text(&bytes[at..]));
                prop_assert_eq!(avx2.mark::<true>(&bytes, at), Portable.mark::<true>(&bytes, at));
                prop_assert_eq!(avx2.mark::<false>(&bytes, at), Portable.mark::<false>(&bytes, at));
                prop_assert_eq!(past_escaped_quotes(avx2, &bytes, at), past_escaped_quotes(Portable, &bytes, at));
            }
        }

        #[test]
        fn marks_are_found_as_byte_by_byte(bytes in bytes()) {
            for at in 0..=bytes.len() {
                let first = |is_mark: fn(u8) -> bool| {
                    bytes[at..].iter().position(|&byte| is_mark(byte)).map_or(bytes.len(), |nth| at + nth)
                };
                prop_assert_eq!(Portable.mark::<true>(&bytes, at), first(|byte| matches!(byte, b'"' | b'\\')));
                prop_assert_eq!(Portable.mark::<false>(&bytes, at), first(|byte| matches!(byte, b'"' | b'\\' | 0x80..)));
            }
        }
    }
}
