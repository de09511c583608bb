//! The ledger beside the table: made where it is missing, read by an attempt that publishes, and moved on by it.
//!
//! `sql/ledger/gapwise_ledger.sql` has its statements, which an owner can also run by hand.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::{CheckpointId, JobId, Nonce, Token};
use stream_runtime::connector::Grant;

use super::error::{DriverWords, Error, sql_state};
use super::settings::Settings;
use super::table_name::{TableName, literal, quoted};
use stream_core::checkpoint::LedgerEntry;

/// The code that `gapwise_publish` fails with if the ledger is not where it should be.
pub(super) const NOT_OUR_TURN: &str = "GW001";

/// One committer publishes the whole of an epoch.
pub(super) const LANE: i32 = 0;

const DEFINITION: &str = include_str!("../../../sql/ledger/gapwise_ledger.sql");
const PUBLISH_SIGNATURE: &str =
    "gapwise_publish(text,text,int,bigint,text,bigint,bigint,bigint,bigint,bigint,bigint,bigint,bigint)";

/// Several jobs may create the ledger at once: one of them does, the others wait for it here.
const CREATION_LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7166071990011)";

/// Makes sure that the ledger is there and may be used; creates it if it is missing and that is allowed.
pub(super) async fn ensure(connection: &mut PgConnection, settings: &Settings, table: &TableName) -> Result<(), Error> {
    let denied = |action| Error::Ledger { user: settings.user().to_owned(), action, schema: table.schema.clone() };
    let mut found = look(connection, settings, table).await?;
    if !found.is_there {
        let definition = DEFINITION.replace("public.", &format!("{}.", quoted(&table.schema)));
        // Statements of one message are one transaction.
        let created =
            sqlx::raw_sql(AssertSqlSafe(format!("{CREATION_LOCK}; {definition}"))).execute(&mut *connection).await;
        match created.map_err(|error| (sql_state(&error), error)) {
            Ok(_) => tracing::info!(schema = %table.schema, "created the ledger"),
            Err((Some(state), _)) if matches!(state.as_str(), "42501" | "25006") => return Err(denied("create")),
            // Somebody else was faster, by hand; the next look tells.
            Err((Some(state), _)) if matches!(state.as_str(), "42P07" | "42710" | "42723" | "23505") => {}
            Err((_, error)) => return Err(failed(settings)(error)),
        }
        found = look(connection, settings, table).await?;
    }
    if found.is_there && found.may_use { Ok(()) } else { Err(denied("use")) }
}

struct Found {
    is_there: bool,
    may_use: bool,
}

async fn look(connection: &mut PgConnection, settings: &Settings, table: &TableName) -> Result<Found, Error> {
    let query = sqlx::query(
        "SELECT t IS NOT NULL AND f IS NOT NULL, pg_catalog.has_table_privilege(t, 'SELECT') \
                AND pg_catalog.has_table_privilege(t, 'INSERT') AND pg_catalog.has_table_privilege(t, 'UPDATE') \
                AND pg_catalog.has_function_privilege(f, 'EXECUTE') \
         FROM (SELECT pg_catalog.to_regclass($1) AS t, pg_catalog.to_regprocedure($2) AS f) AS ledger",
    );
    let schema = quoted(&table.schema);
    let query = query.bind(format!("{schema}.gapwise_ledger")).bind(format!("{schema}.{PUBLISH_SIGNATURE}"));
    let row = query.persistent(false).fetch_one(connection).await.map_err(failed(settings))?;
    let read = |row: PgRow| -> Result<Found, sqlx::Error> {
        Ok(Found { is_there: row.try_get(0)?, may_use: row.try_get::<Option<bool>, _>(1)?.unwrap_or(false) })
    };
    read(row).map_err(failed(settings))
}

/// The purpose of a publisher's connection, by which a later attempt finds it: at most 51 bytes with what stands before.
pub(super) fn session_purpose(job_id: JobId, token: impl std::fmt::Display) -> String {
    format!("{job_id}/{token}")
}

/// What the ledger says of a job; `None` if it has no row.
pub(super) async fn read(
    connection: &mut PgConnection,
    table: &TableName,
    job_id: JobId,
) -> Result<Option<LedgerEntry>, ReadError> {
    let statement = format!(
        "SELECT token, nonce, last_epoch FROM {}.gapwise_ledger WHERE job_id = $1 AND target = $2 AND lane = $3",
        quoted(&table.schema)
    );
    let query = sqlx::query(AssertSqlSafe(statement)).bind(job_id.to_string()).bind(table.to_string()).bind(LANE);
    let Some(row) = query.persistent(false).fetch_optional(connection).await? else { return Ok(None) };
    let (token, nonce, last_epoch): (i64, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let entry = || {
        Some(LedgerEntry {
            token: Token(u32::try_from(token).ok()?),
            nonce: Nonce::try_from(nonce.clone()).ok()?,
            last_epoch: CheckpointId(u64::try_from(last_epoch).ok()?),
        })
    };
    entry().map(Some).ok_or_else(|| ReadError::Foreign(foreign(table, format!("token {token}, nonce `{nonce}`"))))
}

/// Why the ledger could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The server, or the way to it.
    Driver(sqlx::Error),
    /// What it says is none of ours.
    Foreign(Error),
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        ReadError::Driver(error)
    }
}

/// The call that moves the ledger on, with all its values written out: it travels in one message with the `COMMIT`.
pub(super) fn publish_call(table: &TableName, grant: &Grant, epoch: &SealedEpoch) -> String {
    let accounts = &epoch.accounts;
    format!(
        "SELECT {}.gapwise_publish({}, {}, {LANE}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})",
        quoted(&table.schema),
        literal(&grant.job_id.to_string()),
        literal(&table.to_string()),
        grant.token,
        literal(&grant.nonce.to_string()),
        epoch.prev.0,
        epoch.epoch.0,
        epoch.rows,
        accounts.read,
        accounts.in_sessions,
        accounts.late,
        accounts.bad,
        accounts.open,
    )
}

/// The ledger says what no attempt writes.
pub(super) fn foreign(table: &TableName, found: String) -> Error {
    Error::LedgerForeign { table: table.clone(), found }
}

/// A statement of the ledger's failed.
pub(super) fn failed(settings: &Settings) -> impl Fn(sqlx::Error) -> Error + '_ {
    |error| Error::Statement { address: settings.address(), source: DriverWords::from(error) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_name_in_the_definition_carries_the_schema_that_is_replaced() {
        let statements: Vec<&str> = DEFINITION.lines().filter(|line| !line.starts_with("--")).collect();
        let statements = statements.join("\n");
        for name in ["gapwise_ledger", "gapwise_publish"] {
            let bare = statements.replace(&format!("public.{name}"), "");
            assert!(!bare.contains(name), "{name} without a schema");
        }
        assert!(statements.contains(NOT_OUR_TURN));
    }

    #[test]
    fn the_name_of_a_session_is_kept_whole_by_the_server() {
        assert!(format!("gapwise/{}", session_purpose(JobId(u128::MAX), u32::MAX)).len() <= 63);
    }
}
