//! CSV as PostgreSQL's `COPY … (FORMAT csv, HEADER)` writes it.
//!
//! NULL is a bare empty field, an empty text is `""`; a text is quoted only where it must be: if it holds a comma, a quote,
//! a carriage return or a line feed, or would else be read as something different (PostgreSQL `copyto.c`,
//! `CopyAttributeOutCSV`). Times always have three digits behind the point.

use stream_core::row::{Column, Field};

use super::row_text::{TimeText, write_hex, write_integer};

/// Writes rows as CSV.
#[derive(Debug, Default)]
pub(super) struct Csv {
    times: TimeText,
}

impl Csv {
    /// Appends the line of column names.
    pub(super) fn header(columns: &[Column], out: &mut Vec<u8>) {
        for (index, column) in columns.iter().enumerate() {
            separate(index, out);
            write_text(column.name.as_bytes(), columns.len() == 1, out);
        }
        out.push(b'\n');
    }

    /// Appends the field with this index in its row, of so many columns.
    pub(super) fn field(&mut self, index: usize, columns: usize, field: Field<'_>, out: &mut Vec<u8>) {
        separate(index, out);
        match field {
            Field::Null => {}
            Field::Timestamp(time) => self.times.write(time, out),
            Field::BigInt(value) => write_integer(value, out),
            Field::Bytes(bytes) => write_hex(bytes, out),
            Field::Text(text) => write_text(text.as_bytes(), columns == 1, out),
        }
    }

    /// Appends what ends a row.
    pub(super) fn end_row(out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn write_text(bytes: &[u8], is_alone: bool, out: &mut Vec<u8>) {
    // `\.` alone on a line would be read as the end of the data.
    let is_end_mark = is_alone && bytes == b"\\.";
    if !bytes.is_empty() && !is_end_mark && !bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        return out.extend_from_slice(bytes);
    }
    out.push(b'"');
    for part in bytes.split_inclusive(|&byte| byte == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use stream_core::row::ColumnType;
    use stream_core::time::EventTime;

    fn text(text: &str, is_alone: bool) -> String {
        let mut out = Vec::new();
        write_text(text.as_bytes(), is_alone, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_quoted_only_where_they_must_be() {
        for (plain, written) in [
            ("www.a.io", "www.a.io"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("a\nb", "\"a\nb\""),
            ("a\rb", "\"a\rb\""),
            (" é ", " é "),
            ("\\.", "\\."),
            ("\"", "\"\"\"\""),
        ] {
            assert_eq!(text(plain, false), written);
        }
        assert_eq!(text("\\.", true), "\"\\.\"");
    }

    #[test]
    fn a_row_and_its_header() {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
        let columns =
            [column("t", ColumnType::Timestamp), column("a,b", ColumnType::Text), column("n", ColumnType::BigInt)];
        let (mut csv, mut out) = (Csv::default(), Vec::new());
        Csv::header(&columns, &mut out);
        let fields = [Field::Timestamp(EventTime(1_736_874_072_232)), Field::Null, Field::BigInt(-7)];
        for (index, field) in fields.into_iter().enumerate() {
            csv.field(index, 3, field, &mut out);
        }
        Csv::end_row(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "t,\"a,b\",n\n2025-01-14 17:01:12.232,,-7\n");
    }

    /// Reads CSV by the book (RFC 4180), telling NULL from an empty text.
    fn read(text: &str) -> Vec<Vec<Option<String>>> {
        let (mut rows, mut row, mut chars) = (Vec::new(), Vec::new(), text.chars().peekable());
        while chars.peek().is_some() {
            let mut field = String::new();
            let is_quoted = chars.next_if_eq(&'"').is_some();
            while let Some(&next) = chars.peek() {
                if is_quoted && next == '"' {
                    chars.next();
                    if chars.next_if_eq(&'"').is_none() {
                        break;
                    }
                } else if !is_quoted && matches!(next, ',' | '\n') {
                    break;
                } else {
                    chars.next();
                }
                field.push(next);
            }
            row.push((is_quoted || !field.is_empty()).then_some(field));
            if chars.next() == Some('\n') {
                rows.push(std::mem::take(&mut row));
            }
        }
        rows
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(rows in proptest::collection::vec(
            proptest::collection::vec(proptest::option::of("[a,\"\r\n\\\\. é]{0,6}"), 2), 1..6))
        {
            let (mut csv, mut out) = (Csv::default(), Vec::new());
            for row in &rows {
                for (index, field) in row.iter().enumerate() {
                    let field = field.as_deref().map_or(Field::Null, |text| Field::Text(text.into()));
                    csv.field(index, row.len(), field, &mut out);
                }
                Csv::end_row(&mut out);
            }
            prop_assert_eq!(read(&String::from_utf8(out).unwrap()), rows);
        }
    }
}
