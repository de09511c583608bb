//! What tests of the Postgres sink share: a server, a sink on it, and attempts that publish rows as a committer does.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use connectors::RealConnectors;
use connectors::postgres::Client;
use localcluster::postgres::Postgres;
use stream_core::checkpoint::{Accounts, SealedEpoch};
use stream_core::ids::{CheckpointId, JobId, Nonce, Token};
use stream_core::pipeline::SinkSpec;
use stream_core::row::{Column, ColumnType, RowBatch};
use stream_core::secret::Secret;
use stream_core::table::RowCounts;
use stream_core::time::EventTime;
use stream_runtime::connector::{Anchor, Claim, Connectors, Grant, PublishError, Published, Publisher, RowChunks};
use stream_runtime::store::StoreError;
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::cluster::readable_dir;

/// The job whose sink it is.
pub const JOB: JobId = JobId(0xabc);

/// A server of its own; it is stopped before its folder goes.
#[derive(Debug)]
pub struct Server {
    /// It; a test may kill it.
    pub postgres: Postgres,
    _dir: TempDir,
}

/// Starts a server; with a client of its owner.
///
/// # Errors
/// If it does not start.
pub async fn start() -> Result<(Server, Client)> {
    let dir = readable_dir()?;
    let server = Server { postgres: Postgres::start(dir.path())?, _dir: dir };
    let client = client(&server).await?;
    Ok((server, client))
}

/// Another client of the owner.
///
/// # Errors
/// If the server is not there.
pub async fn client(server: &Server) -> Result<Client> {
    Ok(Client::connect(&server.postgres.url().parse()?).await?)
}

/// The connectors as the processes have them.
#[must_use]
pub fn connectors() -> RealConnectors {
    RealConnectors::new(Handle::current())
}

