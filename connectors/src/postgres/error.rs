//! What can go wrong with Postgres, in words for the person who named the table.

use stream_runtime::connector::{ConnectorError, ConnectorErrorKind};

use super::settings::SettingsError;
use super::table_name::{TableName, TableNameError};

/// Postgres cannot be used as asked, or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See there.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// See there.
    #[error(transparent)]
    TableName(#[from] TableNameError),
    /// Nobody answers.
    #[error(
        "cannot reach Postgres at `{address}`; check the address, and that the server runs and can be reached from here"
    )]
    Unreachable {
        /// Host and port.
        address: String,
        /// In the driver's words.
        source: DriverWords,
    },
    /// No TLS, though it is asked for.
    #[error(
        "no TLS connection to Postgres at `{address}`; check the server's certificate, or choose another `sslmode`"
    )]
    Tls {
        /// Host and port.
        address: String,
        /// In the driver's words.
        source: DriverWords,
    },
    /// User or password.
    #[error("Postgres at `{address}` refuses user `{user}`; check user and password")]
    Refused {
        /// Host and port.
        address: String,
        /// Who asked.
        user: String,
        /// In the server's words.
        source: DriverWords,
    },
    /// No such database.
    #[error("no database `{database}` at {address}; create it, or name another in the URL")]
    NoDatabase {
        /// Its name.
        database: String,
        /// Host and port.
        address: String,
    },
    /// No schema to make a table in.
    #[error("no schema `{schema}` for table `{table}`; create it, or choose another --table")]
    NoSchema {
        /// Its name.
        schema: String,
        /// The table.
        table: TableName,
    },
    /// The table is missing and may not be created.
    #[error("user `{user}` may not create table {table}; create it, or run as the owner of the schema: {grant}")]
    NoTable {
        /// Who asked.
        user: String,
        /// Which table.
        table: TableName,
        /// The statement that would let the user create it.
        grant: String,
    },
    /// Rights are missing.
    #[error("user `{user}` lacks rights; run as the owner of table and ledger: {grants}")]
    NoRight {
        /// Who asked.
        user: String,
        /// The statements that grant them.
        grants: String,
    },
    /// The name belongs to something else.
    #[error("{table} is a {kind}, not a table; choose another --table")]
    NotATable {
        /// The name.
        table: TableName,
        /// What it is.
        kind: &'static str,
    },
    /// The table has other columns.
    #[error(
        "table {table} does not fit: {differences}; change it, drop it so that it is made anew, or choose another --table"
    )]
    Mismatch {
        /// The table.
        table: TableName,
        /// Every difference, found and expected.
        differences: String,
    },
    /// The ledger, or a part of it, is missing and may not be created.
    #[error(
        "user `{user}` may not create or upgrade {schema}.gapwise_ledger and its functions; run \
         sql/ledger/gapwise_ledger.sql, with `{schema}.` for `public.`, as the owner of the schema, and then: {grants}"
    )]
    NoLedger {
        /// Who asked.
        user: String,
        /// Where the ledger is to be, as it stands in a statement.
        schema: String,
        /// The statements that grant what the user then lacks.
        grants: String,
    },
    /// An audit cannot read.
    #[error(
        "user `{user}` may not read table {table} and, beside it, gapwise_ledger and (once late events were replayed) \
         gapwise_late_replay; grant SELECT on them, or use another user"
    )]
    MayNotRead {
        /// Who asked.
        user: String,
        /// The table.
        table: TableName,
    },
    /// There is no table, or no ledger.
    #[error(
        "at `{address}` table {table}, its columns or the gapwise_ledger beside it are missing; \
         check that this is the database that the job publishes into"
    )]
    NothingToAudit {
        /// The table.
        table: TableName,
        /// Host and port.
        address: String,
        /// In the server's words.
        source: DriverWords,
    },
    /// A late replay lacks rights.
    #[error(
        "user `{user}` may not replay late events; run sql/ledger/late_replay.sql as the owner of the tables, and then: {grants}"
    )]
    MayNotReplay {
        /// Who asked.
        user: String,
        /// The statements that grant all that it needs.
        grants: String,
        /// In the server's words.
        source: DriverWords,
    },
    /// There is no table, no ledger, or no table of late events.
    #[error(
        "at `{address}` table {table}, its columns, the gapwise_ledger or the late_events beside it are missing; \
         check that this is the database that the job publishes into"
    )]
    NothingToReplay {
        /// The table.
        table: TableName,
        /// Host and port.
        address: String,
        /// In the server's words.
        source: DriverWords,
    },
    /// Another session replays the same job.
    #[error("another replay of late events into {table} is under way; wait for it, and run this again")]
    ReplayUnderWay {
        /// Where to.
        table: TableName,
    },
    /// Rows that a replay was to correct are others now.
    #[error(
        "somebody else changed rows of {table} meanwhile, or holds a lock on its late events; what was not replayed is as it was: \
         run this again"
    )]
    ChangedMeanwhile {
        /// The table.
        table: TableName,
    },
    /// The ledger's row stays locked.
    #[error(
        "the ledger of {table} is held by another session at `{address}`, which could not be ended; \
         look for it in pg_stat_activity and pg_locks"
    )]
    LedgerLocked {
        /// Whose.
        table: TableName,
        /// Host and port.
        address: String,
    },
    /// The ledger's row holds what no attempt writes.
    #[error("the ledger of {table} says {found}; somebody else has changed it: restore its row, or start a new job")]
    LedgerForeign {
        /// Whose.
        table: TableName,
        /// What it says.
        found: String,
    },
    /// The ledger is gone.
    #[error("the ledger of {table} is gone; restore it from a backup together with the table, or start a new job")]
    LedgerGone {
        /// Whose.
        table: TableName,
    },
    /// The table is gone.
    #[error("table {table} is gone; create it again and resume the job from its last checkpoint, or start a new job")]
    TableGone {
        /// Which.
        table: TableName,
    },
    /// The server does not take the rows.
    #[error("Postgres does not take the rows for {table}; change the table so that it does, then resume the job")]
    Rejected {
        /// Where to.
        table: TableName,
        /// In the server's words.
        source: DriverWords,
    },
    /// The connection broke, or the server is busy with something else.
    #[error("publishing to {table} was cut off; it is tried again")]
    Broken {
        /// Where to.
        table: TableName,
        /// In the server's or the driver's words.
        source: DriverWords,
    },
    /// A statement failed.
    #[error("Postgres at `{address}` failed a statement")]
    Statement {
        /// Host and port.
        address: String,
        /// In the server's words.
        source: DriverWords,
    },
}

