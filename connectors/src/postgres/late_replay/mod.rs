//! Puts late events into the sessions of the table, batch by batch.
//!
//! A batch is one transaction that sees one state of the database: the ledger's cut, the rows of some keys and their late events.
//! It changes rows, marks the late events that are in them now, and moves the account, or does nothing. So a run that dies loses
//! nothing, and one that is repeated finds nothing to do. The job only ever adds rows, and no transaction of its own waits for this.
//!
//! Which row becomes what is the caller's to say. The sink's columns are a session's start, ip, host and hits, and behind them the time
//! of its last event where the table has it.
//!
//! Tests: `e2e/tests/clusters/late_replay.rs`, against a real server.

mod statements;

use std::ops::Range;
use std::time::Duration;

use serde::Deserialize as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use stream_core::checkpoint::Cut;
use stream_core::pipeline::SinkSpec;
use stream_core::time::EventTime;
use stream_runtime::connector::ConnectorError;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use super::connect::{close, connect_sink};
use super::error::{DriverWords, Error, sql_state};
use super::settings::Settings;
use super::table_name::{TableName, quoted};
use statements::Statements;

const DEFINITION: &str = include_str!("../../../../sql/ledger/late_replay.sql");

/// A statement that waits to change a table holds up all who come behind it, the job among them.
const LOCK_TIMEOUT: &str = "2s";

/// A replay that is over keeps its lock until the server finds that its connection is gone.
const ENDING_LIMIT: Duration = Duration::from_secs(3);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A connection that replays a job's late events, and keeps others from it.
pub struct LateReplay {
    connection: PgConnection,
    settings: Settings,
    statements: Statements,
    keys: u64,
}

/// Where a row lies, for as long as a transaction lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table's number: that of a partition, if it has some.
    table: i64,
    /// The row's, within it.
    row: String,
}

/// A row of the table, or a late event that is in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The number of its key.
    pub key: i64,
    /// Whether the key has a host.
    pub has_host: bool,
    /// Whether it is a late event.
    pub is_late: bool,
    /// Where it lies.
    pub place: Place,
    /// The first event of a row, or the late one.
    pub start: EventTime,
    /// The last event of a row, where the table has it.
    pub last: Option<EventTime>,
    /// A row's.
    pub num_hits: i64,
}

/// A session that the table is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The number of its key.
    pub key: i64,
    /// Its first event.
    pub start: EventTime,
    /// Its last event, if that is known.
    pub last: Option<EventTime>,
    /// Its hits.
    pub num_hits: i64,
    /// The rows that it is made of: the first becomes it, the others go. Without any it is a new row.
    pub rows: Vec<Place>,
    /// The late events that are in it now.
    pub late: Vec<Place>,
}

impl LateReplay {
    /// Connects, makes what is missing of the account, and numbers the keys that have late events of the job in `late_table`.
    ///
    /// # Errors
    /// As a user is to read them: a table is missing, a right is, or another replay of the job is under way.
    pub async fn begin(sink: &SinkSpec, late_table: &str, job_id: &str) -> Result<Self, ConnectorError> {
        let settings = Settings::from_spec(sink).map_err(Error::from)?;
        let table: TableName = sink.table.parse().map_err(Error::TableName)?;
        let late: TableName = late_table.parse().map_err(Error::TableName)?;
        let statements = Statements { table, late, job_id: job_id.to_owned(), columns: sink.columns.clone() };
        let connection = connect_sink(&settings, "late-replay").await?;
        let mut replay = LateReplay { connection, settings, statements, keys: 0 };
        if !replay.lock().await? {
            return Err(Error::ReplayUnderWay { table: replay.statements.table }.into());
        }
        if !replay.is(&replay.statements.is_prepared()).await? {
            let prepare = replay.statements.within_schema(DEFINITION);
            replay.run(&format!("BEGIN; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; {prepare} COMMIT")).await?;
        }
        replay.run(&replay.statements.number_keys()).await?;
        let counted: i64 = replay.one(&replay.statements.count_keys()).await?;
        replay.keys = counted.unsigned_abs();
        Ok(replay)
    }

    /// Whether no other replay is under way.
    async fn lock(&mut self) -> Result<bool, ConnectorError> {
        let give_up = Instant::now() + ENDING_LIMIT;
        while !self.is(&self.statements.lock()).await? {
            if Instant::now() > give_up {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
        Ok(true)
    }

    /// How many keys have late events.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Begins a batch: what the table shows now is the result of this cut. `None` if the ledger has none.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn begin_batch(&mut self) -> Result<Option<Cut>, ConnectorError> {
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        let cut: Option<String> = self.one(&self.statements.cut()).await?;
        Ok(cut.and_then(|json| Cut::deserialize(&mut serde_json::Deserializer::from_str(&json)).ok()))
    }

    /// Passes the rows of these keys and their late events that are in none, by key and start.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn spans(&mut self, keys: Range<u64>, mut on_span: impl FnMut(Span)) -> Result<(), ConnectorError> {
        let statement = self.statements.spans(&keys);
        let LateReplay { connection, settings, statements, .. } = self;
        let failed = |error| failed(settings, statements, error);
        let mut rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch(connection);
        while let Some(row) = rows.next().await {
            on_span(row.and_then(|row| span(&row)).map_err(failed)?);
        }
        Ok(())
    }

