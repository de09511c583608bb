//! The port to sources and sinks, and to what opens look-ups.

use std::error::Error;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::{CheckpointId, JobId, Nonce, SplitId, Token};
use stream_core::operator::Record;
use stream_core::outlet::OutletSpec;
use stream_core::pipeline::{LookupSpec, SinkSpec, SourceSpec, Split};
use stream_core::row::RowBatch;
use stream_core::table::RowCounts;
use stream_core::time::Timestamp;

use crate::lookup::{Answers, Lookup};
use crate::store::StoreError;

/// A future of a port: boxed, so that the port stays usable as `dyn`.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ConnectorError>> + Send + 'a>>;

/// Every source and sink there is, chosen by the scheme of a spec's URI.
pub trait Connectors: Send + Sync {
    /// Reaches the source and lists its splits with their bounds resolved; asked once at submit, by the jobmanager, and
    /// again from time to time for new splits. Safe to repeat.
    ///
    /// # Errors
    /// As a user is to read them: the source cannot be reached, refuses the credentials, or has no such topic or file.
    fn discover<'a>(&'a self, source: &'a SourceSpec) -> PortFuture<'a, Vec<Split>>;

    /// A reader over some splits, which may be none. Called and used on a plain thread.
    ///
    /// # Errors
    /// If a split cannot be read at all.
    fn open_source(&self, source: &SourceSpec, splits: &[Split]) -> Result<Box<dyn SourceReader>, ConnectorError>;

    /// Reaches the sink and makes sure that rows of these columns fit; creates a missing table. Asked once at submit, by
    /// the jobmanager. Safe to repeat.
    ///
    /// # Errors
    /// As a user is to read them: the sink cannot be reached, refuses the credentials, or its table has other columns.
    fn check_sink<'a>(&'a self, sink: &'a SinkSpec) -> PortFuture<'a, ()>;

    /// Reaches an outlet of a side table and makes sure that rows can get there; creates a missing topic. Asked once at submit, by
    /// the jobmanager. Safe to repeat.
    ///
    /// # Errors
    /// As a user is to read them.
    fn check_outlet<'a>(&'a self, outlet: &'a OutletSpec) -> PortFuture<'a, ()> {
        Box::pin(async { Err(no_outlets(outlet)) })
    }

    /// Takes the sink over for a new attempt of a job: from its return on, nothing that an older attempt publishes becomes
    /// visible. Creates the ledger where it is missing. Asked by the jobmanager before it looks for a checkpoint. A repeated
    /// call fences the one before it.
    ///
    /// # Errors
    /// As a user is to read them: the sink cannot be reached, or its ledger may not be used.
    fn fence_sink<'a>(&'a self, sink: &'a SinkSpec, claim: Claim) -> PortFuture<'a, Anchor>;

    /// What publishes the epochs of an attempt that was fenced in. Called and used on a plain thread, outside any async runtime.
    ///
    /// # Errors
    /// If the sink cannot be opened.
    fn open_publisher(&self, sink: &SinkSpec, grant: Grant) -> Result<Box<dyn Publisher>, ConnectorError>;

    /// Tells the source's own tools how far a completed checkpoint has read (Kafka: the group's offsets, for lag). Nothing
    /// relies on it; safe to repeat.
    ///
    /// # Errors
    /// If the source did not take it.
    fn commit_positions<'a>(&'a self, source: &'a SourceSpec, positions: &'a [Split]) -> PortFuture<'a, ()>;

    /// Makes sure that the look-ups' settings hold, and that a file is there. Asked once at submit, by the jobmanager. Safe to
    /// repeat. No service is asked: a job runs without its answers, too.
    ///
    /// # Errors
    /// As a user is to read them.
    fn check_lookup<'a>(&'a self, lookup: &'a LookupSpec) -> PortFuture<'a, ()> {
        Box::pin(async { Err(no_lookups(lookup)) })
    }

    /// What answers one subtask of `subtasks`, among which the limits of the look-ups are shared. Called and used on a plain
    /// thread, outside any async runtime.
    ///
    /// # Errors
    /// If the file cannot be read, or a setting does not hold.
    fn open_lookup(
        &self,
        lookup: &LookupSpec,
        _subtasks: NonZeroU32,
        _answers: Arc<dyn Answers>,
    ) -> Result<Box<dyn Lookup>, ConnectorError> {
        Err(no_lookups(lookup))
    }
}

