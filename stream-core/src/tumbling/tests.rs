use super::*;
use crate::key_group::hash_key;
use crate::origin::Origin;
use crate::snapshot::{Section, SnapshotKind};

const SIZE: i64 = 300_000;

/// Keys are texts such as `a/x`, whose heads are what stands up to and with the `/`.
fn head(key: &[u8]) -> &[u8] {
    let slash = key.iter().position(|&byte| byte == b'/').map_or(key.len(), |at| at + 1);
    &key[..slash]
}

struct Probe {
    windows: Windows,
    fired: Vec<String>,
}

impl Probe {
    fn new(allowed_lateness_ms: i64) -> Self {
        let max = MaxParallelism::DEFAULT;
        let config = Config { size_ms: SIZE, allowed_lateness_ms, head };
        let windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        Probe { windows, fired: Vec::new() }
    }

    fn add(&mut self, key: &str, time: i64) -> Added {
        let key = key.as_bytes();
        let event =
            KeyedEvent { hash: hash_key(head(key)), time: EventTime(time), count: 1, key, origin: Origin::default() };
        self.windows.add(&event, |fired| self.fired.push(shown(fired)))
    }

    fn advance(&mut self, watermark: i64) -> Vec<String> {
        self.windows.advance(Watermark(watermark), |fired| self.fired.push(shown(fired)));
        std::mem::take(&mut self.fired)
    }
}

/// As `key@start=count`, the sum of a head with a star.
fn shown(fired: Fired<'_>) -> String {
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let of = match fired.of {
        Of::Key(key) => text(key),
        Of::Head(head) => text(head) + "*",
    };
    format!("{of}@{}={}", fired.start.0, fired.count)
}

#[test]
fn windows_lie_end_to_end_from_1970_on_and_before_it() {
    let mut probe = Probe::new(0);
    for time in [-SIZE - 1, -SIZE, -1, 0, SIZE - 1, SIZE] {
        probe.add("a/", time);
    }
    let of_keys: Vec<String> = probe.advance(i64::MAX).into_iter().filter(|fired| !fired.contains('*')).collect();
    assert_eq!(of_keys, ["a/@-600000=1", "a/@-300000=2", "a/@0=2", "a/@300000=1"]);
    assert!(probe.windows.is_empty());
}

#[test]
fn window_fires_at_its_last_instant_and_not_before() {
    let mut probe = Probe::new(0);
    probe.add("a/", 0);
    assert_eq!(probe.advance(SIZE - 2), [""; 0]);
    assert_eq!(probe.advance(SIZE - 1), ["a/@0=1", "a/*@0=1"]);
    assert_eq!(probe.advance(i64::MAX), [""; 0]);
}

#[test]
fn keys_of_a_head_fire_together_with_their_sum_behind_them() {
    let mut probe = Probe::new(0);
    for key in ["b/y", "a/x", "b/", "a/x", "b/y", "b/z"] {
        probe.add(key, 5);
    }
    let fired = probe.advance(SIZE);
    assert_eq!(fired, ["a/x@0=2", "a/*@0=2", "b/@0=1", "b/y@0=2", "b/z@0=1", "b/*@0=4"]);
    assert_eq!((probe.windows.events(), probe.windows.fired_events()), (0, 6), "each event once");
}

#[test]
fn event_behind_the_watermark_is_late_only_once_its_window_has_ended() {
    let mut probe = Probe::new(0);
    probe.advance(SIZE - 2);
    assert_eq!(probe.add("a/", 0), Added::Accepted);
    probe.advance(SIZE - 1);
    assert_eq!(probe.add("a/", SIZE - 1), Added::Late);
    assert_eq!(probe.add("a/", SIZE), Added::Accepted);
    assert_eq!((probe.windows.events(), probe.windows.fired_events()), (1, 1));
}

#[test]
fn watermark_that_does_not_rise_is_ignored() {
    let mut probe = Probe::new(0);
    probe.advance(SIZE);
    probe.advance(5);
    assert_eq!(probe.windows.watermark(), Watermark(SIZE));
    assert_eq!(probe.add("a/", 5), Added::Late);
}

#[test]
fn allowed_late_event_fires_its_key_and_the_sum_again_at_once_until_the_window_expires() {
    let mut probe = Probe::new(60_000);
    ["a/x", "a/y", "b/x"].iter().for_each(|key| assert_eq!(probe.add(key, 0), Added::Accepted));
    assert_eq!(probe.advance(SIZE - 1).len(), 5);
    probe.add("a/x", 1);
    probe.add("a/new", 1);
    assert_eq!(probe.advance(SIZE - 1 + 59_999), ["a/x@0=2", "a/*@0=3", "a/new@0=1", "a/*@0=4"]);
    assert_eq!((probe.windows.events(), probe.windows.fired_events()), (0, 5));
    assert_eq!(probe.advance(SIZE - 1 + 60_000), [""; 0]);
    assert!(probe.windows.is_empty());
    assert_eq!(probe.add("a/x", 0), Added::Late);
}

#[test]
fn a_clock_that_closed_a_window_makes_nothing_late_in_the_next_one() {
    let mut probe = Probe::new(0);
    probe.add("a/", 0);
    probe.advance(SIZE + 10);
    assert_eq!(
        probe.add("a/", SIZE + 5),
        Added::Accepted,
        "a tumbling window of its own, whoever raised the watermark"
    );
}

#[test]
fn the_ends_of_time_are_ordinary_times() {
    let mut probe = Probe::new(i64::MAX);
    for time in [i64::MIN, i64::MIN + 1, i64::MAX] {
        assert_eq!(probe.add("a/", time), Added::Accepted);
    }
    assert_eq!(probe.advance(i64::MAX).len(), 4);
    assert!(probe.windows.is_empty());
}

#[test]
fn places_are_used_again_and_nothing_is_left_behind() {
    let mut probe = Probe::new(0);
    for round in 0..20 {
        for key in 0..500 {
            assert_eq!(probe.add(&format!("{}/{key}", key % 7), round * SIZE), Added::Accepted);
        }
        assert_eq!(probe.advance((round + 1) * SIZE).len(), 507);
        assert!(probe.windows.is_empty());
    }
}

#[test]
fn records_of_another_operator_or_another_group_are_refused() {
    let mut probe = Probe::new(0);
    probe.add("a/x", 0);
    probe.windows.begin_snapshot(SnapshotKind::Full);
    let mut snapshot = probe.windows.continue_snapshot(10).expect("one count is copied at once");
    let section = &mut snapshot.sections[0];
    let restored = |section: &Section| Probe::new(0).windows.restore(Watermark::NONE, &[section]);
    assert_eq!(restored(section), Ok(()));
    section.group.0 = (section.group.0 + 1) % 128;
    assert!(restored(section).is_err());
    section.bytes[0] = 1;
    assert_eq!(restored(section).map_err(|error| error.at), Err(0));
}
