//! Web events told by a seed alone, made so that the right answer does not depend on timing.
//!
//! Event time runs far ahead of the wall clock, so that sessions of minutes end within a test. Within a partition no event
//! is more than [`DISORDER_MS`] behind an earlier one, which is less than [`WATERMARK_DELAY_MS`]: so no event is ever late,
//! however its partition is read, and a batch computation over the topic has the one right answer. Times are multiples of
//! [`TICK_MS`], so that two events are often exactly one gap apart.

use serde_json::json;

use crate::random::Random;

/// Partitions of a topic that is filled from here.
pub const PARTITIONS: i32 = 3;
/// The gap that the traffic is made for.
pub const GAP_MS: i64 = 10_000;
/// How far the job's watermark must stay behind, at least.
pub const WATERMARK_DELAY_MS: i64 = 5_000;
/// How far an event may be behind an earlier one of its partition, at most.
pub const DISORDER_MS: i64 = 3_250;
/// Every time is a multiple of it.
pub const TICK_MS: i64 = 250;
/// The host of the events that end all sessions; no other event has it.
pub const CLOSING_HOST: &str = "closing.example";

/// Event time from one event to the next: 100 events in a second of it.
const STEP_MS: i64 = 10;
/// When event time begins, in ms since 1970: 2025-01-14 00:00 UTC.
pub const BEGIN_MS: i64 = 1_736_812_800_000;
/// The closing events are so far ahead that no delay or gap reaches them.
const CLOSING_AHEAD_MS: i64 = 3_600_000;

/// What a record that is no JSON begins with.
pub const NO_JSON: &str = "no json, number";
/// The visitor of all events of the future, and of no other.
pub const FUTURE_IP: &str = "9.9.9.9";
/// The visitor of all late events, and of no other.
pub const LATE_IP: &str = "8.8.8.8";
/// 2099-01-01 00:00 UTC.
const FUTURE_MS: i64 = 4_070_908_800_000;
/// Older than any watermark.
const LATE_MS: i64 = BEGIN_MS - 3_600_000;

const HOSTS: [&str; 4] = ["www.techcreator.io", "www.dataexpert.io", "learn.dataexpert.io", "www.eczachly.com"];
/// In turn, so that each host has each of them.
const REFERRERS: [Option<&str>; 5] =
    [None, Some("https://t.co/abc"), Some("https://www.google.com/"), Some(""), Some("https://www.linkedin.com/")];
const PAGES: [&str; 4] = ["/", "/login", "/lessons?id=7", "/blog/a \"quoted\" page"];

/// Visitors of whom some never pause, some pause now and then, and some come once; with how many of eight events are theirs.
const CROWDS: [(u64, u64); 4] = [(10, 3), (120, 3), (1_500, 1), (1_000_000, 1)];
const SHARES: u64 = 8;

/// An event, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its partition.
    pub partition: i32,
    /// Its time, in ms since 1970.
    pub at_ms: i64,
    /// The message.
    pub json: String,
}

/// An endless stream of events.
#[derive(Clone, Debug)]
pub struct Traffic {
    random: Random,
    number: i64,
    /// The first event that may be late; `None` for traffic without any record that is no part of a session.
    spoilt_from: Option<i64>,
    /// Of all events to come; grows with each closing.
    ahead_ms: i64,
}

impl Traffic {
    /// The traffic of a seed.
    pub fn new(seed: u64) -> Traffic {
        Traffic { random: Random::new(seed), number: 0, spoilt_from: None, ahead_ms: 0 }
    }

    /// The same with records among it that are no part of any session: of a thousand ten are no JSON, one is of the future, and, behind
    /// the first `late_from`, ten are late, if by then there is a watermark.
    #[must_use]
    pub fn spoilt(self, late_from: i64) -> Traffic {
        Traffic { spoilt_from: Some(late_from), ..self }
    }

    /// How many events were taken so far.
    pub fn taken(&self) -> u64 {
        self.number.unsigned_abs()
    }

    /// The next event.
    pub fn next_event(&mut self) -> Event {
        match self.spoilt_from.map(|_| self.random.below(1000)) {
            Some(0..10) => self.spoilt_record(|number| format!("{NO_JSON} {number}")),
            Some(10) => self.spoilt_record(|_| json(FUTURE_MS, FUTURE_IP, HOSTS[0], None, "/")),
            // They are behind any watermark.
            Some(11..21) if self.spoilt_from.is_some_and(|from| self.number > from) => {
                self.spoilt_record(|_| json(LATE_MS, LATE_IP, HOSTS[0], None, "/"))
            }
            _ => self.good_event(),
        }
    }

    fn spoilt_record(&mut self, text: impl FnOnce(i64) -> String) -> Event {
        self.number += 1;
        let partition = self.partition();
        Event { partition, at_ms: self.newest_ms(), json: text(self.number) }
    }

