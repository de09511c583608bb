//! Publishes epochs: rows and ledger by one commit.
//!
//! The ledger decides, not what this process remembers: after any error the connection is closed, and the next try reads
//! the ledger on a fresh one before it sends anything.

use std::sync::Arc;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use stream_core::checkpoint::SealedEpoch;
use stream_core::pipeline::{Changelog, SinkSpec};
use stream_core::row::RowBatch;
use stream_runtime::connector::{ConnectorError, Grant, PublishError, Published, Publisher, RowChunks};
use stream_runtime::fail_point::{self, Point};
use tokio::runtime::Handle;

use super::connect::{close, connect_sink, within};
use super::copy::{CopyIn, statement};
use super::error::{DriverWords, Error, is_passing, sql_state};
use super::ledger::{NOT_OUR_TURN, ReadError, foreign, publish_call, read, session_purpose};
use super::nul::{nul_texts, without_nul};
use super::rights;
use super::session::Session;
use super::settings::Settings;
use super::table_name::TableName;
use super::tables::{Table, Tables};
use crate::rows::{EpochRows, misfit, no_such_table};
use stream_core::checkpoint::{Standing, standing};

/// How long an answer may take before the connection counts as broken: longer than the server's own limits, so that this
/// one strikes only where the network is silent.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL idle_in_transaction_session_timeout = '45s'";

/// The publisher of a committer. Used on a plain thread; the connection lives on a tokio runtime.
///
/// A text with a NUL character, which Postgres cannot store, is stored with U+FFFD in its place.
pub struct PostgresPublisher {
    runtime: Handle,
    settings: Settings,
    tables: Tables,
    grant: Grant,
    session: Option<Session>,
    /// Texts with a NUL so far.
    nul_texts: u64,
}

impl PostgresPublisher {
    /// A publisher; it connects when it first publishes, and again whenever something failed.
    ///
    /// # Errors
    /// If the settings or the table's name cannot be used.
    pub fn open(spec: &SinkSpec, grant: Grant, runtime: Handle) -> Result<Self, ConnectorError> {
        let settings = Settings::from_spec(spec).map_err(Error::from)?;
        let tables = Tables::of(spec).map_err(Error::TableName)?;
        Ok(PostgresPublisher { runtime, settings, tables, grant, session: None, nul_texts: 0 })
    }

    /// The result's, which the ledger knows the job by.
    fn table(&self) -> &TableName {
        &self.tables.result.name
    }

    /// A session on which the epoch is due; `None` if it is published already.
    fn session_before(&mut self, epoch: &SealedEpoch) -> Result<Option<Session>, PublishError> {
        if let Some(session) = self.session.take_if(|session| session.last_epoch == epoch.prev) {
            return Ok(Some(session));
        }
        self.look_anew(epoch)
    }

