//! An operator subtask: events, watermarks and barriers in, the job's operator, rows or events out.
//!
//! At a barrier that came on every input the operator begins its snapshot, which takes the same short time whatever the
//! state's size, and the barrier goes on at once; the state is copied a slice at a time between batches ([`snapshots`]).
//!
//! What the operator asks the outside ([`questions`]) holds up neither batches nor barriers: events that wait are state. Only
//! where that state would be left behind, at the last barrier and where event time has ended, is the barrier held until all
//! is answered.

mod queries;
mod questions;
mod snapshots;

use std::sync::Arc;
use std::time::Duration;

use stream_core::event_batch::EventBatch;
use stream_core::operator::Operator;
use stream_core::watermark::{Progress, Valve, Watermark};
use stream_runtime::clock::Clock;
use stream_runtime::lookup::Lookup;

use crate::counters::Counters;
use crate::exchange::gate::{Gate, Input};
use crate::exchange::message::Message;
use crate::subtask::aligning::{Aligned, Aligner};
use crate::subtask::emit::Emitter;
use crate::subtask::mail::{Letter, Mailbox};
use crate::subtask::operator::queries::Queries;
use crate::subtask::operator::questions::Questions;
use crate::subtask::operator::snapshots::Snapshots;
use crate::subtask::sampling::FollowedEvents;
use crate::subtask::spans::SubtaskSpans;
use crate::subtask::{Step, Subtask, TaskError};

pub(crate) use crate::subtask::operator::snapshots::SnapshotParts;

/// Between two slices without a batch. Copying takes half of the thread's time at most: one that never rests uses up its share of
/// the core and then has to wait for milliseconds, in which no event gets on either.
const REST: Duration = Duration::from_micros(100);

/// One copy of an operator stage.
pub(crate) struct OperatorSubtask {
    gate: Arc<Gate>,
    valve: Valve,
    aligner: Aligner,
    open_inputs: usize,
    operator: Box<dyn Operator>,
    questions: Questions,
    snapshots: Snapshots,
    queries: Queries,
    /// A barrier that goes on once no event waits for an answer any more.
    held: Option<Aligned>,
    emitter: Emitter,
    followed: FollowedEvents,
    spans: Option<SubtaskSpans>,
    clock: Arc<dyn Clock>,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
}

/// What an operator subtask is made of.
pub(crate) struct OperatorParts {
    /// Where its input comes from.
    pub(crate) gate: Arc<Gate>,
    /// How many inputs the gate has.
    pub(crate) inputs: usize,
    /// The job's, restored if there is something to restore.
    pub(crate) operator: Box<dyn Operator>,
    /// What answers its questions.
    pub(crate) lookup: Box<dyn Lookup>,
    /// Its watermark at the checkpoint it was restored from, and how much of it the clock had made; [`Watermark::NONE`] without
    /// one.
    pub(crate) watermarks: (Watermark, Watermark),
    /// How its state is stored.
    pub(crate) snapshots: SnapshotParts,
    /// Where its output goes.
    pub(crate) emitter: Emitter,
    /// This subtask's.
    pub(crate) counters: Arc<Counters>,
}

impl OperatorSubtask {
    /// An operator at the beginning of its input, or behind a checkpoint.
    pub(crate) fn new(parts: OperatorParts) -> Self {
        let OperatorParts { gate, inputs, operator, lookup, watermarks, snapshots, emitter, counters } = parts;
        OperatorSubtask {
            valve: Valve::restored(inputs, watermarks.0, watermarks.1),
            aligner: Aligner::new(inputs, Arc::clone(&gate), Arc::clone(&snapshots.clock)),
            gate,
            open_inputs: inputs,
            operator,
            questions: Questions::new(lookup),
            followed: FollowedEvents::default(),
            spans: snapshots.teller.spans().cloned(),
            clock: Arc::clone(&snapshots.clock),
            held: None,
            mailbox: Arc::clone(&snapshots.mailbox),
            queries: Queries::new(snapshots.teller.clone()),
            snapshots: Snapshots::new(snapshots),
            emitter,
            counters,
        }
    }
}

impl Subtask for OperatorSubtask {
    fn step(&mut self) -> Result<Step, TaskError> {
        self.read_mail();
        self.questions.ask(self.operator.as_mut(), &mut self.emitter.collector);
        // Copying needs no room downstream: a subtask that is held up uses the time.
        self.snapshots.continue_copying(self.operator.as_mut());
        self.queries.continue_answering(self.operator.as_mut());
        self.process()
    }

    fn wait_for_input(&self, max_wait: Duration) {
        let max_wait = self.rest(max_wait);
        if self.takes_no_input() {
            self.mailbox.wait(max_wait);
        } else {
            self.gate.wait_for_input(max_wait);
        }
    }

    fn wait_for_room(&self, max_wait: Duration) {
        self.emitter.wait(self.rest(max_wait));
    }
}

