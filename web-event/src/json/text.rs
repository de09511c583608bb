//! The meaning of a text: escapes and odd UTF-8 decoded, as Java would hold and then write it.
//!
//! Flink's parser decodes into UTF-16 units without asking whether they pair up, and only when the text is written as UTF-8
//! does each surrogate left alone become `?`. So a pair may be spelt as two escapes, as two three-byte sequences (CESU-8), or
//! as one of each, and overlong sequences mean what their bits say. The input has been stepped over by `Cursor` before,
//! which found every escape and sequence whole.

/// Appends the text whose bytes between the quotes are `body`.
pub(super) fn push_decoded(body: &[u8], out: &mut String) {
    let mut units = Units { out, high: None };
    let mut rest = body;
    while let Some(&first) = rest.first() {
        let taken = match first {
            b'\\' => units.push_escape(rest),
            0x80.. => units.push_sequence(rest),
            _ => units.push_ascii(rest),
        };
        rest = &rest[taken..];
    }
    units.flush();
}

/// UTF-16 units on their way into UTF-8.
struct Units<'o> {
    out: &'o mut String,
    /// A high surrogate that waits for its low one.
    high: Option<u16>,
}

impl Units<'_> {
    fn push(&mut self, unit: u16) {
        let high = self.high.take();
        match (high, unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                self.out.extend(char::decode_utf16([high, unit]).map(|pair| pair.unwrap_or('?')));
            }
            (Some(_), _) => {
                self.out.push('?');
                self.push(unit);
            }
            (None, 0xd800..=0xdbff) => self.high = Some(unit),
            (None, _) => self.out.push(char::from_u32(u32::from(unit)).unwrap_or('?')),
        }
    }

    fn flush(&mut self) {
        if self.high.take().is_some() {
            self.out.push('?');
        }
    }

    /// Takes the run of ASCII that `rest` begins with.
    fn push_ascii(&mut self, rest: &[u8]) -> usize {
        self.flush();
        let run = rest.iter().position(|&b| b == b'\\' || !b.is_ascii()).unwrap_or(rest.len());
        self.out.push_str(std::str::from_utf8(&rest[..run]).expect("a run of ASCII is UTF-8"));
        run
    }

    fn push_escape(&mut self, rest: &[u8]) -> usize {
        let unit = match rest[1] {
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                self.push(rest[2..6].iter().fold(0, |unit, &digit| unit << 4 | hex(digit)));
                return 6;
            }
            itself => u16::from(itself),
        };
        self.push(unit);
        2
    }

    /// Takes one UTF-8 sequence by the arithmetic of Jackson's `_decodeUtf8_2` to `_4`.
    fn push_sequence(&mut self, rest: &[u8]) -> usize {
        let low = |i: usize| u32::from(rest[i] & 0x3f);
        let first = u32::from(rest[0]);
        match rest[0] {
            0..=0xdf => {
                self.push(((first & 0x1f) << 6 | low(1)) as u16);
                2
            }
            0xe0..=0xef => {
                self.push(((first & 0x0f) << 12 | low(1) << 6 | low(2)) as u16);
                3
            }
            _ => {
                let point = (first & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3);
                let beyond = point as i32 - 0x1_0000;
                self.push(0xd800 | (beyond >> 10) as u16);
                self.push(0xdc00 | (beyond & 0x3ff) as u16);
                4
            }
        }
    }
}

fn hex(digit: u8) -> u16 {
    char::from(digit).to_digit(16).expect("the cursor has seen four hex digits") as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(body: &[u8]) -> String {
        let mut out = String::from("before ");
        push_decoded(body, &mut out);
        out.split_off("before ".len())
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(decoded(br#"\"\\\/\b\f\n\r\t\u0069\u00e9\u0000"#), "\"\\/\u{8}\u{c}\n\r\tié\0");
    }

    #[test]
    fn surrogates_pair_up_however_they_are_spelt() {
        assert_eq!(decoded(br"\ud83d\ude00"), "😀");
        assert_eq!(decoded(b"\xed\xa0\xbd\xed\xb8\x80"), "😀");
        assert_eq!(decoded(b"\\ud83d\xed\xb8\x80"), "😀");
        assert_eq!(decoded("😀".as_bytes()), "😀");
    }

    #[test]
    fn surrogate_alone_becomes_a_question_mark() {
        assert_eq!(decoded(br"\ud83d"), "?");
        assert_eq!(decoded(br"a\ude00b"), "a?b");
        assert_eq!(decoded(br"\ud83d\ud83d\ude00\ude00"), "?😀?");
        assert_eq!(decoded(br"\ud83dx\n"), "?x\n");
        assert_eq!(decoded("\\ud83dé".as_bytes()), "?é");
    }

    #[test]
    fn sequences_out_of_range_mean_what_their_bits_say() {
        assert_eq!(decoded(b"\xc0\xaf"), "/");
        assert_eq!(decoded(b"\xe0\x80\xaf"), "/");
        assert_eq!(decoded(b"\xf5\x80\x80\x80"), "??", "beyond Unicode: two low surrogates");
    }

    #[test]
    fn ordinary_text_is_kept() {
        assert_eq!(decoded("naïve – 東京 \u{10ffff}".as_bytes()), "naïve – 東京 \u{10ffff}");
    }
}
