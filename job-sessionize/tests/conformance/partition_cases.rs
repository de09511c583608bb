//! The whole job over several partitions, with the watermark sent after each event.

use anyhow::{Context as _, ensure};
use job_sessionize::options::DEFAULT_WATERMARK_DELAY;
use serde_json::{Value, json};
use stream_core::operator::Record;
use stream_core::time::{EventTime, millis};
use stream_core::watermark::Watermark;

use crate::job::Job;
use crate::row::{self, Row, Session};

pub(crate) fn run(case: &Value) -> anyhow::Result<()> {
    let gap_ms = case["gap_ms"].as_i64().context("no `gap_ms`")?;
    let partitions = case["partitions"].as_u64().context("no `partitions`")?;
    ensure!(case["delay_ms"] == millis(DEFAULT_WATERMARK_DELAY), "the job's default delay is another");
    let mut job = Job::new(gap_ms, usize::try_from(partitions)?, 1);
    let mut rows: Vec<(i64, Session)> = Vec::new();
    for step in case["steps"].as_array().context("no `steps`")? {
        let (partition, message) = message(step).with_context(|| format!("`{step}` is no step"))?;
        job.read(partition, &[Record { payload: Some(message.as_bytes()), offset: 0 }]);
        let at = job.watermark().0;
        rows.extend(row::sessions(&job.take_rows())?.into_iter().map(|session| (at, session)));
    }
    job.advance(Watermark::END);
    rows.extend(row::sessions(&job.take_rows())?.into_iter().map(|session| (i64::MAX, session)));
    ensure!(job.bad == 0, "{} messages were bad", job.bad);
    check(&row::expected(&case["expected"]["rows"])?, rows)?;
    let late = case["expected"]["late_dropped"].as_u64().context("no `late_dropped`")?;
    ensure!(late == job.late(), "expected {late} late events, got {}", job.late());
    Ok(())
}

/// The rows do not tell a session's end; the expected ones do, and are taken at their word if they came in its order.
fn check(expected: &[Row], actual: Vec<(i64, Session)>) -> anyhow::Result<()> {
    ensure!(expected.len() == actual.len(), "expected {expected:?}, got {actual:?}");
    let mut unused = expected.to_vec();
    let mut with_ends = Vec::new();
    for (when, row) in actual {
        let found = unused.iter().position(|expected| (expected.when, &expected.row) == (when, &row));
        let found = found.with_context(|| format!("{row:?} at {when} is not among the expected {expected:?}"))?;
        with_ends.push(unused.remove(found));
    }
    row::check(expected, &with_ends)
}

fn message(step: &Value) -> Option<(usize, String)> {
    let [partition, ip, host, time] = step.as_array()?.as_slice() else { return None };
    let event_time = EventTime(time.as_i64()?).to_string().replace(' ', "T") + "Z";
    let message = json!({"url": "/", "host": host, "event_time": event_time, "ip": ip});
    Some((usize::try_from(partition.as_u64()?).ok()?, message.to_string()))
}
