//! Rows into a file or to standard output.

use std::io::{self, Write};
use std::path::Path;

use stream_core::row::{Column, RowBatch};
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, SinkWriter};

use super::csv::Csv;
use super::error::{Action, Error};
use super::json_lines::JsonLines;
use super::whole_file::WholeFile;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// CSV with a header, as PostgreSQL writes it.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// Text gathered before it is written.
const BUFFER_BYTES: usize = 256 << 10;

/// A writer of a file, which gets its name when finished.
///
/// # Errors
/// If the file cannot be created.
pub fn create(path: &str, format: Format, columns: &[Column]) -> Result<Box<dyn SinkWriter>, Error> {
    Ok(Box::new(TextSink::new(Output::File(WholeFile::create(path)?), format, columns)))
}

/// A writer of CSV to standard output.
pub fn stdout(columns: &[Column]) -> Box<dyn SinkWriter> {
    Box::new(TextSink::new(Output::Stdout, Format::Csv, columns))
}

struct TextSink {
    output: Output,
    rows: RowText,
    columns: Vec<Column>,
    text: Vec<u8>,
    /// Rows in `text`.
    pending: u64,
    written: u64,
}

enum Output {
    File(WholeFile),
    Stdout,
}

enum RowText {
    Csv(Csv),
    JsonLines(JsonLines),
}

impl TextSink {
    fn new(output: Output, format: Format, columns: &[Column]) -> Self {
        let mut text = Vec::with_capacity(BUFFER_BYTES + (BUFFER_BYTES >> 2));
        let rows = match format {
            Format::Csv => {
                Csv::header(columns, &mut text);
                RowText::Csv(Csv::default())
            }
            Format::JsonLines => RowText::JsonLines(JsonLines::new(columns)),
        };
        TextSink { output, rows, columns: columns.to_vec(), text, pending: 0, written: 0 }
    }

    fn hand_on(&mut self) -> Result<(), Error> {
        match &mut self.output {
            Output::File(file) => file.write(&self.text)?,
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                let written = stdout.write_all(&self.text).and_then(|()| stdout.flush());
                written.map_err(|error| Error::io(Action::Write, Path::new("standard output"), error))?;
            }
        }
        self.text.clear();
        self.written += std::mem::take(&mut self.pending);
        Ok(())
    }
}

impl SinkWriter for TextSink {
    fn write(&mut self, batch: &RowBatch) -> Result<(), ConnectorError> {
        let TextSink { rows, columns, text, .. } = self;
        let mut reader = batch.reader(columns);
        loop {
            let next = match rows {
                RowText::Csv(csv) => reader.next_row(|index, field| csv.field(index, columns.len(), field, text)),
                RowText::JsonLines(json) => reader.next_row(|index, field| json.field(index, field, text)),
            };
            let is_row = next.map_err(|error| {
                ConnectorError::caused_by(ConnectorErrorKind::Failed, "rows do not fit the sink's columns", error)
            })?;
            if !is_row {
                break;
            }
            match rows {
                RowText::Csv(_) => Csv::end_row(text),
                RowText::JsonLines(_) => JsonLines::end_row(text),
            }
        }
        self.pending += batch.rows();
        if self.text.len() >= BUFFER_BYTES {
            self.hand_on()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(self.hand_on()?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        self.hand_on()?;
        match self.output {
            Output::File(file) => Ok(file.finish()?),
            Output::Stdout => Ok(()),
        }
    }

    fn rows_written(&self) -> u64 {
        self.written
    }
}
