//! In which encoding a message is written, by the rules of Flink's parser (RFC 4627 section 3, and a byte order mark).
//!
//! The outermost JSON is ASCII, so that the place of the zero bytes among the first four tells UTF-16 and UTF-32.

use super::error::{Fault, Reason};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// To be read as it is from this byte on.
    Utf8 {
        start: usize,
    },
    Utf16 {
        start: usize,
        big_endian: bool,
    },
    Utf32 {
        start: usize,
        big_endian: bool,
    },
}

/// The encoding of a message that is not empty.
#[inline]
pub(super) fn detect(message: &[u8]) -> Encoding {
    match message {
        [b'{', second, ..] if *second != 0 => Encoding::Utf8 { start: 0 },
        _ => detect_slowly(message),
    }
}

#[cold]
fn detect_slowly(message: &[u8]) -> Encoding {
    match *message {
        [0, 0, 0xfe, 0xff, ..] => Encoding::Utf32 { start: 4, big_endian: true },
        [0xff, 0xfe, 0, 0, ..] => Encoding::Utf32 { start: 4, big_endian: false },
        // A mark is looked for only where four bytes are to be had.
        [0xfe, 0xff, _, _, ..] => Encoding::Utf16 { start: 2, big_endian: true },
        [0xff, 0xfe, _, _, ..] => Encoding::Utf16 { start: 2, big_endian: false },
        [0xef, 0xbb, 0xbf, _, ..] => Encoding::Utf8 { start: 3 },
        [0, 0, 0, _, ..] => Encoding::Utf32 { start: 0, big_endian: true },
        [_, 0, 0, 0, ..] => Encoding::Utf32 { start: 0, big_endian: false },
        [0, _, ..] => Encoding::Utf16 { start: 0, big_endian: true },
        [_, 0, ..] => Encoding::Utf16 { start: 0, big_endian: false },
        _ => Encoding::Utf8 { start: 0 },
    }
}

/// Writes UTF-16 as UTF-8; what does not pair up, or a byte left over, becomes U+FFFD.
pub(super) fn from_utf16(body: &[u8], big_endian: bool, out: &mut String) {
    let (pairs, left_over) = body.as_chunks::<2>();
    let units = pairs.iter().map(|&pair| if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) });
    out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    if !left_over.is_empty() {
        out.push(char::REPLACEMENT_CHARACTER);
    }
}

/// Writes UTF-32 as UTF-8.
pub(super) fn from_utf32(body: &[u8], big_endian: bool, out: &mut String) -> Result<(), Fault> {
    let (units, left_over) = body.as_chunks::<4>();
    for &unit in units {
        let unit = if big_endian { u32::from_be_bytes(unit) } else { u32::from_le_bytes(unit) };
        out.push(char::from_u32(unit).ok_or(Fault { reason: Reason::BadUtf32, at: out.len() })?);
    }
    if left_over.is_empty() { Ok(()) } else { Err(Fault { reason: Reason::Truncated, at: out.len() }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn zeros_and_marks_tell_the_encoding() {
        let (big_endian, little) = (true, false);
        for (message, encoding) in [
            (&b"{}"[..], Encoding::Utf8 { start: 0 }),
            (b"7", Encoding::Utf8 { start: 0 }),
            (b"\xef\xbb\xbf{}", Encoding::Utf8 { start: 3 }),
            (b"\0{\0}", Encoding::Utf16 { start: 0, big_endian }),
            (b"{\0}\0", Encoding::Utf16 { start: 0, big_endian: little }),
            (b"\xfe\xff\0{\0}", Encoding::Utf16 { start: 2, big_endian }),
            (b"\xff\xfe{\0}\0", Encoding::Utf16 { start: 2, big_endian: little }),
            (b"\0\0\0{\0\0\0}", Encoding::Utf32 { start: 0, big_endian }),
            (b"{\0\0\0}\0\0\0", Encoding::Utf32 { start: 0, big_endian: little }),
            (b"\0\0\xfe\xff\0\0\0{", Encoding::Utf32 { start: 4, big_endian }),
            (b"\xff\xfe\0\0{\0\0\0", Encoding::Utf32 { start: 4, big_endian: little }),
        ] {
            assert_eq!(detect(message), encoding, "{message:?}");
        }
    }

    #[test]
    fn units_become_text() {
        let mut out = String::new();
        from_utf16(b"\xd8\x3d\xde\0\0a\xd8\x3d\0", true, &mut out);
        assert_eq!(out, "😀a\u{fffd}\u{fffd}");
        out.clear();
        from_utf32(b"\0\xf6\x01\0", false, &mut out).unwrap();
        assert_eq!(out, "\u{1f600}");
        assert_eq!(from_utf32(b"\0\0\0", false, &mut out).unwrap_err().reason, Reason::Truncated);
        assert_eq!(from_utf32(b"\0\0\x11\0", false, &mut out).unwrap_err().reason, Reason::BadUtf32);
    }
}
