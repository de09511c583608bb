//! A source: the real splits, watermarks and routing; records come from the simulated topic.

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{SplitSnapshot, TaskSnapshot};
use stream_core::collector::Collector;
use stream_core::event_batch::KeyedEvent;
use stream_core::ids::{CheckpointId, StageIndex, SubtaskId};
use stream_core::key_group::{MaxParallelism, hash_key};
use stream_core::operator::Decoded;
use stream_core::origin::Origin;
use stream_core::pipeline::Split;
use stream_core::source_splits::{Idleness, SourceSplits};
use stream_core::time::EventTime;
use stream_core::watermark::{Progress, Watermark};

use super::Context;
use crate::input::{DELAY_MS, GAP_MS, key_bytes};
use crate::invariants::Invariant;
use crate::mail::{Item, Report};

pub(crate) struct Source {
    splits: SourceSplits,
    /// Those that are read, as the splits number them.
    reading: Vec<Split>,
    collector: Collector,
    events: u64,
    bad: u64,
    is_drained: bool,
    last_barrier: Option<Barrier>,
    watermark: Watermark,
    has_ended: bool,
}

impl Source {
    pub(crate) fn new(id: SubtaskId, deployment: &crate::mail::Deployment) -> Self {
        let planned = deployment.plan.task(id).expect("it is planned");
        let restored = deployment.restored.as_ref().map(|manifest| &manifest.splits[..]).unwrap_or_default();
        let snapshot = |split: &Split| {
            let known = restored.iter().find(|known| known.split.id == split.id).cloned();
            known.unwrap_or_else(|| SplitSnapshot::unread(split.clone()))
        };
        let mut splits = SourceSplits::new(DELAY_MS, Idleness::default());
        let reading = splits.restore(planned.splits.iter().map(snapshot).collect());
        Source {
            splits,
            reading,
            collector: Collector::new(MaxParallelism::DEFAULT, deployment.parallelism),
            events: 0,
            bad: 0,
            is_drained: false,
            last_barrier: None,
            watermark: Watermark::NONE,
            has_ended: false,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.has_ended
    }

    pub(crate) fn poll(&mut self, at: &mut Context<'_>) {
        if self.is_drained || self.ends_behind().is_some() {
            return;
        }
        for index in 0..self.reading.len() {
            if at.world.random.percent(70) {
                self.read(index, at);
            }
        }
        self.send_all(at);
        if self.splits.is_empty() || self.splits.are_finished() {
            self.is_drained = true;
            self.send_all(at);
            at.reports.push(Report::Drained);
        }
    }

    pub(crate) fn on_trigger(&mut self, barrier: Barrier, at: &mut Context<'_>) {
        if self.last_barrier.is_some_and(|last| barrier.checkpoint <= last.checkpoint) {
            return;
        }
        self.send_all(at);
        at.send_all(&Item::Barrier(barrier));
        self.last_barrier = Some(barrier);
        let snapshot = TaskSnapshot::Source { splits: self.splits.snapshot(), events: self.events, bad: self.bad };
        at.reports.push(Report::Acknowledged(barrier.checkpoint, snapshot));
    }

    pub(crate) fn on_complete(&mut self, checkpoint: CheckpointId, at: &mut Context<'_>) {
        if self.ends_behind() == Some(checkpoint) && !std::mem::replace(&mut self.has_ended, true) {
            at.send_all(&Item::End);
        }
    }

    fn ends_behind(&self) -> Option<CheckpointId> {
        self.last_barrier.filter(|barrier| barrier.is_last).map(|barrier| barrier.checkpoint)
    }

    fn read(&mut self, index: usize, at: &mut Context<'_>) {
        let most = at.world.random.between(1, 4) as usize;
        let (now, split) = (at.world.now, &mut self.reading[index]);
        let records = at.world.input.partition(&split.id);
        let from = split.start as usize;
        let visible = records[from..].iter().take(most).take_while(|record| record.visible_at <= now);
        let mut decoded = Decoded::default();
        for record in visible {
            split.start += 1;
            let Some((time, key)) = record.event else {
                decoded.bad += 1;
                continue;
            };
            let (key, time) = (key_bytes(key), EventTime(time));
            let origin = Origin::default();
            self.collector
                .session_event(KeyedEvent { hash: hash_key(&key), time, count: 1, key: &key, origin }, GAP_MS);
            decoded.events += 1;
            decoded.latest = decoded.latest.max(Some(time));
        }
        let is_at_end = split.start as usize == records.len();
        if split.start as usize > from {
            self.events += decoded.events;
            self.bad += decoded.bad;
            self.splits.on_decoded(index, decoded, split.start);
        }
        if is_at_end {
            self.splits.on_finished(index);
        } else if split.start as usize == from {
            self.splits.on_end_for_now(index);
        }
    }

    fn send_all(&mut self, at: &mut Context<'_>) {
        let batches: Vec<_> = self.collector.take_all().collect();
        for (index, batch) in batches {
            at.send(SubtaskId { stage: StageIndex(1), index }, Item::Events(batch));
        }
        let progress = if self.is_drained { Progress::Active(Watermark::END) } else { self.splits.progress() };
        if let Progress::Active(watermark) = progress {
            if watermark < self.watermark {
                at.world.violate(Invariant::I12Time, format!("{watermark:?} behind {:?}", self.watermark));
            }
            self.watermark = watermark;
        }
        at.send_all(&Item::Progress(progress));
    }
}
