//! The replay finds nothing wrong with what the operator makes of events in any order, and finds every row that is taken out
//! or counted wrong.

use job_sessionize::key::Key;
use job_sessionize::operator::{Form, SessionOperator};
use job_sessionize::options::Options;
use job_sessionize::pipeline::columns;
use job_sessionize::replay::{Event, Findings, Parts, Row, Rules, compare};
use proptest::prelude::*;
use std::time::Duration;
use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::ids::TableIndex;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::operator::Operator;
use stream_core::origin::Origin;
use stream_core::row::Field;
use stream_core::session::{Config, Limits};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

const GAP_MS: u64 = 10;
const DELAY_MS: i64 = 5;

type FoundRow = (Vec<u8>, Option<EventTime>, Option<i64>);

/// A run of the operator: what it wrote, how many events were late, and what the replay is told of each event.
struct Run {
    rules: Rules,
    rows: Vec<FoundRow>,
    events: Vec<(Vec<u8>, i64, bool)>,
}

impl Run {
    /// Events as (key, time), in their order, in batches behind each of which the watermark moves.
    fn of(events: &[(u8, i64)], batch: usize, lateness_ms: u64) -> Run {
        let options = Options::new(Duration::from_millis(GAP_MS), Duration::from_millis(lateness_ms)).expect("options");
        Run::with(options.windows(), options.form(), events, batch)
    }

    fn with(windows: Config, form: Form, events: &[(u8, i64)], batch: usize) -> Run {
        let max = MaxParallelism::DEFAULT;
        let all = KeyGroupRange { start: 0, end: max.get() };
        let mut operator = SessionOperator::new(windows, form, all, max);
        let mut out = Collector::new(max, 1);
        let (mut newest, mut watermark, mut told) = (i64::MIN, i64::MIN, Vec::new());
        for events in events.chunks(batch) {
            let mut of_batch = EventBatch::default();
            for &(host, time) in events {
                let mut key = Vec::new();
                Key { ip: None, host: Some(&host.to_string()) }.encode(&mut key);
                of_batch.push(KeyedEvent {
                    hash: hash_key(&key),
                    time: EventTime(time),
                    count: 1,
                    key: &key,
                    origin: Origin::default(),
                });
                told.push((key, time, time - 1 <= newest.saturating_sub(DELAY_MS)));
                newest = newest.max(time);
            }
            operator.on_events(&of_batch, &mut out).expect("late events are dropped");
            watermark = newest - DELAY_MS;
            operator.on_watermark(Watermark(watermark), &mut out);
        }
        let late = operator.counters().late;
        let rows = rows(&mut out);
        let in_rows: i64 = rows.iter().filter_map(|row| row.2).sum();
        // Allowed lateness writes an event more than once: then this says nothing, and no session has a limit.
        let open = (events.len() as u64).saturating_sub(late + in_rows.unsigned_abs());
        let (watermark, parts) = (Watermark(watermark), Parts::WhereBehind);
        let rules = Rules {
            gap_ms: windows.gap_ms,
            limits: windows.limits,
            form,
            last_section: 0,
            watermark,
            late,
            open,
            parts,
        };
        Run { rules, rows, events: told }
    }

    fn compared_with(&self, rows: &[FoundRow]) -> Findings {
        let event = |(key, ms, is_behind): &'_ (Vec<u8>, i64, bool)| (key.clone(), *ms, *is_behind);
        let events: Vec<_> = self.events.iter().map(event).collect();
        let mut events: Vec<Event<'_>> = events
            .iter()
            .map(|(key, ms, is_behind)| Event { key, section: 0, time: EventTime(*ms), is_behind: *is_behind })
            .collect();
        let row = |(key, start, num_hits): &'_ FoundRow| (key.clone(), *start, *num_hits);
        let rows: Vec<_> = rows.iter().map(row).collect();
        let mut rows: Vec<Row<'_>> =
            rows.iter().map(|(key, start, num_hits)| Row { key, start: *start, num_hits: *num_hits }).collect();
        let mut findings = Findings::default();
        compare(&self.rules, &mut events, &mut rows, &mut findings);
        findings
    }
}

fn rows(out: &mut Collector) -> Vec<FoundRow> {
    let batch = out.take_rows(TableIndex::RESULT).unwrap_or_default();
    let (columns, mut rows) = (columns(), Vec::new());
    let mut reader = batch.reader(&columns);
    loop {
        let (mut start, mut host, mut num_hits) = (None, None, None);
        let is_row = reader.next_row(|column, field| match (column, field) {
            (0, Field::Timestamp(time)) => start = Some(time),
            (2, Field::Text(text)) => host = Some(text.as_str()),
            (3, Field::BigInt(hits)) => num_hits = Some(hits),
            _ => {}
        });
        if !is_row.expect("own rows") {
            return rows;
        }
        let mut key = Vec::new();
        Key { ip: None, host }.encode(&mut key);
        rows.push((key, start, num_hits));
    }
}

