//! The port to sources and sinks.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use stream_core::ids::SplitId;
use stream_core::operator::Record;
use stream_core::pipeline::{SinkSpec, SourceSpec, Split};
use stream_core::row::RowBatch;

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

    /// A writer. Called and used on a plain thread, outside any async runtime.
    ///
    /// # Errors
    /// If the sink cannot be opened.
    fn open_sink(&self, sink: &SinkSpec) -> Result<Box<dyn SinkWriter>, ConnectorError>;
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

/// Is told what a [`SourceReader`] read. Splits are numbered in the order in which they were given to the reader.
pub trait SourceVisitor {
    /// Records of one split, in order, with the offset that follows the last of them.
    fn on_records(&mut self, split: usize, records: &[Record<'_>], next_offset: u64);

    /// The split's position is its end as known now (not merely: nothing was read). Told again at each poll that finds it so.
    fn on_end_of_split_for_now(&mut self, split: usize);

    /// A bounded split has been read to its end; told once.
    fn on_split_finished(&mut self, split: usize);

    /// The end of a split as last known, for showing the lag.
    fn on_known_end(&mut self, split: usize, end: u64);
}

/// Writes the rows of one sink subtask.
///
/// In this step rows become visible when flushed; dropping a writer that was not finished must leave no half-written
/// file behind under the final name.
pub trait SinkWriter: Send {
    /// Takes rows. May hold them back until [`SinkWriter::flush`].
    ///
    /// # Errors
    /// If the sink fails in a way that a retry does not mend.
    fn write(&mut self, rows: &RowBatch) -> Result<(), ConnectorError>;

    /// Makes what was written visible where the sink has the notion (a table); files become visible when finished.
    ///
    /// # Errors
    /// As [`SinkWriter::write`].
    fn flush(&mut self) -> Result<(), ConnectorError>;

    /// Everything was written: flushes, and gives a file its final name.
    ///
    /// # Errors
    /// As [`SinkWriter::write`].
    fn finish(self: Box<Self>) -> Result<(), ConnectorError>;

    /// Rows made visible so far.
    fn rows_written(&self) -> u64;
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
    /// The table has other columns, the split is out of range.
    Mismatch,
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
