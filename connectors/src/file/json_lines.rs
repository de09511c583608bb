//! One JSON object a line, with the columns as its members in their order.
//!
//! Times are the same text as in CSV (`2025-01-14 17:01:12.232`), so that the two forms of a result can be joined; NULL is
//! `null`.

use stream_core::row::{Column, Field};

use super::row_text::{TimeText, write_hex, write_integer};

/// Writes rows as JSON lines.
#[derive(Debug)]
pub(super) struct JsonLines {
    times: TimeText,
    /// For each column, what stands before its value: `{"a":` or `,"b":`.
    keys: Vec<Vec<u8>>,
}

impl JsonLines {
    /// A writer of objects with these members.
    pub(super) fn new(columns: &[Column]) -> Self {
        let keys = columns.iter().enumerate().map(|(index, column)| {
            let mut key = vec![if index == 0 { b'{' } else { b',' }];
            write_text(&column.name, &mut key);
            key.push(b':');
            key
        });
        JsonLines { times: TimeText::default(), keys: keys.collect() }
    }

    /// Appends the field with this index in its row.
    pub(super) fn field(&mut self, index: usize, field: Field<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.keys[index]);
        match field {
            Field::Null => out.extend_from_slice(b"null"),
            Field::Timestamp(time) => {
                out.push(b'"');
                self.times.write(time, out);
                out.push(b'"');
            }
            Field::BigInt(value) => write_integer(value, out),
            Field::Bytes(bytes) => {
                out.extend_from_slice(b"\"\\");
                write_hex(bytes, out);
                out.push(b'"');
            }
            Field::Text(text) => write_text(text.as_str(), out),
        }
    }

    /// Appends what ends a row.
    pub(super) fn end_row(out: &mut Vec<u8>) {
        out.extend_from_slice(b"}\n");
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing a text to memory cannot fail");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use stream_core::row::ColumnType;
    use stream_core::time::EventTime;

    #[test]
    fn a_row_is_an_object_that_reads_back() {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
        let columns = [
            column("t", ColumnType::Timestamp),
            column("a\"b", ColumnType::Text),
            column("n", ColumnType::BigInt),
            column("raw", ColumnType::Bytes),
        ];
        let (mut json, mut out) = (JsonLines::new(&columns), Vec::new());
        let fields = [
            Field::Timestamp(EventTime(0)),
            Field::Text("\u{0}\n\"é".into()),
            Field::BigInt(i64::MIN),
            Field::Bytes(b"\xffA"),
        ];
        for (index, field) in fields.into_iter().enumerate() {
            json.field(index, field, &mut out);
        }
        JsonLines::end_row(&mut out);
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected =
            serde_json::json!({"t": "1970-01-01 00:00:00.000", "a\"b": "\u{0}\n\"é", "n": i64::MIN, "raw": "\\xff41"});
        assert_eq!(read, expected);
        assert_eq!(out.last(), Some(&b'\n'));
    }
}
