//! Limits of sessions, against a naive oracle and against sessions without limits.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Added, Config, Fired, Limits, Windows};
use stream_core::snapshot::{Section, SnapshotKind};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

/// Key, first event, last event, events.
type Row = (u8, i64, i64, u64);

fn windows(config: Config) -> Windows {
    let max = MaxParallelism::DEFAULT;
    Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max)
}

struct Run {
    config: Config,
    windows: Windows,
    rows: Vec<Row>,
    accepted: Vec<(u8, i64)>,
}

impl Run {
    fn new(config: Config) -> Run {
        Run { config, windows: windows(config), rows: Vec::new(), accepted: Vec::new() }
    }

    fn event(&mut self, key: u8, time: i64) {
        let (bytes, origin) = ([key], Origin::default());
        let event = KeyedEvent { hash: hash_key(&bytes), time: EventTime(time), count: 1, key: &bytes, origin };
        let (gap_ms, rows) = (self.config.gap_ms, &mut self.rows);
        if self.windows.add(event, |fired| rows.push(row(fired, gap_ms))) == Added::Accepted {
            self.accepted.push((key, time));
        }
    }

    fn watermark(&mut self, watermark: i64) {
        let (gap_ms, rows) = (self.config.gap_ms, &mut self.rows);
        self.windows.advance(Watermark(watermark), |fired| rows.push(row(fired, gap_ms)));
    }

    fn end(mut self) -> Run {
        self.watermark(i64::MAX);
        assert!(self.windows.is_empty());
        self.rows.sort_unstable();
        self
    }
}

fn row(fired: Fired<'_>, gap_ms: i64) -> Row {
    (fired.key[0], fired.start.0, fired.end.0 - gap_ms, fired.count)
}

/// The rule, written down: events in the order of their times; one begins a session if it is more than a gap behind the one before, or
/// if the session would be longer or larger with it than it may be.
fn sessions(events: &[(u8, i64)], config: Config) -> Vec<Row> {
    let mut by_key: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
    events.iter().for_each(|&(key, time)| by_key.entry(key).or_default().push(time));
    let mut rows: Vec<Row> = Vec::new();
    for (key, mut times) in by_key {
        times.sort_unstable();
        for time in times {
            let Limits { max_span_ms, max_events } = config.limits;
            match rows.last_mut() {
                Some((of_key, start, last, count))
                    if *of_key == key
                        && time - *last <= config.gap_ms
                        && time - *start < max_span_ms
                        && *count < max_events =>
                {
                    (*last, *count) = (time, *count + 1);
                }
                _ => rows.push((key, time, time, 1)),
            }
        }
    }
    rows.sort_unstable();
    rows
}

fn limits() -> impl Strategy<Value = Limits> {
    let max_span_ms = prop_oneof![Just(i64::MAX), 1_i64..120];
    let max_events = prop_oneof![Just(u64::MAX), 1_u64..12];
    (max_span_ms, max_events).prop_map(|(max_span_ms, max_events)| Limits { max_span_ms, max_events })
}

fn config() -> impl Strategy<Value = Config> {
    (1_i64..30, limits()).prop_map(|(gap_ms, limits)| Config { gap_ms, allowed_lateness_ms: 0, limits })
}

/// Events as they come, up to so far behind the newest, and where the watermark is then, if it moves.
fn arrivals(back: i64) -> impl Strategy<Value = Vec<(u8, i64, Option<i64>)>> {
    let watermark = prop_oneof![2 => Just(None), 1 => (2_i64..60).prop_map(Some)];
    prop::collection::vec((0_u8..3, 0_i64..6, 0..=back, watermark), 1..200).prop_map(|steps| {
        let mut now = 0;
        let at = |(key, step, back, delay): (u8, i64, i64, Option<i64>)| {
            now += step;
            (key, now - back, delay.map(|delay| now - delay))
        };
        steps.into_iter().map(at).collect()
    })
}