/// What the server or the driver says about a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DriverWords(pub String);

impl From<sqlx::Error> for DriverWords {
    fn from(error: sqlx::Error) -> Self {
        let Some(error) = error.as_database_error() else { return DriverWords(error.to_string()) };
        let detail = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.detail());
        let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
        DriverWords(format!("{}{detail}", error.message()))
    }
}

/// The server's code of an error (PostgreSQL documentation, appendix A), if it is the server's.
pub(super) fn sql_state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// Whether a transaction that failed like this may succeed if it is tried again, perhaps on another connection.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(_) => sql_state(error).is_some_and(|state| {
            // Connection exceptions, lack of resources, an operator's intervention (shutdown, cancel), a rollback to
            // resolve a conflict, a lock that was not free, a session that was idle for too long.
            ["08", "53", "57", "40"].iter().any(|class| state.starts_with(class))
                || matches!(state.as_str(), "55P03" | "25P03")
        }),
        _ => false,
    }
}

impl Error {
    fn kind(&self) -> ConnectorErrorKind {
        match self {
            Error::Settings(_) | Error::TableName(_) => ConnectorErrorKind::Invalid,
            Error::Unreachable { .. } | Error::Tls { .. } | Error::Broken { .. } => ConnectorErrorKind::Unreachable,
            Error::Refused { .. }
            | Error::NoTable { .. }
            | Error::NoRight { .. }
            | Error::MayNotRead { .. }
            | Error::MayNotReplay { .. }
            | Error::NoLedger { .. } => ConnectorErrorKind::Denied,
            Error::NoDatabase { .. }
            | Error::NoSchema { .. }
            | Error::NothingToAudit { .. }
            | Error::NothingToReplay { .. }
            | Error::LedgerGone { .. }
            | Error::TableGone { .. } => ConnectorErrorKind::NotFound,
            Error::NotATable { .. } | Error::Mismatch { .. } => ConnectorErrorKind::Mismatch,
            Error::LedgerLocked { .. }
            | Error::LedgerForeign { .. }
            | Error::ReplayUnderWay { .. }
            | Error::ChangedMeanwhile { .. }
            | Error::Rejected { .. }
            | Error::Statement { .. } => ConnectorErrorKind::Failed,
        }
    }
}

impl From<Error> for ConnectorError {
    fn from(error: Error) -> Self {
        let (kind, message) = (error.kind(), error.to_string());
        match error {
            Error::Unreachable { source, .. }
            | Error::Tls { source, .. }
            | Error::Refused { source, .. }
            | Error::Broken { source, .. }
            | Error::NothingToAudit { source, .. }
            | Error::MayNotReplay { source, .. }
            | Error::NothingToReplay { source, .. }
            | Error::Rejected { source, .. }
            | Error::Statement { source, .. } => ConnectorError::caused_by(kind, message, source),
            Error::Settings(_)
            | Error::TableName(_)
            | Error::NoDatabase { .. }
            | Error::NoSchema { .. }
            | Error::NoTable { .. }
            | Error::NoRight { .. }
            | Error::MayNotRead { .. }
            | Error::NotATable { .. }
            | Error::NoLedger { .. }
            | Error::LedgerLocked { .. }
            | Error::ReplayUnderWay { .. }
            | Error::ChangedMeanwhile { .. }
            | Error::LedgerForeign { .. }
            | Error::LedgerGone { .. }
            | Error::TableGone { .. }
            | Error::Mismatch { .. } => ConnectorError::new(kind, message),
        }
    }
}
