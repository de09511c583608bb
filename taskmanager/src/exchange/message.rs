//! What travels from one subtask to another, in order.

use stream_core::barrier::Barrier;
use stream_core::event_batch::EventBatch;
use stream_core::row::RowBatch;
use stream_core::watermark::Progress;

/// One message of a channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// Events of the receiver's key groups.
    Events(EventBatch),
    /// Result rows for the sink.
    Rows(RowBatch),
    /// The sender's watermark rose, or the sender has nothing to read.
    Progress(Progress),
    /// The cut of a checkpoint.
    Barrier(Barrier),
    /// The sender has ended: nothing follows.
    End,
}

/// What a message without data costs: about its room in a queue. Without a price, a stream of watermarks into a
/// subtask that stands still would grow without bound.
pub(crate) const CONTROL_BYTES: usize = 64;

impl Message {
    /// The bytes that flow control counts. A channel charges at most its whole capacity for one message, so that a
    /// message of any size passes an empty channel.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Message::Events(batch) => batch.bytes().max(CONTROL_BYTES),
            Message::Rows(batch) => batch.as_bytes().len().max(CONTROL_BYTES),
            Message::Progress(_) | Message::Barrier(_) | Message::End => CONTROL_BYTES,
        }
    }
}
