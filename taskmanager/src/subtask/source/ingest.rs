//! Takes what a reader tells: everything of a source but reading.

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::TaskSnapshot;
use stream_core::collector::Mark;
use stream_core::event_batch::KeyedEvent;
use stream_core::ids::SubtaskIndex;
use stream_core::operator::{Decoder, Record, Refusal, SplitRecords};
use stream_core::time::{EventTime, Timestamp, millis};
use stream_core::watermark::{Progress, Watermark};
use stream_runtime::clock::Clock;
use stream_runtime::connector::{RecordContext, SourceVisitor};
use telemetry::Spread;

use crate::counters::Counters;
use crate::exchange::message::Traced;
use crate::subtask::emit::Emitter;
use crate::subtask::sampling::{Sampler, trace_parent};
use crate::subtask::spans::SubtaskSpans;
use stream_core::source_splits::SourceSplits;

/// From records to events in the outputs.
pub(super) struct Ingest {
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) splits: SourceSplits,
    pub(super) emitter: Emitter,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<Counters>,
    /// See [`SourceSpec::max_future`](stream_core::pipeline::SourceSpec::max_future).
    pub(super) max_future: Duration,
    /// Events and bad records so far, for the accounts.
    pub(super) events: u64,
    pub(super) bad: u64,
    /// Why the job is to fail, if it is.
    pub(super) refusal: Option<Refusal>,
    /// Whether event time has ended.
    pub(super) is_drained: bool,
    /// Whether the current poll delivered records.
    pub(super) has_records: bool,
    /// Time spent at work within the current poll.
    pub(super) worked: Duration,
    /// Picks records that are followed, and tells of them, if anybody wants that.
    pub(super) sampling: Option<(Sampler, SubtaskSpans)>,
    /// When the records were written that were read since the last barrier.
    pub(super) arrivals: Spread,
}

impl Ingest {
    /// The latest event time that is believed now.
    fn not_after(&self) -> EventTime {
        match self.max_future {
            Duration::ZERO => EventTime(i64::MAX),
            max_future => EventTime(self.clock.now().0.saturating_add(millis(max_future))),
        }
    }

    /// Sends everything decoded, then the watermark that covers it.
    pub(super) fn send_all(&mut self) {
        let progress = if self.is_drained { Progress::Active(Watermark::END) } else { self.splits.progress() };
        self.emitter.send_progress(progress);
        self.counters.update_splits(|progress| self.splits.report(progress));
    }

    /// Sends everything decoded, then the cut; what lies before it.
    pub(super) fn cut(&mut self, barrier: Barrier) -> TaskSnapshot {
        self.send_all();
        self.emitter.send_barrier(barrier);
        TaskSnapshot::Source { splits: self.splits.snapshot(), events: self.events, bad: self.bad }
    }

    /// Decodes records of a split and sends what is full; how many were taken. Within a context it is one record, which is followed.
    fn take(
        &mut self,
        split: usize,
        records: &[Record<'_>],
        next_offset: u64,
        followed: Option<RecordContext<'_>>,
    ) -> usize {
        let started = self.clock.monotonic();
        let (split_id, not_after, hold) = (self.splits.id(split), self.not_after(), self.splits.hold(split));
        let of_split = SplitRecords { split: split_id, records, not_after, hold };
        let mark = followed.map(|context| (context, self.emitter.collector.mark()));
        let decoded = match self.decoder.decode(of_split, &mut self.emitter.collector) {
            Ok(decoded) => decoded,
            Err(refusal) => {
                // Nothing of it is sent: the attempt ends.
                self.refusal.get_or_insert(refusal);
                return records.len();
            }
        };
        let (taken, left) = records.split_at(records.len() - decoded.left.map_or(0, |left| left.records));
        let bytes: usize = taken.iter().filter_map(|record| record.payload).map(<[u8]>::len).sum();
        self.counters.add_in(taken.len() as u64, bytes as u64);
        self.events += decoded.events;
        self.bad += decoded.bad;
        self.counters.add_bad(decoded.bad);
        self.splits.on_decoded(split, decoded, left.first().map_or(next_offset, |record| record.offset));
        self.splits.align();
        self.emitter.wake();
        if let (Some((context, mark)), [record]) = (mark, taken) {
            self.follow(split, record, context, &mark);
        }
        self.emitter.send_full();
        if self.splits.is_progress_due(self.emitter.told_watermark()) {
            self.send_all();
        }
        if let Some((sampler, _)) = &mut self.sampling {
            sampler.pass(taken.len(), followed.is_some());
        }
        self.has_records |= !taken.is_empty();
        self.worked += self.clock.monotonic().saturating_sub(started);
        taken.len()
    }

    /// Sends behind the events of a record, which are those since the mark, that they are followed.
    fn follow(&mut self, split: usize, record: &Record<'_>, context: RecordContext<'_>, since: &Mark) {
        let Some((_, spans)) = &self.sampling else { return };
        let took = context.written.map(|written| spans.since(written)).unwrap_or_default();
        let parent = context.trace_parent.and_then(trace_parent);
        let place = spans.tell_read(parent, self.splits.id(split), record.offset, took);
        let events = self.emitter.collector.events_since(since);
        let traced: Vec<(SubtaskIndex, Traced)> = events
            .map(|(target, KeyedEvent { hash, key, time, .. })| {
                (target, Traced { place, hash, key: key.to_vec(), time })
            })
            .collect();
        for (target, traced) in traced {
            self.emitter.send_traced(target, traced);
        }
    }

    /// Ends event time behind everything decoded.
    pub(super) fn drain(&mut self) {
        self.is_drained = true;
        self.send_all();
    }
}

impl SourceVisitor for Ingest {
    fn is_held(&self, split: usize) -> bool {
        self.splits.is_held(split)
    }

    fn on_records(&mut self, split: usize, records: &[Record<'_>], next_offset: u64) -> usize {
        self.take(split, records, next_offset, None)
    }

    fn on_end_of_split_for_now(&mut self, split: usize) {
        self.splits.on_end_for_now(split);
    }

    fn on_split_finished(&mut self, split: usize) {
        self.splits.on_finished(split);
    }

    fn on_arrivals(&mut self, first: Timestamp, last: Timestamp, records: u64) {
        self.arrivals.add(first, records - records / 2);
        self.arrivals.add(last, records / 2);
    }

    fn until_followed(&self) -> usize {
        self.sampling.as_ref().map_or(usize::MAX, |(sampler, _)| sampler.left())
    }

    fn on_followed(
        &mut self,
        split: usize,
        record: &Record<'_>,
        next_offset: u64,
        context: RecordContext<'_>,
    ) -> usize {
        self.take(split, std::slice::from_ref(record), next_offset, Some(context))
    }

    fn on_known_end(&mut self, split: usize, end: u64) {
        self.splits.on_known_end(split, end);
    }
}
