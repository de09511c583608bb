//! What one event costs: its message decoded to the three fields of a session, and its time read.
//!
//! `cargo bench -p web-event`. Allocations are counted too: there are none on these paths. The events are those of the
//! benchmark (the first 512 of `localcluster generate --events 20000 --seed 1`), or those of the demo. They are read again and
//! again, so that the processor learns some of them by heart: a running job takes a little longer (`docs/performance.md`).

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use web_event::event_time::to_timestamp;
use web_event::json::Projection;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const GENERATED: &str = include_str!("generated.jsonl");
const DEMO: &str = include_str!("../../demo/events.jsonl");
const FIELDS: Projection<3> = Projection::new(["ip", "host", "event_time"]);

fn main() {
    divan::main();
}

fn decode(bencher: Bencher, mut fields: Projection<3>, events: &str, change: impl Fn(&str) -> Vec<u8>) {
    let messages: Vec<Vec<u8>> = events.lines().map(change).collect();
    let bytes: usize = messages.iter().map(Vec::len).sum();
    bencher.counter(ItemsCount::new(messages.len())).counter(BytesCount::new(bytes)).bench_local(|| {
        let mut read = 0;
        for message in black_box(&messages) {
            let result = fields.decode(message, |row| {
                read += row.into_iter().flatten().map(str::len).sum::<usize>();
            });
            assert!(result.is_ok(), "{result:?}");
        }
        read
    });
}

fn as_it_is(event: &str) -> Vec<u8> {
    event.into()
}

#[divan::bench]
fn generated(bencher: Bencher) {
    decode(bencher, FIELDS, GENERATED, as_it_is);
}

/// As on a processor without vectors of 32 bytes.
#[divan::bench]
fn generated_portable(bencher: Bencher) {
    decode(bencher, FIELDS.portable(), GENERATED, as_it_is);
}

#[divan::bench]
fn demo(bencher: Bencher) {
    decode(bencher, FIELDS, DEMO, as_it_is);
}

/// As Python's `json.dumps` writes it.
#[divan::bench]
fn with_blanks(bencher: Bencher) {
    decode(bencher, FIELDS, GENERATED, |event| event.replace("\":", "\": ").replace(",\"", ", \"").into());
}

/// As PHP's `json_encode` writes it, `/` as `\/`, and with an escape in a wanted field.
#[divan::bench]
fn with_escapes(bencher: Bencher) {
    decode(bencher, FIELDS, GENERATED, |event| event.replace('/', "\\/").replace(".io", "\\u002eio").into());
}

/// A text in another script, in a field that nobody wants.
#[divan::bench]
fn not_ascii(bencher: Bencher) {
    decode(bencher, FIELDS, GENERATED, |event| event.replace("Mozilla", "Мозилла").into());
}

#[divan::bench]
fn not_strict_utf8(bencher: Bencher) {
    decode(bencher, FIELDS, GENERATED, |event| [event.as_bytes(), b"\xff"].concat());
}

/// Two producers, who write the fields in different orders, in turn.
#[divan::bench]
fn orders_in_turn(bencher: Bencher) {
    let reordered = |event: &str| event.replacen("{\"url\"", "{\"version\":1,\"url\"", 1);
    let events: Vec<String> = GENERATED
        .lines()
        .zip(0..)
        .map(|(event, nth)| if nth % 2 == 0 { event.into() } else { reordered(event) })
        .collect();
    decode(bencher, FIELDS, &events.join("\n"), as_it_is);
}

#[divan::bench]
fn time(bencher: Bencher) {
    let mut fields = FIELDS;
    let mut times = Vec::new();
    for event in GENERATED.lines() {
        let read = fields.decode(event.as_bytes(), |[_, _, time]| times.extend(time.map(str::to_owned)));
        assert!(read.is_ok(), "{read:?}");
    }
    bencher
        .counter(ItemsCount::new(times.len()))
        .bench_local(|| black_box(&times).iter().filter_map(|time| to_timestamp(time)).fold(0, i64::wrapping_add));
}
