//! A source subtask: a connector's reader, the job's decoder, keyed events and barriers out.
//!
//! A source never ends by itself: at the end of its input, or where the job is drained, it ends event time, says so once,
//! and waits. The barrier of the last checkpoint lets it stop reading; once that checkpoint is complete it ends.

mod ingest;

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::ids::CheckpointId;
use stream_core::operator::Decoder;
use stream_core::pipeline::Split;
use stream_core::watermark::{Progress, Watermark};
use stream_runtime::clock::Clock;
use stream_runtime::connector::SourceReader;
use stream_runtime::fail_point::{self, Point};

use telemetry::Spread;

use crate::counters::Counters;
use crate::subtask::emit::Emitter;
use crate::subtask::event::{Acknowledgement, Change, Teller};
use crate::subtask::mail::{Letter, Mailbox};
use crate::subtask::sampling::Sampler;
use crate::subtask::source::ingest::Ingest;
use crate::subtask::{Step, Subtask, TaskError};
use stream_core::source_splits::SourceSplits;

/// How long a reader may wait for records: a canceled task, or a barrier, waits that long at the most.
const POLL_WAIT: Duration = Duration::from_millis(20);

/// One copy of a source stage.
pub(crate) struct SourceSubtask {
    reader: Box<dyn SourceReader>,
    ingest: Ingest,
    mailbox: Arc<Mailbox>,
    teller: Teller,
    is_bounded: bool,
    is_paused: bool,
    /// Whether no other subtask has to be told how far the splits are.
    is_alone: bool,
    /// The last barrier sent, and whether it is the source's last.
    last_barrier: Option<Barrier>,
    linger: Duration,
    /// When everything made until then was last sent.
    last_send: Duration,
    /// When it was made, until it has read anything.
    unread_since: Option<Duration>,
    /// When the reader was last free to read; `None` while downstream holds us up, or while the job is paused.
    last_poll: Option<Duration>,
}

/// What a source subtask is made of.
pub(crate) struct SourceParts {
    /// Reads the unfinished splits that `splits` holds.
    pub(crate) reader: Box<dyn SourceReader>,
    /// The job's.
    pub(crate) decoder: Box<dyn Decoder>,
    /// What `reader` was opened with, and what was finished before.
    pub(crate) splits: SourceSplits,
    /// One record of so many is followed on its way, if spans are taken.
    pub(crate) trace_sample: Option<u64>,
    /// Where splits, triggers and the rest come from.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Where acknowledgements go.
    pub(crate) teller: Teller,
    /// Where events go.
    pub(crate) emitter: Emitter,
    /// Whether no further splits will come.
    pub(crate) is_bounded: bool,
    /// How far an event may be ahead of the wall clock; zero for any distance.
    pub(crate) max_future: Duration,
    /// Whether no other source subtask is to be kept in step with.
    pub(crate) is_alone: bool,
    /// How long an event may wait for others to travel with.
    pub(crate) linger: Duration,
    /// For linger and idleness.
    pub(crate) clock: Arc<dyn Clock>,
    /// This subtask's.
    pub(crate) counters: Arc<Counters>,
}

impl SourceSubtask {
    /// A source that begins where its splits do.
    pub(crate) fn new(parts: SourceParts) -> Self {
        let last_send = parts.clock.monotonic();
        SourceSubtask {
            reader: parts.reader,
            ingest: Ingest {
                decoder: parts.decoder,
                splits: parts.splits,
                emitter: parts.emitter,
                clock: parts.clock,
                counters: parts.counters,
                max_future: parts.max_future,
                events: 0,
                bad: 0,
                refusal: None,
                is_drained: false,
                has_records: false,
                worked: Duration::ZERO,
                sampling: parts.trace_sample.map(Sampler::one_of).zip(parts.teller.spans().cloned()),
                arrivals: Spread::default(),
            },
            mailbox: parts.mailbox,
            teller: parts.teller,
            is_bounded: parts.is_bounded,
            is_paused: false,
            is_alone: parts.is_alone,
            last_barrier: None,
            linger: parts.linger,
            last_send,
            unread_since: Some(last_send),
            last_poll: None,
        }
    }
}

impl Subtask for SourceSubtask {
    fn step(&mut self) -> Result<Step, TaskError> {
        if let Some(step) = Step::unless_flushed(self.ingest.emitter.flush()?) {
            self.last_poll = None;
            return Ok(step);
        }
        if self.ingest.emitter.has_ended() {
            return Ok(if self.ingest.emitter.is_delivered() { Step::Finished } else { Step::Backpressured });
        }
        self.read_mail()?;
        let step = match () {
            // Nobody has to be waited for any more.
            () if self.ingest.emitter.has_ended() => Step::WORKED,
            () if self.is_reading() => self.read()?,
            () => self.stand_by(),
        };
        self.tell_pace();
        Ok(Step::unless_flushed(self.ingest.emitter.flush()?).unwrap_or(step))
    }

    /// Only a source that does not read, or may read nothing, waits here; the others wait in their reader.
    fn wait_for_input(&self, max_wait: Duration) {
        self.mailbox.wait(max_wait);
    }

    fn wait_for_room(&self, max_wait: Duration) {
        self.ingest.emitter.wait(max_wait);
    }
}

