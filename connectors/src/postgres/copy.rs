//! Rows into a table by `COPY … (FORMAT binary)`, a piece at a time.
//!
//! Whatever fails here leaves the connection in a state that nobody should guess at (a `COPY` that is dropped unfinished
//! breaks the next one), so the caller closes it after any error.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgCopyIn};
use stream_core::row::{Column, RowBatch};

use super::connect::within;
use super::table_name::{TableName, quoted};

/// Bytes handed to the driver at once.
const SEND_BYTES: usize = 256 << 10;

/// How long the server may take to accept a piece, and then to check the rest of what it has. No limit on the whole: an
/// epoch that waited for the server for hours is large.
const PIECE_WITHIN: Duration = Duration::from_secs(60);
const FINISH_WITHIN: Duration = Duration::from_secs(150);
/// How long the reason of a failure is waited for.
const REASON_WITHIN: Duration = Duration::from_secs(2);

/// The signature, no flags, no extension (PostgreSQL documentation, "COPY", "Binary Format").
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// The statement for rows of these columns.
pub(super) fn statement(table: &TableName, columns: &[Column]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", columns.join(", "))
}

/// A `COPY` under way.
pub(super) struct CopyIn<'a> {
    copy: Option<PgCopyIn<&'a mut PgConnection>>,
    /// What is not sent yet, so that small batches do not travel one by one.
    gathered: Vec<u8>,
}

impl<'a> CopyIn<'a> {
    /// Begins one within the transaction of the connection.
    pub(super) async fn begin(connection: &'a mut PgConnection, statement: &str) -> Result<Self, sqlx::Error> {
        let copy = within(PIECE_WITHIN, connection.copy_in_raw(statement)).await?;
        let mut gathered = Vec::with_capacity(SEND_BYTES + TRAILER.len());
        gathered.extend_from_slice(HEADER);
        Ok(CopyIn { copy: Some(copy), gathered })
    }

    /// Sends rows, or gathers them. What fills a piece goes from where it is: only what is left between two is copied.
    pub(super) async fn send(&mut self, rows: &RowBatch) -> Result<(), sqlx::Error> {
        let room = SEND_BYTES - self.gathered.len();
        let Some((rest, more)) = rows.as_bytes().split_at_checked(room) else {
            self.gathered.extend_from_slice(rows.as_bytes());
            return Ok(());
        };
        self.gathered.extend_from_slice(rest);
        self.hand_on().await?;
        let (pieces, left) = more.as_chunks::<SEND_BYTES>();
        for piece in pieces {
            self.send_piece(piece).await?;
        }
        self.gathered.extend_from_slice(left);
        Ok(())
    }

    /// Sends the rest and waits until the server has taken all of it.
    pub(super) async fn finish(mut self) -> Result<(), sqlx::Error> {
        self.gathered.extend_from_slice(TRAILER);
        self.hand_on().await?;
        let copy = self.copy.take().ok_or_else(gone)?;
        within(FINISH_WITHIN, copy.finish()).await.map(drop)
    }

    async fn hand_on(&mut self) -> Result<(), sqlx::Error> {
        let gathered = std::mem::take(&mut self.gathered);
        self.send_piece(&gathered).await?;
        self.gathered = gathered;
        self.gathered.clear();
        Ok(())
    }

    async fn send_piece(&mut self, piece: &[u8]) -> Result<(), sqlx::Error> {
        let copy = self.copy.as_mut().ok_or_else(gone)?;
        let sent = within(PIECE_WITHIN, async { copy.send(piece).await.map(drop) }).await;
        match sent {
            Ok(()) => Ok(()),
            Err(error) => Err(self.reason().await.unwrap_or(error)),
        }
    }

    /// The server may have said why before it closed the connection; that is worth more than "broken pipe".
    async fn reason(&mut self) -> Option<sqlx::Error> {
        let copy = self.copy.take()?;
        let reason = within(REASON_WITHIN, copy.abort("the rows could not be sent")).await.err()?;
        matches!(reason, sqlx::Error::Database(_)).then_some(reason)
    }
}

fn gone() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::NotConnected.into())
}
