//! What sessions that have closed leave behind: nothing that grows with how many there were.

#[path = "../benches/counting/mod.rs"]
mod counting;

use counting::{allocated, take_peak};
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Config, Limits, Restored, Windows};
use stream_core::snapshot::SnapshotKind;
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

const SESSIONS: u32 = 100_000;
const GAP_MS: i64 = 300_000;
/// What may be left of them: lists too small to matter.
const LEFT: usize = 1 << 20;
/// How long keys begin; all others begin with a zero.
const LONG: u8 = 5;

fn no_windows() -> Windows {
    let max = MaxParallelism::new(16).expect("in range");
    let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
    Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max).sharing_tails(own_bytes)
}

fn own_bytes(key: &[u8]) -> usize {
    key.len().min(if key[0] == LONG { 30 } else { 20 })
}

/// Of every form that keys have in memory: whole, with a tail that others have too, with one of its own, and long.
fn key(number: u32) -> Vec<u8> {
    let own = number.to_be_bytes();
    match number % 4 {
        0 => own.to_vec(),
        1 => [&own[..], &[7; 40]].concat(),
        2 => [&own[..], &[8; 16], &own, &[9; 16]].concat(),
        _ => [&[LONG; 20][..], &own, &[9; 16]].concat(),
    }
}

fn open_all(windows: &mut Windows, time: impl Fn(u32) -> i64) {
    for number in 0..SESSIONS {
        let (key, time) = (key(number), EventTime(time(number)));
        let event = KeyedEvent { hash: hash_key(&key), time, count: 1, key: &key, origin: Origin::default() };
        windows.add(event, |_| {});
    }
}

/// What a job does at a checkpoint; the bytes of the snapshot.
fn checkpoint(windows: &mut Windows) -> usize {
    windows.tell_changes(|_| {});
    windows.begin_snapshot(SnapshotKind::Delta);
    loop {
        if let Some(snapshot) = windows.continue_snapshot(64) {
            return snapshot.sections.iter().map(|section| section.bytes.len()).sum();
        }
    }
}

/// The time of each session's event.
type Times<'a> = &'a dyn Fn(u32) -> i64;

// One test, because what is counted is the process's.
#[test]
fn two_checkpoints_after_all_sessions_have_closed_memory_and_snapshots_are_what_they_were_before_the_first() {
    let told = || no_windows().telling_changes(1, Restored::Told);
    let (spread, at_once) = (|number: u32| i64::from(number) / 2, |_: u32| 0_i64);
    let cases: [(&str, Windows, Times<'_>); 3] =
        [("spread", no_windows(), &spread), ("at once", no_windows(), &at_once), ("told", told(), &spread)];
    for (case, mut windows, time) in cases {
        let before = [checkpoint(&mut windows), checkpoint(&mut windows)];
        assert_eq!(before, [0, 0]);
        let empty = allocated();
        for round in 0..2 {
            let begin = round * 10 * GAP_MS;
            open_all(&mut windows, |number| begin + time(number));
            let held = allocated() - empty;
            assert!(held > 64 * SESSIONS as usize, "{case}: it would be seen: {held}");
            assert!(checkpoint(&mut windows) > 20 * SESSIONS as usize);
            let mut fired = 0;
            windows.advance(Watermark(begin + 5 * GAP_MS), |_| fired += 1);
            let written = [checkpoint(&mut windows), checkpoint(&mut windows)];
            let left = allocated().saturating_sub(empty);
            assert_eq!((fired, windows.len(), written), (SESSIONS, 0, [0, 0]), "{case}");
            assert!(left < LEFT, "{case}: {left} bytes of {held} are left, at most {}", take_peak());
        }
    }
}