impl SourceSubtask {
    fn read_mail(&mut self) -> Result<(), TaskError> {
        for letter in self.mailbox.take() {
            match letter {
                Letter::Splits(splits) => self.add_splits(splits)?,
                Letter::Trigger(barrier) => self.on_trigger(barrier),
                Letter::Completed { checkpoint, .. } if self.ends_behind() == Some(checkpoint) => {
                    self.ingest.emitter.send_end();
                }
                Letter::Pause(is_paused) => {
                    self.is_paused = is_paused;
                    self.ingest.counters.set_paused(is_paused);
                }
                Letter::Pace(slowest) => self.ingest.splits.alignment().set_elsewhere(slowest),
                // Nobody knows how far the others are: each goes on as it can. The next jobmanager is told anew.
                Letter::Orphaned(true) if !self.is_alone => {
                    self.ingest.splits.alignment().set_elsewhere(Watermark::END);
                }
                Letter::Orphaned(false) => self.ingest.splits.alignment().forget_told(),
                Letter::Drain => self.drain(),
                // An aborted last checkpoint is followed by another one, whose barrier says how to go on.
                Letter::Completed { .. } | Letter::Aborted(_) | Letter::Orphaned(_) => {}
                Letter::Stored { .. } | Letter::Published(_) | Letter::Finished(_) => {}
                Letter::Answered { .. } | Letter::Query { .. } | Letter::Blocks { .. } => {}
            }
        }
        Ok(())
    }

    /// Tells the other source subtasks how far the slowest split here is, if that is news. At the end of event time nobody has to
    /// wait for it.
    fn tell_pace(&mut self) {
        if self.is_alone {
            return;
        }
        if let Some(slowest) = self.ingest.splits.news() {
            self.teller.tell(Change::Pace(slowest));
        }
    }

    fn on_trigger(&mut self, barrier: Barrier) {
        if self.last_barrier.is_some_and(|last| barrier.checkpoint <= last.checkpoint) {
            // Told again, by a jobmanager that did not know.
            return;
        }
        fail_point::reach(Point::TriggerReceived);
        let began = self.ingest.clock.monotonic();
        let snapshot = self.ingest.cut(barrier);
        self.last_send = self.ingest.clock.monotonic();
        self.last_barrier = Some(barrier);
        fail_point::reach(Point::AcknowledgementDue);
        self.teller.tell(Change::Acknowledged(Acknowledgement {
            checkpoint: barrier.checkpoint,
            snapshot,
            written_bytes: 0,
            pause: Duration::ZERO,
            alignment: Duration::ZERO,
            arrivals: std::mem::take(&mut self.ingest.arrivals),
        }));
        if let Some(spans) = self.teller.spans() {
            let took = self.last_send.saturating_sub(began);
            spans.tell_snapshot(barrier.checkpoint, &[("send barrier", took)], None);
        }
    }

    /// The checkpoint behind which this source ends, if its barrier was sent.
    fn ends_behind(&self) -> Option<CheckpointId> {
        self.last_barrier.filter(|barrier| barrier.is_last).map(|barrier| barrier.checkpoint)
    }

    fn is_reading(&self) -> bool {
        !self.is_paused && !self.ingest.is_drained && self.ends_behind().is_none()
    }

    /// Reads once; without splits there is nothing to read until some come, or ever.
    fn read(&mut self) -> Result<Step, TaskError> {
        let splits = &self.ingest.splits;
        let step = match (splits.is_empty(), self.is_bounded) {
            (true, false) => {
                self.ingest.emitter.send_progress(Progress::Idle(Watermark::NONE));
                return Ok(Step::AwaitingInput);
            }
            (true, true) => Step::WORKED,
            (false, _) => self.poll()?,
        };
        if self.ingest.splits.is_empty() || self.ingest.splits.are_finished() {
            self.drain();
        }
        Ok(step)
    }

    /// Sends what was read, and waits to be told more. A split is not idle because *we* do not read it.
    fn stand_by(&mut self) -> Step {
        self.last_poll = None;
        self.ingest.has_records = false;
        self.ingest.send_all();
        Step::AwaitingInput
    }

    fn drain(&mut self) {
        if !self.ingest.is_drained {
            self.ingest.drain();
            self.teller.tell(Change::Drained);
        }
    }

    /// Reads once, and sends what is due.
    fn poll(&mut self) -> Result<Step, TaskError> {
        let started = self.ingest.clock.monotonic();
        let until_due = self.linger.saturating_sub(started.saturating_sub(self.last_send));
        self.ingest.splits.align();
        let max_wait = match () {
            // What they wait for comes by mail.
            () if self.ingest.splits.are_held() => Duration::ZERO,
            () if self.ingest.has_records => until_due.min(POLL_WAIT),
            () => POLL_WAIT,
        };
        self.ingest.has_records = false;
        self.ingest.worked = Duration::ZERO;
        self.reader.poll(max_wait, &mut self.ingest)?;
        if let Some(refusal) = self.ingest.refusal.take() {
            return Err(refusal.into());
        }
        let ended = self.ingest.clock.monotonic();
        if self.ingest.has_records
            && let Some(since) = self.unread_since.take()
            && let Some(spans) = self.teller.spans()
        {
            spans.tell_first_records(ended.saturating_sub(since));
        }

        let free_since = self.last_poll.replace(ended).unwrap_or(started);
        self.ingest.splits.on_time_passed(ended.saturating_sub(free_since));
        let are_held = self.ingest.splits.are_held();
        if !self.ingest.has_records || are_held || ended.saturating_sub(self.last_send) >= self.linger {
            self.ingest.send_all();
            self.last_send = ended;
        }
        if are_held {
            return Ok(Step::AwaitingInput);
        }
        Ok(Step::Worked { waited: ended.saturating_sub(started).saturating_sub(self.ingest.worked) })
    }

    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        let splits = self.ingest.splits.unknown(splits);
        // Event time has ended here: what is found now is for the job's next start.
        if !splits.is_empty() && !self.ingest.is_drained {
            self.reader.add_splits(&splits)?;
            self.ingest.splits.add(&splits);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
