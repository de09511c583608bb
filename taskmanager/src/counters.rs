//! What one subtask counts about itself. Written by its thread once a batch, read by the heartbeat.
//!
//! The counters are independent of each other, hence relaxed atomics: a reader may see one batch's records without its
//! bytes, never a wrong sum in the end.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stream_core::operator::OperatorCounters;
use stream_core::source_splits::SplitProgress;
use stream_core::watermark::Watermark;

/// The counters of a running subtask.
#[derive(Debug)]
pub(crate) struct Counters {
    records_in: AtomicU64,
    bytes_in: AtomicU64,
    records_out: AtomicU64,
    bytes_out: AtomicU64,
    bad: AtomicU64,
    late: AtomicU64,
    open_windows: AtomicU64,
    open_events: AtomicU64,
    fired_events: AtomicU64,
    unanswered: AtomicU64,
    state_bytes: AtomicU64,
    unpublished_bytes: AtomicU64,
    publish_failures: AtomicU64,
    trouble: Mutex<String>,
    is_paused: AtomicBool,
    watermark: AtomicI64,
    busy_ns: AtomicU64,
    idle_ns: AtomicU64,
    backpressured_ns: AtomicU64,
    splits: Mutex<Vec<SplitProgress>>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Source: records read. Operator: events received. Sink: rows received.
    pub(crate) records_in: u64,
    /// Their bytes.
    pub(crate) bytes_in: u64,
    /// Source: events sent. Operator: rows fired. Sink: rows published.
    pub(crate) records_out: u64,
    /// Their bytes.
    pub(crate) bytes_out: u64,
    /// Records that could not be read.
    pub(crate) bad: u64,
    /// What the operator tells of itself.
    pub(crate) operator: OperatorCounters,
    /// Operator: bytes of the files of its last snapshot.
    pub(crate) state_bytes: u64,
    /// Sink: bytes of rows that are not published yet.
    pub(crate) unpublished_bytes: u64,
    /// Sink: tries to publish that failed.
    pub(crate) publish_failures: u64,
    /// Sink: why it cannot publish just now; empty if it can.
    pub(crate) trouble: String,
    /// Source: whether it was told to stop reading.
    pub(crate) is_paused: bool,
    /// The subtask's watermark, from the first on.
    pub(crate) watermark: Option<Watermark>,
    /// Time at work.
    pub(crate) busy: Duration,
    /// Time waiting for input.
    pub(crate) idle: Duration,
    /// Time waiting for output to be taken.
    pub(crate) backpressured: Duration,
    /// How far each split has been read.
    pub(crate) splits: Vec<SplitProgress>,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            records_in: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            records_out: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            bad: AtomicU64::default(),
            late: AtomicU64::default(),
            open_windows: AtomicU64::default(),
            open_events: AtomicU64::default(),
            fired_events: AtomicU64::default(),
            unanswered: AtomicU64::default(),
            state_bytes: AtomicU64::default(),
            unpublished_bytes: AtomicU64::default(),
            publish_failures: AtomicU64::default(),
            trouble: Mutex::default(),
            is_paused: AtomicBool::default(),
            watermark: AtomicI64::new(Watermark::NONE.0),
            busy_ns: AtomicU64::default(),
            idle_ns: AtomicU64::default(),
            backpressured_ns: AtomicU64::default(),
            splits: Mutex::default(),
        }
    }
}

impl Counters {
    /// Adds what came in.
    pub(crate) fn add_in(&self, records: u64, bytes: u64) {
        self.records_in.fetch_add(records, Relaxed);
        self.bytes_in.fetch_add(bytes, Relaxed);
    }

    /// Adds what went out.
    pub(crate) fn add_out(&self, records: u64, bytes: u64) {
        self.records_out.fetch_add(records, Relaxed);
        self.bytes_out.fetch_add(bytes, Relaxed);
    }

    /// Sets how many records went out, where somebody else counts them.
    pub(crate) fn set_records_out(&self, records: u64) {
        self.records_out.store(records, Relaxed);
    }

    /// Adds records that could not be read.
    pub(crate) fn add_bad(&self, records: u64) {
        self.bad.fetch_add(records, Relaxed);
    }

    /// Sets what the operator tells of itself.
    pub(crate) fn set_operator(&self, operator: OperatorCounters) {
        self.late.store(operator.late, Relaxed);
        self.open_windows.store(operator.open, Relaxed);
        self.open_events.store(operator.open_events, Relaxed);
        self.fired_events.store(operator.fired_events, Relaxed);
        self.unanswered.store(operator.unanswered, Relaxed);
    }

    /// Sets how many bytes the files of the last snapshot have.
    pub(crate) fn set_state_bytes(&self, bytes: u64) {
        self.state_bytes.store(bytes, Relaxed);
    }

    /// Adds a try to publish that failed.
    pub(crate) fn add_publish_failure(&self) {
        self.publish_failures.fetch_add(1, Relaxed);
    }

    /// Sets how many bytes of rows are not published.
    pub(crate) fn set_unpublished_bytes(&self, bytes: u64) {
        self.unpublished_bytes.store(bytes, Relaxed);
    }

    /// Sets why nothing can be published just now; empty if it can.
    pub(crate) fn set_trouble(&self, trouble: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Sets whether the source was told to stop reading.
    pub(crate) fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Relaxed);
    }

    /// Sets the subtask's watermark.
    pub(crate) fn set_watermark(&self, watermark: Watermark) {
        self.watermark.store(watermark.0, Relaxed);
    }

    /// Adds time at work.
    pub(crate) fn add_busy(&self, time: Duration) {
        self.busy_ns.fetch_add(nanos(time), Relaxed);
    }

    /// Adds time spent waiting for input.
    pub(crate) fn add_idle(&self, time: Duration) {
        self.idle_ns.fetch_add(nanos(time), Relaxed);
    }

    /// Adds time spent waiting for output to be taken.
    pub(crate) fn add_backpressured(&self, time: Duration) {
        self.backpressured_ns.fetch_add(nanos(time), Relaxed);
    }

    /// Lets `update` change the progress of the splits.
    pub(crate) fn update_splits(&self, update: impl FnOnce(&mut Vec<SplitProgress>)) {
        // A source that panicked while it wrote leaves a split's progress half new: still worth showing.
        update(&mut self.splits.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The counters now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let watermark = Watermark(self.watermark.load(Relaxed));
        Snapshot {
            records_in: self.records_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            records_out: self.records_out.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            bad: self.bad.load(Relaxed),
            operator: OperatorCounters {
                late: self.late.load(Relaxed),
                open: self.open_windows.load(Relaxed),
                open_events: self.open_events.load(Relaxed),
                fired_events: self.fired_events.load(Relaxed),
                unanswered: self.unanswered.load(Relaxed),
            },
            state_bytes: self.state_bytes.load(Relaxed),
            unpublished_bytes: self.unpublished_bytes.load(Relaxed),
            publish_failures: self.publish_failures.load(Relaxed),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            is_paused: self.is_paused.load(Relaxed),
            watermark: (watermark > Watermark::NONE).then_some(watermark),
            busy: Duration::from_nanos(self.busy_ns.load(Relaxed)),
            idle: Duration::from_nanos(self.idle_ns.load(Relaxed)),
            backpressured: Duration::from_nanos(self.backpressured_ns.load(Relaxed)),
            splits: self.splits.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// 584 years fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
