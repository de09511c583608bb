//! A publisher's connection, for as long as nothing has failed on it.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use stream_core::ids::{CheckpointId, TableIndex};

use super::connect::within;
use super::table_name::TableName;
use super::tables::Table;
use super::upsert;

/// How long a table may take to be made.
const MADE_WITHIN: Duration = Duration::from_secs(60);
/// How long the changes of a table may take to be done to it: a million rows take about a minute, and behind a savepoint all that is open
/// changes.
const CHANGED_WITHIN: Duration = Duration::from_secs(1200);

/// A connection on which nothing has failed.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    /// What the ledger said on it last.
    pub(super) last_epoch: CheckpointId,
    /// The tables whose changes can wait on it.
    can_wait: Vec<TableIndex>,
}

impl Session {
    /// A new connection.
    pub(super) fn new(connection: PgConnection, last_epoch: CheckpointId) -> Self {
        Session { connection, last_epoch, can_wait: Vec::new() }
    }

    /// The same, on which the ledger said that.
    pub(super) fn at(self, last_epoch: CheckpointId) -> Self {
        Session { last_epoch, ..self }
    }

    /// Where changes of a table wait; makes the place if this is the first of them.
    pub(super) async fn waiting(&mut self, table: &Table, index: TableIndex) -> Result<TableName, sqlx::Error> {
        if !self.can_wait.contains(&index) {
            let made = sqlx::raw_sql(AssertSqlSafe(upsert::create_waiting(table, index)));
            within(MADE_WITHIN, made.execute(&mut self.connection)).await?;
            self.can_wait.push(index);
        }
        Ok(upsert::waiting(index))
    }

    /// Does the changes that wait to their table.
    pub(super) async fn apply(&mut self, table: &Table, index: TableIndex) -> Result<(), sqlx::Error> {
        let applied = sqlx::raw_sql(AssertSqlSafe(upsert::apply(table, index))).execute(&mut self.connection);
        within(CHANGED_WITHIN, applied).await.map(drop)
    }
}
