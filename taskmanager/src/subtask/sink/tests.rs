#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use stream_core::event_batch::EventBatch;
use stream_core::watermark::Watermark;

use super::*;
use crate::subtask::testing::{ManualClock, RecordingWriter, Written};

struct Fixture {
    sink: SinkSubtask,
    gate: Arc<Gate>,
    clock: ManualClock,
    written: Arc<Mutex<Written>>,
    counters: Arc<Counters>,
}

fn fixture() -> Fixture {
    let (gate, clock) = (Arc::new(Gate::new(2, 1 << 20)), ManualClock::default());
    let (written, counters) = (Arc::default(), Arc::new(Counters::default()));
    let writer = Box::new(RecordingWriter(Arc::clone(&written)));
    let sink = SinkSubtask::new(Arc::clone(&gate), 2, writer, Arc::new(clock.clone()), Arc::clone(&counters));
    Fixture { sink, gate, clock, written, counters }
}

fn row(text: &str) -> Message {
    let mut rows = RowBatch::default();
    rows.row(1).text(Some(text));
    Message::Rows(rows)
}

#[test]
fn rows_are_flushed_a_second_after_the_first_of_them() {
    let mut f = fixture();
    f.gate.try_push(0, row("a")).unwrap();
    assert_eq!(f.sink.step().unwrap(), Step::WORKED);
    f.clock.advance(FLUSH_INTERVAL / 2);
    f.gate.try_push(1, row("b")).unwrap();
    f.sink.step().unwrap();
    assert_eq!((f.sink.step().unwrap(), f.written.lock().unwrap().flushes), (Step::AwaitingInput, 0));
    f.clock.advance(FLUSH_INTERVAL / 2);
    f.sink.step().unwrap();
    assert_eq!(f.written.lock().unwrap().flushes, 1);
    assert_eq!(f.counters.snapshot().records_out, 2);
    f.clock.advance(FLUSH_INTERVAL * 5);
    f.sink.step().unwrap();
    assert_eq!(f.written.lock().unwrap().flushes, 1, "there is nothing to flush");
}

#[test]
fn writer_is_finished_once_every_input_has_ended() {
    let mut f = fixture();
    f.gate.try_push(0, row("a")).unwrap();
    f.gate.try_push(0, Message::End).unwrap();
    f.gate.try_push(1, Message::Progress(Progress::Active(Watermark::END))).unwrap();
    for _ in 0..3 {
        f.sink.step().unwrap();
    }
    assert_eq!(f.sink.step().unwrap(), Step::AwaitingInput);
    assert!(!f.written.lock().unwrap().is_finished);
    f.gate.try_push(1, Message::End).unwrap();
    f.sink.step().unwrap();
    assert_eq!(f.sink.step().unwrap(), Step::Finished);
    assert!(f.written.lock().unwrap().is_finished);
    let counted = f.counters.snapshot();
    assert_eq!((counted.records_in, counted.records_out, counted.bytes_in), (1, 1, 7));
}

#[test]
fn canceled_sink_drops_its_writer_unfinished() {
    let mut f = fixture();
    f.gate.try_push(0, row("a")).unwrap();
    f.sink.step().unwrap();
    f.gate.close();
    assert_eq!(f.sink.step().unwrap(), Step::Closed);
    drop(f.sink);
    let written = f.written.lock().unwrap();
    assert!(written.is_dropped && !written.is_finished);
}

#[test]
fn events_are_refused() {
    let mut f = fixture();
    f.gate.try_push(0, Message::Events(EventBatch::default())).unwrap();
    assert!(matches!(f.sink.step(), Err(TaskError::UnexpectedMessage("events"))));
}
