//! Makes sure, at submit, that the tables are there and that the rows fit.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};
use stream_core::pipeline::SinkSpec;
use stream_core::row::{Column, ColumnType};
use stream_runtime::connector::ConnectorError;

use super::connect::{close, connect_sink};
use super::error::{DriverWords, Error, sql_state};
use super::ledger;
use super::settings::Settings;
use super::table_name::{TableName, TableNameError, quoted};
use super::tables::{Table, Tables};
use super::upsert;

/// Two jobs may create the table at once; who comes second finds it at the next look.
const LOOKS: usize = 3;

/// Reaches the database, creates the tables that are missing, and checks that their columns fit and may be written. A table
/// may have the columns in another order, and more of them if those can be left out. Likewise the ledger beside it.
///
/// # Errors
/// As a user is to read them: the server cannot be reached or refuses the user, or the table does not fit.
pub async fn check(spec: &SinkSpec) -> Result<(), ConnectorError> {
    let settings = Settings::from_spec(spec).map_err(Error::from)?;
    let tables = Tables::of(spec).map_err(Error::TableName)?;
    let mut connection = connect_sink(&settings, "check").await?;
    let result = check_all(&mut connection, &settings, &tables).await;
    close(connection).await;
    Ok(result?)
}

/// As [`check`], for rows that somebody else is to write: without a ledger, and without side tables.
///
/// # Errors
/// As those of [`check`].
pub async fn check_result(spec: &SinkSpec) -> Result<(), ConnectorError> {
    let settings = Settings::from_spec(spec).map_err(Error::from)?;
    let Tables { result: table, .. } = Tables::of(spec).map_err(Error::TableName)?;
    let mut connection = connect_sink(&settings, "check").await?;
    let result = Check { settings: &settings, table: &table }.run(&mut connection).await;
    close(connection).await;
    Ok(result?)
}

/// The statement that makes the table of the result.
///
/// # Errors
/// If its name is none.
pub fn definition(spec: &SinkSpec) -> Result<String, TableNameError> {
    Ok(create_statement(&Tables::of(spec)?.result))
}

fn create_statement(table: &Table) -> String {
    let (name, columns) = (&table.name, definitions(&table.columns));
    match table.key() {
        None => format!("CREATE TABLE IF NOT EXISTS {name} ({columns})"),
        // Rows are replaced all the time: there is to be room for the new one on the same page, which spares the index a change.
        Some(key) => format!(
            "CREATE TABLE IF NOT EXISTS {name} ({columns}, PRIMARY KEY ({})) WITH (fillfactor = 60)",
            quoted(&key.name)
        ),
    }
}

/// Columns as they stand in a definition.
pub(super) fn definitions(columns: &[Column]) -> String {
    let definition = |column: &Column| format!("{} {}", quoted(&column.name), type_name(column.column_type));
    columns.iter().map(definition).collect::<Vec<String>>().join(", ")
}

async fn check_all(connection: &mut PgConnection, settings: &Settings, tables: &Tables) -> Result<(), Error> {
    for table in tables.iter() {
        Check { settings, table }.run(connection).await?;
    }
    ledger::ensure(connection, settings, tables).await
}

struct Check<'a> {
    settings: &'a Settings,
    table: &'a Table,
}

/// A column as the catalog has it.
struct Found {
    name: String,
    type_oid: u32,
    type_name: String,
    /// A row can leave it out.
    is_optional: bool,
    is_generated: bool,
}

impl Check<'_> {
    async fn run(&self, connection: &mut PgConnection) -> Result<(), Error> {
        for _ in 0..LOOKS {
            match self.relation(connection).await? {
                None => self.create(connection).await?,
                Some((_, kind)) if !matches!(kind, 'r' | 'p' | 'f') => {
                    return Err(Error::NotATable { table: self.table.name.clone(), kind: kind_name(kind) });
                }
                Some((oid, _)) => {
                    let mut differences = differences(&self.table.columns, &self.found(connection, oid).await?);
                    if let Some(key) = self.table.key() {
                        let is_unique = upsert::is_unique(connection, oid, &key.name).await;
                        let is_missing = !is_unique.map_err(|error| self.failed(error))?;
                        differences.extend(is_missing.then(|| format!("column `{}` has no unique index", key.name)));
                    }
                    return self.fits(&differences);
                }
            }
        }
        let source = DriverWords("it is created and dropped again and again".to_owned());
        Err(Error::Statement { address: self.settings.address(), source })
    }

    /// The object of that name: its number, and what kind of thing it is.
    async fn relation(&self, connection: &mut PgConnection) -> Result<Option<(i64, char)>, Error> {
        let query = sqlx::query(
            "SELECT c.oid::pg_catalog.int8, c.relkind::pg_catalog.text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
        );
        let TableName { schema, name } = &self.table.name;
        let query = query.bind(schema).bind(name).persistent(false);
        let row = query.fetch_optional(connection).await.map_err(|error| self.failed(error))?;
        let read = |row: sqlx::postgres::PgRow| -> Result<_, sqlx::Error> {
            let kind: String = row.try_get(1)?;
            Ok((row.try_get(0)?, kind.chars().next().unwrap_or(' ')))
        };
        row.map(read).transpose().map_err(|error| self.failed(error))
    }

    async fn create(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let statement = create_statement(self.table);
        let created = sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await;
        let table = self.table.name.clone();
        match created {
            Ok(_) => {
                tracing::info!(%table, "created the table");
                Ok(())
            }
            Err(error) => match sql_state(&error).as_deref() {
                // Another job was faster: the name of the table, or of its row type, is taken.
                Some("42P07" | "42710" | "23505") => Ok(()),
                Some("42501" | "25006") => {
                    let (user, schema) = (self.settings.user().to_owned(), quoted(&table.schema));
                    let grant = format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {};", quoted(&user));
                    Err(Error::NoTable { user, table, grant })
                }
                Some("3F000") => Err(Error::NoSchema { schema: table.schema.clone(), table }),
                _ => Err(self.failed(error)),
            },
        }
    }

    async fn found(&self, connection: &mut PgConnection, oid: i64) -> Result<Vec<Found>, Error> {
        let query = sqlx::query(
            "SELECT a.attname::pg_catalog.text, a.atttypid::pg_catalog.int8, \
                    pg_catalog.format_type(a.atttypid, a.atttypmod), \
                    NOT a.attnotnull OR a.atthasdef OR a.attidentity <> '', \
                    a.attgenerated <> '' OR a.attidentity = 'a' \
             FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        );
        let rows = query.bind(oid).persistent(false).fetch_all(connection).await;
        let read = |row: &sqlx::postgres::PgRow| -> Result<Found, sqlx::Error> {
            Ok(Found {
                name: row.try_get(0)?,
                type_oid: u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default(),
                type_name: row.try_get(2)?,
                is_optional: row.try_get(3)?,
                is_generated: row.try_get(4)?,
            })
        };
        let found = rows.and_then(|rows| rows.iter().map(read).collect());
        found.map_err(|error| self.failed(error))
    }

    fn fits(&self, differences: &[String]) -> Result<(), Error> {
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::Mismatch { table: self.table.name.clone(), differences: differences.join(", ") })
    }

    fn failed(&self, error: sqlx::Error) -> Error {
        Error::Statement { address: self.settings.address(), source: DriverWords::from(error) }
    }
}