    /// Makes the table show these sessions, and ends the batch.
    ///
    /// # Errors
    /// If the server fails, or somebody else changed one of these rows meanwhile. The batch is undone then.
    pub async fn commit(&mut self, sessions: &[Session]) -> Result<(), ConnectorError> {
        let rows = |sessions: &[Session]| sessions.iter().map(|session| session.rows.len()).sum::<usize>();
        let late = sessions.iter().map(|session| session.late.len()).sum::<usize>();
        let (changed, made): (Vec<Session>, Vec<Session>) =
            sessions.iter().cloned().partition(|session| !session.rows.is_empty());
        let gone = changed.iter().flat_map(|session| &session.rows[1..]).cloned();
        let gone: Vec<Place> = gone.collect();
        let first = |session: &Session| session.rows[0].clone();
        self.write(&self.statements.change(), Values::of(&changed, changed.iter().map(first)), changed.len()).await?;
        self.write(&self.statements.remove(), Values::at(&gone), gone.len()).await?;
        self.write(&self.statements.make(), Values::of(&made, std::iter::empty()), made.len()).await?;
        let marked: Vec<Place> = sessions.iter().flat_map(|session| session.late.clone()).collect();
        self.write(&self.statements.mark(), Values::at(&marked), late).await?;
        let rows_added = sessions.len() as i64 - rows(sessions) as i64;
        self.run(&self.statements.account(late, rows_added)).await?;
        self.run("COMMIT").await
    }

    /// Ends a batch in which nothing is to be done.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn end_batch(&mut self) -> Result<(), ConnectorError> {
        self.run("COMMIT").await
    }

    /// Says goodbye.
    pub async fn close(self) {
        close(self.connection).await;
    }

    /// Runs a statement that has to reach so many rows.
    async fn write(&mut self, statement: &str, values: Values, rows: usize) -> Result<(), ConnectorError> {
        if rows == 0 {
            return Ok(());
        }
        let Values { keys, tables, places, starts, lasts, hits } = values;
        let query = sqlx::query(AssertSqlSafe(statement.to_owned())).bind(keys).bind(tables).bind(places);
        let query = query.bind(starts).bind(lasts).bind(hits).persistent(false);
        let done = query.execute(&mut self.connection).await;
        let done = done.map_err(|error| failed(&self.settings, &self.statements, error))?;
        if done.rows_affected() != rows as u64 {
            return Err(Error::ChangedMeanwhile { table: self.statements.table.clone() }.into());
        }
        Ok(())
    }

    async fn run(&mut self, statement: &str) -> Result<(), ConnectorError> {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut self.connection).await;
        done.map(drop).map_err(|error| failed(&self.settings, &self.statements, error).into())
    }

    async fn is(&mut self, question: &str) -> Result<bool, ConnectorError> {
        self.one(question).await
    }

    async fn one<T>(&mut self, question: &str) -> Result<T, ConnectorError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let row = sqlx::raw_sql(AssertSqlSafe(question.to_owned())).fetch_one(&mut self.connection).await;
        let answer = row.and_then(|row| row.try_get(0));
        answer.map_err(|error| failed(&self.settings, &self.statements, error).into())
    }
}

/// The values of a statement, one column each. Which of them a statement reads is its own business.
#[derive(Default)]
struct Values {
    keys: Vec<i64>,
    tables: Vec<i64>,
    places: Vec<String>,
    starts: Vec<i64>,
    lasts: Vec<Option<i64>>,
    hits: Vec<i64>,
}

impl Values {
    fn at(places: &[Place]) -> Self {
        let (tables, places) = places.iter().map(|place| (place.table, place.row.clone())).unzip();
        Values { tables, places, ..Values::default() }
    }

    fn of(sessions: &[Session], places: impl Iterator<Item = Place>) -> Self {
        let (tables, places) = places.map(|place| (place.table, place.row)).unzip();
        Values {
            keys: sessions.iter().map(|session| session.key).collect(),
            tables,
            places,
            starts: sessions.iter().map(|session| session.start.0).collect(),
            lasts: sessions.iter().map(|session| session.last.map(|last| last.0)).collect(),
            hits: sessions.iter().map(|session| session.num_hits).collect(),
        }
    }
}

fn span(row: &PgRow) -> Result<Span, sqlx::Error> {
    Ok(Span {
        key: row.try_get(0)?,
        has_host: row.try_get(1)?,
        is_late: row.try_get(2)?,
        place: Place { table: row.try_get(3)?, row: row.try_get(4)? },
        start: EventTime(row.try_get(5)?),
        last: row.try_get::<Option<i64>, _>(6)?.map(EventTime),
        num_hits: row.try_get(7)?,
    })
}

fn failed(settings: &Settings, statements: &Statements, error: sqlx::Error) -> Error {
    let table = statements.table.clone();
    match sql_state(&error).as_deref() {
        Some("42501" | "25006") => Error::MayNotReplay {
            user: settings.user().to_owned(),
            grants: statements.grants(&quoted(settings.user())),
            source: DriverWords::from(error),
        },
        Some("42P01" | "3F000" | "42703") => {
            Error::NothingToReplay { table, address: settings.address(), source: DriverWords::from(error) }
        }
        // A row was changed or is gone since the transaction began, or a table is in use that has to be changed.
        Some("40001" | "40P01" | "55P03") => Error::ChangedMeanwhile { table },
        _ => Error::Statement { address: settings.address(), source: DriverWords::from(error) },
    }
}
