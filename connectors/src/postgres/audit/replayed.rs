//! What late replays did, as their account and their marks tell.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use stream_runtime::connector::ConnectorError;

use super::super::error::Error;
use super::super::table_name::{TableName, literal, quoted};
use super::{Audit, failed, number};

/// What all late replays of a job did to the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Late events that are in its sessions now.
    pub events: u64,
    /// Rows that it has more, or fewer, for that.
    pub rows_added: i64,
}

impl Audit {
    /// What late replays did, by job; nothing where there never was one.
    pub(super) async fn replayed(&mut self) -> Result<Vec<(String, Replayed)>, sqlx::Error> {
        let (schema, target) = (&self.table.schema, literal(&self.table.to_string()));
        let is_there = format!(
            "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relname = 'gapwise_late_replay'",
            literal(schema)
        );
        if sqlx::raw_sql(AssertSqlSafe(is_there)).fetch_optional(&mut self.connection).await?.is_none() {
            return Ok(Vec::new());
        }
        let statement = format!(
            "SELECT job_id, events, rows_added FROM {}.gapwise_late_replay WHERE target = {target}",
            quoted(schema)
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&mut self.connection).await?;
        let read = |row: &PgRow| {
            let events: i64 = row.try_get(1)?;
            Ok((row.try_get(0)?, Replayed { events: events.unsigned_abs(), rows_added: row.try_get(2)? }))
        };
        rows.iter().map(read).collect()
    }

    /// How many late events of a job are marked as replayed in `table`.
    ///
    /// # Errors
    /// As a user is to read them: the table is missing, was never replayed from, or may not be read.
    pub async fn marked_as_replayed(&mut self, table: &str, job_id: &str) -> Result<u64, ConnectorError> {
        let table: TableName = table.parse().map_err(Error::TableName)?;
        let statement =
            format!("SELECT pg_catalog.count(replayed_at)::text FROM {table} WHERE job_id = {}", literal(job_id));
        let row = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_one(&mut self.connection).await;
        row.and_then(|row| number(&row, 0)).map_err(|error| failed(&self.settings, &table, error).into())
    }
}