/// What keeps rows of `columns` from fitting, in the words of a message.
fn differences(columns: &[Column], found: &[Found]) -> Vec<String> {
    let mut differences = Vec::new();
    for column in columns {
        let expected = type_name(column.column_type);
        match found.iter().find(|found| found.name == column.name) {
            None => differences.push(format!("column `{}` {expected} is missing", column.name)),
            Some(found) if found.is_generated => {
                differences.push(format!("column `{}` is generated, expected a plain one", column.name));
            }
            Some(found) if !takes(found.type_oid, column.column_type) => {
                let found = &found.type_name;
                differences.push(format!("column `{}` is `{found}`, expected `{expected}`", column.name));
            }
            Some(_) => {}
        }
    }
    let is_foreign = |found: &&Found| columns.iter().all(|column| column.name != found.name);
    for found in found.iter().filter(is_foreign).filter(|found| !found.is_optional && !found.is_generated) {
        differences
            .push(format!("column `{}` may not be NULL and has no default, which the job cannot fill", found.name));
    }
    differences
}

fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Timestamp => "TIMESTAMP(3)",
        ColumnType::Text => "VARCHAR",
        ColumnType::BigInt => "BIGINT",
        ColumnType::Bytes => "BYTEA",
    }
}

/// Whether a column of the catalog's type takes our bytes; the numbers are fixed in Postgres' `pg_type.dat`.
fn takes(type_oid: u32, column_type: ColumnType) -> bool {
    const BYTEA: u32 = 17;
    const INT8: u32 = 20;
    const TEXT: u32 = 25;
    const VARCHAR: u32 = 1043;
    const TIMESTAMP: u32 = 1114;
    match column_type {
        ColumnType::Timestamp => type_oid == TIMESTAMP,
        ColumnType::Text => matches!(type_oid, TEXT | VARCHAR),
        ColumnType::BigInt => type_oid == INT8,
        ColumnType::Bytes => type_oid == BYTEA,
    }
}

/// The kinds of `pg_class.relkind` that are no tables.
fn kind_name(kind: char) -> &'static str {
    match kind {
        'v' => "view",
        'm' => "materialized view",
        'S' => "sequence",
        'i' | 'I' => "index",
        'c' => "type",
        _ => "thing of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, type_oid: u32, type_name: &str) -> Found {
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        Found { name, type_oid, type_name, is_optional: true, is_generated: false }
    }

    #[test]
    fn every_difference_is_listed_with_what_is_expected() {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
        let columns = [
            column("event_hour", ColumnType::Timestamp),
            column("ip", ColumnType::Text),
            column("host", ColumnType::Text),
            column("num_hits", ColumnType::BigInt),
        ];
        let mut table = vec![
            found("num_hits", 20, "bigint"),
            found("ip", 25, "text"),
            found("host", 1043, "character varying(300)"),
            found("event_hour", 1114, "timestamp(6) without time zone"),
            found("note", 25, "text"),
        ];
        assert_eq!(differences(&columns, &table), [""; 0], "order and extra columns do not matter");
        table[0] = found("num_hits", 23, "integer");
        table[3] = found("event_hour", 1184, "timestamp with time zone");
        table[4].is_optional = false;
        table.remove(1);
        assert_eq!(
            differences(&columns, &table),
            [
                "column `event_hour` is `timestamp with time zone`, expected `TIMESTAMP(3)`",
                "column `ip` VARCHAR is missing",
                "column `num_hits` is `integer`, expected `BIGINT`",
                "column `note` may not be NULL and has no default, which the job cannot fill",
            ]
        );
    }
}
