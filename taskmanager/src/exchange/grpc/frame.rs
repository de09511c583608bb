//! Messages as frames.

use bytes::Bytes;
use proto::v1;
use stream_core::event_batch::EventBatch;
use stream_core::ids::TableIndex;
use stream_core::key_group::hash_key;
use stream_core::row::RowBatch;
use stream_core::table::Schemas;
use stream_core::time::EventTime;
use stream_core::watermark::{Progress, Watermark};
use telemetry::trace::SpanRef;

use crate::exchange::directory::Payload;
use crate::exchange::error::FrameError;
use crate::exchange::message::{Message, Traced};

/// A message as it goes over the wire.
pub(crate) fn encode(message: &Message) -> v1::Frame {
    use v1::frame::Frame;
    let frame = match message {
        Message::Events(events) => Frame::Events(events.encode().into()),
        Message::Rows(rows) => {
            Frame::Rows(v1::Rows { table: rows.table().0.into(), rows: Bytes::copy_from_slice(rows.as_bytes()) })
        }
        Message::Progress(Progress::Active(watermark)) => Frame::WatermarkMs(watermark.0),
        Message::Progress(Progress::Idle(by_clock)) => Frame::Idle(v1::Idle { by_clock_ms: by_clock.0 }),
        Message::Traced(traced) => Frame::Traced(encode_traced(traced)),
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
        (Frame::Events(_), Payload { has_events: false, .. }) => return Err(FrameError::EventsAmongRows),
        (Frame::Events(bytes), _) => Message::Events(EventBatch::decode(&bytes)?),
        (Frame::Rows(rows), Payload { schemas, .. }) => Message::Rows(decode_rows(rows, schemas)?),
        (Frame::WatermarkMs(ms), _) => Message::Progress(Progress::Active(Watermark(ms))),
        (Frame::Idle(idle), _) => Message::Progress(Progress::Idle(Watermark(idle.by_clock_ms))),
        (Frame::Traced(traced), _) => Message::Traced(decode_traced(&traced)),
        (Frame::Barrier(barrier), _) => Message::Barrier(barrier.into()),
        (Frame::End(_), _) => Message::End,
    })
}

#[allow(clippy::cast_possible_truncation, reason = "the two halves of a number")]
fn encode_traced(traced: &Traced) -> v1::Traced {
    let SpanRef { trace, span } = traced.place;
    let (trace_high, trace_low) = ((trace >> 64) as u64, trace as u64);
    v1::Traced { trace_high, trace_low, span, key: Bytes::copy_from_slice(&traced.key), time_ms: traced.time.0 }
}

fn decode_traced(traced: &v1::Traced) -> Traced {
    let trace = u128::from(traced.trace_high) << 64 | u128::from(traced.trace_low);
    let place = SpanRef { trace, span: traced.span };
    Traced { place, hash: hash_key(&traced.key), key: traced.key.to_vec(), time: EventTime(traced.time_ms) }
}

fn decode_rows(rows: v1::Rows, schemas: &Schemas) -> Result<RowBatch, FrameError> {
    let table = u16::try_from(rows.table).map(TableIndex).ok();
    let schema = table.and_then(|table| Some((table, schemas.columns(table)?)));
    let (table, columns) = schema.ok_or(FrameError::NoSuchTable(rows.table))?;
    Ok(RowBatch::from_bytes(table, rows.rows.into(), columns)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use stream_core::barrier::Barrier;
    use stream_core::event_batch::KeyedEvent;
    use stream_core::ids::CheckpointId;
    use stream_core::origin::Origin;
    use stream_core::row::{Column, ColumnType};
    use stream_core::time::Timestamp;

    use super::*;

    fn events() -> Message {
        let mut events = EventBatch::default();
        events.push(KeyedEvent {
            hash: hash_key(b"k"),
            time: EventTime(7),
            count: 2,
            key: b"k",
            origin: Origin::default(),
        });
        Message::Events(events)
    }

    fn rows(table: u16) -> Message {
        let mut rows = RowBatch::of(TableIndex(table));
        rows.row(1).bigint(5);
        Message::Rows(rows)
    }

    fn payload(has_events: bool) -> Payload {
        let columns = vec![Column { name: "n".to_owned(), column_type: ColumnType::BigInt }];
        Payload { has_events, schemas: Arc::new(Schemas::new([columns.clone(), columns])) }
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
            Message::Progress(Progress::Idle(Watermark(9))),
            Message::Barrier(barrier),
            Message::Traced(Traced {
                place: SpanRef { trace: 7 << 100 | 9, span: 3 },
                hash: hash_key(b"k"),
                key: b"k".to_vec(),
                time: EventTime(-4),
            }),
            Message::End,
        ];
        for message in control.into_iter().chain([events(), rows(0), rows(1)]) {
            assert_eq!(decode(encode(&message), &payload(true)).unwrap(), message);
        }
        assert_eq!(decode(encode(&rows(1)), &payload(false)).unwrap(), rows(1));
    }

    #[test]
    fn what_may_not_come_is_refused() {
        let garbage = |frame| v1::Frame { frame: Some(frame) };
        let cases = [
            (v1::Frame { frame: None }, true),
            (garbage(v1::frame::Frame::Open(v1::OpenChannel::default())), true),
            (garbage(v1::frame::Frame::Events(Bytes::from_static(b"\xff\0"))), true),
            (garbage(v1::frame::Frame::Rows(v1::Rows { table: 0, rows: Bytes::from_static(b"\xff\0") })), false),
            (garbage(v1::frame::Frame::Rows(v1::Rows { table: 1 << 16, rows: Bytes::new() })), false),
            (encode(&rows(2)), true),
            (encode(&events()), false),
        ];
        for (frame, has_events) in cases {
            assert!(decode(frame.clone(), &payload(has_events)).is_err(), "{frame:?}");
        }
    }
}