fn no_lookups(lookup: &LookupSpec) -> ConnectorError {
    ConnectorError::new(
        ConnectorErrorKind::Invalid,
        format!("nothing here looks anything up, and not in `{}`", lookup.uri),
    )
}

fn no_outlets(outlet: &OutletSpec) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Invalid, format!("nothing here puts rows into `{}`", outlet.uri))
}

/// A new attempt's claim to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose attempt it is.
    pub job_id: JobId,
    /// The highest token that any stored checkpoint of the job carries: a database that was set back must not hand it out again.
    pub highest_token: Token,
    /// The attempt's random number.
    pub nonce: Nonce,
}

/// Where the sink stands as an attempt takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The attempt's token, above every one before it.
    pub token: Token,
    /// The epoch published last; [`CheckpointId::ROOT`] before the first.
    pub last_epoch: CheckpointId,
}

/// What an attempt shows to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The job.
    pub job_id: JobId,
    /// The attempt's token.
    pub token: Token,
    /// The attempt's nonce.
    pub nonce: Nonce,
}

/// Makes epochs visible, each whole and once. One for each committer; blocks; dropped, it leaves nothing half-done behind.
pub trait Publisher: Send {
    /// Publishes an epoch: its rows and the move of the ledger from `prev` to it become visible together or not at all.
    /// Returns at once with [`Published::Already`] if that has happened before. `rows` gives the epoch's rows from the
    /// beginning. After an error the same call may be repeated; the publisher has then looked at the ledger first.
    ///
    /// # Errors
    /// With what to do about it; nothing of the epoch is visible, except where [`PublishError::Passing`] leaves that to the
    /// next call to find out.
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<Published, PublishError>;

    /// Asks the ledger, whatever it said before, whether an epoch is to be published; `false` if it is already. A sink without a
    /// ledger takes every epoch for the next one.
    ///
    /// # Errors
    /// As [`Publisher::publish`]: it is another attempt's turn, or the ledger cannot be asked.
    fn is_due(&mut self, _epoch: &SealedEpoch) -> Result<bool, PublishError> {
        Ok(true)
    }

    /// The job has finished and every epoch is published: a file gets its final name.
    ///
    /// # Errors
    /// If it does not.
    fn finish(self: Box<Self>) -> Result<(), ConnectorError>;
}

/// The rows of an epoch, a piece at a time.
pub trait RowChunks {
    /// The next piece; `None` behind the last. Shared, since it is kept until it is published.
    ///
    /// # Errors
    /// If a stored piece cannot be read back.
    fn next_chunk(&mut self) -> Result<Option<Arc<RowBatch>>, StoreError>;

    /// Begins anew with the first piece.
    fn rewind(&mut self);

    /// The rows so far that belong to the epoch and were not handed out, since they go elsewhere.
    fn passed_over(&self) -> RowCounts {
        RowCounts::default()
    }
}

/// How a publication went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The epoch is visible from now on.
    Now,
    /// It was visible already: an earlier try had come through.
    Already,
}

/// Why an epoch was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Trying again may help: the connection broke, the server restarts, a lock timed out.
    #[error(transparent)]
    Passing(ConnectorError),
    /// Another attempt has taken the sink over; this one must end, and nothing is wrong.
    #[error("another attempt of the job has taken the sink over (token {token})")]
    Fenced {
        /// Its token.
        token: Token,
    },
    /// The sink has forgotten epochs that were published: it was set back to an older state. A new attempt must anchor anew.
    #[error("the sink was set back: its last epoch is {last_epoch}, expected {expected}")]
    WentBack {
        /// As the ledger has it.
        last_epoch: CheckpointId,
        /// As this attempt had left it.
        expected: CheckpointId,
    },
    /// Trying again does not help.
    #[error(transparent)]
    Final(ConnectorError),
    /// The epoch's rows cannot be read back.
    #[error(transparent)]
    Rows(#[from] StoreError),
}

