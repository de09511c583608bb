//! Keyed bids and watermarks to the rows of closed sessions.

use stream_core::collector::Collector;
use stream_core::event_batch::EventBatch;
use stream_core::ids::TableIndex;
use stream_core::key_group::{KeyGroupRange, KeyHash, MaxParallelism};
use stream_core::operator::{Operator, OperatorCounters, Refusal};
use stream_core::session::{Added, Config, Fired, Limits, Windows};
use stream_core::snapshot::{DecodeSnapshotError, KeyedSnapshot, Section, SnapshotKind};
use stream_core::time::{EventTime, millis};
use stream_core::watermark::Watermark;

use crate::pipeline::GAP;

/// The sessions of one subtask's bidders.
#[derive(Debug)]
pub struct SessionsOperator {
    windows: Windows,
    late: u64,
}

impl SessionsOperator {
    /// No sessions yet, for the keys of `key_groups`.
    pub fn new(key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        let config = Config { gap_ms: millis(GAP), allowed_lateness_ms: 0, limits: Limits::NONE };
        SessionsOperator { windows: Windows::new(config, key_groups, max_parallelism), late: 0 }
    }
}

impl Operator for SessionsOperator {
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) -> Result<(), Refusal> {
        for together in events.together(self.windows.may_be_together()) {
            if self.windows.add_together(&together, |fired| write_row(fired, out)) == Added::Late {
                self.late += u64::from(together.event.count);
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Collector) {
        self.windows.advance(watermark, |fired| write_row(fired, out));
    }

    fn on_clock_watermark(&mut self, by_clock: Watermark) {
        self.windows.closed_by_clock(by_clock);
    }

    fn holds(&self, hash: KeyHash, key: &[u8], time: EventTime) -> bool {
        self.windows.open_of_key(hash, key).any(|window| window.start <= time && time < window.end)
    }

    fn counters(&self) -> OperatorCounters {
        OperatorCounters {
            late: self.late,
            open: self.windows.len() as u64,
            open_events: self.windows.events(),
            fired_events: self.windows.fired_events(),
            unanswered: 0,
        }
    }

    fn begin_snapshot(&mut self, kind: SnapshotKind) {
        self.windows.begin_snapshot(kind);
    }

    fn blocks_wanted(&self) -> usize {
        self.windows.blocks_wanted()
    }

    fn lend(&mut self, blocks: Vec<Vec<u8>>) {
        self.windows.lend(blocks);
    }

    fn continue_snapshot(&mut self, keys: usize) -> Option<KeyedSnapshot> {
        self.windows.continue_snapshot(keys)
    }

    fn restore(&mut self, watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        self.windows.restore(watermark, newest_first)
    }
}

fn write_row(fired: Fired<'_>, out: &mut Collector) {
    let bidder = fired.key.try_into().map(i64::from_be_bytes).expect("every key was encoded by this job's decoder");
    let bids = fired.count.try_into().unwrap_or(i64::MAX);
    out.row(TableIndex::RESULT, 4).bigint(bidder).bigint(bids).timestamp(fired.start).timestamp(fired.end);
}
