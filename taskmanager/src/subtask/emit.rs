//! From what a job's code made to what travels: batches out of the collector, into the outputs, counted.

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::collector::Collector;
use stream_core::ids::{SubtaskIndex, TableIndex};
use stream_core::watermark::{Progress, Watermark};

use crate::counters::Counters;
use crate::exchange::error::ExchangeError;
use crate::exchange::message::{Message, Traced};
use crate::exchange::outputs::{Flushed, Outputs};

/// Sends what a source or an operator makes, in an order that a watermark never breaks: progress goes out behind
/// everything made before it.
pub(crate) struct Emitter {
    /// Where the job's code puts what it makes.
    pub(crate) collector: Collector,
    outputs: Outputs,
    /// The downstream subtask that takes rows.
    rows_to: usize,
    counters: Arc<Counters>,
    told: Told,
    has_ended: bool,
}

/// What the downstream subtasks were last told of this one's progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    watermark: Watermark,
    /// How far the clock has come, if it is idle.
    idle: Option<Watermark>,
}

impl Emitter {
    /// An emitter of the subtask `index` of its stage that has said nothing yet.
    pub(crate) fn new(index: SubtaskIndex, collector: Collector, outputs: Outputs, counters: Arc<Counters>) -> Self {
        let told = Told { watermark: Watermark::NONE, idle: None };
        let rows_to = index.0 as usize % outputs.len().max(1);
        Emitter { collector, outputs, rows_to, counters, told, has_ended: false }
    }

    /// Sends the batches that are full.
    pub(crate) fn send_full(&mut self) {
        for (target, batch) in self.collector.take_full() {
            self.counters.add_out(batch.events(), batch.bytes() as u64);
            self.outputs.send(target.0 as usize, Message::Events(batch));
        }
        if self.collector.row_bytes() >= stream_core::collector::BATCH_BYTES {
            self.send_rows();
        }
    }

    /// Sends everything that was made.
    pub(crate) fn send_all(&mut self) {
        for (target, batch) in self.collector.take_all() {
            self.counters.add_out(batch.events(), batch.bytes() as u64);
            self.outputs.send(target.0 as usize, Message::Events(batch));
        }
        self.send_rows();
    }

    /// Sends everything that was made, then how far event time has come, if that is news.
    pub(crate) fn send_progress(&mut self, progress: Progress) {
        self.send_all();
        let told = match progress {
            Progress::Idle(by_clock) => Told { idle: Some(by_clock), ..self.told },
            Progress::Active(watermark) => Told { watermark: watermark.max(self.told.watermark), idle: None },
        };
        if told != self.told {
            self.told = told;
            self.counters.set_watermark(told.watermark.max(told.idle.unwrap_or_default()));
            self.outputs.send_progress(told.idle.map_or(Progress::Active(told.watermark), Progress::Idle));
        }
    }

    /// The watermark that was sent last.
    pub(crate) fn told_watermark(&self) -> Watermark {
        self.told.watermark
    }

    /// Sends everything that was made, then the cut behind it.
    pub(crate) fn send_barrier(&mut self, barrier: Barrier) {
        self.send_all();
        self.collector.on_barrier();
        self.outputs.send_barrier(barrier);
    }

    /// Takes an idleness back before the events that end it are sent, so that they count downstream from the first on.
    pub(crate) fn wake(&mut self) {
        if self.told.idle.take().is_some() {
            self.outputs.send_progress(Progress::Active(self.told.watermark));
        }
    }

    /// Sends an event that is followed to the subtask that has it, behind everything that was made.
    pub(crate) fn send_traced(&mut self, target: SubtaskIndex, traced: Traced) {
        self.send_all();
        self.outputs.send(target.0 as usize, Message::Traced(traced));
    }

    /// Sends on what became of an event that is followed, behind its rows.
    pub(crate) fn send_released(&mut self, traced: Traced) {
        self.send_all();
        self.outputs.send(self.rows_to, Message::Traced(traced));
    }

    /// Sends the end. Everything else was sent before.
    pub(crate) fn send_end(&mut self) {
        self.outputs.send_end();
        self.has_ended = true;
    }

    /// Whether [`Emitter::send_end`] was called.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether everything up to the end was received.
    pub(crate) fn is_delivered(&self) -> bool {
        self.has_ended && self.outputs.are_delivered()
    }

    /// Hands on what was sent, as far as it is taken.
    ///
    /// # Errors
    /// If a downstream subtask was lost.
    pub(crate) fn flush(&mut self) -> Result<Flushed, ExchangeError> {
        self.outputs.flush()
    }

    /// Waits until what was not taken may be, `max_wait` at most.
    pub(crate) fn wait(&self, max_wait: Duration) {
        self.outputs.wait(max_wait);
    }

    /// Rows go to the sink, which is the only subtask of its stage; those of an earlier stage by way of one subtask each, which
    /// hands them on.
    fn send_rows(&mut self) {
        for rows in self.collector.take_row_batches() {
            if rows.table() == TableIndex::RESULT {
                self.counters.add_out(rows.rows(), rows.as_bytes().len() as u64);
            }
            self.outputs.send(self.rows_to, Message::Rows(rows));
        }
    }
}
