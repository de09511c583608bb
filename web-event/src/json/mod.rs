//! A few text fields out of a message, as Flink 2.2's `json` format reads them when every column is `VARCHAR`.
//!
//! In short: fields are matched exactly; a missing field and `null` are NULL; of a repeated field the last counts; a number
//! is the text it was written as; an object or array becomes its JSON without blanks; what follows the first object is not
//! looked at; an array of objects is one row for each. The whole object is checked, also the fields that nobody wants.
//!
//! Deliberately absent: typed columns, and leniency. A message Flink would fail on is an error here, whole: rows of an
//! array before the bad element have been handed over by then, but never half a row.
//!
//! The one pass over an object (`record`) asks a `cursor` for tokens; values that nest go through `walk`. The expensive
//! question, whether the message is UTF-8, is asked once for all of it, after which the cursor only looks for quotes and
//! backslashes, eight bytes at a time. Messages that are not strict UTF-8 take the same pass with a cursor that looks at
//! every sequence. Nothing is recursive, and once the scratch space has grown nothing is allocated for an ordinary message.

mod cursor;
mod encoding;
mod error;
mod number;
mod record;
mod rewrite;
#[cfg(test)]
mod tests;
mod text;
mod walk;

pub use error::{JsonError, Reason};

use cursor::Cursor;
use encoding::Encoding;
use error::Fault;
use record::{Scratch, Slot};

/// Scratch space grown beyond this by one huge message is given back before the next.
const RETAINED_SCRATCH_BYTES: usize = 1 << 20;

/// The fields to take out of each message, and the space to do it in.
///
/// ```
/// use web_event::json::Projection;
///
/// let mut fields = Projection::new(["ip", "host"]);
/// let mut rows = Vec::new();
/// fields
///     .decode(br#"{"host":"a.io","url":"\/","ip":7}"#, |[ip, host]| {
///         rows.push((ip.map(str::to_owned), host.map(str::to_owned)));
///     })
///     .expect("well-formed");
/// assert_eq!(rows, [(Some("7".into()), Some("a.io".into()))]);
/// ```
#[derive(Debug)]
pub struct Projection<const N: usize> {
    names: [&'static str; N],
    refuses_missing: bool,
    scratch: Scratch,
    /// A message of another encoding, as UTF-8.
    transcoded: String,
}

impl<const N: usize> Projection<N> {
    /// The projection onto these fields, in this order. Names are exact: case, blanks and all.
    pub const fn new(names: [&'static str; N]) -> Self {
        Self { names, refuses_missing: false, scratch: Scratch::new(), transcoded: String::new() }
    }

    /// Makes a record without one of the fields an error, as `json.fail-on-missing-field` does. An explicit `null` is not
    /// missing.
    pub const fn refusing_missing_fields(mut self) -> Self {
        self.refuses_missing = true;
        self
    }

    /// Reads one message and hands over its rows: one for an object, one for each element of an array of objects, none
    /// for an empty message. The texts lie in the message itself or, if they had to be decoded, in this projection.
    ///
    /// # Errors
    ///
    /// The message, or an element of its array, is not what Flink reads without error. Rows of earlier elements have
    /// been handed over.
    pub fn decode(&mut self, message: &[u8], on_row: impl FnMut([Option<&str>; N])) -> Result<(), JsonError> {
        if message.is_empty() {
            return Ok(());
        }
        match encoding::detect(message) {
            Encoding::Utf8 { start } => {
                let body = &message[start..];
                self.decode_utf8(body, on_row).map_err(|fault| fault.into_error(body, start))
            }
            other => self.decode_transcoded(message, other, on_row),
        }
    }

    #[inline]
    fn decode_utf8(&mut self, body: &[u8], on_row: impl FnMut([Option<&str>; N])) -> Result<(), Fault> {
        match std::str::from_utf8(body) {
            Ok(text) => self.rows::<true>(body, text, on_row),
            Err(_) => self.rows::<false>(body, "", on_row),
        }
    }

    #[cold]
    fn decode_transcoded(
        &mut self,
        message: &[u8],
        encoding: Encoding,
        on_row: impl FnMut([Option<&str>; N]),
    ) -> Result<(), JsonError> {
        let mut text = std::mem::take(&mut self.transcoded);
        text.clear();
        text.shrink_to(RETAINED_SCRATCH_BYTES);
        let result = match encoding {
            Encoding::Utf8 { .. } => Ok(()),
            Encoding::Utf16 { start, big_endian } => {
                encoding::from_utf16(&message[start..], big_endian, &mut text);
                Ok(())
            }
            Encoding::Utf32 { start, big_endian } => encoding::from_utf32(&message[start..], big_endian, &mut text),
        }
        .and_then(|()| self.rows::<true>(text.as_bytes(), &text, on_row))
        .map_err(|fault| fault.into_error(text.as_bytes(), 0));
        self.transcoded = text;
        result
    }

    /// The rows of `body`; if it is strict UTF-8, `text` is the same.
    fn rows<const UTF8: bool>(
        &mut self,
        body: &[u8],
        text: &str,
        mut on_row: impl FnMut([Option<&str>; N]),
    ) -> Result<(), Fault> {
        let mut cursor = Cursor::<UTF8>::new(body);
        match cursor.peek() {
            Ok(b'{') => self.row(&mut cursor, 1, text, &mut on_row),
            Ok(b'[') => {
                cursor.advance();
                self.elements(&mut cursor, text, on_row)
            }
            Ok(_) | Err(_) => Err(Fault { reason: Reason::NotAnObject, at: cursor.at() }),
        }
    }

    fn elements<const UTF8: bool>(
        &mut self,
        cursor: &mut Cursor<'_, UTF8>,
        text: &str,
        mut on_row: impl FnMut([Option<&str>; N]),
    ) -> Result<(), Fault> {
        if cursor.peek()? == b']' {
            return Ok(());
        }
        loop {
            if cursor.peek()? != b'{' {
                return Err(cursor.fault(Reason::NotAnObject));
            }
            self.row(cursor, 2, text, &mut on_row)?;
            match cursor.peek()? {
                b',' => cursor.advance(),
                b']' => return Ok(()),
                _ => return Err(cursor.fault(Reason::ExpectedCommaOrEnd)),
            }
        }
    }

    /// Hands over the row of the object at the cursor, which is `depth` deep.
    #[inline]
    fn row<const UTF8: bool>(
        &mut self,
        cursor: &mut Cursor<'_, UTF8>,
        depth: usize,
        text: &str,
        on_row: &mut impl FnMut([Option<&str>; N]),
    ) -> Result<(), Fault> {
        self.scratch.clear(RETAINED_SCRATCH_BYTES);
        let slots = record::read(cursor, depth, &self.names, &mut self.scratch)?;
        if self.refuses_missing
            && let Some(missing) = slots.iter().position(|slot| matches!(slot, Slot::Missing))
        {
            return Err(Fault { reason: Reason::MissingField(self.names[missing]), at: cursor.at() });
        }
        on_row(slots.map(|slot| match slot {
            Slot::Missing | Slot::Null => None,
            Slot::Message { start, end } => Some(&text[start..end]),
            Slot::Scratch { start, end } => Some(&self.scratch.text[start..end]),
        }));
        Ok(())
    }
}
