//! One object of the top level: its wanted fields taken, all others checked.

use super::cursor::{Cursor, Quoted};
use super::error::{Fault, Reason};
use super::rewrite::{RewriteScratch, Rewriter};
use super::text;
use super::walk::{Skip, walk};

/// What an object holds for one wanted field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    Missing,
    Null,
    /// A range of the message, known to be UTF-8.
    Message {
        start: usize,
        end: usize,
    },
    /// A range of [`Scratch::text`].
    Scratch {
        start: usize,
        end: usize,
    },
}

/// Space for what does not stand in the message as it is meant.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) text: String,
    name: String,
    rewrite: RewriteScratch,
}

/// Reads the object at the cursor, which is `depth` deep, to past its closing brace.
#[inline]
pub(super) fn read<const N: usize, const UTF8: bool>(
    cursor: &mut Cursor<'_, UTF8>,
    depth: usize,
    names: &[&'static str; N],
    scratch: &mut Scratch,
) -> Result<[Slot; N], Fault> {
    let mut slots = [Slot::Missing; N];
    cursor.advance();
    if cursor.peek()? == b'}' {
        cursor.advance();
        return Ok(slots);
    }
    loop {
        let name = cursor.name()?;
        let first = cursor.peek()?;
        match field(cursor.bytes(), name, names, &mut scratch.name) {
            Some(wanted) => slots[wanted] = value(cursor, first, depth, scratch)?,
            None if first == b'"' => {
                cursor.quoted()?;
            }
            None => walk(cursor, depth, &mut Skip)?,
        }
        match cursor.peek()? {
            b',' => cursor.advance(),
            b'}' => {
                cursor.advance();
                return Ok(slots);
            }
            _ => return Err(cursor.fault(Reason::ExpectedCommaOrEnd)),
        }
    }
}

/// Which of the wanted fields this name is.
#[inline(always)]
fn field<const N: usize>(bytes: &[u8], name: Quoted, names: &[&'static str; N], decoded: &mut String) -> Option<usize> {
    let mut body = &bytes[name.start..name.end];
    if !name.is_plain {
        decoded.clear();
        text::push_decoded(body, decoded);
        body = decoded.as_bytes();
    }
    names.iter().position(|wanted| wanted.as_bytes() == body)
}

/// Takes the value that begins with `first` as text.
#[inline(always)]
fn value<const UTF8: bool>(
    cursor: &mut Cursor<'_, UTF8>,
    first: u8,
    depth: usize,
    scratch: &mut Scratch,
) -> Result<Slot, Fault> {
    let start = cursor.at();
    match first {
        b'"' => {
            let text = cursor.quoted()?;
            if text.is_plain {
                return Ok(scratch.keep(cursor, text.start, text.end));
            }
            let start = scratch.text.len();
            text::push_decoded(&cursor.bytes()[text.start..text.end], &mut scratch.text);
            return Ok(Slot::Scratch { start, end: scratch.text.len() });
        }
        b'{' | b'[' => {
            let start = scratch.text.len();
            walk(cursor, depth, &mut Rewriter::new(&mut scratch.text, &mut scratch.rewrite))?;
            return Ok(Slot::Scratch { start, end: scratch.text.len() });
        }
        b'n' => {
            cursor.literal("null")?;
            return Ok(Slot::Null);
        }
        b't' => cursor.literal("true")?,
        b'f' => cursor.literal("false")?,
        b'-' | b'0'..=b'9' => cursor.number()?,
        _ => return Err(cursor.fault(Reason::ExpectedValue)),
    }
    Ok(scratch.keep(cursor, start, cursor.at()))
}

impl Scratch {
    pub(super) const fn new() -> Self {
        Self { text: String::new(), name: String::new(), rewrite: RewriteScratch::new() }
    }

    /// Empties the space before the next row, and gives back what exceeds `retained` bytes.
    #[inline]
    pub(super) fn clear(&mut self, retained: usize) {
        self.text.clear();
        if self.text.capacity() > retained {
            *self = Self::new();
        }
    }

    /// Makes a slot of a range that is text as it stands. In a message that is not strict UTF-8 such a range is ASCII, but
    /// the message cannot be borrowed from as text.
    #[inline]
    fn keep<const UTF8: bool>(&mut self, cursor: &Cursor<'_, UTF8>, start: usize, end: usize) -> Slot {
        if UTF8 {
            return Slot::Message { start, end };
        }
        let kept = self.text.len();
        let range = &cursor.bytes()[start..end];
        self.text.push_str(std::str::from_utf8(range).expect("a plain range is ASCII"));
        Slot::Scratch { start: kept, end: self.text.len() }
    }
}
