//! Messages as frames.

use bytes::Bytes;
use proto::v1;
use stream_core::event_batch::EventBatch;
use stream_core::row::RowBatch;
use stream_core::watermark::{Progress, Watermark};

use crate::exchange::directory::Payload;
use crate::exchange::error::FrameError;
use crate::exchange::message::Message;

/// A message as it goes over the wire.
pub(crate) fn encode(message: &Message) -> v1::Frame {
    use v1::frame::Frame;
    let frame = match message {
        Message::Events(events) => Frame::Events(events.encode().into()),
        Message::Rows(rows) => Frame::Rows(Bytes::copy_from_slice(rows.as_bytes())),
        Message::Progress(Progress::Active(watermark)) => Frame::WatermarkMs(watermark.0),
        Message::Progress(Progress::Idle) => Frame::Idle(v1::Unit {}),
        Message::Barrier(barrier) => Frame::Barrier((*barrier).into()),
        Message::End => Frame::End(v1::Unit {}),
    };
    v1::Frame { frame: Some(frame) }
}

/// Reads what [`encode`] wrote, of a channel that carries `payload`.
///
/// # Errors
/// If the frame is damaged, or not one that may come on such a channel.
pub(crate) fn decode(frame: v1::Frame, payload: &Payload) -> Result<Message, FrameError> {
    use v1::frame::Frame;
    Ok(match (frame.frame.ok_or(FrameError::Empty)?, payload) {
        (Frame::Open(_), _) => return Err(FrameError::OpenedTwice),
        (Frame::Events(bytes), Payload::Events) => Message::Events(EventBatch::decode(&bytes)?),
        (Frame::Rows(bytes), Payload::Rows(columns)) => Message::Rows(RowBatch::from_bytes(bytes.into(), columns)?),
        (Frame::Events(_), Payload::Rows(_)) => return Err(FrameError::EventsAmongRows),
        (Frame::Rows(_), Payload::Events) => return Err(FrameError::RowsAmongEvents),
        (Frame::WatermarkMs(ms), _) => Message::Progress(Progress::Active(Watermark(ms))),
        (Frame::Idle(_), _) => Message::Progress(Progress::Idle),
        (Frame::Barrier(barrier), _) => Message::Barrier(barrier.into()),
        (Frame::End(_), _) => Message::End,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stream_core::barrier::Barrier;
    use stream_core::event_batch::KeyedEvent;
    use stream_core::ids::CheckpointId;
    use stream_core::key_group::hash_key;
    use stream_core::row::{Column, ColumnType};
    use stream_core::time::{EventTime, Timestamp};

    use super::*;

    fn events() -> Message {
        let mut events = EventBatch::default();
        events.push(KeyedEvent { hash: hash_key(b"k"), time: EventTime(7), count: 2, key: b"k" });
        Message::Events(events)
    }

    fn rows() -> Message {
        let mut rows = RowBatch::default();
        rows.row(1).bigint(5);
        Message::Rows(rows)
    }

    fn row_payload() -> Payload {
        Payload::Rows([Column { name: "n".to_owned(), column_type: ColumnType::BigInt }].into())
    }

    #[test]
    fn every_message_survives_the_wire() {
        let barrier = Barrier {
            checkpoint: CheckpointId(3),
            prev: CheckpointId(2),
            triggered: Timestamp(4),
            is_full: true,
            is_last: true,
        };
        let control = [
            Message::Progress(Progress::Active(Watermark(-5))),
            Message::Progress(Progress::Idle),
            Message::Barrier(barrier),
            Message::End,
        ];
        for message in control.into_iter().chain([events()]) {
            assert_eq!(decode(encode(&message), &Payload::Events).unwrap(), message);
        }
        assert_eq!(decode(encode(&rows()), &row_payload()).unwrap(), rows());
    }

    #[test]
    fn what_may_not_come_is_refused() {
        let garbage = |frame| v1::Frame { frame: Some(frame) };
        let cases = [
            (v1::Frame { frame: None }, Payload::Events),
            (garbage(v1::frame::Frame::Open(v1::OpenChannel::default())), Payload::Events),
            (garbage(v1::frame::Frame::Events(Bytes::from_static(b"\xff\0"))), Payload::Events),
            (garbage(v1::frame::Frame::Rows(Bytes::from_static(b"\xff\0"))), row_payload()),
            (encode(&rows()), Payload::Events),
            (encode(&events()), row_payload()),
        ];
        for (frame, payload) in cases {
            assert!(decode(frame.clone(), &payload).is_err(), "{frame:?}");
        }
    }
}
