//! Events and watermarks of one partition, step by step, in the three forms.
//!
//! Each form runs twice: through the operator, whose rows are what a user sees, and through the windows behind it, which
//! also tell the session's end.

use anyhow::{Context as _, bail, ensure};
use job_sessionize::key::Key;
use job_sessionize::operator::{Form, SessionOperator};
use serde_json::Value;
use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::ids::TableIndex;
use stream_core::key_group::{KeyGroupRange, MaxParallelism, hash_key};
use stream_core::operator::Operator as _;
use stream_core::origin::Origin;
use stream_core::session::{Added, Config, Limits, Windows};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

use crate::row::{self, Row, Session};

pub(crate) fn run(case: &Value) -> anyhow::Result<()> {
    let gap_ms = case["gap_ms"].as_i64().context("no `gap_ms`")?;
    let lateness = case["allowed_lateness_ms"].as_i64().context("no `allowed_lateness_ms`")?;
    let mut steps = case["steps"].as_array().context("no `steps`")?.iter().map(step).collect::<Result<Vec<_>, _>>()?;
    steps.push(Step::Watermark(Watermark::END));
    let expected = &case["expected"];
    let tvf = if expected["tvf"] == "same as sql" { &expected["sql"] } else { &expected["tvf"] };
    for (name, expected, form, allowed_lateness_ms) in [
        ("sql", &expected["sql"], Form::Sql, 0),
        ("tvf", tvf, Form::Sql, 0),
        ("datastream", &expected["datastream"], Form::DataStream, lateness),
    ] {
        check(expected, form, Config { gap_ms, allowed_lateness_ms, limits: Limits::NONE }, &steps).context(name)?;
    }
    Ok(())
}

/// A session, after the step at which it was written.
type Written = (i64, Session);

/// One step of a case.
enum Step {
    Event(EventBatch),
    Watermark(Watermark),
}

fn step(step: &Value) -> anyhow::Result<Step> {
    if let Some(watermark) = step["watermark"].as_i64() {
        return Ok(Step::Watermark(Watermark(watermark)));
    }
    let event = &step["event"];
    let time = event["ts_ms"].as_i64().with_context(|| format!("`{step}` is no step"))?;
    Ok(Step::Event(batch_of_one(event["ip"].as_str(), event["host"].as_str(), EventTime(time))))
}

fn batch_of_one(ip: Option<&str>, host: Option<&str>, time: EventTime) -> EventBatch {
    let mut key = Vec::new();
    Key { ip, host }.encode(&mut key);
    let mut batch = EventBatch::default();
    batch.push(KeyedEvent { hash: hash_key(&key), time, count: 1, key: &key, origin: Origin::default() });
    batch
}

fn check(expected: &Value, form: Form, config: Config, steps: &[Step]) -> anyhow::Result<()> {
    let rows = row::expected(&expected["rows"])?;
    let Some(late) = expected["late"].as_array() else { bail!("no `late`") };
    let late = late.iter().map(|step| step.as_i64().context("no step")).collect::<anyhow::Result<Vec<_>>>()?;

    let (of_windows, late_of_windows) = through_windows(form, config, steps);
    row::check(&rows, &of_windows)?;
    ensure!(late == late_of_windows, "late: expected {late:?}, got {late_of_windows:?}");

    let (of_operator, late_of_operator) = through_operator(form, config, steps)?;
    let of_windows: Vec<Written> = of_windows.into_iter().map(|row| (row.when, row.row)).collect();
    ensure!(of_operator == of_windows, "the operator wrote {of_operator:?}, its windows fired {of_windows:?}");
    ensure!(late == late_of_operator, "late by the counter: expected {late:?}, got {late_of_operator:?}");
    Ok(())
}

fn through_windows(form: Form, config: Config, steps: &[Step]) -> (Vec<Row>, Vec<i64>) {
    let (range, max_parallelism) = all_key_groups();
    let mut windows = Windows::new(config, range, max_parallelism);
    let (mut rows, mut late) = (Vec::new(), Vec::new());
    for (when, step) in (0..).zip(steps) {
        match step {
            Step::Watermark(watermark) => {
                windows.advance(*watermark, |fired| rows.push(Row::of_fired(when, form, fired)));
            }
            Step::Event(batch) => {
                for event in batch.iter() {
                    let added = windows.add(event, |fired| rows.push(Row::of_fired(when, form, fired)));
                    late.extend((added == Added::Late).then_some(when));
                }
            }
        }
    }
    (rows, late)
}

fn through_operator(form: Form, config: Config, steps: &[Step]) -> anyhow::Result<(Vec<Written>, Vec<i64>)> {
    let (range, max_parallelism) = all_key_groups();
    let mut operator = SessionOperator::new(config, form, range, max_parallelism);
    let mut out = Collector::new(max_parallelism, 1);
    let (mut rows, mut late) = (Vec::new(), Vec::new());
    for (when, step) in (0..).zip(steps) {
        let late_before = operator.counters().late;
        match step {
            Step::Watermark(watermark) => operator.on_watermark(*watermark, &mut out),
            Step::Event(batch) => operator.on_events(batch, &mut out).expect("late events are dropped"),
        }
        late.extend((operator.counters().late > late_before).then_some(when));
        let written = row::sessions(&out.take_rows(TableIndex::RESULT).unwrap_or_default())?;
        rows.extend(written.into_iter().map(|session| (when, session)));
    }
    let left = operator.counters();
    ensure!((left.open, left.open_events) == (0, 0), "sessions are left after the end of the input: {left:?}");
    Ok((rows, late))
}

fn all_key_groups() -> (KeyGroupRange, MaxParallelism) {
    let max_parallelism = MaxParallelism::DEFAULT;
    (KeyGroupRange { start: 0, end: max_parallelism.get() }, max_parallelism)
}
