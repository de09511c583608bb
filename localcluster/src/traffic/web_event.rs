//! One web event as a line of JSON, in the shape of the demo's events: about 450 bytes, with the long escaped `headers`.

use stream_core::time::civil_from_days;

use super::random::Random;

/// Most addresses that can be told apart.
const MOST_VISITORS: u32 = 1 << 30;

const HOSTS: [&str; 7] = [
    "www.techcreator.io",
    "www.dataexpert.io",
    "learn.dataexpert.io",
    "bootcamp.techcreator.io",
    "www.eczachly.com",
    "zachwilson.techcreator.io",
    "dutchengineer.techcreator.io",
];

const URLS: [&str; 15] = [
    "/",
    "/login",
    "/signup",
    "/pricing",
    "/lessons",
    "/lesson/flink-lab",
    "/lesson/data-modeling-day-1",
    "/question/42",
    "/blog/what-is-a-data-engineer",
    "/products?id=7&utm_source=yt",
    "/api/v1/me",
    "/favicon.ico",
    "/robots.txt",
    "/wp-login.php",
    "/.env",
];

/// As they stand in the JSON, so that nothing has to be escaped while writing.
const REFERRERS: [&str; 6] = [
    "null",
    "\"https://t.co/abc\"",
    "\"https://www.google.com/\"",
    "\"https://www.youtube.com/\"",
    "\"https://www.linkedin.com/\"",
    "\"https://www.dataexpert.io/\"",
];

const USER_AGENTS: [&str; 7] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.6 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Mobile/15E148",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "python-requests/2.31.0",
    "curl/8.5.0",
];

/// How much of the user agent is repeated in `headers`, as in the demo's events.
const HEADER_AGENT_BYTES: usize = 40;

const MS_PER_DAY: i64 = 86_400_000;

/// A stream of events from a fixed crowd of visitors. A visitor is one ip with one host and one browser.
#[derive(Debug)]
pub struct WebEvents {
    random: Random,
    visitors: u32,
    /// Seeds differ in their addresses too.
    offset: u32,
    day: Day,
}

/// The date of the last event: it changes once in a day, so it is not written anew for each.
#[derive(Debug)]
struct Day {
    number: i64,
    text: [u8; 10],
}

impl WebEvents {
    /// Events of `visitors` visitors (at least 1, at most 2^30 are told apart).
    #[must_use]
    pub fn new(seed: u64, visitors: u32) -> WebEvents {
        let mut random = Random::new(seed);
        let offset = random.below(MOST_VISITORS);
        WebEvents { random, visitors: visitors.clamp(1, MOST_VISITORS), offset, day: Day::of(0) }
    }

    /// A number below `bound` from the same source, for whoever decides on the events' times.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.random.below(bound)
    }

    /// Appends one event and a line feed. `at_ms`: event time in ms since the Unix epoch, from 1970 to 9999.
    pub fn write(&mut self, at_ms: i64, out: &mut Vec<u8>) {
        let visitor = self.random.below(self.visitors);
        self.write_of(visitor, at_ms, out);
    }

    /// Appends one event of this visitor, and a line feed.
    pub(super) fn write_of(&mut self, visitor: u32, at_ms: i64, out: &mut Vec<u8>) {
        let ip = Ip::of(visitor, self.offset);
        let host = HOSTS[visitor as usize % HOSTS.len()];
        let agent = USER_AGENTS[visitor as usize / HOSTS.len() % USER_AGENTS.len()];
        let url = self.random.pick(&URLS);
        let referrer = self.random.pick(&REFERRERS);
        let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
        put("{\"url\":\"");
        put(url);
        put("\",\"referrer\":");
        put(referrer);
        put(",\"user_agent\":\"");
        put(agent);
        put("\",\"host\":\"");
        put(host);
        put("\",\"ip\":\"");
        put(ip.text());
        put("\",\"headers\":\"{\\\"host\\\":\\\"");
        put(host);
        put("\\\",\\\"user-agent\\\":\\\"");
        put(&agent[..agent.len().min(HEADER_AGENT_BYTES)]);
        put(
            "\\\",\\\"accept-language\\\":\\\"en-US,en;q=0.9\\\",\\\"accept-encoding\\\":\\\"gzip, deflate, br\\\",\\\"x-forwarded-for\\\":\\\"",
        );
        put(ip.text());
        put("\\\"}\",\"event_time\":\"");
        self.write_time(at_ms, out);
        out.extend_from_slice(b"\"}\n");
    }

    /// `2025-01-14T17:01:12.232Z`.
    fn write_time(&mut self, at_ms: i64, out: &mut Vec<u8>) {
        let number = at_ms.div_euclid(MS_PER_DAY);
        if number != self.day.number {
            self.day = Day::of(number);
        }
        let in_day = at_ms.rem_euclid(MS_PER_DAY) as u32;
        let (seconds, ms) = (in_day / 1000, in_day % 1000);
        let mut text = *b"Thh:mm:ss.mmmZ";
        put_digits(&mut text[1..3], seconds / 3600);
        put_digits(&mut text[4..6], seconds / 60 % 60);
        put_digits(&mut text[7..9], seconds % 60);
        put_digits(&mut text[10..13], ms);
        out.extend_from_slice(&self.day.text);
        out.extend_from_slice(&text);
    }
}

