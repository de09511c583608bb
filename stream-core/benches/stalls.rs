//! How long a subtask that holds many open windows stands still: to begin a snapshot, to copy one slice of it, and to make room for
//! more windows. What counts is the column `slowest`: of a snapshot it must not grow with the state.
//!
//! `cargo bench -p stream-core --bench stalls`. With the allocator of the product, because a large block that grows is its work. Of a
//! delta one key in ten has changed.

use std::cell::RefCell;

use divan::Bencher;
use divan::counter::ItemsCount;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Config, Limits, Windows};
use stream_core::snapshot::SnapshotKind;
use stream_core::time::EventTime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GAP_MS: i64 = 300_000;

fn main() {
    divan::main();
}

/// As many as the taskmanager copies between two batches.
const SLICE_KEYS: usize = 512;
const OPEN: [u64; 2] = [200_000, 2_000_000];

/// A subtask's windows with a snapshot to be begun.
struct Subtask {
    windows: Windows,
    keys: Vec<String>,
    kind: SnapshotKind,
    /// Where the next change begins.
    round: usize,
}

impl Subtask {
    /// One open window for each of `open` keys, all of which were copied once.
    fn new(open: u64, kind: SnapshotKind) -> Self {
        let mut subtask = Subtask { windows: no_windows(), keys: (0..open).map(key).collect(), kind, round: 0 };
        subtask.change(1);
        subtask.windows.begin_snapshot(SnapshotKind::Full);
        subtask.finish();
        subtask
    }

    /// An event for one key in `step`.
    fn change(&mut self, step: usize) {
        for key in self.keys.iter().skip(self.round % step).step_by(step) {
            let key = key.as_bytes();
            self.windows.add(
                KeyedEvent { hash: hash_key(key), time: EventTime(0), count: 1, key, origin: Origin::default() },
                |_| {},
            );
        }
        self.round += 1;
    }

    fn begin(&mut self) {
        self.windows.begin_snapshot(self.kind);
    }

    /// Whether the snapshot is finished.
    fn copy_slice(&mut self) -> bool {
        self.windows.continue_snapshot(SLICE_KEYS).is_some()
    }

    fn finish(&mut self) {
        self.windows.continue_snapshot(usize::MAX);
    }
}

#[divan::bench(args = OPEN, consts = [false, true], sample_size = 1, sample_count = 40)]
fn begin_snapshot<const IS_DELTA: bool>(bencher: Bencher<'_, '_>, open: u64) {
    let subtask = RefCell::new(Subtask::new(open, kind(IS_DELTA)));
    let prepare = || {
        let mut subtask = subtask.borrow_mut();
        subtask.finish();
        subtask.change(10);
    };
    bencher.with_inputs(prepare).bench_local_values(|()| subtask.borrow_mut().begin());
}

#[divan::bench(args = OPEN, consts = [false, true], sample_size = 1, sample_count = 4000)]
fn copy_slice<const IS_DELTA: bool>(bencher: Bencher<'_, '_>, open: u64) {
    let subtask = RefCell::new(Subtask::new(open, kind(IS_DELTA)));
    let is_finished = RefCell::new(true);
    let prepare = || {
        if is_finished.take() {
            subtask.borrow_mut().change(10);
            subtask.borrow_mut().begin();
        }
    };
    let keys = ItemsCount::new(SLICE_KEYS);
    bencher.counter(keys).with_inputs(prepare).bench_local_values(|()| {
        is_finished.replace(subtask.borrow_mut().copy_slice());
    });
}

fn kind(is_delta: bool) -> SnapshotKind {
    if is_delta { SnapshotKind::Delta } else { SnapshotKind::Full }
}

#[divan::bench(sample_size = 1, sample_count = 196)]
fn grow_to_200_000(bencher: Bencher<'_, '_>) {
    grow(bencher);
}

#[divan::bench(sample_size = 1, sample_count = 1954)]
fn grow_to_2_000_000(bencher: Bencher<'_, '_>) {
    grow(bencher);
}

/// As many new windows as a batch may open.
fn grow(bencher: Bencher<'_, '_>) {
    const BATCH: u64 = 1024;
    const SESSIONS_PER_MS: i64 = 10;
    let windows = RefCell::new(no_windows());
    let next = RefCell::new(0);
    let prepare = || {
        let first = next.replace_with(|next| *next + BATCH);
        (first..first + BATCH).map(|number| (key(number), number.cast_signed() / SESSIONS_PER_MS)).collect::<Vec<_>>()
    };
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(prepare).bench_local_refs(|keys| {
        let mut windows = windows.borrow_mut();
        for (key, time) in keys {
            let key = key.as_bytes();
            windows.add(
                KeyedEvent { hash: hash_key(key), time: EventTime(*time), count: 1, key, origin: Origin::default() },
                |_| {},
            );
        }
    });
}

fn key(number: u64) -> String {
    format!("\u{e}10.{}.{}.7www{}.techcreator.io", number / 251, number % 251, number % 7)
}

fn no_windows() -> Windows {
    let max = MaxParallelism::DEFAULT;
    let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
    Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max)
}
