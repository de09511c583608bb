//! An operator subtask: events and watermarks in, the job's operator, rows or events out.

use std::sync::Arc;
use std::time::Duration;

use stream_core::event_batch::EventBatch;
use stream_core::operator::Operator;
use stream_core::watermark::{Progress, Valve, Watermark};

use crate::counters::Counters;
use crate::exchange::gate::{Gate, Input};
use crate::exchange::message::Message;
use crate::subtask::emit::Emitter;
use crate::subtask::{Step, Subtask, TaskError};

/// One copy of an operator stage.
pub(crate) struct OperatorSubtask {
    gate: Arc<Gate>,
    valve: Valve,
    open_inputs: usize,
    operator: Box<dyn Operator>,
    emitter: Emitter,
    counters: Arc<Counters>,
}

impl OperatorSubtask {
    /// An operator behind a gate of `inputs` channels.
    pub(crate) fn new(
        gate: Arc<Gate>,
        inputs: usize,
        operator: Box<dyn Operator>,
        emitter: Emitter,
        counters: Arc<Counters>,
    ) -> Self {
        OperatorSubtask { gate, valve: Valve::new(inputs), open_inputs: inputs, operator, emitter, counters }
    }
}

impl Subtask for OperatorSubtask {
    fn step(&mut self) -> Result<Step, TaskError> {
        if let Some(step) = Step::unless_flushed(self.emitter.flush()?) {
            return Ok(step);
        }
        if self.emitter.has_ended() {
            return Ok(if self.emitter.is_delivered() { Step::Finished } else { Step::Backpressured });
        }
        let (channel, message) = match self.gate.try_pop()? {
            Input::Message(channel, message) => (channel, message),
            Input::Closed => return Ok(Step::Closed),
            Input::Empty => {
                // Rows that need no watermark should not wait for one.
                self.emitter.send_all();
                return Ok(Step::unless_flushed(self.emitter.flush()?).unwrap_or(Step::AwaitingInput));
            }
        };
        match message {
            Message::Events(events) => self.on_events(&events),
            Message::Progress(progress) => self.on_progress(channel, progress),
            Message::End => self.on_end()?,
            Message::Barrier(_) => {}
            Message::Rows(_) => return Err(TaskError::UnexpectedMessage("rows")),
        }
        self.counters.set_operator(self.operator.counters());
        Ok(Step::unless_flushed(self.emitter.flush()?).unwrap_or(Step::WORKED))
    }

    fn wait_for_input(&self, max_wait: Duration) {
        self.gate.wait_for_input(max_wait);
    }

    fn wait_for_room(&self, max_wait: Duration) {
        self.emitter.wait(max_wait);
    }
}

impl OperatorSubtask {
    fn on_events(&mut self, events: &EventBatch) {
        self.counters.add_in(events.events(), events.bytes() as u64);
        self.operator.on_events(events, &mut self.emitter.collector);
        self.emitter.send_full();
    }

    fn on_progress(&mut self, channel: usize, progress: Progress) {
        let before = self.valve.watermark();
        let Some(progress) = self.valve.on_progress(channel, progress) else { return };
        let watermark = self.valve.watermark();
        if watermark > before {
            self.operator.on_watermark(watermark, &mut self.emitter.collector);
        }
        self.emitter.send_progress(progress);
    }

    fn on_end(&mut self) -> Result<(), TaskError> {
        self.open_inputs = self.open_inputs.saturating_sub(1);
        if self.open_inputs > 0 {
            return Ok(());
        }
        if self.valve.watermark() != Watermark::END {
            return Err(TaskError::EndedBeforeWatermark);
        }
        self.emitter.send_all();
        self.emitter.send_end();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
