//! The sink: gathers rows, and copies them into the table when flushed.

use std::time::Duration;

use memchr::memchr;
use sqlx::postgres::PgConnection;
use stream_core::pipeline::SinkSpec;
use stream_core::row::{Column, DecodeRowError, Field, RowBatch};
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, SinkWriter, cause_chain};
use stream_runtime::retry::Backoff;
use tokio::runtime::Handle;

use super::connect::{close, connect};
use super::copy::{CopyError, copy, statement};
use super::error::{DriverWords, Error, is_passing};
use super::settings::Settings;
use super::table_name::TableName;

/// Rows gathered before they are copied unasked, which bounds the memory: they are kept until they are committed, so that
/// they can be sent again if the connection breaks.
const BUFFER_BYTES: usize = 8 << 20;

/// The waits between tries, and how many seconds of them are enough to say that the server is gone.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(2);
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// The writer of a sink subtask. Used on a plain thread; the connection lives on a tokio runtime.
///
/// A text with a NUL character, which Postgres cannot store, is stored with U+FFFD in its place.
pub struct Writer {
    runtime: Handle,
    settings: Settings,
    table: TableName,
    columns: Vec<Column>,
    statement: String,
    connection: Option<PgConnection>,
    pending: RowBatch,
    written: u64,
    /// Texts with a NUL so far.
    nul_texts: u64,
}

impl Writer {
    /// A writer; it connects at its first flush, and again whenever the connection broke.
    ///
    /// # Errors
    /// If the settings or the table's name cannot be used.
    pub fn open(spec: &SinkSpec, runtime: Handle) -> Result<Self, ConnectorError> {
        let settings = Settings::from_spec(spec).map_err(Error::from)?;
        let table: TableName = spec.table.parse().map_err(Error::TableName)?;
        Ok(Writer {
            runtime,
            settings,
            statement: statement(&table, &spec.columns),
            table,
            columns: spec.columns.clone(),
            connection: None,
            pending: RowBatch::default(),
            written: 0,
            nul_texts: 0,
        })
    }

    /// Copies and commits what was gathered, trying again for some time if the connection breaks before the commit.
    async fn publish(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut backoff = Backoff::new(FIRST_WAIT, MAX_WAIT);
        let mut waited = Duration::ZERO;
        loop {
            let error = match self.try_publish().await {
                Ok(()) => break,
                Err(error) => error,
            };
            let wait = backoff.next_wait();
            if !error.is_passing || waited > GIVE_UP_AFTER {
                return Err(error.error);
            }
            tracing::warn!(table = %self.table, rows = self.pending.rows(), error = %error.error,
                cause = ?cause_chain(&error.error).last(), ?wait, "a flush failed; trying again");
            tokio::time::sleep(wait).await;
            waited += wait;
        }
        self.written += self.pending.rows();
        self.pending.clear();
        Ok(())
    }

    /// One try; after a failure the connection is gone.
    async fn try_publish(&mut self) -> Result<(), FlushError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.settings, "sink").await.map_err(|error| {
                let is_passing = matches!(error, Error::Unreachable { .. });
                FlushError { error, is_passing }
            })?,
        };
        let table = self.table.clone();
        match copy(&mut connection, &self.statement, self.pending.as_bytes()).await {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(CopyError::NotCommitted(error)) => {
                let is_passing = is_passing(&error);
                let error = Error::Rejected { table, source: DriverWords::from(error) };
                Err(FlushError { error, is_passing })
            }
            Err(CopyError::OutcomeUnknown(source)) => {
                let error = Error::OutcomeUnknown { rows: self.pending.rows(), table, source };
                Err(FlushError { error, is_passing: false })
            }
        }
    }

    fn flush_blocking(&mut self) -> Result<(), ConnectorError> {
        let runtime = self.runtime.clone();
        Ok(runtime.block_on(self.publish())?)
    }

    fn gather(&mut self, rows: &RowBatch) -> Result<(), DecodeRowError> {
        let nul_texts = nul_texts(rows, &self.columns)?;
        if nul_texts == 0 {
            self.pending.append(rows);
            return Ok(());
        }
        if self.nul_texts == 0 {
            tracing::warn!(table = %self.table,
                "a text with a NUL character cannot be stored in Postgres; it is stored with U+FFFD in its place");
        }
        self.nul_texts += nul_texts;
        append_without_nul(&mut self.pending, rows, &self.columns)
    }
}

struct FlushError {
    error: Error,
    is_passing: bool,
}

impl SinkWriter for Writer {
    fn write(&mut self, rows: &RowBatch) -> Result<(), ConnectorError> {
        self.gather(rows).map_err(|error| {
            ConnectorError::caused_by(ConnectorErrorKind::Failed, "rows do not fit the sink's columns", error)
        })?;
        if self.pending.as_bytes().len() >= BUFFER_BYTES {
            self.flush_blocking()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.flush_blocking()
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        self.flush_blocking()?;
        if let Some(connection) = self.connection.take() {
            self.runtime.block_on(close(connection));
        }
        if self.nul_texts > 0 {
            tracing::info!(table = %self.table, texts = self.nul_texts, "texts with a NUL character, stored without it");
        }
        Ok(())
    }

    fn rows_written(&self) -> u64 {
        self.written
    }
}

/// How many texts hold a NUL.
fn nul_texts(rows: &RowBatch, columns: &[Column]) -> Result<u64, DecodeRowError> {
    let mut count = 0;
    let mut reader = rows.reader(columns);
    let count_text = |field: Field<'_>| matches!(field, Field::Text(text) if memchr(0, text.as_bytes()).is_some());
    while reader.next_row(|_, field| count += u64::from(count_text(field)))? {}
    Ok(count)
}

fn append_without_nul(out: &mut RowBatch, rows: &RowBatch, columns: &[Column]) -> Result<(), DecodeRowError> {
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
                Field::Text(text) => row.text(Some(&text.replace('\0', "\u{fffd}"))),
            };
        }
    }
    Ok(())
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
        let mut clean = RowBatch::default();
        append_without_nul(&mut clean, &rows, &columns).unwrap();
        assert_eq!(clean, batch([Some("a\u{fffd}b\u{fffd}"), None, Some("c")]));
        assert_eq!(nul_texts(&clean, &columns).unwrap(), 0);
    }
}