/// Reads the splits of one source subtask.
pub trait SourceReader: Send {
    /// Adds splits to those it reads; they are numbered on from those it has.
    ///
    /// # Errors
    /// If a split cannot be read at all.
    fn add_splits(&mut self, splits: &[Split]) -> Result<(), ConnectorError>;

    /// Waits up to `max_wait` for anything to tell, tells it to `visitor`, and returns. A reader whose splits have all
    /// finished returns at once.
    ///
    /// # Errors
    /// If the source fails in a way that waiting does not mend; what waiting mends is logged and retried within.
    fn poll(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<(), ConnectorError>;
}

/// What a source's system knows of a record beside its bytes; for tracing only.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordContext<'a> {
    /// Its header `traceparent`, if it has one.
    pub trace_parent: Option<&'a [u8]>,
    /// When it was written, by the system's own clock.
    pub written: Option<Timestamp>,
}

/// Is told what a [`SourceReader`] read. Splits are numbered in the order in which they were given to the reader.
pub trait SourceVisitor {
    /// Records of one split, in order, with the offset that follows the last of them. Returns how many were taken; the reader keeps the
    /// others, reads no more of that split than fits beside them, and tells them again once the split is no longer held.
    fn on_records(&mut self, split: usize, records: &[Record<'_>], next_offset: u64) -> usize;

    /// Whether the split has to wait for others: nothing that was not taken would be taken now.
    fn is_held(&self, _split: usize) -> bool {
        false
    }

    /// The split's position is its end as known now (not merely: nothing was read). Told again at each poll that finds it so.
    fn on_end_of_split_for_now(&mut self, split: usize);

    /// A bounded split has been read to its end; told once.
    fn on_split_finished(&mut self, split: usize);

    /// Records were taken that had been written into the source's system around these times, by its own clock; for measuring only. A
    /// source that has no such times tells none.
    fn on_arrivals(&mut self, _first: Timestamp, _last: Timestamp, _records: u64) {}

    /// How many records are to be told before one that is followed on its way, whose turn it is at 0. Nobody is followed unless somebody
    /// traces.
    fn until_followed(&self) -> usize {
        usize::MAX
    }

    /// As [`SourceVisitor::on_records`], for the one that is followed.
    fn on_followed(
        &mut self,
        split: usize,
        record: &Record<'_>,
        next_offset: u64,
        _context: RecordContext<'_>,
    ) -> usize {
        self.on_records(split, std::slice::from_ref(record), next_offset)
    }

    /// The end of a split as last known, for showing the lag.
    fn on_known_end(&mut self, split: usize, end: u64);
}

/// A source or sink failed.
///
/// The message says what, where and what to do, in one line without a secret; the client library's own words are the
/// [`Error::source`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    /// What a caller can do about it.
    pub kind: ConnectorErrorKind,
    /// For the user.
    pub message: String,
    /// The cause, if it adds anything.
    #[source]
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

/// What a caller can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorErrorKind {
    /// The spec is wrong in itself: an unknown scheme, a setting that is not allowed.
    Invalid,
    /// There is no such topic, table or file.
    NotFound,
    /// The credentials are refused, or lack a right.
    Denied,
    /// The table has other columns.
    Mismatch,
    /// What was to be read is gone, and no try will find it.
    DataLoss,
    /// It cannot be reached; a later try may succeed.
    Unreachable,
    /// It failed while working.
    Failed,
}

impl ConnectorError {
    /// A failure without a further cause.
    pub fn new(kind: ConnectorErrorKind, message: impl Into<String>) -> Self {
        ConnectorError { kind, message: message.into(), cause: None }
    }

    /// A failure with its cause.
    pub fn caused_by(
        kind: ConnectorErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        ConnectorError { kind, message: message.into(), cause: Some(cause.into()) }
    }
}

/// The messages of an error and its causes, outermost first.
pub fn cause_chain(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

/// The names of splits, for messages.
pub fn split_names<'a>(splits: impl IntoIterator<Item = &'a SplitId>) -> String {
    splits.into_iter().map(|split| split.0.as_str()).collect::<Vec<_>>().join(", ")
}
