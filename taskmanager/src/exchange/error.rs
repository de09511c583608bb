//! Why a channel broke.

use std::error::Error;

/// A channel between two subtasks broke; the attempt cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The stream from an upstream subtask ended before the subtask did.
    #[error("lost the upstream {peer}")]
    LostUpstream {
        /// Who was lost.
        peer: Peer,
        /// What the connection said, if anything.
        #[source]
        cause: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The stream to a downstream subtask could not be opened, or ended before this subtask did.
    #[error("lost the downstream {peer}")]
    LostDownstream {
        /// Who was lost.
        peer: Peer,
        /// What the connection said, if anything.
        #[source]
        cause: Option<Box<dyn Error + Send + Sync>>,
    },
    /// An upstream subtask sent what cannot be read.
    #[error("the upstream {peer} sent what cannot be read")]
    Damaged {
        /// Who sent it.
        peer: Peer,
        /// What was wrong with it.
        #[source]
        cause: FrameError,
    },
}

/// A subtask at the other end of a channel, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its name, for instance `source[1]`.
    pub(crate) subtask: String,
    /// The taskmanager that runs it.
    pub(crate) taskmanager: String,
}

/// A frame that is none, or that may not come here or now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The frame holds nothing.
    #[error("a frame is empty")]
    Empty,
    /// A second `Open`.
    #[error("the channel was opened a second time")]
    OpenedTwice,
    /// Events where rows are expected.
    #[error("events came on a channel of rows")]
    EventsAmongRows,
    /// Rows of a table that the sink does not have.
    #[error("rows came for table {0}, which the sink does not have")]
    NoSuchTable(u32),
    /// More data than was granted.
    #[error("more bytes came than were granted")]
    BeyondCredit,
    /// Something came after the end.
    #[error("a frame came after the end")]
    AfterEnd,
    /// A batch of events that does not decode.
    #[error(transparent)]
    Events(#[from] stream_core::event_batch::DecodeBatchError),
    /// A batch of rows that does not decode.
    #[error(transparent)]
    Rows(#[from] stream_core::row::DecodeRowError),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on `{}`", self.subtask, self.taskmanager)
    }
}
