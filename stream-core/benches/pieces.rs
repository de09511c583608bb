//! What the pieces of a session's way through the core cost, each alone: key to key group, an event into its session, sessions that
//! expire, a snapshot and the way back. Figures are for each event, key or session. `windows` measures the way as a whole.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Config, Limits, Windows};
use stream_core::snapshot::{KeyedSnapshot, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GAP_MS: i64 = 300_000;
const BATCH: usize = 2048;
/// Open sessions: within the processor's caches, and far beyond them.
const SESSIONS: [u64; 2] = [1_000, 1_000_000];

fn main() {
    divan::main();
}

/// About 30 bytes, as `ip` and `host` come to.
fn key(number: u64) -> String {
    format!("\u{e}{}.{}.{}.7www{}.techcreator.io", number % 251, number / 251 % 251, number / 63_001, number % 7)
}

/// An event for each of the keys, in an order that no cache foresees, at this time.
fn batches(sessions: u64, time: i64) -> Vec<EventBatch> {
    // Odd, and so a permutation of the numbers below a power of two; those beyond are left out.
    const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
    let room = sessions.next_power_of_two();
    let order: Vec<u64> =
        (0..room).map(|n| n.wrapping_mul(STRIDE) % room).filter(|number| *number < sessions).collect();
    let batch = |numbers: &[u64]| {
        let mut batch = EventBatch::default();
        for &number in numbers {
            let key = key(number);
            let key = key.as_bytes();
            let (hash, time) = (hash_key(key), EventTime(time));
            batch.push(KeyedEvent { hash, time, count: 1, key, origin: Origin::default() });
        }
        batch
    };
    order.chunks(BATCH).map(batch).collect()
}

fn no_windows() -> Windows {
    let max = MaxParallelism::DEFAULT;
    let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
    Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max)
}

fn add(windows: &mut Windows, batches: &[EventBatch]) {
    for event in batches.iter().flat_map(EventBatch::iter) {
        windows.add(event, |_| {});
    }
}

fn open(sessions: u64) -> Windows {
    let mut windows = no_windows();
    add(&mut windows, &batches(sessions, 0));
    windows
}

fn snapshot(windows: &mut Windows, kind: SnapshotKind) -> KeyedSnapshot {
    windows.begin_snapshot(kind);
    windows.continue_snapshot(usize::MAX).expect("all keys are copied at once")
}

#[divan::bench]
fn key_group_hash(bencher: Bencher<'_, '_>) {
    let keys: Vec<String> = (0..4096).map(key).collect();
    bencher.counter(ItemsCount::new(keys.len())).bench_local(|| {
        let group = |key: &String| u64::from(hash_key(black_box(key).as_bytes()).key_group(MaxParallelism::DEFAULT).0);
        keys.iter().map(group).sum::<u64>()
    });
}

/// Another event for a session that is open.
#[divan::bench(args = SESSIONS)]
fn session_add(bencher: Bencher<'_, '_>, sessions: u64) {
    let mut windows = open(sessions);
    let batches = batches(sessions, 1_000);
    bencher.counter(ItemsCount::new(sessions)).bench_local(|| add(&mut windows, &batches));
}

/// The first event of a session.
#[divan::bench(args = SESSIONS, sample_count = 20)]
fn session_open(bencher: Bencher<'_, '_>, sessions: u64) {
    let batches = batches(sessions, 0);
    bencher.counter(ItemsCount::new(sessions)).with_inputs(no_windows).bench_local_values(|mut windows| {
        add(&mut windows, &batches);
        windows
    });
}

#[divan::bench(args = SESSIONS, sample_count = 20)]
fn session_expire(bencher: Bencher<'_, '_>, sessions: u64) {
    bencher.counter(ItemsCount::new(sessions)).with_inputs(|| open(sessions)).bench_local_values(|mut windows| {
        let mut fired = 0_u64;
        windows.advance(Watermark(GAP_MS), |_| fired += 1);
        assert_eq!(fired, sessions);
        windows
    });
}

#[divan::bench(args = SESSIONS, sample_count = 20)]
fn snapshot_full(bencher: Bencher<'_, '_>, sessions: u64) {
    let mut windows = open(sessions);
    bencher.counter(ItemsCount::new(sessions)).bench_local(|| snapshot(&mut windows, SnapshotKind::Full));
}

/// The bytes of an exchange's batch.
#[divan::bench]
fn batch_encode(bencher: Bencher<'_, '_>) {
    let batch = batches(BATCH as u64, 7).remove(0);
    let bytes = batch.encode().len();
    let bencher = bencher.counter(ItemsCount::new(batch.len())).counter(BytesCount::new(bytes));
    bencher.bench_local(|| black_box(&batch).encode());
}

#[divan::bench]
fn batch_decode(bencher: Bencher<'_, '_>) {
    let batch = batches(BATCH as u64, 7).remove(0);
    let bytes = batch.encode();
    let bencher = bencher.counter(ItemsCount::new(batch.len())).counter(BytesCount::new(bytes.len()));
    bencher.bench_local(|| EventBatch::decode(black_box(&bytes)).expect("its own bytes"));
}