    /// Asks the ledger, on the session that there is or a new one.
    fn look_anew(&mut self, epoch: &SealedEpoch) -> Result<Option<Session>, PublishError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::new(self.connect()?, epoch.prev),
        };
        self.look(session, epoch)
    }

    fn connect(&self) -> Result<PgConnection, PublishError> {
        let purpose = session_purpose(self.grant.job_id, self.grant.token);
        self.runtime.block_on(connect_sink(&self.settings, &purpose)).map_err(|error| match error {
            Error::Unreachable { .. } => PublishError::Passing(error.into()),
            error => PublishError::Final(error.into()),
        })
    }

    /// Asks the ledger where the epoch stands.
    fn look(&mut self, mut session: Session, epoch: &SealedEpoch) -> Result<Option<Session>, PublishError> {
        let asked = async {
            let reading = read(&mut session.connection, self.table(), self.grant.job_id);
            tokio::time::timeout(ANSWER_WITHIN, reading).await.unwrap_or_else(|_| Err(ReadError::Driver(silence())))
        };
        let entry = match self.runtime.block_on(asked) {
            Ok(entry) => entry,
            Err(ReadError::Foreign(error)) => return Err(PublishError::Final(error.into())),
            Err(ReadError::Driver(error)) => return Err(self.ledger_failed(error)),
        };
        match standing(entry, self.grant.token, self.grant.nonce, epoch) {
            Standing::Due => Ok(Some(session.at(epoch.prev))),
            Standing::Published => {
                self.session = Some(session.at(epoch.epoch));
                Ok(None)
            }
            Standing::Fenced(token) => Err(PublishError::Fenced { token }),
            Standing::WentBack(last_epoch) => Err(PublishError::WentBack { last_epoch, expected: epoch.prev }),
            Standing::Foreign(found) => {
                let found = format!("epoch {found}, and epoch {} is to follow {}", epoch.epoch, epoch.prev);
                Err(PublishError::Final(foreign(self.table(), found).into()))
            }
        }
    }

    /// Rows, ledger and commit. The rows are read between the steps, outside the runtime, since reading them may block.
    fn send(&mut self, session: &mut Session, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<(), SendError> {
        let runtime = self.runtime.clone();
        runtime.block_on(within(ANSWER_WITHIN, sqlx::raw_sql(BEGIN).execute(&mut session.connection)))?;
        let mut rows = EpochRows::new(epoch, rows);
        let mut next = rows.next().map_err(SendError::Told)?;
        let mut changes = Vec::new();
        while let Some(first) = next {
            let index = first.table();
            let table = self.tables.get(index).cloned().ok_or_else(|| SendError::Told(no_such_table(&first)))?;
            let place = match table.changelog {
                Changelog::Append => table.name.clone(),
                Changelog::Upsert => runtime.block_on(session.waiting(&table, index))?,
            };
            next = self.copy(&mut session.connection, &place, &table, first, &mut rows)?;
            if table.changelog == Changelog::Upsert && !changes.contains(&index) {
                changes.push(index);
            }
        }
        for index in changes {
            let table = self.tables.get(index).expect("rows went there");
            runtime.block_on(session.apply(table, index))?;
        }
        fail_point::reach(Point::RowsSent);
        // One message: between taking the ledger's row and the commit nobody waits for this process.
        let last = format!("{}; COMMIT", publish_call(self.table(), &self.grant, epoch));
        let committed = sqlx::raw_sql(AssertSqlSafe(last)).execute(&mut session.connection);
        runtime.block_on(within(ANSWER_WITHIN, committed))?;
        fail_point::reach(Point::PublicationCommitted);
        Ok(())
    }

    /// Copies rows of one table to their place; the first piece of another table, if there is one.
    fn copy(
        &mut self,
        connection: &mut PgConnection,
        place: &TableName,
        table: &Table,
        first: Arc<RowBatch>,
        rows: &mut EpochRows<'_>,
    ) -> Result<Option<Arc<RowBatch>>, SendError> {
        let runtime = self.runtime.clone();
        let index = first.table();
        let mut copy = runtime.block_on(CopyIn::begin(connection, &statement(place, &table.columns)))?;
        let mut next = Some(first);
        while let Some(chunk) = next.take_if(|chunk| chunk.table() == index) {
            let clean = self.storable(&chunk, table).map_err(SendError::Told)?;
            let sent = runtime.block_on(copy.send(clean.as_ref().unwrap_or(&chunk)));
            sent.map_err(|error| SendError::Told(self.failed(error)))?;
            next = rows.next().map_err(SendError::Told)?;
        }
        runtime.block_on(copy.finish())?;
        Ok(next)
    }

    /// The rows with another character for each NUL; `None` if they can be stored as they are.
    fn storable(&mut self, rows: &RowBatch, table: &Table) -> Result<Option<RowBatch>, PublishError> {
        let found = nul_texts(rows, &table.columns).map_err(misfit)?;
        if found == 0 {
            return Ok(None);
        }
        if self.nul_texts == 0 {
            tracing::warn!(table = %table.name,
                "a text with a NUL character cannot be stored in Postgres; it is stored with U+FFFD in its place");
        }
        self.nul_texts += found;
        without_nul(rows, &table.columns).map(Some).map_err(misfit)
    }

    fn failed(&self, error: sqlx::Error) -> PublishError {
        let table = self.table().clone();
        if is_passing(&error) {
            return PublishError::Passing(Error::Broken { table, source: DriverWords::from(error) }.into());
        }
        let error = match sql_state(&error).as_deref() {
            Some("42501") => self.no_right().unwrap_or_else(|| self.rejected(error)),
            Some("42P01" | "3F000") => Error::TableGone { table },
            _ => self.rejected(error),
        };
        PublishError::Final(error.into())
    }

    fn rejected(&self, error: sqlx::Error) -> Error {
        Error::Rejected { table: self.table().clone(), source: DriverWords::from(error) }
    }

    /// Which right is missing, asked on a connection on which nothing has failed; `None` if that is not to be learned.
    fn no_right(&self) -> Option<Error> {
        let mut connection = self.connect().ok()?;
        let asked = async {
            let looking = rights::look(&mut connection, &self.settings, &self.tables);
            let rights = within(ANSWER_WITHIN, looking).await;
            close(connection).await;
            rights
        };
        let grants = self.runtime.block_on(asked).ok()??.missing_grants;
        (!grants.is_empty()).then(|| Error::NoRight { user: self.settings.user().to_owned(), grants })
    }

    fn ledger_failed(&self, error: sqlx::Error) -> PublishError {
        match sql_state(&error).as_deref() {
            Some("42P01" | "3F000") => PublishError::Final(Error::LedgerGone { table: self.table().clone() }.into()),
            _ => self.failed(error),
        }
    }
}

