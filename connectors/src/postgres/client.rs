//! A connection for tools and tests: statements in, text out, as psql shows it.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Column as _, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef};

use super::connect::{close, connect};
use super::error::{DriverWords, Error};
use super::settings::Settings;

/// A connection.
pub struct Client {
    connection: PgConnection,
    settings: Settings,
}

/// What a query gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<ColumnHead>,
    /// Its rows: each field in the server's text form, `None` for NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A column of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnHead {
    /// Its name.
    pub name: String,
    /// Its type's name, such as `INT8` or `TEXT`.
    pub type_name: String,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If the server cannot be reached, or refuses the user.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        Ok(Client { connection: connect(settings, "client").await?, settings: settings.clone() })
    }

    /// Runs one statement or several between semicolons; the number of rows they changed.
    ///
    /// # Errors
    /// If one fails.
    pub async fn execute(&mut self, sql: &str) -> Result<u64, Error> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.failed(error))
    }

    /// Runs one query. The fields are the server's own text, which is what psql prints.
    ///
    /// # Errors
    /// If it fails.
    pub async fn query_text(&mut self, sql: &str) -> Result<Table, Error> {
        // Prepared only to learn the columns, which a query without rows does not tell; binary is what it would answer.
        let sql = sql.trim().trim_end_matches(';');
        let prepared = (&mut self.connection).prepare(AssertSqlSafe(sql).into_sql_str()).await;
        let columns = match prepared {
            Ok(prepared) => prepared.columns().iter().map(head).collect(),
            Err(error) => return Err(self.failed(error)),
        };
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await;
        let rows = rows.and_then(|rows| rows.iter().map(texts).collect());
        rows.map(|rows| Table { columns, rows }).map_err(|error| self.failed(error))
    }

    /// Says goodbye.
    pub async fn close(self) {
        close(self.connection).await;
    }

    fn failed(&self, error: sqlx::Error) -> Error {
        Error::Statement { address: self.settings.address(), source: DriverWords::from(error) }
    }
}

fn head(column: &sqlx::postgres::PgColumn) -> ColumnHead {
    ColumnHead { name: column.name().to_owned(), type_name: column.type_info().name().to_owned() }
}

fn texts(row: &sqlx::postgres::PgRow) -> Result<Vec<Option<String>>, sqlx::Error> {
    let text = |index| {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_str().map(|text| Some(text.to_owned())).map_err(sqlx::Error::Decode)
    };
    (0..row.len()).map(text).collect()
}
