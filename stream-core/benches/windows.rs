//! What a keyed event costs in the core: hash, collect into batches, session windows, tumbling windows.
//!
//! Synthetic traffic: `KEYS` keys of about 30 bytes, one event in five opens a session; time advances so that sessions keep
//! closing, and of the tumbling windows a new one begins every 1.6 events of a key. `session_windows_of_a_hot_key` has nine events in ten
//! of one key. Figures are for each event.

use divan::Bencher;
use divan::counter::ItemsCount;
use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Config, Limits, Restored, Windows};
use stream_core::time::EventTime;
use stream_core::tumbling;
use stream_core::watermark::Watermark;

const GAP_MS: i64 = 300_000;
const EVENTS: usize = 1 << 20;

fn main() {
    divan::main();
}

/// Keys and times as sorted traffic: a fixed multiplicative generator, so that every run sees the same.
fn traffic(keys: u64) -> Vec<(String, i64)> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        state >> 33
    };
    // A key is seen every `keys` events on average: at this pace it is silent for a gap about once in five events.
    let step_us = GAP_MS * 1000 / i64::try_from(keys).expect("few keys") * 62 / 100;
    (0..EVENTS)
        .map(|index| {
            let key = next() % keys;
            let time = i64::try_from(index).expect("small") * step_us / 1000;
            (format!("\u{e}{}.{}.{}.7www{}.techcreator.io", key % 251, key / 251 % 251, key / 63_001, key % 7), time)
        })
        .collect()
}

#[divan::bench(args = [1_000, 100_000])]
fn hash_and_collect(bencher: Bencher<'_, '_>, keys: u64) {
    let traffic = traffic(keys);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut collector = Collector::new(MaxParallelism::DEFAULT, 2);
        let mut batches = 0;
        for (key, time) in &traffic {
            let key = key.as_bytes();
            collector.event(KeyedEvent {
                hash: hash_key(key),
                time: EventTime(*time),
                count: 1,
                key,
                origin: Origin::default(),
            });
            batches += collector.take_full().count();
        }
        batches
    });
}

/// The traffic in batches, each event routed by the hash of this part of its key.
fn batches(keys: u64, routed: fn(&[u8]) -> &[u8]) -> Vec<EventBatch> {
    let mut batches = Vec::new();
    for chunk in traffic(keys).chunks(2048) {
        let mut batch = EventBatch::default();
        for (key, time) in chunk {
            let key = key.as_bytes();
            let (hash, time) = (hash_key(routed(key)), EventTime(*time));
            batch.push(KeyedEvent { hash, time, count: 1, key, origin: Origin::default() });
        }
        batches.push(batch);
    }
    batches
}

/// Up to the last digit of the ip; the host is shared.
fn head_bytes(key: &[u8]) -> usize {
    key.iter().position(|&byte| byte == b'w').unwrap_or(key.len())
}

#[divan::bench(args = [1_000, 100_000])]
fn session_windows(bencher: Bencher<'_, '_>, keys: u64) {
    add_and_close(bencher, &batches(keys, |key| key));
}

/// The same, where nine events in ten are of one key: what its subtask has to do for each of them.
#[divan::bench(args = [1_000, 100_000])]
fn session_windows_of_a_hot_key(bencher: Bencher<'_, '_>, keys: u64) {
    let mut batches = batches(keys, |key| key);
    for batch in &mut batches {
        let mut hot = EventBatch::default();
        for (number, event) in batch.iter().enumerate() {
            let key: &[u8] = if number % 10 == 0 { event.key } else { b"\x0e10.0.0.7www7.techcreator.io" };
            hot.push(KeyedEvent { hash: hash_key(key), key, ..event });
        }
        *batch = hot;
    }
    add_and_close(bencher, &batches);
}