impl Publisher for PostgresPublisher {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<Published, PublishError> {
        let Some(mut session) = self.session_before(epoch)? else {
            return Ok(Published::Already);
        };
        match self.send(&mut session, epoch, rows) {
            Ok(()) => {
                self.session = Some(session.at(epoch.epoch));
                Ok(Published::Now)
            }
            Err(SendError::Told(error)) => Err(error),
            Err(SendError::Driver(error)) if sql_state(&error).as_deref() == Some(NOT_OUR_TURN) => {
                drop(session);
                self.why_not(epoch, error)
            }
            Err(SendError::Driver(error)) => Err(self.failed(error)),
        }
    }

    fn is_due(&mut self, epoch: &SealedEpoch) -> Result<bool, PublishError> {
        let due = self.look_anew(epoch)?;
        let is_due = due.is_some();
        self.session = due.or(self.session.take());
        Ok(is_due)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        if let Some(session) = self.session.take() {
            self.runtime.block_on(close(session.connection));
        }
        if self.nul_texts > 0 {
            tracing::info!(table = %self.table(), texts = self.nul_texts, "texts with a NUL character, stored without it");
        }
        Ok(())
    }
}

impl PostgresPublisher {
    /// The ledger refused: it tells why.
    fn why_not(&mut self, epoch: &SealedEpoch, error: sqlx::Error) -> Result<Published, PublishError> {
        let session = Session::new(self.connect()?, epoch.prev);
        match self.look(session, epoch)? {
            None => Ok(Published::Already),
            // It has changed its mind since.
            Some(_) => {
                let source = DriverWords::from(error);
                Err(PublishError::Passing(Error::Broken { table: self.table().clone(), source }.into()))
            }
        }
    }
}

/// Why an epoch was not sent whole.
enum SendError {
    /// In the driver's words.
    Driver(sqlx::Error),
    /// As it is told to the committer.
    Told(PublishError),
}

impl From<sqlx::Error> for SendError {
    fn from(error: sqlx::Error) -> Self {
        SendError::Driver(error)
    }
}

fn silence() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}