    fn good_event(&mut self) -> Event {
        let newest_ms = self.newest_ms();
        self.number += 1;
        let behind_ms = self.random.below((DISORDER_MS - TICK_MS).unsigned_abs()).cast_signed();
        let at_ms = (newest_ms - behind_ms) / TICK_MS * TICK_MS;
        let (crowd, visitor) = self.visitor();
        let [a, b, c] = [visitor >> 16 & 0xff, visitor >> 8 & 0xff, visitor & 0xff];
        let ip = format!("{}.{a}.{b}.{c}", 10 + crowd);
        let host = HOSTS[visitor as usize % HOSTS.len()];
        let page = PAGES[self.random.below(PAGES.len() as u64) as usize];
        let referrer = REFERRERS[self.number.unsigned_abs() as usize % REFERRERS.len()];
        let partition = self.partition();
        Event { partition, at_ms, json: json(at_ms, &ip, host, referrer, page) }
    }

    /// An event for each partition that is so far ahead that every session before it ends.
    pub fn closing_events(&self) -> Vec<Event> {
        let at_ms = self.newest_ms() + CLOSING_AHEAD_MS;
        let event = |partition| Event { partition, at_ms, json: json(at_ms, "0.0.0.0", CLOSING_HOST, None, "/") };
        (0..PARTITIONS).map(event).collect()
    }

    /// Jumps behind the closing events, for traffic after them.
    pub fn go_on_after_closing(&mut self) {
        self.ahead_ms += 2 * CLOSING_AHEAD_MS;
    }

    /// A crowd's number, and one of its visitors.
    fn visitor(&mut self) -> (usize, u64) {
        let mut share = self.random.below(SHARES);
        for (crowd, (visitors, shares)) in CROWDS.into_iter().enumerate() {
            if share < shares {
                return (crowd, self.random.below(visitors));
            }
            share -= shares;
        }
        unreachable!("the crowds have all shares between them")
    }

    fn partition(&mut self) -> i32 {
        self.random.below(PARTITIONS.unsigned_abs().into()) as i32
    }

    fn newest_ms(&self) -> i64 {
        BEGIN_MS + self.ahead_ms + self.number * STEP_MS
    }
}

fn json(at_ms: i64, ip: &str, host: &str, referrer: Option<&str>, page: &str) -> String {
    json!({
        "url": page,
        "referrer": referrer,
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
        "host": host,
        "ip": ip,
        "headers": json!({ "host": host, "x-forwarded-for": ip }).to_string(),
        "event_time": time_text(at_ms),
    })
    .to_string()
}

/// A time in ms since 1970 as events have it: `2025-01-14T17:01:12.232Z`. The date is Hinnant's `civil_from_days`, for days after 1970.
pub fn time_text(at_ms: i64) -> String {
    let (days, in_day) = (at_ms.div_euclid(86_400_000), at_ms.rem_euclid(86_400_000));
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_same_seed_tells_the_same_events() {
        let (mut one, mut other, mut third) = (Traffic::new(7), Traffic::new(7), Traffic::new(8));
        let same = (0..1000).all(|_| one.next_event() == other.next_event());
        assert!(same && one.next_event() != third.next_event());
    }

    #[test]
    fn no_event_is_further_behind_in_its_partition_than_the_watermark_waits() {
        let mut traffic = Traffic::new(1);
        let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
        let mut furthest = 0;
        for _ in 0..50_000 {
            let event = traffic.next_event();
            let newest = newest.entry(event.partition).or_insert(event.at_ms);
            furthest = furthest.max(*newest - event.at_ms);
            *newest = event.at_ms.max(*newest);
        }
        assert!(furthest <= DISORDER_MS && DISORDER_MS < WATERMARK_DELAY_MS, "{furthest} ms");
        assert!(furthest > DISORDER_MS / 2, "{furthest} ms of disorder test little");
    }

    #[test]
    fn closing_events_are_ahead_of_everything_in_every_partition() {
        let mut traffic = Traffic::new(1);
        let newest = (0..100).map(|_| traffic.next_event().at_ms).max();
        let closing = traffic.closing_events();
        assert!(closing.iter().map(|event| event.partition).eq(0..PARTITIONS));
        assert!(closing.iter().all(|event| Some(event.at_ms - GAP_MS - WATERMARK_DELAY_MS) > newest));
        traffic.go_on_after_closing();
        assert!(traffic.next_event().at_ms > closing[0].at_ms + GAP_MS);
    }

    #[test]
    fn times_are_written_for_leap_days_and_year_ends() {
        assert_eq!(time_text(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time_text(1_735_689_599_999), "2024-12-31T23:59:59.999Z");
        assert_eq!(time_text(BEGIN_MS), "2025-01-14T00:00:00.000Z");
    }
}
