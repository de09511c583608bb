//! One object of the top level: its wanted fields taken, all others checked.

use super::cursor::{Cursor, Quoted};
use super::error::{Fault, Reason};
use super::layout::Layout;
use super::rewrite::{RewriteScratch, Rewriter};
use super::search::Search;
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
#[inline(always)]
pub(super) fn read<S: Search, const N: usize, const UTF8: bool>(
    cursor: &mut Cursor<'_, S, UTF8>,
    depth: usize,
    names: &[&'static str; N],
    layout: &mut Layout,
    scratch: &mut Scratch,
) -> Result<[Slot; N], Fault> {
    let mut slots = [Slot::Missing; N];
    cursor.advance();
    for nth in 0.. {
        let wanted = if let Some((len, wanted)) = layout.expect(nth, cursor.rest()) {
            cursor.skip(len);
            wanted
        } else if cursor.rest().starts_with(b"}") {
            // As nearly every object ends: no call.
            cursor.advance();
            break;
        } else {
            let rest = cursor.rest();
            let start = cursor.at();
            let Next::Field { wanted } = next(cursor, nth == 0, names, &mut scratch.name)? else { break };
            layout.learn(nth, rest, cursor.at() - start, wanted);
            wanted
        };
        let first = cursor.peek()?;
        match wanted {
            Some(wanted) => slots[wanted] = value(cursor, first, depth, scratch)?,
            None if first == b'"' => {
                cursor.quoted()?;
            }
            None => walk(cursor, depth, &mut Skip)?,
        }
    }
    Ok(slots)
}

/// What comes after a value, or after the opening brace.
enum Next {
    /// A field's value, whose first byte the cursor stands at. It may be of one of the wanted fields.
    Field {
        wanted: Option<usize>,
    },
    End,
}

/// Reads on to the next value by the grammar, or to past the object's end.
#[inline(never)]
fn next<S: Search, const N: usize, const UTF8: bool>(
    cursor: &mut Cursor<'_, S, UTF8>,
    is_first: bool,
    names: &[&'static str; N],
    decoded: &mut String,
) -> Result<Next, Fault> {
    match cursor.peek()? {
        b'}' => {
            cursor.advance();
            return Ok(Next::End);
        }
        b',' if !is_first => cursor.advance(),
        _ if is_first => {}
        _ => return Err(cursor.fault(Reason::ExpectedCommaOrEnd)),
    }
    let name = cursor.name()?;
    cursor.peek()?;
    Ok(Next::Field { wanted: field(cursor.bytes(), name, names, decoded) })
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
fn value<S: Search, const UTF8: bool>(
    cursor: &mut Cursor<'_, S, UTF8>,
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
    fn keep<S: Search, const UTF8: bool>(&mut self, cursor: &Cursor<'_, S, UTF8>, start: usize, end: usize) -> Slot {
        if UTF8 {
            return Slot::Message { start, end };
        }
        let kept = self.text.len();
        let range = &cursor.bytes()[start..end];
        self.text.push_str(std::str::from_utf8(range).expect("a plain range is ASCII"));
        Slot::Scratch { start: kept, end: self.text.len() }
    }
}
