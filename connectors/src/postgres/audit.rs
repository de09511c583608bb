//! What an audit asks: the ledger and the table, at one instant.
//!
//! Everything is read in one transaction that sees one state of the database (`REPEATABLE READ`) and writes nothing: the rows
//! that are read later are those of the ledger that was read first.

mod beside;
mod replayed;

use serde::Deserialize;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use stream_core::checkpoint::{Accounts, Cut};
use stream_core::ids::{CheckpointId, TableIndex};
use stream_core::pipeline::SinkSpec;
use stream_core::row::RowBatch;
use stream_runtime::connector::ConnectorError;
use tokio_stream::StreamExt as _;

use super::connect::{close, connect};
use super::copy::HEADER;
use super::error::{DriverWords, Error, sql_state};
use super::settings::Settings;
use super::table_name::{TableName, literal, quoted};

pub use replayed::Replayed;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Rows handed on at once are at least of so many bytes, but for the last.
const CHUNK_BYTES: usize = 256 << 10;

/// A connection that reads one state of the database.
pub struct Audit {
    connection: PgConnection,
    settings: Settings,
    table: TableName,
    sink: SinkSpec,
}

/// What the table holds, and what the ledger says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The table's rows.
    pub rows: u64,
    /// The sum over the column that was asked for.
    pub sum: i128,
    /// Rows in which the other column is NULL.
    pub nulls: u64,
    /// One entry for each job that publishes, or has published, into the table; by job.
    pub entries: Vec<LedgerEntry>,
}

/// What the ledger says of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The job's id.
    pub job_id: String,
    /// The epoch published last.
    pub last_epoch: CheckpointId,
    /// Rows published.
    pub rows_total: u64,
    /// Rows published into each side table, in the sink's order.
    pub side_rows: Vec<u64>,
    /// The accounts at the last epoch's cut.
    pub accounts: Accounts,
    /// That cut; none before the first epoch, and in a ledger of a version that did not keep it.
    pub cut: Option<Cut>,
    /// What late replays did since.
    pub replayed: Replayed,
}

impl Audit {
    /// Connects, and begins the transaction.
    ///
    /// # Errors
    /// As a user is to read them.
    pub async fn begin(sink: &SinkSpec) -> Result<Self, ConnectorError> {
        let settings = Settings::from_spec(sink).map_err(Error::from)?;
        let table: TableName = sink.table.parse().map_err(Error::TableName)?;
        let mut connection = connect(&settings, "audit").await?;
        let begun = sqlx::raw_sql(BEGIN).execute(&mut connection).await;
        let audit = Audit { connection, settings, table, sink: sink.clone() };
        begun.map_err(|error| audit.failed(error))?;
        Ok(audit)
    }

    /// Table and ledger, by one statement: the number of rows, the sum over column `summed`, and in how many rows column
    /// `nullable` is NULL.
    ///
    /// # Errors
    /// As a user is to read them: table or ledger is missing, or may not be read.
    pub async fn look(&mut self, summed: &str, nullable: &str) -> Result<Look, ConnectorError> {
        let (table, schema, target) = (&self.table, quoted(&self.table.schema), literal(&self.table.to_string()));
        let statement = format!(
            "SELECT t.rows::text, t.sum::text, t.nulls::text, l.job_id, l.last_epoch, l.rows_total, l.events_read, \
                    l.events_in_sessions, l.late, l.bad, l.open_events, l.cut::text, \
                    pg_catalog.array_to_string(l.side_rows, ' ') \
             FROM (SELECT pg_catalog.count(*) AS rows, coalesce(pg_catalog.sum({summed}), 0) AS sum, \
                          pg_catalog.count(*) FILTER (WHERE {nullable} IS NULL) AS nulls FROM {table}) AS t \
             LEFT JOIN {schema}.gapwise_ledger AS l ON l.target = {target} ORDER BY l.job_id, l.lane",
            summed = quoted(summed),
            nullable = quoted(nullable),
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&mut self.connection).await;
        let mut look = rows.and_then(|rows| read(&rows)).map_err(|error| self.failed(error))?;
        for (job_id, replayed) in self.replayed().await.map_err(|error| self.failed(error))? {
            let entry = look.entries.iter_mut().find(|entry| entry.job_id == job_id);
            entry.into_iter().for_each(|entry| entry.replayed = replayed);
        }
        Ok(look)
    }

