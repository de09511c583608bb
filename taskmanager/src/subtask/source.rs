//! A source subtask: a connector's reader, the job's decoder, keyed events out.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use stream_core::operator::{Decoder, Record};
use stream_core::pipeline::Split;
use stream_core::watermark::Progress;
use stream_runtime::clock::Clock;
use stream_runtime::connector::{SourceReader, SourceVisitor};

use crate::counters::Counters;
use crate::subtask::emit::Emitter;
use crate::subtask::source_splits::SourceSplits;
use crate::subtask::{Step, Subtask, TaskError};

/// How long a reader may wait for records: a canceled task notices after this at the latest.
const POLL_WAIT: Duration = Duration::from_millis(20);

/// One copy of a source stage.
pub(crate) struct SourceSubtask {
    reader: Box<dyn SourceReader>,
    ingest: Ingest,
    assignments: Arc<Assignments>,
    is_bounded: bool,
    linger: Duration,
    /// When everything made until then was last sent.
    last_send: Duration,
    /// When the reader was last free to read; `None` while downstream holds us up.
    last_poll: Option<Duration>,
}

/// What a source subtask is made of.
pub(crate) struct SourceParts {
    /// Reads the splits that `splits` holds.
    pub(crate) reader: Box<dyn SourceReader>,
    /// The job's.
    pub(crate) decoder: Box<dyn Decoder>,
    /// What `reader` was opened with.
    pub(crate) splits: SourceSplits,
    /// Where further splits come from.
    pub(crate) assignments: Arc<Assignments>,
    /// Where events go.
    pub(crate) emitter: Emitter,
    /// Whether no further splits will come.
    pub(crate) is_bounded: bool,
    /// How long an event may wait for others to travel with.
    pub(crate) linger: Duration,
    /// For linger and idleness.
    pub(crate) clock: Arc<dyn Clock>,
    /// This subtask's.
    pub(crate) counters: Arc<Counters>,
}

/// Splits given to a source subtask while it runs. The jobmanager gives each partition of a topic once or, after a lost
/// answer, again: so they are few, and a known one changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    splits: Mutex<Vec<Split>>,
    arrived: Condvar,
}

/// Takes what the reader tells: everything but reading.
struct Ingest {
    decoder: Box<dyn Decoder>,
    splits: SourceSplits,
    emitter: Emitter,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    /// Whether the current poll delivered records.
    has_records: bool,
    /// Time spent at work within the current poll.
    worked: Duration,
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
                has_records: false,
                worked: Duration::ZERO,
            },
            assignments: parts.assignments,
            is_bounded: parts.is_bounded,
            linger: parts.linger,
            last_send,
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
        self.take_assignments()?;
        if self.ingest.splits.is_empty() && !self.is_bounded {
            self.ingest.emitter.send_progress(Progress::Idle);
            return Ok(Step::unless_flushed(self.ingest.emitter.flush()?).unwrap_or(Step::AwaitingInput));
        }
        let waited = if self.ingest.splits.is_empty() { Duration::ZERO } else { self.poll()? };
        if self.ingest.splits.is_empty() || self.ingest.splits.are_finished() {
            self.ingest.end();
        }
        Ok(Step::unless_flushed(self.ingest.emitter.flush()?).unwrap_or(Step::Worked { waited }))
    }

    /// Only a source without splits waits here; the others wait in their reader.
    fn wait_for_input(&self, max_wait: Duration) {
        self.assignments.wait(max_wait);
    }

    fn wait_for_room(&self, max_wait: Duration) {
        self.ingest.emitter.wait(max_wait);
    }
}

impl SourceSubtask {
    /// Reads once, and sends what is due. Returns the time for which the reader waited.
    fn poll(&mut self) -> Result<Duration, TaskError> {
        let started = self.ingest.clock.monotonic();
        let until_due = self.linger.saturating_sub(started.saturating_sub(self.last_send));
        let max_wait = if self.ingest.has_records { until_due.min(POLL_WAIT) } else { POLL_WAIT };
        self.ingest.has_records = false;
        self.ingest.worked = Duration::ZERO;
        self.reader.poll(max_wait, &mut self.ingest)?;
        let ended = self.ingest.clock.monotonic();

        let free_since = self.last_poll.replace(ended).unwrap_or(started);
        self.ingest.splits.on_time_passed(ended.saturating_sub(free_since));
        if !self.ingest.has_records || ended.saturating_sub(self.last_send) >= self.linger {
            self.ingest.send_all();
            self.last_send = ended;
        }
        Ok(ended.saturating_sub(started).saturating_sub(self.ingest.worked))
    }

    fn take_assignments(&mut self) -> Result<(), TaskError> {
        let splits = self.ingest.splits.unknown(self.assignments.take());
        if !splits.is_empty() {
            self.reader.add_splits(&splits)?;
            self.ingest.splits.add(&splits);
        }
        Ok(())
    }
}

impl Ingest {
    /// Sends everything decoded, then the watermark that covers it.
    fn send_all(&mut self) {
        let progress = self.splits.progress();
        self.emitter.send_progress(progress);
        self.counters.update_splits(|progress| self.splits.report(progress));
    }

    fn end(&mut self) {
        self.emitter.send_progress(Progress::Active(stream_core::watermark::Watermark::END));
        self.emitter.send_end();
        self.counters.update_splits(|progress| self.splits.report(progress));
    }
}

impl SourceVisitor for Ingest {
    fn on_records(&mut self, split: usize, records: &[Record<'_>], next_offset: u64) {
        let started = self.clock.monotonic();
        let bytes: usize = records.iter().filter_map(|record| record.payload).map(<[u8]>::len).sum();
        self.counters.add_in(records.len() as u64, bytes as u64);
        let decoded = self.decoder.decode(records, &mut self.emitter.collector);
        self.counters.add_bad(decoded.bad);
        self.splits.on_decoded(split, decoded, next_offset);
        self.emitter.wake();
        self.emitter.send_full();
        self.has_records |= !records.is_empty();
        self.worked += self.clock.monotonic().saturating_sub(started);
    }

    fn on_end_of_split_for_now(&mut self, split: usize) {
        self.splits.on_end_for_now(split);
    }

    fn on_split_finished(&mut self, split: usize) {
        self.splits.on_finished(split);
    }

    fn on_known_end(&mut self, split: usize, end: u64) {
        self.splits.on_known_end(split, end);
    }
}

impl Assignments {
    /// Gives the source further splits.
    pub(crate) fn add(&self, splits: Vec<Split>) {
        self.splits.lock().expect(NO_PANIC).extend(splits);
        self.arrived.notify_one();
    }

    fn take(&self) -> Vec<Split> {
        std::mem::take(&mut *self.splits.lock().expect(NO_PANIC))
    }

    fn wait(&self, max_wait: Duration) {
        let splits = self.splits.lock().expect(NO_PANIC);
        drop(self.arrived.wait_timeout_while(splits, max_wait, |splits| splits.is_empty()).expect(NO_PANIC));
    }
}

const NO_PANIC: &str = "no code panics while it holds the assignments";

#[cfg(test)]
mod tests;
