use super::*;
use crate::key_group::{MaxParallelism, hash_key};
use crate::origin::Origin;

const GAP: i64 = 300_000;

struct Probe {
    windows: Windows,
    fired: Vec<(String, i64, i64, u64)>,
}

impl Probe {
    fn new(allowed_lateness_ms: i64) -> Self {
        let max = MaxParallelism::DEFAULT;
        let range = KeyGroupRange { start: 0, end: max.get() };
        let windows = Windows::new(Config { gap_ms: GAP, allowed_lateness_ms, limits: Limits::NONE }, range, max);
        Probe { windows, fired: Vec::new() }
    }

    fn add(&mut self, key: &str, time: i64) -> Added {
        let event = KeyedEvent {
            hash: hash_key(key.as_bytes()),
            time: EventTime(time),
            count: 1,
            key: key.as_bytes(),
            origin: Origin::default(),
        };
        self.windows.add(event, |fired| self.fired.push(owned(fired)))
    }

    fn advance(&mut self, watermark: i64) -> Vec<(String, i64, i64, u64)> {
        self.windows.advance(Watermark(watermark), |fired| self.fired.push(owned(fired)));
        std::mem::take(&mut self.fired)
    }
}

fn owned(fired: Fired<'_>) -> (String, i64, i64, u64) {
    (String::from_utf8_lossy(fired.key).into_owned(), fired.start.0, fired.end.0, fired.count)
}

fn row(key: &str, start: i64, end: i64, count: u64) -> (String, i64, i64, u64) {
    (key.to_owned(), start, end, count)
}

#[test]
fn events_exactly_one_gap_apart_share_a_session_and_one_more_ms_parts_them() {
    let mut probe = Probe::new(0);
    for (key, second) in [("a", GAP - 1), ("b", GAP), ("c", GAP + 1)] {
        probe.add(key, 0);
        probe.add(key, second);
    }
    let closed = probe.advance(i64::MAX);
    assert_eq!(
        closed,
        [row("c", 0, GAP, 1), row("a", 0, 2 * GAP - 1, 2), row("b", 0, 2 * GAP, 2), row("c", GAP + 1, 2 * GAP + 1, 1)]
    );
    assert!(probe.windows.is_empty());
}

#[test]
fn session_fires_at_its_last_instant_and_not_before() {
    let mut probe = Probe::new(0);
    probe.add("a", 0);
    assert_eq!(probe.advance(GAP - 2), []);
    assert_eq!(probe.advance(GAP - 1), [row("a", 0, GAP, 1)]);
}

#[test]
fn grown_session_does_not_fire_at_its_old_end() {
    let mut probe = Probe::new(0);
    probe.add("a", 0);
    probe.add("a", 100_000);
    assert_eq!(probe.advance(GAP), []);
    assert_eq!(probe.advance(GAP + 100_000 - 1), [row("a", 0, GAP + 100_000, 2)]);
}

#[test]
fn bridging_event_joins_two_open_sessions() {
    let mut probe = Probe::new(0);
    probe.add("a", 0);
    probe.add("a", 2 * GAP);
    assert_eq!(probe.windows.len(), 2);
    probe.add("a", GAP);
    assert_eq!(probe.windows.len(), 1);
    assert_eq!(probe.advance(i64::MAX), [row("a", 0, 3 * GAP, 3)]);
}

#[test]
fn event_behind_the_watermark_joins_an_open_session_and_moves_its_start_back() {
    let mut probe = Probe::new(0);
    probe.add("a", GAP);
    probe.advance(GAP + 5);
    assert_eq!(probe.add("a", 0), Added::Accepted);
    assert_eq!(probe.advance(i64::MAX), [row("a", 0, 2 * GAP, 2)]);
}

