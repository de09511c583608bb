//! Rows into a table by one `COPY … (FORMAT binary)` in a transaction of its own.
//!
//! Whatever fails here leaves the connection in a state that nobody should guess at (a `COPY` that is dropped unfinished
//! breaks the next one), so the caller closes it after any error.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use stream_core::row::Column;

use super::error::{DriverWords, sql_state};
use super::table_name::{TableName, quoted};

/// Bytes handed to the driver at once.
const SEND_BYTES: usize = 256 << 10;

/// How long the copy, and then its commit, may take. The server has the same limits for its part, shorter, so that ours
/// only strike where the network is silent.
const COPY_WITHIN: Duration = Duration::from_secs(150);
const COMMIT_WITHIN: Duration = Duration::from_secs(60);
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '120s'; SET LOCAL lock_timeout = '30s'; \
                     SET LOCAL idle_in_transaction_session_timeout = '60s'";

/// The signature, no flags, no extension (PostgreSQL documentation, "COPY", "Binary Format").
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Why rows were not copied.
#[derive(Debug)]
pub(super) enum CopyError {
    /// Nothing was committed.
    NotCommitted(sqlx::Error),
    /// The connection broke while it was committed.
    OutcomeUnknown(DriverWords),
}

/// The statement for rows of these columns.
pub(super) fn statement(table: &TableName, columns: &[Column]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", columns.join(", "))
}

/// Copies rows and commits them.
pub(super) async fn copy(connection: &mut PgConnection, statement: &str, rows: &[u8]) -> Result<(), CopyError> {
    within(COPY_WITHIN, send(connection, statement, rows)).await.map_err(CopyError::NotCommitted)?;
    let commit = sqlx::raw_sql("COMMIT").execute(connection);
    match within(COMMIT_WITHIN, commit).await {
        Ok(_) => Ok(()),
        // The server said no, and said it in time: it has rolled back.
        Err(error) if matches!(error, sqlx::Error::Database(_)) && !is_shutdown(&error) => {
            Err(CopyError::NotCommitted(error))
        }
        Err(error) => Err(CopyError::OutcomeUnknown(DriverWords::from(error))),
    }
}

async fn send(connection: &mut PgConnection, statement: &str, rows: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(BEGIN)).execute(&mut *connection).await?;
    let mut copy = connection.copy_in_raw(statement).await?;
    let sent = async {
        copy.send(HEADER).await?;
        for part in rows.chunks(SEND_BYTES) {
            copy.send(part).await?;
        }
        copy.send(TRAILER).await.map(drop)
    };
    match sent.await {
        Ok(()) => copy.finish().await.map(drop),
        Err(error) => {
            // The server may have said why before it closed the connection; that is worth more than "broken pipe".
            let why = copy.abort("the rows could not be sent").await;
            Err(why.err().filter(|error| matches!(error, sqlx::Error::Database(_))).unwrap_or(error))
        }
    }
}

/// An error while the server goes down says nothing about a commit under way.
fn is_shutdown(error: &sqlx::Error) -> bool {
    sql_state(error).is_some_and(|state| state.starts_with("57P") || state.starts_with("08"))
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let timed_out = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(limit, work).await.unwrap_or_else(timed_out)
}
