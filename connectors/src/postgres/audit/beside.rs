//! What an audit asks of the tables beside the result.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use stream_runtime::connector::ConnectorError;

use super::super::error::Error;
use super::super::table_name::{TableName, literal, quoted};
use super::{Audit, failed, number};

impl Audit {
    /// How many rows of a job each side table has, in the sink's order; `None` of one that has an outlet.
    ///
    /// # Errors
    /// As a user is to read them: a table is missing, or may not be read.
    pub async fn side_rows(&mut self, job_id: &str) -> Result<Vec<Option<u64>>, ConnectorError> {
        let mut counts = Vec::new();
        for side in &self.sink.side_tables {
            if side.outlet.is_some() {
                counts.push(None);
                continue;
            }
            let table: TableName = side.name.parse().map_err(Error::TableName)?;
            let statement = format!("SELECT pg_catalog.count(*)::text FROM {table} WHERE job_id = {}", literal(job_id));
            let row = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_one(&mut self.connection).await;
            let count = row.and_then(|row| number(&row, 0));
            counts.push(Some(count.map_err(|error| failed(&self.settings, &table, error))?));
        }
        Ok(counts)
    }

    /// The sum over column `summed` of a job's rows in another table.
    ///
    /// # Errors
    /// As a user is to read them: the table is missing, or may not be read.
    pub async fn sum(&mut self, table: &str, summed: &str, job_id: &str) -> Result<i128, ConnectorError> {
        let table: TableName = table.parse().map_err(Error::TableName)?;
        let (summed, job_id) = (quoted(summed), literal(job_id));
        let statement =
            format!("SELECT coalesce(pg_catalog.sum({summed}), 0)::text FROM {table} WHERE job_id = {job_id}");
        let row = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_one(&mut self.connection).await;
        row.and_then(|row| number(&row, 0)).map_err(|error| failed(&self.settings, &table, error).into())
    }

    /// Partition and offset of each record of a job in a table of dead letters whose reason ends so.
    ///
    /// # Errors
    /// As a user is to read them: the table is missing, or may not be read.
    pub async fn records_where(
        &mut self,
        table: &str,
        job_id: &str,
        reason: &str,
    ) -> Result<BTreeSet<(u32, u64)>, ConnectorError> {
        let table: TableName = table.parse().map_err(Error::TableName)?;
        let statement = format!(
            "SELECT partition::text, \"offset\"::text FROM {table} \
             WHERE job_id = {} AND pg_catalog.right(reason, {}) = {}",
            literal(job_id),
            reason.len(),
            literal(reason)
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&mut self.connection).await;
        let read = |row: &PgRow| Ok((number(row, 0)?, number(row, 1)?));
        let records = rows.and_then(|rows| rows.iter().map(read).collect());
        records.map_err(|error| failed(&self.settings, &table, error).into())
    }
}
