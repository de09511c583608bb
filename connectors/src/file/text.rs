//! Rows as the text of a file.

use stream_core::row::{Column, Field, RowBatch};
use stream_runtime::connector::PublishError;

use super::csv::Csv;
use super::json_lines::JsonLines;
use crate::rows::misfit;

/// Text gathered before it is written. A chunk of rows makes some MiB of it: as one text that were as much memory, and new each time.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// CSV with a header, as PostgreSQL writes it.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// Writes rows of some columns in a format.
pub(super) struct RowText {
    writer: Writer,
    columns: Vec<Column>,
}

enum Writer {
    Csv(Csv),
    JsonLines(JsonLines),
}

impl RowText {
    pub(super) fn new(format: Format, columns: &[Column]) -> Self {
        let writer = match format {
            Format::Csv => Writer::Csv(Csv::default()),
            Format::JsonLines => Writer::JsonLines(JsonLines::new(columns)),
        };
        RowText { writer, columns: columns.to_vec() }
    }

    /// Appends what stands before the first row.
    pub(super) fn header(&self, out: &mut Vec<u8>) {
        match self.writer {
            Writer::Csv(_) => Csv::header(&self.columns, out),
            Writer::JsonLines(_) => {}
        }
    }

    /// Appends rows, and has the text written and cleared by `write` each time that [`BUFFER_BYTES`] are full; the rest stays.
    ///
    /// # Errors
    /// If they are not rows of these columns; rows before the first that is none may be written then. And what `write` fails with.
    pub(super) fn rows(
        &mut self,
        batch: &RowBatch,
        text: &mut Vec<u8>,
        write: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let RowText { writer, columns } = self;
        let count = columns.len();
        match writer {
            Writer::Csv(csv) => {
                let field = |index, field: Field<'_>, text: &mut Vec<u8>| csv.field(index, count, field, text);
                write_rows(batch, columns, text, field, Csv::end_row, write)
            }
            Writer::JsonLines(json) => {
                let field = |index, field: Field<'_>, text: &mut Vec<u8>| json.field(index, field, text);
                write_rows(batch, columns, text, field, JsonLines::end_row, write)
            }
        }
    }
}

fn write_rows(
    batch: &RowBatch,
    columns: &[Column],
    text: &mut Vec<u8>,
    mut write_field: impl FnMut(usize, Field<'_>, &mut Vec<u8>),
    end_row: impl Fn(&mut Vec<u8>),
    write: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), PublishError>,
) -> Result<(), PublishError> {
    let mut reader = batch.reader(columns);
    while reader.next_row(|index, field| write_field(index, field, text)).map_err(misfit)? {
        end_row(text);
        if text.len() >= BUFFER_BYTES {
            write(text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use stream_core::row::ColumnType;

    use super::*;

    #[test]
    fn large_batch_is_written_in_pieces_that_make_the_same_text() {
        let columns = [Column { name: "n".to_owned(), column_type: ColumnType::BigInt }];
        // Nine bytes of CSV each: a little more than four pieces.
        let numbers = 10_000_000..10_131_072;
        let mut batch = RowBatch::default();
        for n in numbers.clone() {
            batch.row(1).bigint(n);
        }
        for (format, expected) in [
            (Format::Csv, numbers.clone().map(|n| format!("{n}\n")).collect::<String>()),
            (Format::JsonLines, numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()),
        ] {
            let (mut text, mut written, mut pieces) = (Vec::new(), Vec::new(), 0);
            let mut write = |text: &mut Vec<u8>| {
                pieces += 1;
                written.append(text);
                Ok(())
            };
            RowText::new(format, &columns).rows(&batch, &mut text, &mut write).unwrap();
            assert!(pieces >= 4 && text.len() < BUFFER_BYTES, "{pieces} pieces, {} bytes left", text.len());
            assert!(text.capacity() < 2 * BUFFER_BYTES + 64, "{} bytes", text.capacity());
            written.append(&mut text);
            assert!(written == expected.as_bytes(), "{format:?}");
        }
    }
}
