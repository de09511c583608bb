//! Late events that are replayed, against the sessions of all events at once.

use std::collections::BTreeMap;

use job_sessionize::late_replay::{Left, Outcome, Rules, Span, Sweep};
use proptest::prelude::*;
use stream_core::event_batch::KeyedEvent;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::origin::Origin;
use stream_core::session::{Added, Config, Limits, Windows};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

const GAP_MS: i64 = 10;
const DELAY_MS: i64 = 15;

type Session = (u8, i64, i64, i64);

/// The table, the late events beside it, and the job's own windows.
struct Job {
    windows: Windows,
    newest: i64,
    watermark: i64,
    rows: Table,
    late: Vec<(u8, i64)>,
}

/// Rows at their places.
type Table = BTreeMap<usize, Session>;

impl Job {
    fn new() -> Self {
        let max = MaxParallelism::DEFAULT;
        let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
        let windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        Job { windows, newest: i64::MIN, watermark: i64::MIN, rows: Table::new(), late: Vec::new() }
    }

    fn read(&mut self, events: &[(u8, i64)]) {
        for &(key, time) in events {
            let bytes = [key];
            let (hash, origin) = (hash_key(&bytes), Origin::default());
            let event = KeyedEvent { hash, time: EventTime(time), count: 1, key: &bytes, origin };
            if self.windows.add(event, |_| ()) == Added::Late {
                self.late.push((key, time));
            }
            self.newest = self.newest.max(time);
            self.advance(self.newest - DELAY_MS);
        }
    }

    fn advance(&mut self, watermark: i64) {
        self.watermark = watermark;
        let rows = &mut self.rows;
        self.windows.advance(Watermark(watermark), |fired| {
            let session = (fired.key[0], fired.start.0, fired.end.0 - GAP_MS, fired.count.cast_signed());
            rows.insert(rows.last_key_value().map_or(0, |(place, _)| place + 1), session);
        });
    }

    /// Replays, and leaves the late events that are left.
    fn replay(&mut self, knows_last: bool) -> Left {
        let outcome = sweep(self.watermark, knows_last, &self.rows, &self.late);
        let left = outcome.left;
        apply(outcome, &mut self.rows, &mut self.late);
        left
    }
}

fn sweep(watermark: i64, knows_last: bool, rows: &Table, late: &[(u8, i64)]) -> Outcome<usize> {
    let mut spans: Vec<(u8, i64, Span<usize>)> = Vec::new();
    for (&place, &(key, start, last, num_hits)) in rows {
        let last = knows_last.then_some(EventTime(last));
        spans.push((key, start, Span::Row { place, start: EventTime(start), last, num_hits }));
    }
    for (place, &(key, time)) in late.iter().enumerate() {
        spans.push((key, time, Span::Late { place, time: EventTime(time) }));
    }
    spans.sort_by_key(|&(key, start, _)| (key, start));
    let mut sweep = Sweep::new(Rules { gap_ms: GAP_MS, published: Watermark(watermark) });
    spans.into_iter().for_each(|(key, _, span)| sweep.push(key.into(), 1, span));
    sweep.finish()
}

fn apply(outcome: Outcome<usize>, rows: &mut Table, late: &mut Vec<(u8, i64)>) {
    let mut replayed = Vec::new();
    for correction in outcome.corrections {
        // What the table cannot say the test knows.
        let of_rows = correction.rows.iter().map(|place| rows[place].2);
        let last = of_rows.chain(correction.late.iter().map(|&place| late[place].1)).max().expect("of something");
        assert!(correction.last.is_none_or(|told| told.0 == last), "{correction:?}");
        correction.rows.iter().for_each(|place| {
            rows.remove(place);
        });
        let place = rows.last_key_value().map_or(0, |(place, _)| place + 1);
        let key = u8::try_from(correction.key).expect("as it was pushed");
        rows.insert(place, (key, correction.start.0, last, correction.num_hits));
        replayed.extend(correction.late);
    }
    replayed.sort_unstable();
    assert!(replayed.windows(2).all(|two| two[0] != two[1]), "an event is in one session");
    for place in replayed.into_iter().rev() {
        late.remove(place);
    }
}