#[test]
fn event_one_ms_short_of_touching_is_late_and_changes_nothing() {
    let mut probe = Probe::new(0);
    probe.add("a", GAP + 1);
    probe.advance(GAP + 5);
    assert_eq!(probe.add("a", 0), Added::Late);
    assert_eq!(probe.advance(i64::MAX), [row("a", GAP + 1, 2 * GAP + 1, 1)]);
}

#[test]
fn watermark_that_does_not_rise_is_ignored() {
    let mut probe = Probe::new(0);
    probe.advance(1_000_000);
    probe.advance(5);
    assert_eq!(probe.windows.watermark(), Watermark(1_000_000));
    assert_eq!(probe.add("a", 5), Added::Late);
}

#[test]
fn allowed_late_event_fires_the_whole_new_count_at_once_until_the_window_expires() {
    let mut probe = Probe::new(60_000);
    probe.add("a", 0);
    assert_eq!(probe.advance(GAP - 1), [row("a", 0, GAP, 1)]);
    probe.add("a", 0);
    assert_eq!(probe.advance(GAP - 1 + 59_999), [row("a", 0, GAP, 2)]);
    assert_eq!(probe.windows.len(), 1);
    probe.advance(GAP - 1 + 60_000);
    assert!(probe.windows.is_empty());
    assert_eq!(probe.add("a", 0), Added::Late);
}

#[test]
fn fired_window_that_grows_past_the_watermark_fires_again_at_its_new_end_only() {
    let mut probe = Probe::new(10 * GAP);
    probe.add("a", 0);
    probe.advance(GAP + 10);
    probe.fired.clear();
    probe.add("a", GAP - 5);
    assert_eq!(probe.advance(2 * GAP - 7), []);
    assert_eq!(probe.advance(2 * GAP - 6), [row("a", 0, 2 * GAP - 5, 2)]);
}

#[test]
fn many_keys_come_and_go_and_leave_nothing_behind() {
    let mut probe = Probe::new(0);
    let mut fired = 0;
    for round in 0..20_i64 {
        for key in 0..500 {
            probe.add(&format!("key-{key}"), round * 10 * GAP);
            probe.add(&format!("key-{key}"), round * 10 * GAP + 2 * GAP);
        }
        fired += probe.advance(round * 10 * GAP + 5 * GAP).len();
    }
    assert_eq!(fired, 20 * 500 * 2);
    assert!(probe.windows.is_empty());
}

#[test]
fn leftover_timer_at_the_very_time_of_the_next_one_does_not_fire_a_window_twice() {
    let lateness = 10 * GAP;
    let mut probe = Probe::new(lateness);
    probe.add("a", 0);
    assert_eq!(probe.advance(GAP - 1).len(), 1); // From now on a timer waits at the window's expiry.
    let expiry = GAP - 1 + lateness;
    let last = expiry + 1 - GAP; // A last event that makes the window end at that same time.
    for time in (0..last).step_by(usize::try_from(GAP).expect("positive")).chain([last]) {
        probe.add("a", time);
    }
    probe.advance(2 * GAP);
    let fired = probe.advance(expiry);
    assert_eq!(fired.len(), 1, "{fired:?}");
}

#[test]
fn behind_a_watermark_of_the_clock_a_straggler_opens_no_second_session() {
    for by_clock in [false, true] {
        let mut probe = Probe::new(0);
        probe.add("a", 0);
        assert_eq!(probe.advance(GAP), [row("a", 0, GAP, 1)]);
        if by_clock {
            probe.windows.closed_by_clock(Watermark(GAP));
        }
        // It would have made the session longer, had it come in time; its own window is not over.
        let added = probe.add("a", GAP - 1);
        assert_eq!(added, if by_clock { Added::Late } else { Added::Accepted }, "in Flink it opens another one");
        assert_eq!(probe.add("a", GAP + 1), Added::Accepted);
        probe.windows.closed_by_clock(Watermark(2 * GAP));
        assert_eq!(probe.add("a", GAP + 2), Added::Accepted, "it joins one that is open");
    }
}