impl OperatorSubtask {
    fn process(&mut self) -> Result<Step, TaskError> {
        if let Some(step) = Step::unless_flushed(self.emitter.flush()?) {
            return Ok(step);
        }
        if self.emitter.has_ended() {
            return Ok(if self.emitter.is_delivered() { Step::Finished } else { Step::Backpressured });
        }
        if let Some(aligned) = self.held.take_if(|_| !self.operator.is_waiting()) {
            self.cut(aligned);
            self.end_behind_all()?;
            return Ok(Step::WORKED);
        }
        if self.takes_no_input() {
            return self.stand_by();
        }
        let (channel, message) = match self.gate.try_pop()? {
            Input::Message(channel, message) => (channel, message),
            Input::Closed => return Ok(Step::Closed),
            Input::Empty => return self.stand_by(),
        };
        match message {
            Message::Events(events) => self.on_events(&events)?,
            Message::Progress(progress) => self.on_progress(channel, progress),
            Message::End => self.on_end(channel)?,
            Message::Barrier(barrier) => {
                let aligned = self.aligner.on_barrier(channel, barrier);
                self.on_aligned(aligned);
            }
            Message::Traced(traced) => self.followed.add(traced, self.clock.monotonic()),
            Message::Rows(rows) => {
                // Of a stage before, for the sink.
                self.emitter.collector.pass_on(rows);
                self.emitter.send_full();
            }
        }
        self.release_followed();
        self.counters.set_operator(self.operator.counters());
        Ok(Step::unless_flushed(self.emitter.flush()?).unwrap_or(Step::WORKED))
    }

    /// Sends on the events that are followed and of which the operator has made what is to become of them.
    fn release_followed(&mut self) {
        if !self.followed.is_empty() {
            let now = self.clock.monotonic();
            for traced in self.followed.take_released(self.operator.as_ref(), now, self.spans.as_ref()) {
                self.emitter.send_released(traced);
            }
        }
    }

    /// How long it may wait for anything else before the next slice of what it does between batches.
    fn rest(&self, max_wait: Duration) -> Duration {
        let has_a_slice_to_do = self.snapshots.is_copying() || self.queries.is_answering();
        if has_a_slice_to_do { max_wait.min(REST) } else { max_wait }
    }

    /// Whether only answers can bring it on.
    fn takes_no_input(&self) -> bool {
        self.held.is_some() || self.operator.is_full()
    }

    /// There is nothing to do: rows that need no watermark should not wait for one.
    fn stand_by(&mut self) -> Result<Step, TaskError> {
        self.release_followed();
        self.emitter.send_all();
        self.counters.set_operator(self.operator.counters());
        Ok(Step::unless_flushed(self.emitter.flush()?).unwrap_or(Step::AwaitingInput))
    }

    fn read_mail(&mut self) {
        for letter in self.mailbox.take() {
            match letter {
                Letter::Stored { ticket, result } => self.snapshots.on_stored(ticket, result),
                Letter::Blocks { checkpoint, blocks } => {
                    self.snapshots.on_blocks(checkpoint, blocks, self.operator.as_mut());
                }
                Letter::Query { number, query } => self.queries.ask(number, query),
                Letter::Answered { key, answer } => {
                    self.operator.on_answer(&key, answer, &mut self.emitter.collector);
                    self.emitter.send_full();
                }
                Letter::Aborted(checkpoint) => self.aligner.abort(checkpoint),
                Letter::Orphaned(is_orphaned) => self.aligner.set_orphaned(is_orphaned),
                Letter::Splits(_) | Letter::Trigger(_) | Letter::Pause(_) | Letter::Pace(_) | Letter::Drain => {}
                Letter::Completed { .. } | Letter::Published(_) | Letter::Finished(_) => {}
            }
        }
    }

    fn on_events(&mut self, events: &EventBatch) -> Result<(), TaskError> {
        self.counters.add_in(events.events(), events.bytes() as u64);
        self.operator.on_events(events, &mut self.emitter.collector)?;
        self.emitter.send_full();
        Ok(())
    }

    fn on_progress(&mut self, channel: usize, progress: Progress) {
        let (before, clock_before) = (self.valve.watermark(), self.valve.by_clock());
        let Some(progress) = self.valve.on_progress(channel, progress) else { return };
        let watermark = self.valve.watermark();
        if watermark > before {
            self.operator.on_watermark(watermark, &mut self.emitter.collector);
        }
        if self.valve.by_clock() > clock_before {
            self.operator.on_clock_watermark(self.valve.by_clock());
        }
        self.emitter.send_progress(progress);
    }

    fn on_aligned(&mut self, aligned: Option<Aligned>) {
        let Some(aligned) = aligned else { return };
        // Behind the last barrier nobody would be there to write what waits, and a restore takes ended event time for an empty state.
        let leaves_state = aligned.barrier.is_last || self.valve.watermark() == Watermark::END;
        if leaves_state && self.operator.is_waiting() {
            self.held = Some(aligned);
        } else {
            self.cut(aligned);
        }
    }

    /// The state as it is now is the checkpoint's.
    fn cut(&mut self, Aligned { barrier, alignment }: Aligned) {
        let watermarks = (self.valve.watermark(), self.valve.by_clock());
        self.snapshots.begin(barrier, alignment, watermarks, self.operator.as_mut(), &mut self.emitter.collector);
        self.emitter.send_barrier(barrier);
    }

    fn on_end(&mut self, channel: usize) -> Result<(), TaskError> {
        self.open_inputs = self.open_inputs.saturating_sub(1);
        let aligned = self.aligner.on_end(channel);
        self.on_aligned(aligned);
        self.end_behind_all()
    }

    /// Ends the output where all input has ended and no barrier is held.
    fn end_behind_all(&mut self) -> Result<(), TaskError> {
        if self.open_inputs > 0 || self.held.is_some() {
            return Ok(());
        }
        if !self.aligner.has_seen_last() {
            return Err(TaskError::EndedBeforeLast);
        }
        self.emitter.send_all();
        self.emitter.send_end();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
