//! A new attempt takes the sink over.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use stream_core::ids::{CheckpointId, Token};
use stream_core::pipeline::SinkSpec;
use stream_runtime::connector::{Anchor, Claim, ConnectorError};

use super::connect::{close, connect_sink};
use super::error::{DriverWords, Error, sql_state};
use super::ledger::{LANE, NO_TOKEN, ensure, failed, foreign, session_purpose};
use super::settings::Settings;
use super::table_name::{TableName, quoted};
use super::tables::Tables;

/// How long the ledger's row may be held by a publication before its session is ended, and how often that is tried.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '2s'";
const FENCE_TRIES: u32 = 5;

/// How long all of it may take: a connection can be half open.
const FENCE_WITHIN: Duration = Duration::from_secs(60);

/// Takes the sink over; see [`fence_sink`](stream_runtime::connector::Connectors::fence_sink).
///
/// A publication that is under way is waited for, but not for long: its session is ended then, which rolls it back.
/// Sessions of older attempts are ended in any case, since an unfinished `COPY` keeps vacuum from working.
///
/// # Errors
/// As a user is to read them.
pub async fn fence(spec: &SinkSpec, claim: Claim) -> Result<Anchor, ConnectorError> {
    let settings = Settings::from_spec(spec).map_err(Error::from)?;
    let tables = Tables::of(spec).map_err(Error::TableName)?;
    let mut connection = connect_sink(&settings, "fence").await?;
    let fence = Fence { settings: &settings, tables: &tables, claim };
    let Ok(anchor) = tokio::time::timeout(FENCE_WITHIN, fence.run(&mut connection)).await else {
        let source = DriverWords(format!("no answer within {} seconds", FENCE_WITHIN.as_secs()));
        return Err(Error::Unreachable { address: settings.address(), source }.into());
    };
    close(connection).await;
    Ok(anchor?)
}

struct Fence<'a> {
    settings: &'a Settings,
    tables: &'a Tables,
    claim: Claim,
}

impl Fence<'_> {
    fn table(&self) -> &TableName {
        &self.tables.result.name
    }

    async fn run(&self, connection: &mut PgConnection) -> Result<Anchor, Error> {
        ensure(connection, self.settings, self.tables).await?;
        sqlx::raw_sql(LOCK_TIMEOUT).execute(&mut *connection).await.map_err(failed(self.settings))?;
        for _ in 0..FENCE_TRIES {
            match self.bump(connection).await {
                Ok(row) => {
                    let anchor = self.anchor(&row)?;
                    if let Err(error) = self.end_sessions(connection, i64::from(anchor.token.0)).await {
                        tracing::warn!(table = %self.table(), %error, "cannot end the sessions of older attempts");
                    }
                    return Ok(anchor);
                }
                Err(error) if sql_state(&error).as_deref() == Some("55P03") => {
                    let ended = self.end_sessions(connection, i64::MAX).await.map_err(failed(self.settings))?;
                    tracing::warn!(table = %self.table(), ended, "an older attempt holds the ledger; ended its sessions");
                }
                // The second: a number beyond all.
                Err(error) if matches!(sql_state(&error).as_deref(), Some(NO_TOKEN | "22003")) => {
                    return Err(foreign(self.table(), "a token that leaves no higher one".to_owned()));
                }
                Err(error) => return Err(failed(self.settings)(error)),
            }
        }
        Err(Error::LedgerLocked { table: self.table().clone(), address: self.settings.address() })
    }

    async fn bump(&self, connection: &mut PgConnection) -> Result<PgRow, sqlx::Error> {
        let schema = quoted(&self.table().schema);
        let statement =
            format!("SELECT granted_token, published_epoch FROM {schema}.gapwise_fence($1, $2, $3, $4, $5)");
        let query = sqlx::query(AssertSqlSafe(statement)).bind(self.claim.job_id.to_string());
        let query = query.bind(self.table().to_string()).bind(LANE).bind(i64::from(self.claim.highest_token.0));
        query.bind(self.claim.nonce.to_string()).persistent(false).fetch_one(connection).await
    }

    fn anchor(&self, row: &PgRow) -> Result<Anchor, Error> {
        let token: i64 = row.try_get(0).map_err(failed(self.settings))?;
        let last_epoch: i64 = row.try_get(1).map_err(failed(self.settings))?;
        let token = i32::try_from(token).ok().and_then(|token| u32::try_from(token).ok()).map(Token);
        let last_epoch = u64::try_from(last_epoch).ok().map(CheckpointId);
        match (token, last_epoch) {
            (Some(token), Some(last_epoch)) => Ok(Anchor { token, last_epoch }),
            _ => Err(foreign(self.table(), "a token or an epoch that is out of range".to_owned())),
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