fn run(arrivals: &[(u8, i64, Option<i64>)], config: Config) -> Run {
    let mut run = Run::new(config);
    for &(key, time, watermark) in arrivals {
        run.event(key, time);
        watermark.into_iter().for_each(|watermark| run.watermark(watermark));
        assert_eq!(run.accepted.len() as u64, run.windows.events() + run.windows.fired_events(), "counted once");
    }
    run.end()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// In order, with the watermark behind, so that it closes nothing that the next event touches.
    #[test]
    fn events_in_order_give_the_sessions_of_the_rule(arrivals in arrivals(0), config in config()) {
        let run = run(&arrivals, config);
        prop_assert_eq!(run.rows, sessions(&run.accepted, config));
    }

    #[test]
    fn in_any_order_every_event_is_in_one_part_within_the_limits(arrivals in arrivals(100), config in config()) {
        let run = run(&arrivals, config);
        let hits: u64 = run.rows.iter().map(|row| row.3).sum();
        prop_assert_eq!(hits, run.accepted.len() as u64);
        let events: BTreeSet<(u8, i64)> = run.accepted.iter().copied().collect();
        for (key, start, last, count) in run.rows {
            prop_assert!(last - start < config.limits.max_span_ms && count <= config.limits.max_events);
            prop_assert!(events.contains(&(key, start)) && events.contains(&(key, last)));
        }
    }

    #[test]
    fn sessions_below_the_limits_are_what_they_are_without_in_any_order(
        arrivals in arrivals(100), config in config(),
    ) {
        let limited = run(&arrivals, config);
        let free = run(&arrivals, Config { limits: Limits::NONE, ..config });
        let Limits { max_span_ms, max_events } = config.limits;
        // What all events of a key make together, in whatever order, is no longer or larger than what they made.
        let reaches = |row: &&Row| row.2 - row.1 >= max_span_ms || row.3 >= max_events;
        let beyond: BTreeSet<u8> = free.rows.iter().filter(reaches).map(|row| row.0).collect();
        let below = |rows: &[Row]| rows.iter().filter(|row| !beyond.contains(&row.0)).copied().collect::<Vec<Row>>();
        prop_assert_eq!(below(&limited.rows), below(&free.rows));
        let accepted = |run: &Run| run.accepted.iter().filter(|event| !beyond.contains(&event.0)).count();
        prop_assert_eq!(accepted(&limited), accepted(&free));
    }
}

#[test]
fn a_window_that_holds_as_many_events_as_it_may_fires_at_once_and_once() {
    let limits = Limits { max_events: 2, ..Limits::NONE };
    let mut run = Run::new(Config { gap_ms: 10, allowed_lateness_ms: 0, limits });
    run.event(1, 0);
    assert_eq!(run.rows, []);
    run.event(1, 5);
    assert_eq!(run.rows, [(1, 0, 5, 2)]);
    run.event(1, 6);
    run.watermark(14);
    assert_eq!((run.rows.len(), run.windows.len()), (1, 1), "it is gone, the next part is open");
    run.watermark(15);
    assert_eq!(run.rows, [(1, 0, 5, 2), (1, 6, 6, 1)]);
}

#[test]
fn a_late_event_that_is_allowed_and_fills_a_window_fires_it_once() {
    let limits = Limits { max_events: 2, ..Limits::NONE };
    let mut run = Run::new(Config { gap_ms: 10, allowed_lateness_ms: 100, limits });
    run.event(1, 0);
    run.watermark(9);
    run.event(1, 5);
    run.watermark(14);
    assert_eq!(run.rows, [(1, 0, 0, 1), (1, 0, 5, 2)]);
    run.event(1, 3);
    assert_eq!(run.rows.len(), 3, "it is full: another one begins, and is late");
    let run = run.end();
    assert_eq!(run.rows, [(1, 0, 0, 1), (1, 0, 5, 2), (1, 3, 3, 1)]);
}

#[test]
fn a_session_is_parted_at_its_longest_and_not_before() {
    let limits = Limits { max_span_ms: 20, ..Limits::NONE };
    let mut run = Run::new(Config { gap_ms: 10, allowed_lateness_ms: 0, limits });
    [0, 10, 19, 20, 28].into_iter().for_each(|time| run.event(1, time));
    // Behind the first part's end an event below it is still its own.
    run.event(1, 5);
    assert_eq!(run.end().rows, [(1, 0, 19, 4), (1, 20, 28, 2)]);
}

#[test]
fn a_full_window_of_a_savepoint_is_joined_no_more_under_other_limits() {
    let config = |limits| Config { gap_ms: 10, allowed_lateness_ms: 0, limits };
    let mut before = Run::new(config(Limits { max_events: 2, ..Limits::NONE }));
    before.event(1, 0);
    before.event(1, 5);
    assert_eq!(before.rows, [(1, 0, 5, 2)]);
    before.windows.begin_snapshot(SnapshotKind::Full);
    let snapshot = before.windows.continue_snapshot(usize::MAX).expect("every key was copied");
    for limits in [Limits::NONE, Limits { max_events: 9, ..Limits::NONE }] {
        let mut after = Run::new(config(limits));
        let sections: Vec<&Section> = snapshot.sections.iter().collect();
        after.windows.restore(snapshot.watermark, &sections).expect("own records");
        after.event(1, 6);
        after.watermark(100);
        assert_eq!(after.rows, [(1, 6, 6, 1)], "the events of the full window are in a row already");
    }
}
