//! The ledger beside the table: made where it is missing, taken over by a new attempt, read by one that publishes.
//!
//! `sql/gapwise_ledger.sql` has its statements, which an owner can also run by hand.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::{CheckpointId, JobId, Nonce, Token};
use stream_core::pipeline::SinkSpec;
use stream_runtime::connector::{Anchor, Claim, ConnectorError, Grant};

use super::connect::{close, connect};
use super::error::{DriverWords, Error, sql_state};
use super::settings::Settings;
use super::table_name::{TableName, literal, quoted};
use crate::ledger::Entry;

/// The code that `gapwise_publish` fails with if the ledger is not where it should be.
pub(super) const NOT_OUR_TURN: &str = "GW001";

/// One committer publishes the whole of an epoch.
const LANE: i32 = 0;

const DEFINITION: &str = include_str!("../../../sql/gapwise_ledger.sql");
const PUBLISH_SIGNATURE: &str =
    "gapwise_publish(text,text,int,bigint,text,bigint,bigint,bigint,bigint,bigint,bigint,bigint,bigint)";

/// Several jobs may create the ledger at once: one of them does, the others wait for it here.
const CREATION_LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7166071990011)";

/// How long the ledger's row may be held by a publication before its session is ended, and how often that is tried.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '2s'";
const FENCE_TRIES: u32 = 5;

/// How long all of it may take: a connection can be half open.
const FENCE_WITHIN: Duration = Duration::from_secs(60);

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

/// Takes the sink over; see [`fence_sink`](stream_runtime::connector::Connectors::fence_sink).
///
/// A publication that is under way is waited for, but not for long: its session is ended then, which rolls it back.
/// Sessions of older attempts are ended in any case, since an unfinished `COPY` keeps vacuum from working.
///
/// # Errors
/// As a user is to read them.
pub async fn fence(spec: &SinkSpec, claim: Claim) -> Result<Anchor, ConnectorError> {
    let settings = Settings::from_spec(spec).map_err(Error::from)?;
    let table: TableName = spec.table.parse().map_err(Error::TableName)?;
    let mut connection = connect(&settings, "fence").await?;
    let fence = Fence { settings: &settings, table: &table, claim };
    let Ok(anchor) = tokio::time::timeout(FENCE_WITHIN, fence.run(&mut connection)).await else {
        let source = DriverWords(format!("no answer within {} seconds", FENCE_WITHIN.as_secs()));
        return Err(Error::Unreachable { address: settings.address(), source }.into());
    };
    close(connection).await;
    Ok(anchor?)
}

struct Fence<'a> {
    settings: &'a Settings,
    table: &'a TableName,
    claim: Claim,
}

impl Fence<'_> {
    async fn run(&self, connection: &mut PgConnection) -> Result<Anchor, Error> {
        ensure(connection, self.settings, self.table).await?;
        sqlx::raw_sql(LOCK_TIMEOUT).execute(&mut *connection).await.map_err(failed(self.settings))?;
        for _ in 0..FENCE_TRIES {
            match self.bump(connection).await {
                Ok(row) => {
                    let anchor = self.anchor(&row)?;
                    if let Err(error) = self.end_sessions(connection, i64::from(anchor.token.0)).await {
                        tracing::warn!(table = %self.table, %error, "cannot end the sessions of older attempts");
                    }
                    return Ok(anchor);
                }
                Err(error) if sql_state(&error).as_deref() == Some("55P03") => {
                    let ended = self.end_sessions(connection, i64::MAX).await.map_err(failed(self.settings))?;
                    tracing::warn!(table = %self.table, ended, "an older attempt holds the ledger; ended its sessions");
                }
                Err(error) => return Err(failed(self.settings)(error)),
            }
        }
        Err(Error::LedgerLocked { table: self.table.clone(), address: self.settings.address() })
    }

    /// One statement, so that two attempts at once get different tokens.
    async fn bump(&self, connection: &mut PgConnection) -> Result<PgRow, sqlx::Error> {
        let statement = format!(
            "INSERT INTO {}.gapwise_ledger AS ledger (job_id, target, lane, token, nonce) VALUES ($1, $2, $3, $4 + 1, $5) \
             ON CONFLICT (job_id, target, lane) \
             DO UPDATE SET token = GREATEST(ledger.token, $4) + 1, nonce = EXCLUDED.nonce \
             RETURNING token, last_epoch",
            quoted(&self.table.schema)
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(self.claim.job_id.to_string());
        let query = query.bind(self.table.to_string()).bind(LANE).bind(i64::from(self.claim.highest_token.0));
        query.bind(self.claim.nonce.to_string()).persistent(false).fetch_one(connection).await
    }

    fn anchor(&self, row: &PgRow) -> Result<Anchor, Error> {
        let token: i64 = row.try_get(0).map_err(failed(self.settings))?;
        let last_epoch: i64 = row.try_get(1).map_err(failed(self.settings))?;
        let token = i32::try_from(token).ok().and_then(|token| u32::try_from(token).ok()).map(Token);
        let last_epoch = u64::try_from(last_epoch).ok().map(CheckpointId);
        match (token, last_epoch) {
            (Some(token), Some(last_epoch)) => Ok(Anchor { token, last_epoch }),
            _ => Err(foreign(self.table, "a token or an epoch that is out of range".to_owned())),
        }
    }

    /// Ends the publishing sessions of this job whose tokens are below; how many there were.
    async fn end_sessions(&self, connection: &mut PgConnection, below: i64) -> Result<i64, sqlx::Error> {
        let query = sqlx::query_scalar(
            "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
             WHERE usename = SESSION_USER AND pid <> pg_catalog.pg_backend_pid() \
                   AND pg_catalog.starts_with(application_name, $1) \
                   AND CASE WHEN pg_catalog.substr(application_name, pg_catalog.length($1) + 1) ~ '^[0-9]{1,10}$' \
                       THEN pg_catalog.substr(application_name, pg_catalog.length($1) + 1)::pg_catalog.int8 < $2 \
                       ELSE false END",
        );
        let prefix = format!("gapwise/{}", session_purpose(self.claim.job_id, ""));
        query.bind(prefix).bind(below).persistent(false).fetch_one(connection).await
    }
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
) -> Result<Option<Entry>, ReadError> {
    let statement = format!(
        "SELECT token, nonce, last_epoch FROM {}.gapwise_ledger WHERE job_id = $1 AND target = $2 AND lane = $3",
        quoted(&table.schema)
    );
    let query = sqlx::query(AssertSqlSafe(statement)).bind(job_id.to_string()).bind(table.to_string()).bind(LANE);
    let Some(row) = query.persistent(false).fetch_optional(connection).await? else { return Ok(None) };
    let (token, nonce, last_epoch): (i64, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let entry = || {
        Some(Entry {
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

fn failed(settings: &Settings) -> impl Fn(sqlx::Error) -> Error + '_ {
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
