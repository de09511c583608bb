//! One value of JSON after the other, with no recursion: what nests is remembered as one bit a level.
//!
//! The grammar of everything below the fields of a record is here, once. What is done with it is the visitor's: [`Skip`]
//! only wants it checked, `Rewriter` writes it down again.

use super::cursor::{Cursor, Quoted};
use super::error::{Fault, MAX_DEPTH, Reason};
use super::search::Search;

/// What is told of each part of a value, in order. Texts come as the bytes between their quotes.
pub(super) trait Visitor {
    fn open(&mut self, container: Container);
    fn name(&mut self, body: &[u8]);
    fn text(&mut self, body: &[u8]);
    fn number(&mut self, written: &[u8]);
    fn literal(&mut self, literal: &'static str);
    fn close(&mut self, container: Container);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Array,
}

/// The visitor of values that nobody wants.
pub(super) struct Skip;

impl Visitor for Skip {
    fn open(&mut self, _: Container) {}
    fn name(&mut self, _: &[u8]) {}
    fn text(&mut self, _: &[u8]) {}
    fn number(&mut self, _: &[u8]) {}
    fn literal(&mut self, _: &'static str) {}
    fn close(&mut self, _: Container) {}
}

/// Goes over the value at the cursor, which lies inside `depth` objects and arrays.
pub(super) fn walk<S: Search, const UTF8: bool>(
    cursor: &mut Cursor<'_, S, UTF8>,
    depth: usize,
    visitor: &mut impl Visitor,
) -> Result<(), Fault> {
    let mut open = Open::inside(depth);
    loop {
        if let Some(container) = scalar_or_open(cursor, visitor)? {
            if !open.push(container) {
                return Err(cursor.fault(Reason::TooDeep));
            }
            cursor.advance();
            visitor.open(container);
            if cursor.peek()? == container.end() {
                cursor.advance();
                visitor.close(container);
                open.pop();
            } else {
                if container == Container::Object {
                    name(cursor, visitor)?;
                }
                continue;
            }
        }
        loop {
            let Some(container) = open.innermost() else { return Ok(()) };
            let byte = cursor.peek()?;
            if byte == b',' {
                cursor.advance();
                if container == Container::Object {
                    name(cursor, visitor)?;
                }
                break;
            }
            if byte != container.end() {
                return Err(cursor.fault(Reason::ExpectedCommaOrEnd));
            }
            cursor.advance();
            visitor.close(container);
            open.pop();
        }
    }
}

/// Takes a value that nests nothing, or says what the cursor stands in front of.
fn scalar_or_open<S: Search, const UTF8: bool>(
    cursor: &mut Cursor<'_, S, UTF8>,
    visitor: &mut impl Visitor,
) -> Result<Option<Container>, Fault> {
    let literal = match cursor.peek()? {
        b'{' => return Ok(Some(Container::Object)),
        b'[' => return Ok(Some(Container::Array)),
        b'"' => {
            let text = cursor.quoted()?;
            visitor.text(body(cursor, text));
            return Ok(None);
        }
        b'-' | b'0'..=b'9' => {
            let start = cursor.at();
            cursor.number()?;
            visitor.number(&cursor.bytes()[start..cursor.at()]);
            return Ok(None);
        }
        b't' => "true",
        b'f' => "false",
        b'n' => "null",
        _ => return Err(cursor.fault(Reason::ExpectedValue)),
    };
    cursor.literal(literal)?;
    visitor.literal(literal);
    Ok(None)
}

fn name<S: Search, const UTF8: bool>(
    cursor: &mut Cursor<'_, S, UTF8>,
    visitor: &mut impl Visitor,
) -> Result<(), Fault> {
    let name = cursor.name()?;
    visitor.name(body(cursor, name));
    Ok(())
}

fn body<'m, S: Search, const UTF8: bool>(cursor: &Cursor<'m, S, UTF8>, text: Quoted) -> &'m [u8] {
    &cursor.bytes()[text.start..text.end]
}

impl Container {
    fn end(self) -> u8 {
        match self {
            Self::Object => b'}',
            Self::Array => b']',
        }
    }
}

/// The containers that are open: a set bit is an object, a clear one an array.
struct Open {
    bits: [u64; MAX_DEPTH.div_ceil(64)],
    outside: usize,
    depth: usize,
}

impl Open {
    fn inside(outside: usize) -> Self {
        Self { bits: [0; MAX_DEPTH.div_ceil(64)], outside, depth: outside }
    }

    /// False if that is one too many.
    fn push(&mut self, container: Container) -> bool {
        if self.depth >= MAX_DEPTH {
            return false;
        }
        let bit = 1 << (self.depth % 64);
        match container {
            Container::Object => self.bits[self.depth / 64] |= bit,
            Container::Array => self.bits[self.depth / 64] &= !bit,
        }
        self.depth += 1;
        true
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    /// None once all that was opened is closed.
    fn innermost(&self) -> Option<Container> {
        let top = self.depth.checked_sub(1).filter(|&top| top >= self.outside)?;
        let is_object = self.bits[top / 64] >> (top % 64) & 1 == 1;
        Some(if is_object { Container::Object } else { Container::Array })
    }
}

#[cfg(test)]
mod tests {
    use super::super::search::Portable;
    use super::*;

    fn skipped(value: &str, depth: usize) -> Result<usize, Reason> {
        let mut cursor = Cursor::<_, true>::new(Portable, value.as_bytes());
        walk(&mut cursor, depth, &mut Skip).map_err(|fault| fault.reason)?;
        Ok(cursor.at())
    }

    #[test]
    fn one_value_is_taken_and_what_follows_is_left() {
        for value in ["{}", "[]", "1", "\"a\\\"b\"", "null", r#"{"a":[1,{"b":[]},"x"],"c":{}}"#, "[ 1 , [ ] ]"] {
            assert_eq!(skipped(&format!("{value},rest"), 1), Ok(value.len()), "{value}");
        }
    }

    #[test]
    fn brackets_must_match_and_commas_must_separate() {
        for (value, reason) in [
            ("[1}", Reason::ExpectedCommaOrEnd),
            (r#"{"a":1]"#, Reason::ExpectedCommaOrEnd),
            ("[1 2]", Reason::ExpectedCommaOrEnd),
            ("[1,]", Reason::ExpectedValue),
            ("[,1]", Reason::ExpectedValue),
            (r#"{"a":1,}"#, Reason::ExpectedName),
            (r#"{"a"}"#, Reason::ExpectedColon),
            (r#"{"a":}"#, Reason::ExpectedValue),
            ("[[1]", Reason::Truncated),
            ("tru}", Reason::ExpectedValue),
            ("[tru", Reason::Truncated),
            ("[truex]", Reason::ExpectedCommaOrEnd),
        ] {
            assert_eq!(skipped(value, 1), Err(reason), "{value}");
        }
    }

    #[test]
    fn nesting_counts_from_the_outermost_object() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(skipped(&nested(999), 1), Ok(1998));
        assert_eq!(skipped(&nested(1000), 1), Err(Reason::TooDeep));
        assert_eq!(skipped(&nested(999), 2), Err(Reason::TooDeep));
    }

    #[test]
    fn levels_of_both_kinds_are_told_apart_at_any_depth() {
        let mixed = r#"[{"a":"#.repeat(400) + "1" + &"}]".repeat(400);
        assert_eq!(skipped(&mixed, 1), Ok(mixed.len()));
        let wrong = r#"[{"a":"#.repeat(400) + "1" + &"}]".repeat(399) + "]}";
        assert_eq!(skipped(&wrong, 1), Err(Reason::ExpectedCommaOrEnd));
    }
}
