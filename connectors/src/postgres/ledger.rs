//! The ledger beside the table: made where it is missing, read by an attempt that publishes, and moved on by it.
//!
//! `sql/ledger/gapwise_ledger.sql` has its statements, which an owner can also run by hand.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};
use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::{CheckpointId, JobId, Nonce, Token};
use stream_runtime::connector::Grant;

use super::error::{DriverWords, Error, sql_state};
use super::rights;
use super::settings::Settings;
use super::table_name::{TableName, literal, quoted};
use super::tables::Tables;
use stream_core::checkpoint::LedgerEntry;

/// The code that `gapwise_publish` fails with if the ledger is not where it should be.
pub(super) const NOT_OUR_TURN: &str = "GW001";

/// The code that `gapwise_fence` fails with if no token is left.
pub(super) const NO_TOKEN: &str = "GW002";

/// One committer publishes the whole of an epoch.
pub(super) const LANE: i32 = 0;

const DEFINITION: &str = include_str!("../../../sql/ledger/gapwise_ledger.sql");

/// The arguments of the ledger's functions, as the catalog tells them: functions of an older version have others.
pub(super) const FENCE_TYPES: &str = "text, text, integer, bigint, text";
pub(super) const PUBLISH_TYPES: &str = "text, text, integer, bigint, text, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, jsonb, bigint[]";

/// Several jobs may create the ledger at once: one of them does, the others wait for it here.
const CREATION_LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7166071990011)";

/// Makes sure that the ledger is there, and that the role may do all that a job does; creates what is missing of the
/// ledger if that is allowed.
pub(super) async fn ensure(connection: &mut PgConnection, settings: &Settings, tables: &Tables) -> Result<(), Error> {
    let table = &tables.result.name;
    let user = || settings.user().to_owned();
    let no_schema = || Error::NoSchema { schema: table.schema.clone(), table: table.clone() };
    let found = rights::look(connection, settings, tables).await.map_err(failed(settings))?;
    let mut found = found.ok_or_else(no_schema)?;
    if !found.has_ledger {
        // Statements of one message are one transaction.
        let statements = format!("{CREATION_LOCK}; {}", definition(&table.schema));
        let created = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *connection).await;
        match created.map_err(|error| (sql_state(&error), error)) {
            Ok(_) => tracing::info!(schema = %table.schema, "created the ledger"),
            Err((Some(state), _)) if matches!(state.as_str(), "42501" | "25006") => {
                let schema = quoted(&table.schema);
                return Err(Error::NoLedger { user: user(), schema, grants: found.missing_grants });
            }
            // Somebody else was faster, by hand; the next look tells.
            Err((Some(state), _)) if matches!(state.as_str(), "42P07" | "42710" | "42723" | "23505") => {}
            Err((_, error)) => return Err(failed(settings)(error)),
        }
        let again = rights::look(connection, settings, tables).await.map_err(failed(settings))?;
        found = again.ok_or_else(no_schema)?;
    }
    if found.missing_grants.is_empty() {
        return Ok(());
    }
    Err(Error::NoRight { user: user(), grants: found.missing_grants })
}

/// The statements of the ledger for a schema, whatever characters its name has.
fn definition(schema: &str) -> String {
    // A name with a line break in it would end a comment.
    let statements: Vec<&str> = DEFINITION.lines().filter(|line| !line.starts_with("--")).collect();
    // A function's text ends where its tag stands again, be it in a name.
    let mut tag = "gapwise".to_owned();
    while schema.contains(&format!("${tag}$")) {
        tag.push('_');
    }
    let statements = statements.join("\n").replace("$gapwise$", &format!("${tag}$"));
    statements.replace("public.", &format!("{}.", quoted(schema)))
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
    let cut = epoch.cut.as_ref().map_or("NULL".to_owned(), |cut| {
        literal(&serde_json::to_string(cut).expect("a cut holds texts and numbers only"))
    });
    let side_rows: Vec<String> = epoch.rows.side.iter().map(u64::to_string).collect();
    let side_rows = side_rows.join(", ");
    format!(
        "SELECT {}.gapwise_publish({}, {}, {LANE}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {cut}, ARRAY[{side_rows}]::pg_catalog.int8[])",
        quoted(&table.schema),
        literal(&grant.job_id.to_string()),
        literal(&table.to_string()),
        grant.token,
        literal(&grant.nonce.to_string()),
        epoch.prev.0,
        epoch.epoch.0,
        epoch.rows.result,
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
    fn a_schema_of_any_name_ends_neither_a_name_nor_a_function() {
        let schema = "odd \"public.\" $gapwise$ $gapwise_$\n";
        let definition = definition(schema);
        let (tag, schema) = ("$gapwise__$", "\"odd \"\"public.\"\" $gapwise$ $gapwise_$\n\".");
        assert_eq!(definition.matches(tag).count(), DEFINITION.matches("$gapwise$").count());
        let bare = definition.replace(schema, "");
        assert!(!bare.contains("$gapwise$") && !bare.contains("public.") && !bare.contains("--"), "{bare}");
        assert!(definition.contains(&format!("CREATE TABLE IF NOT EXISTS {schema}gapwise_ledger (")), "{definition}");
    }

    #[test]
    fn every_name_in_the_definition_carries_the_schema_that_is_replaced() {
        let statements: Vec<&str> = DEFINITION.lines().filter(|line| !line.starts_with("--")).collect();
        let statements = statements.join("\n");
        for name in ["gapwise_ledger", "gapwise_fence", "gapwise_publish"] {
            let bare = statements.replace(&format!("public.{name}"), "");
            assert!(!bare.contains(name), "{name} without a schema");
        }
        assert!(statements.contains(NOT_OUR_TURN) && statements.contains(NO_TOKEN));
    }

    #[test]
    fn the_name_of_a_session_is_kept_whole_by_the_server() {
        assert!(format!("gapwise/{}", session_purpose(JobId(u128::MAX), u32::MAX)).len() <= 63);
    }
}
