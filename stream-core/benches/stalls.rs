//! How long a subtask that holds many open windows stands still: to begin a snapshot, to copy one slice of it, and to make room for
//! more windows. What counts is the column `MAX` under `CPU`: of a snapshot it must not grow with the state. `WALL` also has the time
//! in which another thread had the core, and of more slices the longest is longer.
//!
//! `cargo bench -p stream-core --bench stalls [-- SESSIONS…]`. With the allocator of the product, because a large block that grows is its work. Of a
//! delta one key in ten has changed. There are as many slices as a whole snapshot has.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Config, Limits, Windows};
use stream_core::snapshot::{KeyedSnapshot, SnapshotKind, copy_slice, touched_block};
use stream_core::time::EventTime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GAP_MS: i64 = 300_000;
/// As long as the taskmanager copies between two batches.
const SLICE: Duration = Duration::from_micros(100);
/// As many new windows as a batch may open.
const BATCH: usize = 1024;
const OPEN: [u64; 2] = [200_000, 2_000_000];
const SNAPSHOTS: usize = 20;

fn main() {
    println!("{:9} {:20} {:>7}  {:^29}  {:^29}", "", "", "", "CPU, µs", "WALL, µs");
    println!("{:>9} {:20} {:>7}  {COLUMNS}  {COLUMNS}", "OPEN", "STEP", "TIMES");
    let asked: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    for open in if asked.is_empty() { OPEN.to_vec() } else { asked } {
        for kind in [SnapshotKind::Full, SnapshotKind::Delta] {
            let mut subtask = Subtask::new(open);
            let (mut begins, mut slices) = (Stalls::default(), Stalls::default());
            for _ in 0..SNAPSHOTS {
                subtask.change(10);
                begins.time(|| subtask.windows.begin_snapshot(kind));
                let blocks = (0..subtask.windows.blocks_wanted()).map(|_| touched_block());
                subtask.windows.lend(blocks.collect());
                while slices.time(|| subtask.copy_slice()).is_none() {}
            }
            begins.print(open, &format!("begin {kind:?}"));
            slices.print(open, &format!("slice of {kind:?}"));
        }
        grow_to(open).print(open, "batch of new windows");
    }
}

const COLUMNS: &str = "    P50       P99       MAX  ";

/// How long each of several steps took.
#[derive(Default)]
struct Stalls {
    cpu: Vec<Duration>,
    wall: Vec<Duration>,
}

impl Stalls {
    fn time<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let (cpu, wall) = (ThreadTime::now(), Instant::now());
        let done = step();
        self.cpu.push(cpu.elapsed());
        self.wall.push(wall.elapsed());
        done
    }

    fn print(self, open: u64, step: &str) {
        let times = self.cpu.len();
        println!("{open:9} {step:20} {times:7}  {}  {}", quantiles(self.cpu), quantiles(self.wall));
    }
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    format!("{:8.1}  {:8.1}  {:9.1}", at(50), at(99), at(100))
}

/// A subtask's windows.
struct Subtask {
    windows: Windows,
    keys: Vec<String>,
    /// Where the next change begins.
    round: usize,
}

impl Subtask {
    /// One open window for each of `open` keys, all of which were copied once.
    fn new(open: u64) -> Self {
        let mut subtask = Subtask { windows: no_windows(), keys: (0..open).map(key).collect(), round: 0 };
        subtask.change(1);
        subtask.windows.begin_snapshot(SnapshotKind::Full);
        subtask.windows.continue_snapshot(usize::MAX);
        subtask
    }

    fn copy_slice(&mut self) -> Option<KeyedSnapshot> {
        let started = Instant::now();
        copy_slice(|keys| self.windows.continue_snapshot(keys), || started.elapsed() >= SLICE)
    }

    /// An event for one key in `step`.
    fn change(&mut self, step: usize) {
        for key in self.keys.iter().skip(self.round % step).step_by(step) {
            add(&mut self.windows, key, 0);
        }
        self.round += 1;
    }
}

/// Opens one window after the other.
fn grow_to(open: u64) -> Stalls {
    const SESSIONS_PER_MS: i64 = 10;
    let (mut windows, mut stalls) = (no_windows(), Stalls::default());
    let keys: Vec<(String, i64)> = (0..open).map(|n| (key(n), n.cast_signed() / SESSIONS_PER_MS)).collect();
    for batch in keys.chunks(BATCH) {
        stalls.time(|| batch.iter().for_each(|(key, time)| add(&mut windows, key, *time)));
    }
    stalls
}

fn add(windows: &mut Windows, key: &str, time: i64) {
    let key = key.as_bytes();
    let event = KeyedEvent { hash: hash_key(key), time: EventTime(time), count: 1, key, origin: Origin::default() };
    windows.add(event, |_| {});
}

fn key(number: u64) -> String {
    format!("\u{e}10.{}.{}.7www{}.techcreator.io", number / 251, number % 251, number % 7)
}

fn no_windows() -> Windows {
    let max = MaxParallelism::DEFAULT;
    let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
    Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max)
}