/// Sort by key and time, part where more than the gap lies between.
fn sessions(events: &[(u8, i64)]) -> Vec<Session> {
    let mut events = events.to_vec();
    events.sort_unstable();
    let is_one = |a: &(u8, i64), b: &(u8, i64)| a.0 == b.0 && b.1 - a.1 <= GAP_MS;
    let session = |of_one: &[(u8, i64)]| (of_one[0].0, of_one[0].1, of_one[of_one.len() - 1].1, of_one.len() as i64);
    events.chunk_by(is_one).map(session).collect()
}

fn sorted(rows: &Table) -> Vec<Session> {
    let mut rows: Vec<Session> = rows.values().copied().collect();
    rows.sort_unstable();
    rows
}

/// Time goes on, with steps back that are often behind the watermark.
fn events() -> impl Strategy<Value = Vec<(u8, i64)>> {
    prop::collection::vec((0_u8..3, 0_i64..8, prop_oneof![2 => Just(0_i64), 1 => 0_i64..120]), 1..150).prop_map(
        |steps| {
            let mut now = 0;
            let at = |(key, step, back)| {
                now += step;
                (key, now - back)
            };
            steps.into_iter().map(at).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn replays_at_any_moments_come_to_the_sessions_of_all_events_at_once(
        events in events(), cuts in prop::collection::vec(1_usize..40, 0..6),
    ) {
        let mut job = Job::new();
        let mut rest = events.as_slice();
        for cut in cuts {
            let (now, then) = rest.split_at(cut.min(rest.len()));
            rest = then;
            job.read(now);
            let before = job.late.len();
            let left = job.replay(true);
            prop_assert_eq!((left.undecided, left.too_recent), (0, job.late.len() as u64));
            let hits: i64 = job.rows.values().map(|row| row.3).sum();
            prop_assert_eq!(hits.cast_unsigned() + job.windows.events() + left.too_recent, (events.len() - rest.len()) as u64);
            prop_assert!(job.late.len() <= before);
            let twice = sweep(job.watermark, true, &job.rows, &job.late);
            prop_assert!(twice.corrections.is_empty(), "a second replay changes nothing: {:?}", twice);
        }
        job.read(rest);
        job.advance(i64::MAX);
        prop_assert_eq!(job.replay(true), Left::default());
        prop_assert_eq!(sorted(&job.rows), sessions(&events));
    }

    /// Rows may stand in parts, and nobody knows where they end: an event is never put where it may not belong.
    #[test]
    fn what_is_replayed_without_the_last_events_certainly_belongs(events in events()) {
        let mut job = Job::new();
        job.read(&events);
        job.advance(i64::MAX);
        let span = |&(_, start, last, _): &Session| (start, last);
        for correction in sweep(i64::MAX, false, &job.rows, &job.late).corrections {
            let of_rows = correction.rows.iter().map(|place| span(&job.rows[place]));
            let mut spans: Vec<_> = of_rows.chain(correction.late.iter().map(|&at| (job.late[at].1, job.late[at].1))).collect();
            spans.sort_unstable();
            let (start, mut last) = spans[0];
            for (next, end) in spans {
                prop_assert!(next - last <= GAP_MS, "parts of a session touch: {:?}", correction);
                last = last.max(end);
            }
            let is_of_key = |row: &&Session| i64::from(row.0) == correction.key;
            if correction.rows.is_empty() {
                let touches = |(from, to): (i64, i64)| from - last <= GAP_MS && start - to <= GAP_MS;
                let others = job.rows.values().filter(is_of_key).map(span);
                prop_assert!(!others.into_iter().any(touches), "a session of its own is apart: {:?}", correction);
            }
        }
    }

    /// Rows of events that came in time, of which nobody knows where they end: what is replayed is where it belongs.
    #[test]
    fn what_is_replayed_without_the_last_events_is_where_it_would_be_with_them(
        in_time in events(), late in events(),
    ) {
        let mut rows: Table = sessions(&in_time).into_iter().enumerate().collect();
        let mut left = late.clone();
        let outcome = sweep(i64::MAX, false, &rows, &late);
        let undecided = outcome.left.undecided;
        let is_replayed = |place: &usize| outcome.corrections.iter().any(|correction| correction.late.contains(place));
        let replayed: Vec<(u8, i64)> = (0..late.len()).filter(is_replayed).map(|place| late[place]).collect();
        apply(outcome, &mut rows, &mut left);
        prop_assert_eq!(left.len() as u64, undecided);
        prop_assert_eq!(sorted(&rows), sessions(&[in_time, replayed].concat()));
    }
}
