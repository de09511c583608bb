//! Rows as the text of a file.

use stream_core::row::{Column, DecodeRowError, RowBatch};

use super::csv::Csv;
use super::json_lines::JsonLines;

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

    /// Appends rows.
    ///
    /// # Errors
    /// If they are not rows of these columns.
    pub(super) fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), DecodeRowError> {
        let RowText { writer, columns } = self;
        let mut reader = batch.reader(columns);
        match writer {
            Writer::Csv(csv) => {
                while reader.next_row(|index, field| csv.field(index, columns.len(), field, out))? {
                    Csv::end_row(out);
                }
            }
            Writer::JsonLines(json) => {
                while reader.next_row(|index, field| json.field(index, field, out))? {
                    JsonLines::end_row(out);
                }
            }
        }
        Ok(())
    }
}
