//! An object or array where text was declared: its JSON, written again as Flink does.
//!
//! Without blanks, names in their order, numbers normalized, escapes decoded and only those kept that JSON needs, and of a
//! repeated name the last value at the place of the first. That last rule is why an object can be finished only at its end:
//! then, if a name was repeated, its text is put together anew.

use std::fmt::Write as _;

use super::number;
use super::text;
use super::walk::{Container, Visitor};

/// What a rewrite needs beside its output, kept for the next one.
#[derive(Debug)]
pub(super) struct RewriteScratch {
    open: Vec<OpenContainer>,
    /// The members of all open objects, innermost last.
    members: Vec<Member>,
    /// Member numbers, in the order of their names.
    by_name: Vec<usize>,
    decoded: String,
    rebuilt: String,
}

#[derive(Debug)]
struct OpenContainer {
    start: usize,
    first_member: usize,
    is_empty: bool,
    container: Container,
}

/// A member's place in the output: its name in quotes, then the colon and the value.
#[derive(Debug, Clone, Copy)]
struct Member {
    start: usize,
    name_end: usize,
    end: usize,
}

/// The visitor that writes a value to `out`.
pub(super) struct Rewriter<'s> {
    out: &'s mut String,
    scratch: &'s mut RewriteScratch,
}

impl RewriteScratch {
    pub(super) const fn new() -> Self {
        Self {
            open: Vec::new(),
            members: Vec::new(),
            by_name: Vec::new(),
            decoded: String::new(),
            rebuilt: String::new(),
        }
    }
}

impl<'s> Rewriter<'s> {
    pub(super) fn new(out: &'s mut String, scratch: &'s mut RewriteScratch) -> Self {
        // A rewrite that met an error left its containers open.
        scratch.open.clear();
        scratch.members.clear();
        Self { out, scratch }
    }

    /// Writes the comma between two elements or members.
    fn separate(&mut self) {
        if let Some(innermost) = self.scratch.open.last_mut()
            && !std::mem::take(&mut innermost.is_empty)
        {
            self.out.push(',');
        }
    }

    fn begin_value(&mut self) {
        if self.scratch.open.last().is_some_and(|open| open.container == Container::Array) {
            self.separate();
        }
    }

    fn push_quoted(&mut self, body: &[u8]) {
        self.scratch.decoded.clear();
        text::push_decoded(body, &mut self.scratch.decoded);
        push_escaped(&self.scratch.decoded, self.out);
    }

    fn end_member(&mut self) {
        let end = self.out.len();
        if let Some(member) = self.scratch.members.last_mut() {
            member.end = end;
        }
    }

    /// Leaves one member of each name in the object that starts at `start` and lacks only its closing brace.
    fn drop_repeated(&mut self, start: usize, first_member: usize) {
        let RewriteScratch { members, by_name, rebuilt, .. } = &mut *self.scratch;
        let members = &members[first_member..];
        let out = self.out.as_str();
        let name = |nth: usize| &out[members[nth].start..members[nth].name_end];
        by_name.clear();
        by_name.extend(0..members.len());
        by_name.sort_unstable_by(|&a, &b| name(a).cmp(name(b)).then(a.cmp(&b)));
        let same_name = |&a: &usize, &b: &usize| name(a) == name(b);
        if by_name.chunk_by(same_name).all(|group| group.len() == 1) {
            return;
        }
        let mut kept: Vec<(usize, usize)> =
            by_name.chunk_by(same_name).map(|group| (group[0], group[group.len() - 1])).collect();
        kept.sort_unstable();
        rebuilt.clear();
        for (first, last) in kept {
            if !rebuilt.is_empty() {
                rebuilt.push(',');
            }
            rebuilt.push_str(name(first));
            rebuilt.push_str(&out[members[last].name_end..members[last].end]);
        }
        self.out.truncate(start + 1);
        self.out.push_str(rebuilt);
    }
}

impl Visitor for Rewriter<'_> {
    fn open(&mut self, container: Container) {
        self.begin_value();
        self.scratch.open.push(OpenContainer {
            start: self.out.len(),
            first_member: self.scratch.members.len(),
            is_empty: true,
            container,
        });
        self.out.push(if container == Container::Object { '{' } else { '[' });
    }

    fn name(&mut self, body: &[u8]) {
        if self.scratch.open.last().is_some_and(|open| !open.is_empty) {
            self.end_member();
        }
        self.separate();
        let start = self.out.len();
        self.push_quoted(body);
        let name_end = self.out.len();
        self.out.push(':');
        self.scratch.members.push(Member { start, name_end, end: name_end });
    }

    fn text(&mut self, body: &[u8]) {
        self.begin_value();
        self.push_quoted(body);
    }

    fn number(&mut self, written: &[u8]) {
        self.begin_value();
        number::push_normalized(std::str::from_utf8(written).expect("a number is ASCII"), self.out);
    }

    fn literal(&mut self, literal: &'static str) {
        self.begin_value();
        self.out.push_str(literal);
    }

    fn close(&mut self, container: Container) {
        let open = self.scratch.open.pop().expect("what is closed was opened");
        if container == Container::Object {
            if !open.is_empty {
                self.end_member();
            }
            self.drop_repeated(open.start, open.first_member);
            self.scratch.members.truncate(open.first_member);
        }
        self.out.push(if container == Container::Object { '}' } else { ']' });
    }
}

/// Writes a text as JSON with the fewest escapes, as Jackson does.
fn push_escaped(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..' ' => {
                // A `String` cannot refuse to be written to.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::cursor::Cursor;
    use super::super::search::Portable;
    use super::super::walk::walk;
    use super::*;

    fn rewritten(value: &str) -> String {
        let mut out = String::from("kept");
        let mut scratch = RewriteScratch::new();
        let mut cursor = Cursor::<_, true>::new(Portable, value.as_bytes());
        walk(&mut cursor, 1, &mut Rewriter::new(&mut out, &mut scratch)).unwrap();
        out.split_off("kept".len())
    }

    #[test]
    fn blanks_go_and_numbers_are_normalized() {
        assert_eq!(rewritten(r#"{ "b" : 1 , "a" : [ 1 , 2.50 , 1e2 ] }"#), r#"{"b":1,"a":[1,2.5,100.0]}"#);
        assert_eq!(rewritten("[ [ ] , { } , [ [ 1 ] , 2 ] ]"), "[[],{},[[1],2]]");
    }

    #[test]
    fn of_a_repeated_name_the_last_value_stands_at_the_place_of_the_first() {
        assert_eq!(rewritten(r#"{"a":1,"b":2,"a":{"c":[3],"c":4}}"#), r#"{"a":{"c":4},"b":2}"#);
        assert_eq!(rewritten(r#"[{"a":1,"\u0061":2},{"a":3}]"#), r#"[{"a":2},{"a":3}]"#);
        assert_eq!(rewritten(r#"{"x":{"a":1,"a":2},"y":{"a":5},"x":7}"#), r#"{"x":7,"y":{"a":5}}"#);
    }

    #[test]
    fn escapes_are_kept_only_where_json_needs_them() {
        assert_eq!(
            rewritten(r#"["\u0069\/\u00e9\"\\\b\f\n\r\t\u001f\u007f"]"#),
            "[\"i/é\\\"\\\\\\b\\f\\n\\r\\t\\u001F\u{7f}\"]"
        );
    }
}