/// All batches into windows that have none yet, which are closed at the end.
fn add_and_close(bencher: Bencher<'_, '_>, batches: &[EventBatch]) {
    let max = MaxParallelism::DEFAULT;
    let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        let mut windows = windows.sharing_tails(head_bytes);
        let mut sessions = 0_u64;
        for batch in batches {
            sessions += add_batch(&mut windows, batch);
        }
        windows.advance(Watermark::END, |_| sessions += 1);
        sessions
    });
}

/// As the job does it: the events of a batch, and then a watermark; how many sessions fired.
fn add_batch(windows: &mut Windows, batch: &EventBatch) -> u64 {
    let (mut sessions, mut latest) = (0, i64::MIN);
    let (mut events, mut looked_up) = (batch.together(windows.may_be_together()), Vec::new());
    while windows.look_up(&mut events, &mut looked_up) {
        for looked_up in &looked_up {
            latest = latest.max(looked_up.events.last.0);
            windows.add_looked_up(looked_up, |_| {});
        }
    }
    for events in events {
        latest = latest.max(events.last.0);
        windows.add_together(&events, |_| {});
    }
    windows.advance(Watermark(latest - 15_000), |_| sessions += 1);
    sessions
}

/// The same, where what changed is told every 16 batches.
#[divan::bench(args = [1_000, 100_000])]
fn session_windows_telling_changes(bencher: Bencher<'_, '_>, keys: u64) {
    let batches = batches(keys, |key| key);
    let max = MaxParallelism::DEFAULT;
    let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        let mut windows = windows.telling_changes(1, Restored::Told);
        let mut told = 0_u64;
        for (number, batch) in batches.iter().enumerate() {
            let mut latest = i64::MIN;
            for event in batch.iter() {
                latest = latest.max(event.time.0);
                windows.add(event, |_| {});
            }
            windows.advance(Watermark(latest - 15_000), |_| {});
            if number % 16 == 15 {
                windows.tell_changes(|_| told += 1);
            }
        }
        told
    });
}

/// Nine of ten events are of one key: from the hashed key to its session, with events put together or not.
#[divan::bench(args = [false, true])]
fn hot_key(bencher: Bencher<'_, '_>, puts_together: bool) {
    let mut traffic = traffic(10_000);
    let hot = traffic[0].0.clone();
    traffic.iter_mut().enumerate().filter(|(index, _)| index % 10 > 0).for_each(|(_, (key, _))| key.clone_from(&hot));
    let max = MaxParallelism::DEFAULT;
    let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut collector = Collector::new(max, 1);
        let mut windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        let mut sessions = 0_u64;
        for (key, time) in &traffic {
            let (key, time, origin) = (key.as_bytes(), EventTime(*time), Origin::default());
            let event = KeyedEvent { hash: hash_key(key), time, count: 1, key, origin };
            match puts_together {
                true => collector.session_event(event, GAP_MS),
                false => collector.event(event),
            }
            for (_, batch) in collector.take_full() {
                sessions += add_batch(&mut windows, &batch);
            }
        }
        windows.advance(Watermark::END, |_| sessions += 1);
        sessions
    });
}

/// Keys of about 250 heads, which share what fires.
#[divan::bench(args = [1_000, 100_000])]
fn tumbling_windows(bencher: Bencher<'_, '_>, keys: u64) {
    let head: fn(&[u8]) -> &[u8] = |key| key.split_inclusive(|&byte| byte == b'.').next().unwrap_or_default();
    let batches = batches(keys, head);
    let max = MaxParallelism::DEFAULT;
    let config = tumbling::Config { size_ms: GAP_MS, allowed_lateness_ms: 0, head };
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut windows = tumbling::Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        let mut rows = 0_u64;
        for batch in &batches {
            let mut latest = i64::MIN;
            for event in batch.iter() {
                latest = latest.max(event.time.0);
                windows.add(&event, |_| {});
            }
            windows.advance(Watermark(latest - 15_000), |_| rows += 1);
        }
        windows.advance(Watermark::END, |_| rows += 1);
        rows
    });
}
