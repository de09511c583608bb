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
//! backslashes, as many bytes at a time as the processor can (`search`). Messages that are not strict UTF-8 take the same pass
//! with a cursor that looks at every sequence. Which field comes next is guessed from the record before (`layout`). Nothing is
//! recursive, and once the scratch space has grown nothing is allocated for an ordinary message. What each of this is worth
//! stands in `docs/performance.md`.

mod cursor;
mod encoding;
mod error;
mod layout;
mod number;
mod record;
mod rewrite;
mod search;
#[cfg(test)]
mod tests;
mod text;
mod walk;

pub use error::{JsonError, Reason};

use cursor::Cursor;
use encoding::Encoding;
use error::Fault;
use layout::Layout;
use record::{Scratch, Slot};
use search::{Portable, Search};

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
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "elsewhere there is one way only"))]
    is_portable: bool,
    layout: Layout,
    scratch: Scratch,
    /// A message of another encoding, as UTF-8.
    transcoded: String,
}

impl<const N: usize> Projection<N> {
    /// The projection onto these fields, in this order. Names are exact: case, blanks and all.
    pub const fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            refuses_missing: false,
            is_portable: false,
            layout: Layout::new(),
            scratch: Scratch::new(),
            transcoded: String::new(),
        }
    }

    /// Makes a record without one of the fields an error, as `json.fail-on-missing-field` does. An explicit `null` is not
    /// missing.
    pub const fn refusing_missing_fields(mut self) -> Self {
        self.refuses_missing = true;
        self
    }

    /// Makes it do without instructions that not every processor has. Rows and errors stay the same, which is what this
    /// is for: to be compared.
    pub const fn portable(mut self) -> Self {
        self.is_portable = true;
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

    /// Reads a message in the best way that this processor has.
    #[inline]
    fn decode_utf8(&mut self, body: &[u8], on_row: impl FnMut([Option<&str>; N])) -> Result<(), Fault> {
        #[cfg(target_arch = "x86_64")]
        if !self.is_portable
            && let Some(avx2) = search::Avx2::detect()
        {
            return self.decode_utf8_by(avx2, body, on_row);
        }
        self.decode_utf8_by(Portable, body, on_row)
    }

    #[inline(always)]
    fn decode_utf8_by<S: Search>(
        &mut self,
        search: S,
        body: &[u8],
        on_row: impl FnMut([Option<&str>; N]),
    ) -> Result<(), Fault> {
        match search.text(body) {
            Some(text) => self.rows(&mut Cursor::<S, true>::new(search, body), text, on_row),
            None => self.rows(&mut Cursor::<S, false>::new(search, body), "", on_row),
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
        .and_then(|()| self.rows(&mut Cursor::<_, true>::new(Portable, text.as_bytes()), &text, on_row))
        .map_err(|fault| fault.into_error(text.as_bytes(), 0));
        self.transcoded = text;
        result
    }

    /// The rows of a message; if it is strict UTF-8, `text` is the same.
    #[inline(always)]
    fn rows<S: Search, const UTF8: bool>(
        &mut self,
        cursor: &mut Cursor<'_, S, UTF8>,
        text: &str,
        mut on_row: impl FnMut([Option<&str>; N]),
    ) -> Result<(), Fault> {
        match cursor.peek() {
            Ok(b'{') => self.row(cursor, 1, text, &mut on_row),
            Ok(b'[') => {
                cursor.advance();
                self.elements(cursor, text, on_row)
            }
            Ok(_) | Err(_) => Err(Fault { reason: Reason::NotAnObject, at: cursor.at() }),
        }
    }

    fn elements<S: Search, const UTF8: bool>(
        &mut self,
        cursor: &mut Cursor<'_, S, UTF8>,
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
    #[inline(always)]
    fn row<S: Search, const UTF8: bool>(
        &mut self,
        cursor: &mut Cursor<'_, S, UTF8>,
        depth: usize,
        text: &str,
        on_row: &mut impl FnMut([Option<&str>; N]),
    ) -> Result<(), Fault> {
        self.scratch.clear(RETAINED_SCRATCH_BYTES);
        let slots = record::read(cursor, depth, &self.names, &mut self.layout, &mut self.scratch)?;
        if self.refuses_missing
            && let Some(missing) = slots.iter().position(|slot| matches!(slot, Slot::Missing))
        {
            return Err(Fault { reason: Reason::MissingField(self.names[missing]), at: cursor.at() });
        }
        let mut row = [None; N];
        for (column, slot) in row.iter_mut().zip(slots) {
            *column = match slot {
                Slot::Missing | Slot::Null => None,
                Slot::Message { start, end } => Some(&text[start..end]),
                Slot::Scratch { start, end } => Some(&self.scratch.text[start..end]),
            };
        }
        on_row(row);
        Ok(())
    }
}
