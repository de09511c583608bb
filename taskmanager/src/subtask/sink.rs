//! A sink subtask: rows in, a connector's writer.

use std::sync::Arc;
use std::time::Duration;

use stream_core::row::RowBatch;
use stream_core::watermark::{Progress, Valve};
use stream_runtime::clock::Clock;
use stream_runtime::connector::{ConnectorError, SinkWriter};

use crate::counters::Counters;
use crate::exchange::gate::{Gate, Input};
use crate::exchange::message::Message;
use crate::subtask::{Step, Subtask, TaskError};

/// How long a row may wait in the writer until it is made visible.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// One copy of a sink stage. Dropped before its end, its writer leaves nothing half-written behind.
pub(crate) struct SinkSubtask {
    gate: Arc<Gate>,
    valve: Valve,
    open_inputs: usize,
    writer: Option<Box<dyn SinkWriter>>,
    rows_received: u64,
    /// When the oldest row that is not visible yet was written.
    unflushed_since: Option<Duration>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

impl SinkSubtask {
    /// A sink behind a gate of `inputs` channels.
    pub(crate) fn new(
        gate: Arc<Gate>,
        inputs: usize,
        writer: Box<dyn SinkWriter>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Self {
        SinkSubtask {
            gate,
            valve: Valve::new(inputs),
            open_inputs: inputs,
            writer: Some(writer),
            rows_received: 0,
            unflushed_since: None,
            clock,
            counters,
        }
    }
}

impl Subtask for SinkSubtask {
    fn step(&mut self) -> Result<Step, TaskError> {
        let Some(writer) = &mut self.writer else { return Ok(Step::Finished) };
        let is_due = |since| self.clock.monotonic().saturating_sub(since) >= FLUSH_INTERVAL;
        if self.unflushed_since.is_some_and(is_due) {
            writer.flush()?;
            self.unflushed_since = None;
            self.counters.set_records_out(writer.rows_written());
            return Ok(Step::WORKED);
        }
        match self.gate.try_pop()? {
            Input::Empty => return Ok(Step::AwaitingInput),
            Input::Closed => return Ok(Step::Closed),
            Input::Message(_, Message::Rows(rows)) => self.on_rows(&rows)?,
            Input::Message(channel, Message::Progress(progress)) => self.on_progress(channel, progress),
            Input::Message(_, Message::End) => self.on_end()?,
            Input::Message(_, Message::Barrier(_)) => {}
            Input::Message(_, Message::Events(_)) => return Err(TaskError::UnexpectedMessage("events")),
        }
        Ok(Step::WORKED)
    }

    fn wait_for_input(&self, max_wait: Duration) {
        self.gate.wait_for_input(max_wait);
    }

    /// A sink sends nothing.
    fn wait_for_room(&self, _max_wait: Duration) {}
}

impl SinkSubtask {
    fn on_rows(&mut self, rows: &RowBatch) -> Result<(), ConnectorError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let bytes = rows.as_bytes().len() as u64;
        self.counters.add_in(rows.rows(), bytes);
        self.rows_received += rows.rows();
        writer.write(rows)?;
        self.counters.add_out(0, bytes);
        self.counters.set_records_out(writer.rows_written());
        self.unflushed_since.get_or_insert_with(|| self.clock.monotonic());
        Ok(())
    }

    fn on_progress(&mut self, channel: usize, progress: Progress) {
        if let Some(Progress::Active(watermark)) = self.valve.on_progress(channel, progress) {
            self.counters.set_watermark(watermark);
        }
    }

    fn on_end(&mut self) -> Result<(), ConnectorError> {
        self.open_inputs = self.open_inputs.saturating_sub(1);
        if self.open_inputs > 0 {
            return Ok(());
        }
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
            self.counters.set_records_out(self.rows_received);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