/// A sink for `(event_hour, ip, host, num_hits)`, with the rights of the owner.
#[must_use]
pub fn sink(server: &Server, table: &str) -> SinkSpec {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    let sink = SinkSpec {
        uri: format!("postgres://127.0.0.1:{}/postgres", server.postgres.port()),
        table: table.to_owned(),
        side_tables: Vec::new(),
        columns: vec![
            column("event_hour", ColumnType::Timestamp),
            column("ip", ColumnType::Text),
            column("host", ColumnType::Text),
            column("num_hits", ColumnType::BigInt),
        ],
        properties: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    as_user(sink, "postgres", "postgres")
}

/// The sink with the rights of somebody else.
#[must_use]
pub fn as_user(mut sink: SinkSpec, user: &str, password: &str) -> SinkSpec {
    sink.properties.insert("user".to_owned(), user.to_owned());
    sink.secrets.insert("password".to_owned(), Secret::new(password));
    sink
}

/// An attempt of the job that has taken the sink over, with its publisher.
pub struct Attempt {
    sink: SinkSpec,
    grant: Grant,
    /// What the ledger said as it took over.
    pub anchor: Anchor,
    publisher: Arc<Mutex<Box<dyn Publisher>>>,
}

impl Attempt {
    /// Takes the sink over.
    ///
    /// # Errors
    /// As [`Connectors::fence_sink`].
    pub async fn begin(sink: &SinkSpec, nonce: u128) -> Result<Attempt> {
        Attempt::begin_as(JOB, sink, nonce).await
    }

    /// As [`Attempt::begin`], for another job.
    ///
    /// # Errors
    /// As [`Connectors::fence_sink`].
    pub async fn begin_as(job_id: JobId, sink: &SinkSpec, nonce: u128) -> Result<Attempt> {
        let nonce = Nonce(nonce);
        let anchor = connectors().fence_sink(sink, Claim { job_id, highest_token: Token(0), nonce }).await?;
        Attempt::open(sink, anchor, Grant { job_id, token: anchor.token, nonce })
    }

    fn open(sink: &SinkSpec, anchor: Anchor, grant: Grant) -> Result<Attempt> {
        let publisher = connectors().open_publisher(sink, grant)?;
        Ok(Attempt { sink: sink.clone(), grant, anchor, publisher: Arc::new(Mutex::new(publisher)) })
    }

    /// The same attempt with a publisher that remembers nothing.
    ///
    /// # Errors
    /// If the sink cannot be used.
    pub fn reopened(&self) -> Result<Attempt> {
        Attempt::open(&self.sink, self.anchor, self.grant)
    }

    /// An epoch of this attempt.
    #[must_use]
    pub fn epoch(&self, sequence: u32, prev: CheckpointId, rows: u64) -> SealedEpoch {
        let epoch = CheckpointId::new(self.anchor.token, sequence);
        SealedEpoch {
            epoch,
            prev,
            files: Vec::new(),
            rows: RowCounts::of_result(rows),
            accounts: Accounts::default(),
            cut: None,
        }
    }

    /// Publishes where the processes do: on a thread that may block.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish(&self, epoch: SealedEpoch, mut rows: Chunks) -> Result<Published, PublishError> {
        let publisher = Arc::clone(&self.publisher);
        let work = move || publisher.lock().unwrap_or_else(PoisonError::into_inner).publish(&epoch, &mut rows);
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Ends it in an orderly way.
    ///
    /// # Errors
    /// As [`Publisher::finish`].
    pub async fn finish(self) -> Result<()> {
        let publisher = Arc::into_inner(self.publisher).context("it still publishes")?;
        let publisher = publisher.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(tokio::task::spawn_blocking(move || publisher.finish()).await??)
    }
}

type Step = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Rows as the committer gives them, and what happens before the last piece is given.
#[derive(Default)]
pub struct Chunks {
    chunks: VecDeque<RowBatch>,
    given: Vec<RowBatch>,
    before_last: Option<Step>,
}

impl Chunks {
    /// These.
    pub fn of(chunks: impl IntoIterator<Item = RowBatch>) -> Self {
        Chunks { chunks: chunks.into_iter().collect(), ..Chunks::default() }
    }

    /// Does something else before the last piece.
    #[must_use]
    pub fn before_last(mut self, step: impl Future<Output = ()> + Send + 'static) -> Self {
        self.before_last = Some(Box::pin(step));
        self
    }
}

impl RowChunks for Chunks {
    fn next_chunk(&mut self) -> Result<Option<Arc<RowBatch>>, StoreError> {
        if self.chunks.len() == 1
            && let Some(step) = self.before_last.take()
        {
            // Reading stored rows blocks like this too.
            Handle::current().block_on(step);
        }
        let next = self.chunks.pop_front();
        self.given.extend(next.clone());
        Ok(next.map(Arc::new))
    }

    fn rewind(&mut self) {
        self.chunks = self.given.drain(..).chain(self.chunks.drain(..)).collect();
    }
}

/// A row for each number, in `num_hits`, in several pieces.
#[must_use]
pub fn numbers(numbers: Range<i64>) -> Chunks {
    let numbers: Vec<i64> = numbers.collect();
    Chunks::of(numbers.chunks(7000).map(|numbers| {
        let mut rows = RowBatch::default();
        for &number in numbers {
            rows.row(4).timestamp(EventTime(number)).text(Some("ip")).text(Some("host")).bigint(number);
        }
        rows
    }))
}

/// Rows, and different rows, of `sessions`.
///
/// # Errors
/// If they cannot be counted.
pub async fn counts(sql: &mut Client) -> Result<String> {
    text(sql, "SELECT count(*) || ' ' || count(DISTINCT num_hits) FROM sessions").await
}

/// The one field of a query.
///
/// # Errors
/// If it fails, or gives no field.
pub async fn text(sql: &mut Client, query: &str) -> Result<String> {
    let table = sql.query_text(query).await?;
    let field = table.rows.first().and_then(|row| row.first()).cloned().flatten();
    field.with_context(|| format!("no field: {query}"))
}
