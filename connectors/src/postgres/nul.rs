//! Texts with a NUL character, which Postgres cannot store: they are stored with U+FFFD in its place.

use memchr::memchr;
use stream_core::row::{Column, DecodeRowError, Field, RowBatch};

/// How many texts hold a NUL.
///
/// # Errors
/// If they are not rows of these columns.
pub(super) fn nul_texts(rows: &RowBatch, columns: &[Column]) -> Result<u64, DecodeRowError> {
    let mut count = 0;
    let mut reader = rows.reader(columns);
    let count_text = |field: Field<'_>| matches!(field, Field::Text(text) if memchr(0, text.as_bytes()).is_some());
    while reader.next_row(|_, field| count += u64::from(count_text(field)))? {}
    Ok(count)
}

/// The same rows with U+FFFD for each NUL.
///
/// # Errors
/// If they are not rows of these columns.
pub(super) fn without_nul(rows: &RowBatch, columns: &[Column]) -> Result<RowBatch, DecodeRowError> {
    let mut out = RowBatch::of(rows.table());
    let width = u16::try_from(columns.len()).expect("a row's width is written in 16 bits");
    let mut fields = Vec::with_capacity(columns.len());
    let mut reader = rows.reader(columns);
    while reader.next_row(|_, field| fields.push(field))? {
        let mut row = out.row(width);
        for field in fields.drain(..) {
            match field {
                Field::Null => row.null(),
                Field::Timestamp(time) => row.timestamp(time),
                Field::BigInt(value) => row.bigint(value),
                Field::Bytes(bytes) => row.bytes(Some(bytes)),
                Field::Text(text) => row.text(Some(&text.as_str().replace('\0', "\u{fffd}"))),
            };
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use stream_core::row::ColumnType;
    use stream_core::time::EventTime;

    #[test]
    fn only_the_nul_characters_change() {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
        let columns =
            [column("t", ColumnType::Timestamp), column("s", ColumnType::Text), column("n", ColumnType::BigInt)];
        let batch = |texts: [Option<&str>; 3]| {
            let mut batch = RowBatch::default();
            for text in texts {
                batch.row(3).timestamp(EventTime(-1)).text(text).bigint(0);
            }
            batch
        };
        let rows = batch([Some("a\0b\0"), None, Some("c")]);
        assert_eq!(nul_texts(&rows, &columns).unwrap(), 1);
        let clean = without_nul(&rows, &columns).unwrap();
        assert_eq!(clean, batch([Some("a\u{fffd}b\u{fffd}"), None, Some("c")]));
        assert_eq!(nul_texts(&clean, &columns).unwrap(), 0);
    }
}
