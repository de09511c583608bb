//! How many bytes an open session takes, key included, and what is left once sessions have closed.
//!
//! `cargo bench -p stream-core --bench memory [-- SESSIONS…]`. Sessions open evenly over half a gap, as ones of `(ip, host)` with seven hosts.
//! ALLOCATED is what was asked of the allocator, room that nothing is in yet included; PEAK the most of it on the way there; RESIDENT by how
//! much the process grew, which is the allocator's doing as well. CLOSED is what was allocated after all sessions had fired and two
//! incremental snapshots had been taken, SNAPSHOT the bytes of the second one; before the first session both were what the row EMPTY says.
//! Fails if a session takes 100 bytes or more, or if more than `LEFT` is left.

mod counting;

use std::process::ExitCode;

use counting::{allocated, take_peak};
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Config, Limits, Windows};
use stream_core::snapshot::{KeyedSnapshot, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

const GAP_MS: i64 = 300_000;
/// What an open session may take.
const LIMIT: f64 = 100.0;
/// What may be left: lists too small to matter.
const LEFT: usize = 4 << 20;

fn main() -> ExitCode {
    let asked: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sessions = if asked.is_empty() { vec![200_000, 1_000_000, 5_000_000, 10_000_000] } else { asked };
    println!("{:>10} {:>22} {:>22} {:>22} {:>12} {:>9}", "", "ALLOCATED", "PEAK", "RESIDENT", "CLOSED", "SNAPSHOT");
    println!(
        "{:>10} {:>12} {:>9} {:>12} {:>9} {:>12} {:>9}",
        "OPEN", "BYTES", "EACH", "BYTES", "EACH", "BYTES", "EACH"
    );
    let complaints: Vec<String> = sessions.into_iter().filter_map(measure).collect();
    complaints.iter().for_each(|complaint| eprintln!("error: {complaint}"));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong, if anything is.
fn measure(open: u64) -> Option<String> {
    let (before, resident_before) = (allocated(), resident());
    let allocated = || allocated() - before;
    let mut windows = no_windows();
    checkpoint(&mut windows, SnapshotKind::Full);
    let (empty, empty_snapshot) = (allocated(), snapshot_bytes(&checkpoint(&mut windows, SnapshotKind::Delta)));
    println!("{:>10} {empty:>12} {:>55} {empty:>12} {empty_snapshot:>9}", "EMPTY", "");
    take_peak();
    let mut key = Vec::new();
    for number in 0..open {
        let time = number.cast_signed() * (GAP_MS / 2) / open.cast_signed();
        write_key(number, &mut key);
        add(&mut windows, &key, time);
    }
    checkpoint(&mut windows, SnapshotKind::Delta);
    let (held, peak, grown) = (allocated(), take_peak() - before, resident().saturating_sub(resident_before));
    let each = |bytes: usize| bytes as f64 / open as f64;
    print!("{open:>10} {held:>12} {:>9.1} {peak:>12} {:>9.1} {grown:>12} {:>9.1}", each(held), each(peak), each(grown));
    let mut fired = 0;
    windows.advance(Watermark(2 * GAP_MS), |_| fired += 1);
    checkpoint(&mut windows, SnapshotKind::Delta);
    let last = snapshot_bytes(&checkpoint(&mut windows, SnapshotKind::Delta));
    let left = allocated();
    println!(" {left:>12} {last:>9}");
    assert_eq!((fired, windows.len()), (open, 0), "all have fired");
    if each(held) >= LIMIT {
        return Some(format!("each of {open} sessions takes {:.1} bytes", each(held)));
    }
    let is_left = left > empty + LEFT || last > empty_snapshot;
    is_left.then(|| format!("{left} bytes and {last} of a snapshot are left of {open} sessions"))
}

fn add(windows: &mut Windows, key: &[u8], time: i64) {
    let event = KeyedEvent { hash: hash_key(key), time: EventTime(time), count: 1, key, origin: Origin::default() };
    windows.add(event, |_| {});
}

/// As the subtask does, in slices; what a snapshot takes is dropped with it.
fn checkpoint(windows: &mut Windows, kind: SnapshotKind) -> KeyedSnapshot {
    windows.begin_snapshot(kind);
    loop {
        if let Some(snapshot) = windows.continue_snapshot(64) {
            return snapshot;
        }
    }
}

fn snapshot_bytes(snapshot: &KeyedSnapshot) -> usize {
    snapshot.sections.iter().map(|section| section.bytes.len()).sum()
}

const HOSTS: [&str; 7] = [
    "www.techcreator.io",
    "www.dataexpert.io",
    "learn.dataexpert.io",
    "bootcamp.techcreator.io",
    "www.eczachly.com",
    "zachwilson.techcreator.io",
    "dutchengineer.techcreator.io",
];

/// The length of the ip, the ip, and the host.
fn write_key(number: u64, key: &mut Vec<u8>) {
    let [.., a, b, c, d] = (number.wrapping_mul(0x9e37_79b1) & 0xffff_ffff).to_be_bytes();
    let ip = format!("{a}.{b}.{c}.{d}");
    key.clear();
    key.push(ip.len() as u8);
    key.extend_from_slice(ip.as_bytes());
    key.extend_from_slice(HOSTS[number as usize % HOSTS.len()].as_bytes());
}

fn no_windows() -> Windows {
    let max = MaxParallelism::DEFAULT;
    let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
    let windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
    windows.sharing_tails(|key| 1 + usize::from(key[0]))
}

/// The process's memory, as the system tells it.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}
