//! What an incremental snapshot costs by how many sessions changed, of how many are open: bytes, CPU time, and the throughput that
//! is left at an interval of 10 s.
//!
//! `cargo bench -p stream-core --bench deltas [-- SESSIONS [FILE.svg]]`, of 10,000,000 sessions unless told otherwise; the bytes also as a
//! picture. Events come to sessions drawn at random. SHARE is the snapshot's CPU time of that of the events which so many a second would
//! bring in 10 s, that is what it takes of the throughput. Fails if the bytes of a changed session depend on how many changed.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::random::SplitMix64;
use stream_core::session::{Config, Limits, Windows};
use stream_core::snapshot::{KeyedSnapshot, SnapshotKind, copy_slice, touched_block};
use stream_core::time::EventTime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SESSIONS: u64 = 10_000_000;
const GAP_MS: i64 = 300_000;
/// As long as the taskmanager copies between two batches.
const SLICE: Duration = Duration::from_micros(100);
/// Events between two snapshots; at the interval, from a hundred a second to half a million.
const EVENTS: [u64; 9] = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000, 5_000_000];
/// Bytes of a changed session differ by no more than this factor: a section has a head of a byte, and records of numbers that grow.
const EVEN: f64 = 1.25;

/// One snapshot.
struct Delta {
    events: u64,
    changed: u64,
    bytes: u64,
    events_cpu: Duration,
    snapshot_cpu: Duration,
    longest_cpu: Duration,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let open = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(SESSIONS);
    println!("{open} open sessions");
    println!(
        "{:>9} {:>9} {:>12} {:>6} {:>12} {:>12} {:>8}",
        "EVENTS", "CHANGED", "BYTES", "EACH", "CPU, µs", "LONGEST, µs", "SHARE"
    );
    let mut subtask = Subtask::new(open);
    let deltas: Vec<Delta> = EVENTS.into_iter().map(|events| subtask.take(events)).collect();
    for delta in &deltas {
        let Delta { events, changed, bytes, events_cpu, snapshot_cpu, longest_cpu } = delta;
        let share = 100.0 * snapshot_cpu.as_secs_f64() / (events_cpu.as_secs_f64() + snapshot_cpu.as_secs_f64());
        let (cpu, longest) = (snapshot_cpu.as_secs_f64() * 1e6, longest_cpu.as_secs_f64() * 1e6);
        println!("{events:>9} {changed:>9} {bytes:>12} {:>6.1} {cpu:>12.0} {longest:>12.1} {share:>7.1}%", each(delta));
    }
    if let Some(path) = args.get(1)
        && let Err(error) = std::fs::write(path, picture(open, &deltas))
    {
        eprintln!("error: cannot write `{path}`: {error}");
        return ExitCode::FAILURE;
    }
    let (least, most) =
        deltas.iter().map(each).fold((f64::MAX, 0.0), |(least, most), each| (each.min(least), each.max(most)));
    if most > EVEN * least {
        eprintln!("error: a changed session takes from {least:.1} to {most:.1} bytes");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn each(delta: &Delta) -> f64 {
    delta.bytes as f64 / delta.changed as f64
}

/// A subtask's windows, one for each of `open` keys, all of which were copied once.
struct Subtask {
    windows: Windows,
    open: u64,
    random: SplitMix64,
}

impl Subtask {
    fn new(open: u64) -> Self {
        let max = MaxParallelism::DEFAULT;
        let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
        let windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        let windows = windows.sharing_tails(|key| 1 + usize::from(key[0]));
        let mut subtask = Subtask { windows, open, random: SplitMix64::new(1) };
        let mut key = Vec::new();
        (0..open).for_each(|number| subtask.event(number, &mut key));
        subtask.windows.begin_snapshot(SnapshotKind::Full);
        while subtask.windows.continue_snapshot(1 << 16).is_none() {}
        subtask
    }

    /// So many events, and a snapshot.
    fn take(&mut self, events: u64) -> Delta {
        let (mut changed, mut key) = (BTreeSet::<u64>::new(), Vec::new());
        let drawn: Vec<u64> = (0..events).map(|_| self.random.bits() % self.open).collect();
        changed.extend(&drawn);
        let started = ThreadTime::now();
        drawn.iter().for_each(|number| self.event(*number, &mut key));
        let events_cpu = started.elapsed();
        self.windows.begin_snapshot(SnapshotKind::Delta);
        let blocks = (0..self.windows.blocks_wanted()).map(|_| touched_block());
        self.windows.lend(blocks.collect());
        let (mut snapshot_cpu, mut longest_cpu) = (Duration::ZERO, Duration::ZERO);
        let snapshot = loop {
            let started = ThreadTime::now();
            let snapshot = self.copy_slice();
            let cpu = started.elapsed();
            snapshot_cpu += cpu;
            longest_cpu = longest_cpu.max(cpu);
            if let Some(snapshot) = snapshot {
                break snapshot;
            }
        };
        assert_eq!(snapshot.kind, SnapshotKind::Delta);
        let bytes = snapshot.sections.iter().map(|section| section.bytes.len() as u64).sum();
        let records: u64 = snapshot.sections.iter().map(|section| section.records).sum();
        assert_eq!(records, changed.len() as u64, "a record for each key that changed");
        Delta { events, changed: records, bytes, events_cpu, snapshot_cpu, longest_cpu }
    }

    fn copy_slice(&mut self) -> Option<KeyedSnapshot> {
        let started = Instant::now();
        copy_slice(|keys| self.windows.continue_snapshot(keys), || started.elapsed() >= SLICE)
    }

    fn event(&mut self, number: u64, key: &mut Vec<u8>) {
        let ip = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        key.clear();
        key.push(ip.len() as u8);
        write_bytes(key, &[ip.as_bytes(), b"www", &[b'0' + (number % 7) as u8], b".techcreator.io"]);
        let time = EventTime((number % 1000).cast_signed());
        self.windows.add(KeyedEvent { hash: hash_key(key), time, count: 1, key, origin: Origin::default() }, |_| {});
    }
}

fn write_bytes(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Bytes against changed sessions, both on logarithmic scales: what is in proportion is a straight line that rises by one for one.
fn picture(open: u64, deltas: &[Delta]) -> String {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 30.0;
    const DECADE: f64 = 80.0;
    let x = |changed: f64| LEFT + DECADE * (changed.log10() - 3.0);
    let y = |bytes: f64| TOP + DECADE * (9.0 - bytes.log10());
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 420 400\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"420\" height=\"400\" fill=\"#fff\"/>\n",
    );
    let mut line = |text: std::fmt::Arguments<'_>| svg.write_fmt(text).expect("text takes every write");
    for (decade, name) in (3..).zip(["1,000", "10,000", "100,000", "1 M", "10 M"]) {
        let at = x(10_f64.powi(decade));
        line(format_args!("<path d=\"M{at:.1} {:.1}V{:.1}\" stroke=\"#ddd\"/>\n", y(1e9), y(1e5)));
        line(format_args!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>\n", y(1e5) + 16.0));
    }
    for (decade, name) in (5..).zip(["100 kB", "1 MB", "10 MB", "100 MB", "1 GB"]) {
        let at = y(10_f64.powi(decade));
        line(format_args!("<path d=\"M{:.1} {at:.1}H{:.1}\" stroke=\"#ddd\"/>\n", x(1e3), x(1e7)));
        line(format_args!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\n", LEFT - 6.0, at + 4.0));
    }
    for Delta { changed, bytes, .. } in deltas {
        let (x, y) = (x(*changed as f64), y(*bytes as f64));
        line(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#2266aa\"/>\n"));
    }
    line(format_args!(
        "<text x=\"{LEFT}\" y=\"18\">Bytes of an incremental snapshot, of {open} open sessions</text>\n"
    ));
    line(format_args!("<text x=\"230\" y=\"390\" text-anchor=\"middle\">changed sessions</text>\n</svg>\n"));
    svg
}
