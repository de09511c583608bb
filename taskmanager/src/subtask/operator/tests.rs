#![allow(clippy::unwrap_used)]

use stream_core::collector::Collector;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{MaxParallelism, hash_key};
use stream_core::operator::OperatorCounters;
use stream_core::row::RowBatch;
use stream_core::time::EventTime;

use super::*;
use crate::exchange::outputs::{Outputs, Sender};
use crate::subtask::testing::{Echo, texts};

/// An operator subtask of two inputs, and the gate of the sink behind it.
struct Fixture {
    operator: OperatorSubtask,
    input: Arc<Gate>,
    output: Arc<Gate>,
    counters: Arc<Counters>,
}

fn fixture() -> Fixture {
    let (input, output) = (Arc::new(Gate::new(2, 1 << 20)), Arc::new(Gate::new(1, 1 << 20)));
    let outputs = Outputs::new(vec![Sender::Local(Arc::clone(&output), 0)]);
    let counters = Arc::new(Counters::default());
    let emitter = Emitter::new(Collector::new(MaxParallelism::DEFAULT, 1), outputs, Arc::clone(&counters));
    let operator =
        OperatorSubtask::new(Arc::clone(&input), 2, Box::new(Echo::default()), emitter, Arc::clone(&counters));
    Fixture { operator, input, output, counters }
}

impl Fixture {
    fn push(&self, channel: usize, message: Message) {
        self.input.try_push(channel, message).unwrap();
    }

    fn run(&mut self) -> Step {
        loop {
            let step = self.operator.step().unwrap();
            if step != Step::WORKED {
                return step;
            }
        }
    }

    fn received(&self) -> Vec<String> {
        std::iter::from_fn(|| match self.output.try_pop().unwrap() {
            Input::Message(_, Message::Rows(rows)) => Some(texts(&rows).join("+")),
            Input::Message(_, Message::Progress(Progress::Active(Watermark(ms)))) => Some(format!("progress {ms}")),
            Input::Message(_, message) => Some(format!("{message:?}")),
            Input::Empty | Input::Closed => None,
        })
        .collect()
    }
}

fn event(key: &str) -> Message {
    let key = key.as_bytes();
    let mut events = EventBatch::default();
    events.push(KeyedEvent { hash: hash_key(key), time: EventTime(0), count: 1, key });
    Message::Events(events)
}

const fn active(ms: i64) -> Message {
    Message::Progress(Progress::Active(Watermark(ms)))
}

#[test]
fn watermark_is_the_minimum_of_the_inputs_and_follows_the_rows_it_fired() {
    let mut f = fixture();
    f.push(0, active(10));
    assert_eq!(f.run(), Step::AwaitingInput);
    assert_eq!(f.received(), [""; 0]);
    f.push(1, event("a"));
    f.push(1, active(7));
    f.run();
    assert_eq!(f.received(), ["a+W7", "progress 7"]);
    assert_eq!(f.counters.snapshot().watermark, Some(Watermark(7)));
}

#[test]
fn rows_that_no_watermark_follows_travel_when_there_is_nothing_else_to_do() {
    let mut f = fixture();
    f.push(0, event("a"));
    f.run();
    assert_eq!(f.received(), ["a"]);
}

#[test]
fn end_follows_the_end_of_every_input() {
    let mut f = fixture();
    for channel in 0..2 {
        f.push(channel, active(i64::MAX));
        f.push(channel, Message::End);
    }
    assert_eq!(f.run(), Step::Finished);
    assert_eq!(f.received(), [format!("W{}", i64::MAX), format!("progress {}", i64::MAX), "End".to_owned()]);
}

#[test]
fn idle_inputs_are_left_out_and_idleness_is_passed_on() {
    let mut f = fixture();
    f.push(0, active(10));
    f.push(1, Message::Progress(Progress::Idle));
    f.run();
    assert_eq!(f.received(), ["W10", "progress 10"]);
    f.push(0, Message::Progress(Progress::Idle));
    f.run();
    assert_eq!(f.received(), ["Progress(Idle)"]);
}

#[test]
fn counters_tell_what_went_through_and_what_the_operator_tells() {
    let mut f = fixture();
    f.push(0, event("a"));
    f.push(1, event("b"));
    f.run();
    let counted = f.counters.snapshot();
    assert_eq!((counted.records_in, counted.records_out), (2, 2));
    assert_eq!(counted.operator, OperatorCounters { late: 1, open: 2, open_events: 2 });
}

#[test]
fn what_cannot_be_is_an_error() {
    let mut f = fixture();
    f.push(0, Message::Rows(RowBatch::default()));
    assert!(matches!(f.operator.step(), Err(TaskError::UnexpectedMessage("rows"))));
    let mut f = fixture();
    f.push(0, Message::End);
    f.push(1, Message::End);
    f.operator.step().unwrap();
    assert!(matches!(f.operator.step(), Err(TaskError::EndedBeforeWatermark)));
}
