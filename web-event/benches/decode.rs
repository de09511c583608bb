//! What one event costs: its message decoded to the three fields of a session, and its time read.
//!
//! `cargo bench -p web-event`. Allocations are counted too: there are none on these paths.

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use web_event::event_time::to_timestamp;
use web_event::json::Projection;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// What a web server sends; `headers` is JSON within JSON, and so full of escapes.
const EVENT: &str = r#"{"url":"/lesson/data-modeling-day-1","referrer":"https://www.linkedin.com/","user_agent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.6 Safari/605.1.15","host":"zachwilson.techcreator.io","ip":"126.104.70.146","headers":"{\"host\":\"zachwilson.techcreator.io\",\"user-agent\":\"Mozilla/5.0 (Macintosh; Intel Mac OS X 1\",\"accept-encoding\":\"gzip, br\",\"x-forwarded-for\":\"126.104.70.146\"}","event_time":"2025-01-12T14:00:07.754Z"}"#;

fn main() {
    divan::main();
}

fn decode(bencher: Bencher, message: &[u8]) {
    let mut fields = Projection::new(["ip", "host", "event_time"]);
    bencher.counter(ItemsCount::new(1_usize)).counter(BytesCount::new(message.len())).bench_local(|| {
        let mut read = 0;
        let result = fields.decode(black_box(message), |row| {
            read += row.into_iter().flatten().map(str::len).sum::<usize>();
        });
        (result.is_ok(), read)
    });
}

#[divan::bench]
fn usual_event(bencher: Bencher) {
    decode(bencher, EVENT.as_bytes());
}

/// As Python's `json.dumps` writes it.
#[divan::bench]
fn with_blanks(bencher: Bencher) {
    let event = EVENT.replace("\":\"", "\": \"").replace("\",\"", "\", \"");
    decode(bencher, event.as_bytes());
}

/// As PHP's `json_encode` writes it: `/` as `\/`, in wanted fields too.
#[divan::bench]
fn with_escapes(bencher: Bencher) {
    let event = EVENT.replace('/', "\\/").replace("zachwilson.", "zach\\u0077ilson.");
    decode(bencher, event.as_bytes());
}

#[divan::bench]
fn not_strict_utf8(bencher: Bencher) {
    let event = [EVENT.as_bytes(), b"\xff"].concat();
    decode(bencher, &event);
}

#[divan::bench]
fn time(bencher: Bencher) {
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| to_timestamp(black_box("2025-01-12T14:00:07.754Z")));
}
