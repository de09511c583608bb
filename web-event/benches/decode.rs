//! What one event costs: its message decoded to the three fields of a session, and its time read.
//!
//! `cargo bench -p web-event`. Allocations are counted too: there are none on these paths.

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use web_event::event_time::to_timestamp;
use web_event::json::Projection;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// How many different events are decoded in turn, so that no branch can be learnt by heart.
const EVENTS: usize = 512;

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.6 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "python-requests/2.31.0",
];
const REFERRERS: [&str; 4] = ["null", "\"https://www.linkedin.com/\"", "\"https://t.co/abc\"", "null"];
const URLS: [&str; 5] = ["/", "/lesson/data-modeling-day-1", "/api/v1/me", "/products?id=7&utm_source=yt", "/signup"];
const HOSTS: [&str; 4] =
    ["zachwilson.techcreator.io", "www.dataexpert.io", "lulu.techcreator.io", "admin.dataexpert.io"];

fn main() {
    divan::main();
}

/// What a web server sends; `headers` is JSON within JSON, and so full of escapes.
fn event(nth: usize) -> String {
    // Any sequence will do that does not repeat soon.
    let dice = (nth + 1).wrapping_mul(2_654_435_761) >> 7;
    let agent = AGENTS[dice % 4];
    let host = HOSTS[dice / 4 % 4];
    let ip = format!("{}.{}.{}.{}", dice / 7 % 256, dice / 11 % 256, dice / 13 % 256, dice / 17 % 256);
    let start_of_agent = &agent[..agent.len().min(40)];
    format!(
        r#"{{"url":"{}","referrer":{},"user_agent":"{agent}","host":"{host}","ip":"{ip}","headers":"{{\"host\":\"{host}\",\"user-agent\":\"{start_of_agent}\",\"accept-encoding\":\"gzip, br\",\"x-forwarded-for\":\"{ip}\"}}","event_time":"2025-01-12T14:{:02}:{:02}.{:03}Z"}}"#,
        URLS[dice / 16 % 5],
        REFERRERS[dice / 80 % 4],
        dice / 3 % 60,
        dice / 5 % 60,
        dice % 1000,
    )
}

fn decode(bencher: Bencher, change: impl Fn(String) -> Vec<u8>) {
    let messages: Vec<Vec<u8>> = (0..EVENTS).map(|nth| change(event(nth))).collect();
    let mut fields = Projection::new(["ip", "host", "event_time"]);
    let bytes: usize = messages.iter().map(Vec::len).sum();
    bencher.counter(ItemsCount::new(EVENTS)).counter(BytesCount::new(bytes)).bench_local(|| {
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

#[divan::bench]
fn usual_event(bencher: Bencher) {
    decode(bencher, String::into_bytes);
}

/// As Python's `json.dumps` writes it.
#[divan::bench]
fn with_blanks(bencher: Bencher) {
    decode(bencher, |event| event.replace("\":\"", "\": \"").replace("\",\"", "\", \"").into_bytes());
}

/// As PHP's `json_encode` writes it, `/` as `\/`, and with an escape in a wanted field.
#[divan::bench]
fn with_escapes(bencher: Bencher) {
    decode(bencher, |event| event.replace('/', "\\/").replace(".io", "\\u002eio").into_bytes());
}

#[divan::bench]
fn not_strict_utf8(bencher: Bencher) {
    decode(bencher, |event| [event.as_bytes(), b"\xff"].concat());
}

#[divan::bench]
fn time(bencher: Bencher) {
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| to_timestamp(black_box("2025-01-12T14:00:07.754Z")));
}
