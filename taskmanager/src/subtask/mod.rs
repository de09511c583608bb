//! A subtask: a plain value with a `step()` that never blocks on its neighbours.
//!
//! In production a plain thread calls `step` until the subtask has finished ([`thread`]); a test calls it in turn with
//! others. A step takes one piece of input, does the work, and offers the output to the exchange; what a slow neighbour
//! does not take is kept, and the next step does nothing else until it is gone. That is what makes a slow sink slow down
//! the source. Waiting, and accounting for it, is the thread's business.
//!
//! Between steps a subtask reads its [`mail`]: triggers and completed checkpoints from the service, answers from what works
//! for it in the background. What it has to tell goes out as an [`event`]. At a barrier on all inputs ([`aligning`]) it takes
//! its part of the checkpoint; how, is said by each kind of subtask.

pub(crate) mod aligning;
pub(crate) mod committer;
pub(crate) mod emit;
pub(crate) mod event;
pub(crate) mod mail;
pub(crate) mod operator;
pub(crate) mod sampling;
pub(crate) mod source;
pub(crate) mod spans;
pub(crate) mod thread;

#[cfg(test)]
mod testing;

use std::time::Duration;

use stream_core::snapshot::DecodeSnapshotError;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, PublishError};
use stream_runtime::store::StoreError;

use crate::exchange::error::ExchangeError;
use crate::exchange::outputs::Flushed;

/// One subtask, whichever stage it belongs to.
pub(crate) trait Subtask {
    /// Does a piece of work.
    ///
    /// # Errors
    /// If the attempt cannot go on.
    fn step(&mut self) -> Result<Step, TaskError>;

    /// Waits until there may be input, `max_wait` at most.
    fn wait_for_input(&self, max_wait: Duration);

    /// Waits until the output that is kept may be taken, `max_wait` at most.
    fn wait_for_room(&self, max_wait: Duration);
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It worked, apart from the time that it waited for a source's records.
    Worked {
        /// That time.
        waited: Duration,
    },
    /// There was nothing to do.
    AwaitingInput,
    /// Downstream, or the store of a sink's rows, does not take the output.
    Backpressured,
    /// The subtask is done, and its output received.
    Finished,
    /// The attempt was canceled.
    Closed,
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// The source or the sink.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The exchange.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// An epoch cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The checkpoint store cannot be opened, or a file that the attempt begins with cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of state holds what this version of the job does not write.
    #[error("the state cannot be restored")]
    Restore(#[from] DecodeSnapshotError),
    /// The system refuses a thread.
    #[error("no thread could be started")]
    Thread(#[source] std::io::Error),
    /// The job does not take its options; a client of another version may have written them.
    #[error(transparent)]
    Options(#[from] stream_core::pipeline::OptionsError),
    /// See there.
    #[error(transparent)]
    Refused(#[from] stream_core::operator::Refusal),
    /// A bug: the stage before sends what this stage cannot take.
    #[error("the stage before sent {0}, which this stage cannot take: this is a bug, please report it")]
    UnexpectedMessage(&'static str),
    /// A bug: every upstream subtask ended, and no barrier had said that it would.
    #[error("all input ended before the last barrier: this is a bug, please report it")]
    EndedBeforeLast,
    /// The job's or the connector's code panicked; the message was logged with its place.
    #[error("panicked: {0}")]
    Panicked(String),
}

impl TaskError {
    /// Whether any other attempt would fail likewise.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            TaskError::Connector(error) => error.kind == ConnectorErrorKind::DataLoss,
            TaskError::Refused(_) | TaskError::Options(_) => true,
            TaskError::Exchange(_)
            | TaskError::Publish(_)
            | TaskError::Store(_)
            | TaskError::Restore(_)
            | TaskError::Thread(_)
            | TaskError::UnexpectedMessage(_)
            | TaskError::EndedBeforeLast
            | TaskError::Panicked(_) => false,
        }
    }
}

impl Step {
    const WORKED: Step = Step::Worked { waited: Duration::ZERO };

    /// What a step comes to that could not hand on everything; `None` if it could.
    fn unless_flushed(flushed: Flushed) -> Option<Step> {
        match flushed {
            Flushed::All => None,
            Flushed::Backpressured => Some(Step::Backpressured),
            Flushed::Closed => Some(Step::Closed),
        }
    }
}