/// Limits that sessions of these events reach now and then.
fn limits() -> impl Strategy<Value = Limits> {
    let max_span_ms = prop_oneof![Just(Limits::NONE.max_span_ms), GAP_MS.cast_signed()..4 * GAP_MS.cast_signed()];
    let max_events = prop_oneof![Just(Limits::NONE.max_events), 2_u64..12];
    (max_span_ms, max_events).prop_map(|(max_span_ms, max_events)| Limits { max_span_ms, max_events })
}

fn limited(limits: Limits, events: &[(u8, i64)], batch: usize) -> Run {
    let windows = Options::new(Duration::from_millis(GAP_MS), Duration::ZERO).expect("options").windows();
    Run::with(Config { limits, ..windows }, Form::Sql, events, batch)
}

/// Whether an audit would tell that something is wrong.
fn is_told(run: &Run, findings: &Findings) -> bool {
    findings.differences() > 0 || findings.in_no_row != run.rules.late + run.rules.open
}

/// Time goes on, with steps back of up to so much.
fn events(back: i64) -> impl Strategy<Value = Vec<(u8, i64)>> {
    prop::collection::vec((0_u8..3, 0_i64..8, 0..=back), 1..120).prop_map(|steps| {
        let mut now = 0;
        let at = |(key, step, back)| {
            now += step;
            (key, now - back)
        };
        steps.into_iter().map(at).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn events_in_time_give_equal_rows(events in events(DELAY_MS - 2), batch in 1_usize..10) {
        let run = Run::of(&events, batch, 0);
        let findings = run.compared_with(&run.rows);
        prop_assert_eq!(run.rules.late, 0);
        prop_assert_eq!((findings.differences(), findings.in_parts), (0, 0), "{:?}", findings);
        prop_assert_eq!(findings.equal, run.rows.len() as u64);
    }

    #[test]
    fn events_behind_the_watermark_explain_all_that_they_cause(events in events(40), batch in 1_usize..10) {
        let run = Run::of(&events, batch, 0);
        let findings = run.compared_with(&run.rows);
        prop_assert_eq!(findings.differences(), 0, "{:?}", findings);
        prop_assert!(findings.not_in_parts <= run.rules.late, "{:?}", findings);
    }

    #[test]
    fn allowed_lateness_is_explained_too(events in events(40), batch in 1_usize..10, lateness_ms in 1_u64..30) {
        let run = Run::of(&events, batch, lateness_ms);
        let findings = run.compared_with(&run.rows);
        prop_assert_eq!(findings.differences(), 0, "{:?}", findings);
    }

    #[test]
    fn a_row_that_is_gone_twice_there_or_counted_wrong_is_found(
        events in events(DELAY_MS - 2), batch in 1_usize..10, at in any::<prop::sample::Index>(), more in 1_i64..3,
    ) {
        let run = Run::of(&events, batch, 0);
        if run.rows.is_empty() {
            return Ok(());
        }
        let at = at.index(run.rows.len());
        let mut changed = run.rows.clone();
        let gone = changed.remove(at);
        prop_assert!(run.compared_with(&changed).differences() > 0, "gone");
        changed.extend([gone.clone(), gone.clone()]);
        prop_assert!(run.compared_with(&changed).differences() > 0, "twice");
        changed.truncate(run.rows.len());
        changed[run.rows.len() - 1].2 = gone.2.map(|hits| hits + more);
        prop_assert!(run.compared_with(&changed).differences() > 0, "counted wrong");
    }

    #[test]
    fn limits_explain_no_more_than_they_cause(
        limits in limits(), events in events(40), batch in 1_usize..10, at in any::<prop::sample::Index>(),
    ) {
        let run = limited(limits, &events, batch);
        let findings = run.compared_with(&run.rows);
        prop_assert_eq!(findings.differences(), 0, "{:?}", findings);
        prop_assert!(findings.not_in_parts <= run.rules.late, "{:?}", findings);
        prop_assert_eq!(findings.in_no_row, run.rules.late + run.rules.open, "{:?}", findings);
        if run.rows.is_empty() {
            return Ok(());
        }
        let mut changed = run.rows.clone();
        let gone = changed.remove(at.index(run.rows.len()));
        let findings = run.compared_with(&changed);
        prop_assert!(is_told(&run, &findings), "{:?} is gone, and that is not told: {:?}", gone, findings);
        changed.extend([gone.clone(), gone]);
        prop_assert!(is_told(&run, &run.compared_with(&changed)), "twice");
    }

    #[test]
    fn events_in_the_order_of_their_times_give_the_rows_of_the_rule(
        limits in limits(), events in events(0), batch in 1_usize..10,
    ) {
        let run = limited(limits, &events, batch);
        let findings = run.compared_with(&run.rows);
        prop_assert_eq!((findings.differences(), findings.in_parts), (0, 0), "{:?}", findings);
        prop_assert_eq!(findings.equal, run.rows.len() as u64);
    }
}
