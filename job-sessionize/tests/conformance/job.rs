//! The whole job in one thread: JSON in, rows out, with the subtasks of a given parallelism called in turn.

use job_sessionize::decoder::EventDecoder;
use job_sessionize::operator::{Form, SessionOperator};
use job_sessionize::options::DEFAULT_WATERMARK_DELAY;
use stream_core::collector::Collector;
use stream_core::ids::{SplitId, SubtaskIndex, TableIndex};
use stream_core::key_group::{KeyGroupRange, MaxParallelism};
use stream_core::operator::{Decoded, Decoder as _, Hold, Operator as _, Record, SplitRecords};
use stream_core::row::RowBatch;
use stream_core::session::{Config, Limits};
use stream_core::time::{EventTime, millis};
use stream_core::watermark::{Progress, SplitWatermarks, Watermark};

/// One source subtask with several splits, before `parallelism` window subtasks.
pub(crate) struct Job {
    decoder: EventDecoder,
    decoded: Collector,
    splits: SplitWatermarks,
    windows: Vec<SessionOperator>,
    rows: Collector,
    pub(crate) bad: u64,
}

impl Job {
    pub(crate) fn new(gap_ms: i64, splits: usize, parallelism: u32) -> Self {
        let max_parallelism = MaxParallelism::DEFAULT;
        let config = Config { gap_ms, allowed_lateness_ms: 0, limits: Limits::NONE };
        let window = |index| {
            let range = KeyGroupRange::of_subtask(max_parallelism, parallelism, SubtaskIndex(index));
            SessionOperator::new(config, Form::Sql, range, max_parallelism)
        };
        let mut watermarks = SplitWatermarks::new(millis(DEFAULT_WATERMARK_DELAY));
        for _ in 0..splits {
            watermarks.add_split();
        }
        Job {
            decoder: EventDecoder::new().putting_together(Some(gap_ms)),
            decoded: Collector::new(max_parallelism, parallelism),
            splits: watermarks,
            windows: (0..parallelism).map(window).collect(),
            rows: Collector::new(max_parallelism, 1),
            bad: 0,
        }
    }

    /// Reads records of one split, then sends the watermark that they raised.
    pub(crate) fn read(&mut self, split: usize, records: &[Record<'_>]) {
        let records =
            SplitRecords { split: &SplitId(String::new()), records, not_after: EventTime(i64::MAX), hold: Hold::NEVER };
        let Decoded { latest, bad, .. } =
            self.decoder.decode(records, &mut self.decoded).expect("bad records are skipped");
        self.bad += bad;
        for (target, batch) in self.decoded.take_all() {
            let window = &mut self.windows[target.0 as usize];
            window.on_events(&batch, &mut self.rows).expect("late events are dropped");
        }
        if let Some(latest) = latest {
            self.splits.observe(split, latest);
        }
        if let Progress::Active(watermark) = self.splits.progress() {
            self.advance(watermark);
        }
    }

    /// A watermark reaches every window subtask.
    pub(crate) fn advance(&mut self, watermark: Watermark) {
        self.windows.iter_mut().for_each(|window| window.on_watermark(watermark, &mut self.rows));
    }

    pub(crate) fn watermark(&mut self) -> Watermark {
        match self.splits.progress() {
            Progress::Active(watermark) => watermark,
            Progress::Idle(_) => Watermark::NONE,
        }
    }

    pub(crate) fn late(&self) -> u64 {
        self.windows.iter().map(|window| window.counters().late).sum()
    }

    pub(crate) fn take_rows(&mut self) -> RowBatch {
        self.rows.take_rows(TableIndex::RESULT).unwrap_or_default()
    }
}
