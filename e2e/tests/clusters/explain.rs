//! A job is stuck, each time by another cause, and `jobctl explain` names it; the open session that is waited for is shown.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::feed::{self, Feed};
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::traffic::{Event, GAP_MS, PARTITIONS, Traffic};
use localcluster::deadline::Deadline;
use serde_json::Value;
use stream_core::time::EventTime;
use stream_runtime::clock::{Clock as _, SystemClock};
use tokio::task::block_in_place;

/// More than the broker takes.
const FULL_SPEED: u64 = u64::MAX;

#[tokio::test(flavor = "multi_thread")]
async fn silent_partition_is_named_with_the_session_that_waits_for_it() -> Result<()> {
    let cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let job = submit(&cluster, "silent", 2, &["--idle-timeout", "0"]).await?;
    let start = now_ms() - 10_000;
    let events: Vec<Event> = (0..20).map(|n| event(n % 2, "1.1.1.1", start + i64::from(n) * 100)).collect();
    feed::produce_records(&cluster.broker.bootstrap_servers(), "silent", &events)?;
    feed::produce_records(&cluster.broker.bootstrap_servers(), "silent", &[event(0, "2.2.2.2", start)])?;

    // Partition 2 has never had a record.
    let said = wait_for_cause(&cluster, &job, &["--ip", "1.1.1.1", "--host", HOST], "silent_partition")?;
    ensure!(said["event_time"]["held_by"] == "silent/2", "{said}");
    ensure!(what(&said, "silent_partition")?.contains("silent/2 holds the watermark back"), "{said}");
    let [session] = said["sessions"].as_array().context("sessions")?.as_slice() else {
        anyhow::bail!("not one session: {said}");
    };
    let (last, closes) = (start + 1900, start + 1900 + GAP_MS - 1);
    let expected = serde_json::json!({
        "ip": "1.1.1.1", "host": HOST, "events": 20, "start_ms": start, "last_event_ms": last, "closes_at_ms": closes,
    });
    ensure!(*session == expected, "{session}, and not {expected}");

    let open = |args: &[&str]| -> Result<Vec<Value>> {
        let args = [&["sessions", "silent", "--open", "--output", "json"], args].concat();
        Ok(serde_json::from_str(&cluster.jobctl(&args)?.ok()?)?)
    };
    let hits: Vec<Value> = open(&[])?.into_iter().map(|session| session["events"].clone()).collect();
    ensure!(hits == [20, 1], "{hits:?}");
    ensure!(open(&["--top", "1"])?.len() == 1);
    ensure!(open(&["--ip", "3.3.3.3"])?.is_empty());
    let refused = cluster.jobctl(&["sessions", "silent", "--open", "--top", "0"])?;
    ensure!(refused.code == Some(2) && refused.err.contains("choose from 1 to 1000"), "{refused:?}");

    // The text is for people: it must say the same.
    let text = cluster.jobctl(&["explain", "silent", "--ip", "1.1.1.1"])?.ok()?;
    ensure!(text.contains("silent_partition: silent/2 holds the watermark back, before its first event"), "{text}");
    ensure!(text.contains("--idle-timeout 30s") && text.contains("1.1.1.1"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn record_from_the_future_is_named_where_it_was_believed() -> Result<()> {
    let cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let job = submit(&cluster, "future", 1, &["--idle-timeout", "1s", "--max-future", "0"]).await?;
    let ahead = now_ms() + 3 * 3_600_000;
    feed::produce_records(&cluster.broker.bootstrap_servers(), "future", &[event(1, "1.1.1.1", ahead)])?;
    let said = wait_for_cause(&cluster, &job, &[], "future_record")?;
    let what = what(&said, "future_record")?;
    ensure!(what.contains("future/1 had a record of 2h59m"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn taskmanager_that_stands_still_shows_as_backpressure_and_its_loss_as_missing_slots() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { slots: 1, ..Shape::TWO_BY_TWO })?;
    // So that it is held to be alive for as long as we look.
    cluster.jobmanager.restart_with(&[("GAPWISE_HEARTBEAT_TIMEOUT", "60s")])?;
    cluster.wait_for_taskmanagers()?;
    // In step the other source would wait for the one that stands still, and not for room.
    let job = submit(&cluster, "backpressure", 2, &["--max-drift", "0"]).await?;
    let bootstrap = cluster.broker.bootstrap_servers();
    let feed = Feed::start(&bootstrap, "backpressure", Traffic::new(7), FULL_SPEED)?;
    job.wait_until(&cluster, |job| e2e::job::counter(job, "window", "records_in").is_ok_and(|read| read > 100_000))?;
    cluster.taskmanagers[1].pause();
    let said = wait_for_cause(&cluster, &job, &[], "backpressure")?;
    let what_waits = what(&said, "backpressure")?;
    ensure!(what_waits.contains("for stage `window`") && what_waits.contains("on tm-2 was busiest"), "{what_waits}");
    cluster.taskmanagers[1].resume();

    cluster.taskmanagers[1].kill();
    let said = wait_for_cause(&cluster, &job, &[], "no_free_slot")?;
    ensure!(what(&said, "no_free_slot")?.contains("needs 2 free slots"), "{said}");
    feed.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn taskmanager_that_stands_still_is_named_where_sources_wait_for_its_own() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { slots: 1, ..Shape::TWO_BY_TWO })?;
    // So that it is held to be alive for as long as we look.
    cluster.jobmanager.restart_with(&[("GAPWISE_HEARTBEAT_TIMEOUT", "60s")])?;
    cluster.wait_for_taskmanagers()?;
    let job = submit(&cluster, "in_step", 2, &[]).await?;
    let feed = Feed::start(&cluster.broker.bootstrap_servers(), "in_step", Traffic::new(9), FULL_SPEED)?;
    job.wait_until(&cluster, |job| e2e::job::counter(job, "window", "records_in").is_ok_and(|read| read > 100_000))?;
    cluster.taskmanagers[1].pause();
    let said = wait_for_cause(&cluster, &job, &[], "taskmanager_silent")?;
    let silent = what(&said, "taskmanager_silent")?;
    ensure!(silent.starts_with("tm-2 was not heard") && silent.contains("source[1]"), "{silent}");
    ensure!(said["findings"][0]["cause"] == "taskmanager_silent", "it is what to begin with: {said}");

    cluster.taskmanagers[1].resume();
    wait_until_explained(&cluster, &job, &[], |said| what(said, "taskmanager_silent").is_err())?;
    feed.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_is_away_is_named_and_so_is_the_pause_of_the_sources() -> Result<()> {
    let shape = Shape { unpublished_budget: Some(256 << 10), ..Shape::TWO_BY_TWO };
    let cluster = &mut Cluster::start_with(shape)?;
    let job = submit(cluster, "away", 1, &[]).await?;
    let feed = Feed::start(&cluster.broker.bootstrap_servers(), "away", Traffic::new(8), FULL_SPEED)?;
    job.wait_until(cluster, |job| job["rows_out"].as_u64() > Some(0))?;
    block_in_place(|| cluster.postgres.stop_immediately());
    let said = wait_for_cause(cluster, &job, &[], "sink_unavailable")?;
    ensure!(what(&said, "sink_unavailable")?.contains("sink[0] cannot publish"), "{said}");
    wait_for_cause(cluster, &job, &[], "sink_behind")?;

    block_in_place(|| cluster.postgres.restart())?;
    wait_until_explained(cluster, &job, &[], |said| {
        what(said, "sink_unavailable").is_err() && what(said, "sink_behind").is_err()
    })?;
    feed.stop()?;
    Ok(())
}

const HOST: &str = "www.techcreator.io";

async fn submit(cluster: &Cluster, name: &str, parallelism: u32, more: &[&str]) -> Result<Job> {
    feed::create_topic(&cluster.broker.bootstrap_servers(), name).await?;
    let job = Job { name: name.to_owned(), postgres_url: cluster.create_database(name).await? };
    job.submit(cluster, parallelism, more)?;
    job.wait_until(cluster, |job| job["state"] == "running")?;
    Ok(job)
}

fn now_ms() -> i64 {
    SystemClock::new().now().0
}

fn event(partition: i32, ip: &str, at_ms: i64) -> Event {
    assert!(partition < PARTITIONS);
    let at = EventTime(at_ms).to_string().replace(' ', "T");
    let json = format!(r#"{{"ip":"{ip}","host":"{HOST}","event_time":"{at}Z"}}"#);
    Event { partition, at_ms, json }
}

/// What is said of a cause.
fn what(said: &Value, cause: &str) -> Result<String> {
    let findings = said["findings"].as_array().context("findings")?;
    let finding = findings.iter().find(|finding| finding["cause"] == cause);
    let what = finding.with_context(|| format!("no `{cause}` in {said}"))?["what"].as_str().context("what")?;
    Ok(what.to_owned())
}

fn wait_for_cause(cluster: &Cluster, job: &Job, more: &[&str], cause: &str) -> Result<Value> {
    wait_until_explained(cluster, job, more, |said| what(said, cause).is_ok())
}

fn wait_until_explained(cluster: &Cluster, job: &Job, more: &[&str], is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = None;
    let args = [&["explain", &job.name, "--output", "json"], more].concat();
    let found = Deadline::after(RECOVERY_LIMIT).wait_for(|| {
        let said: Value = serde_json::from_str(&cluster.jobctl(&args)?.ok()?)?;
        last = Some(said.clone());
        anyhow::Ok(is_so(&said).then_some(said))
    })?;
    found.with_context(|| format!("that was never explained; the last answer: {last:?}"))
}
