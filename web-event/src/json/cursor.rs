//! The tokens of JSON, read from a position in a message.
//!
//! Accepts what Flink's parser accepts: control characters raw in text, and UTF-8 that is only checked for the shape of
//! its sequences (overlong forms and encoded surrogates pass). A message that is strict UTF-8 – nearly every one – is known
//! to be so before the cursor starts (`UTF8`), and then only quotes and backslashes need a look.
//!
//! Nothing is decoded here: tokens are ranges of the message. See `text` and `number` for their meaning.

use super::error::{Fault, MAX_NUMBER_DIGITS, Reason};
use super::search::Search;

/// A position in a message. `UTF8` says that the whole message is strict UTF-8.
pub(super) struct Cursor<'m, S, const UTF8: bool> {
    search: S,
    bytes: &'m [u8],
    at: usize,
}

/// A text between its quotes. If `is_plain`, the bytes are the text; otherwise they hold an escape, or non-ASCII bytes
/// that have not been checked strictly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) is_plain: bool,
}

impl<'m, S: Search, const UTF8: bool> Cursor<'m, S, UTF8> {
    #[inline(always)]
    pub(super) fn new(search: S, bytes: &'m [u8]) -> Self {
        Self { search, bytes, at: 0 }
    }

    pub(super) fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What lies ahead.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'m [u8] {
        &self.bytes[self.at..]
    }

    /// Steps over the byte that was peeked at.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// Steps over what is known to be this long.
    #[inline(always)]
    pub(super) fn skip(&mut self, len: usize) {
        self.at += len;
    }

    #[cold]
    pub(super) fn fault(&self, reason: Reason) -> Fault {
        let reason = if self.at >= self.bytes.len() { Reason::Truncated } else { reason };
        Fault { reason, at: self.at }
    }

    /// The next byte that is not a blank, not consumed.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Result<u8, Fault> {
        loop {
            match self.bytes.get(self.at) {
                Some(&byte) if byte > b' ' => return Ok(byte),
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(self.fault(Reason::Truncated)),
            }
        }
    }

    /// A field name and the colon after it.
    #[inline(always)]
    pub(super) fn name(&mut self) -> Result<Quoted, Fault> {
        if self.peek()? != b'"' {
            return Err(self.fault(Reason::ExpectedName));
        }
        let name = self.quoted()?;
        if self.peek()? != b':' {
            return Err(self.fault(Reason::ExpectedColon));
        }
        self.advance();
        Ok(name)
    }

    /// A text, from its opening quote to past its closing one.
    ///
    /// Inlined by force, and the rest kept out: a token that came back through memory from two places would stall the
    /// processor at every text (measured: 15 % of a whole message).
    #[inline(always)]
    pub(super) fn quoted(&mut self) -> Result<Quoted, Fault> {
        self.advance();
        let start = self.at;
        if self.find_mark()? == b'"' {
            let end = self.at;
            self.advance();
            return Ok(Quoted { start, end, is_plain: true });
        }
        let end = self.quoted_rest()?;
        Ok(Quoted { start, end, is_plain: false })
    }

    /// The end of a text that is not plain, from the byte that makes it so.
    #[inline(never)]
    fn quoted_rest(&mut self) -> Result<usize, Fault> {
        loop {
            if UTF8 {
                self.at = self.search.past_escaped_quotes(self.bytes, self.at);
            }
            match self.find_mark()? {
                b'"' => {
                    let end = self.at;
                    self.advance();
                    return Ok(end);
                }
                b'\\' => self.escape()?,
                _ => self.sequence()?,
            }
        }
    }

    /// Moves to the next quote or backslash, or if the message is not known to be UTF-8 the next byte that is not ASCII.
    #[inline(always)]
    fn find_mark(&mut self) -> Result<u8, Fault> {
        self.at = self.search.mark::<UTF8>(self.bytes, self.at);
        match self.bytes.get(self.at) {
            Some(&mark) => Ok(mark),
            None => Err(self.fault(Reason::Truncated)),
        }
    }

    /// Steps over an escape, from its backslash on.
    #[inline]
    fn escape(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => self.unicode_escape(),
            Some(_) => Err(self.fault(Reason::BadEscape)),
            None => Err(Fault { reason: Reason::Truncated, at: self.bytes.len() }),
        }
    }

    fn unicode_escape(&mut self) -> Result<(), Fault> {
        let digits = &self.bytes[self.at + 2..];
        match digits.first_chunk::<4>() {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                self.at += 6;
                Ok(())
            }
            None if digits.iter().all(u8::is_ascii_hexdigit) => {
                Err(Fault { reason: Reason::Truncated, at: self.bytes.len() })
            }
            _ => Err(self.fault(Reason::BadEscape)),
        }
    }

    /// Steps over one UTF-8 sequence, checking only its shape.
    #[cold]
    fn sequence(&mut self) -> Result<(), Fault> {
        let following = match self.bytes[self.at] {
            0xc0..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf7 => 3,
            _ => return Err(self.fault(Reason::BadUtf8)),
        };
        for _ in 0..following {
            self.advance();
            match self.bytes.get(self.at) {
                Some(0x80..=0xbf) => {}
                _ => return Err(self.fault(Reason::BadUtf8)),
            }
        }
        self.advance();
        Ok(())
    }

    /// A number, from its first byte (a minus or a digit) to past its last.
    pub(super) fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        if self.bytes[start] == b'-' {
            self.advance();
        }
        let begins_with_zero = self.bytes.get(self.at) == Some(&b'0');
        let mut digits = self.digits()?;
        if begins_with_zero && digits > 1 {
            return Err(Fault { reason: Reason::BadNumber, at: start });
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.advance();
            digits += self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.advance();
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.advance();
            }
            digits += self.digits()?;
        }
        if digits > MAX_NUMBER_DIGITS {
            return Err(Fault { reason: Reason::NumberTooLong, at: start });
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<usize, Fault> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.fault(Reason::BadNumber));
        }
        Ok(self.at - start)
    }

    /// One of `true`, `false` and `null`. What may follow is for the caller's next step to say.
    #[inline]
    pub(super) fn literal(&mut self, literal: &'static str) -> Result<(), Fault> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(literal.as_bytes()) {
            self.at += literal.len();
            return Ok(());
        }
        let is_cut = literal.as_bytes().starts_with(rest);
        let at = if is_cut { self.bytes.len() } else { self.at };
        Err(Fault { reason: if is_cut { Reason::Truncated } else { Reason::ExpectedValue }, at })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::search::Portable;
    use super::*;

    fn strict(message: &[u8]) -> Cursor<'_, Portable, true> {
        Cursor::new(Portable, message)
    }

    fn lenient(message: &[u8]) -> Cursor<'_, Portable, false> {
        Cursor::new(Portable, message)
    }

    #[test]
    fn quote_is_found_at_every_distance_and_alignment() {
        for before in 0..40 {
            for after in 0..20 {
                let message = format!("\"{}\"{}", "é".repeat(before / 2) + &"x".repeat(before % 2), "y".repeat(after));
                let end = message.rfind('"').unwrap();
                assert_eq!(strict(message.as_bytes()).quoted().unwrap().end, end);
                assert_eq!(lenient(message.as_bytes()).quoted().unwrap().end, end);
            }
        }
    }

    #[test]
    fn every_byte_before_the_quote_is_passed_unless_it_is_a_mark() {
        for byte in 0..=127u8 {
            let message = [b'"', b'a', byte, b'!', b'#', b'[', b']', b'x', b'"', b'"', b'z'];
            let quoted = strict(&message).quoted();
            match byte {
                b'"' => assert_eq!(quoted.unwrap().end, 2),
                b'\\' => assert_eq!(quoted.unwrap_err(), Fault { reason: Reason::BadEscape, at: 2 }),
                _ => assert_eq!(quoted.unwrap().end, 8),
            }
        }
    }

    #[test]
    fn sequences_need_their_shape_and_no_more() {
        let end = |text: &[u8]| {
            let message = [b"\"", text, b"\""].concat();
            lenient(&message).quoted().map(|quoted| quoted.end).ok()
        };
        for good in [&b"\xc0\x80"[..], b"\xed\xa0\x80", b"\xf7\xbf\xbf\xbf", b"\xf0\x80\x80\x80x"] {
            assert_eq!(end(good), Some(good.len() + 1), "{good:x?}");
        }
        for bad in [&b"\x80"[..], b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xf8\x80\x80\x80\x80", b"\xe9x\x80"] {
            assert_eq!(end(bad), None, "{bad:x?}");
        }
    }

    #[test]
    fn numbers_are_json_numbers() {
        for good in ["0", "-0", "10", "1.50", "1e3", "1E+3", "-0.0e-0"] {
            let mut cursor = strict(good.as_bytes());
            assert_eq!(cursor.number().map(|()| cursor.at()), Ok(good.len()), "{good}");
        }
        for bad in ["-x", "007", "-01", "5.,", "5.e1", "1e,", "1e+,", "-.5"] {
            assert_eq!(strict(bad.as_bytes()).number().unwrap_err().reason, Reason::BadNumber, "{bad}");
        }
        let cut = strict(b"-").number().unwrap_err();
        assert_eq!(cut.reason, Reason::Truncated);
    }

    #[test]
    fn a_thousand_digits_are_the_limit_wherever_they_stand() {
        let reason = |text: String| strict(text.as_bytes()).number().err().map(|fault| fault.reason);
        let nines = |count| "9".repeat(count);
        assert_eq!(reason(format!("-{}", nines(1000))), None);
        assert_eq!(reason(nines(1001)), Some(Reason::NumberTooLong));
        assert_eq!(reason(format!("1.{}e-1", nines(998))), None);
        assert_eq!(reason(format!("1.{}e-1", nines(999))), Some(Reason::NumberTooLong));
    }
}