    /// Passes all rows of the table, with the sink's columns, to `on_rows`.
    ///
    /// # Errors
    /// If the server fails, or the table's columns are of other types than the sink's.
    pub async fn rows(&mut self, mut on_rows: impl FnMut(&RowBatch)) -> Result<(), ConnectorError> {
        let columns: Vec<String> = self.sink.columns.iter().map(|column| quoted(&column.name)).collect();
        let statement = format!("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)", columns.join(", "), self.table);
        let Audit { connection, settings, table, sink } = self;
        let failed = |error| failed(settings, table, error);
        let batch = |tuples| {
            RowBatch::from_bytes(TableIndex::RESULT, tuples, &sink.columns).map_err(|error| {
                let differences = format!("its rows are not of the job's types ({error})");
                Error::Mismatch { table: table.clone(), differences }
            })
        };
        let mut stream = connection.copy_out_raw(&statement).await.map_err(failed)?;
        let (mut gathered, mut is_first) = (Vec::new(), true);
        while let Some(piece) = stream.next().await {
            gathered.extend_from_slice(&piece.map_err(failed)?);
            if is_first && gathered.len() >= HEADER.len() {
                gathered.drain(..HEADER.len());
                is_first = false;
            }
            if gathered.len() >= CHUNK_BYTES {
                let rest = gathered.split_off(whole_tuples(&gathered));
                on_rows(&batch(std::mem::replace(&mut gathered, rest))?);
            }
        }
        gathered.truncate(whole_tuples(&gathered));
        on_rows(&batch(gathered)?);
        Ok(())
    }

    /// Ends the transaction and says goodbye.
    pub async fn close(self) {
        close(self.connection).await;
    }

    fn failed(&self, error: sqlx::Error) -> Error {
        failed(&self.settings, &self.table, error)
    }
}

fn failed(settings: &Settings, table: &TableName, error: sqlx::Error) -> Error {
    match sql_state(&error).as_deref() {
        Some("42501") => Error::MayNotRead { user: settings.user().to_owned(), table: table.clone() },
        Some("42P01" | "3F000" | "42703") => Error::NothingToAudit {
            table: table.clone(),
            address: settings.address(),
            source: DriverWords::from(error),
        },
        _ => Error::Statement { address: settings.address(), source: DriverWords::from(error) },
    }
}

fn read(rows: &[PgRow]) -> Result<Look, sqlx::Error> {
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let mut look =
        Look { rows: number(first, 0)?, sum: number(first, 1)?, nulls: number(first, 2)?, entries: Vec::new() };
    for row in rows {
        if let Some(job_id) = row.try_get::<Option<String>, _>(3)? {
            look.entries.push(entry(job_id, row)?);
        }
    }
    Ok(look)
}

fn entry(job_id: String, row: &PgRow) -> Result<LedgerEntry, sqlx::Error> {
    let count = |index| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
    let cut: Option<String> = row.try_get(11)?;
    let side_rows: String = row.try_get(12)?;
    // What is no cut of ours is as good as none: it says nothing.
    let cut = cut.and_then(|json| Cut::deserialize(&mut serde_json::Deserializer::from_str(&json)).ok());
    Ok(LedgerEntry {
        job_id,
        last_epoch: CheckpointId(count(4)?),
        rows_total: count(5)?,
        side_rows: side_rows.split_whitespace().filter_map(|rows| rows.parse().ok()).collect(),
        accounts: Accounts {
            read: count(6)?,
            in_sessions: count(7)?,
            late: count(8)?,
            bad: count(9)?,
            open: count(10)?,
        },
        cut,
        replayed: Replayed::default(),
    })
}

fn number<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &PgRow,
    index: usize,
) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(index)?;
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// How many of these bytes are whole tuples; what follows is the beginning of one, or the trailer.
fn whole_tuples(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(next) = tuple_end(bytes, end) {
        end = next;
    }
    end
}

fn tuple_end(bytes: &[u8], start: usize) -> Option<usize> {
    let fields = i16::from_be_bytes(*bytes.get(start..)?.first_chunk()?);
    let mut at = start + 2;
    // The trailer has −1 fields.
    for _ in 0..u16::try_from(fields).ok()? {
        let length = i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    (at <= bytes.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use stream_core::time::EventTime;

    use super::*;

    #[test]
    fn tuples_are_cut_where_they_end_and_the_trailer_is_none() {
        let mut rows = RowBatch::default();
        rows.row(2).timestamp(EventTime(7)).text(None);
        let first = rows.as_bytes().len();
        rows.row(2).timestamp(EventTime(8)).text(Some("abc"));
        let whole = rows.as_bytes().len();
        let bytes = [rows.as_bytes(), &(-1_i16).to_be_bytes()].concat();
        for end in 0..=bytes.len() {
            let expected = if end >= whole {
                whole
            } else if end >= first {
                first
            } else {
                0
            };
            assert_eq!(whole_tuples(&bytes[..end]), expected, "of {end} bytes");
        }
    }
}
