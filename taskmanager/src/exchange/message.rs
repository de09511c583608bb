//! What travels from one subtask to another, in order.

use stream_core::barrier::Barrier;
use stream_core::event_batch::EventBatch;
use stream_core::key_group::KeyHash;
use stream_core::row::RowBatch;
use stream_core::time::EventTime;
use stream_core::watermark::Progress;
use telemetry::trace::SpanRef;

/// One message of a channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// Events of the receiver's key groups.
    Events(EventBatch),
    /// Result rows for the sink.
    Rows(RowBatch),
    /// An event that came before is followed on its way.
    Traced(Traced),
    /// The sender's watermark rose, or the sender has nothing to read.
    Progress(Progress),
    /// The cut of a checkpoint.
    Barrier(Barrier),
    /// The sender has ended: nothing follows.
    End,
}

/// A record that is followed, and what became of it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Traced {
    /// The span that was told last: the next one is its child.
    pub(crate) place: SpanRef,
    /// Its event's.
    pub(crate) hash: KeyHash,
    /// Its event's.
    pub(crate) key: Vec<u8>,
    /// Its event's.
    pub(crate) time: EventTime,
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
            Message::Traced(traced) => CONTROL_BYTES + traced.key.len(),
            Message::Progress(_) | Message::Barrier(_) | Message::End => CONTROL_BYTES,
        }
    }
}