impl Day {
    fn of(number: i64) -> Day {
        let (year, month, day) = civil_from_days(number);
        let mut text = *b"yyyy-mm-dd";
        put_digits(&mut text[..4], year as u32);
        put_digits(&mut text[5..7], month as u32);
        put_digits(&mut text[8..], day as u32);
        Day { number, text }
    }
}

fn put_digits(place: &mut [u8], mut value: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// An IPv4 address as text, without an allocation.
struct Ip {
    bytes: [u8; 15],
    len: usize,
}

impl Ip {
    /// Multiplying by an odd number permutes the numbers below 2^30, so no two visitors share an address. The first
    /// octet is 32 to 95: addresses that look like anybody's.
    fn of(visitor: u32, offset: u32) -> Ip {
        let mixed = visitor.wrapping_mul(0x2c9_277b5).wrapping_add(offset) % MOST_VISITORS;
        let mut ip = Ip { bytes: [0; 15], len: 0 };
        let [first, rest @ ..] = mixed.to_be_bytes();
        ip.put_octet(first + 32);
        for octet in rest {
            ip.put(b'.');
            ip.put_octet(octet);
        }
        ip
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("digits and dots are ASCII")
    }

    fn put_octet(&mut self, octet: u8) {
        if octet >= 100 {
            self.put(b'0' + octet / 100);
        }
        if octet >= 10 {
            self.put(b'0' + octet / 10 % 10);
        }
        self.put(b'0' + octet % 10);
    }

    fn put(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    fn line(at_ms: i64) -> String {
        let mut out = Vec::new();
        WebEvents::new(1, 100).write(at_ms, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_json_with_the_demos_fields() {
        let event: serde_json::Value = serde_json::from_str(&line(1_736_874_072_232)).unwrap();
        let fields: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            fields.into_iter().collect::<Vec<_>>(),
            ["event_time", "headers", "host", "ip", "referrer", "url", "user_agent"]
        );
        assert_eq!(event["event_time"], "2025-01-14T17:01:12.232Z");
        let headers: serde_json::Value = serde_json::from_str(event["headers"].as_str().unwrap()).unwrap();
        assert_eq!(headers["host"], event["host"]);
        assert_eq!(headers["x-forwarded-for"], event["ip"]);
    }

    #[test]
    fn times_are_written_for_leap_days_and_year_ends() {
        for (at_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert!(line(at_ms).ends_with(&format!("\"event_time\":\"{text}\"}}\n")), "{text}: {}", line(at_ms));
        }
    }

    #[test]
    fn visitors_have_addresses_of_their_own() {
        let all: BTreeSet<String> = (0..50_000).map(|visitor| Ip::of(visitor, 12_345).text().to_owned()).collect();
        assert_eq!(all.len(), 50_000);
        assert!(all.iter().all(|ip| ip.parse::<std::net::Ipv4Addr>().is_ok()));
    }
}
