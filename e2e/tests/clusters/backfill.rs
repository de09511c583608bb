//! A day of traffic whose three partitions hold eight hours each, one after the other, is read in step in event time: it needs no more than twice
//! the open sessions of the traffic when it was live, and not all those of the day, at any parallelism, and the table is exact.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{self, RECOVERY_LIMIT};
use e2e::oracle;
use e2e::subject::Subject;
use e2e::traffic::{Event, PARTITIONS};
use localcluster::deadline::Deadline;
use serde_json::Value;
use stream_core::time::EventTime;
use tokio::task::block_in_place;

const EVENTS: i64 = 600_000;
const DAY_MS: i64 = 24 * 3_600_000;
const STEP_MS: i64 = DAY_MS / EVENTS;
/// 2025-01-14 00:00 UTC.
const BEGIN_MS: i64 = 1_736_812_800_000;
/// So many events in a row come from so many visitors, of whom none comes again.
const CROWD_EVENTS: i64 = 1000;
const CROWD: i64 = 400;
const GAP_MS: i64 = 300_000;
const DELAY_MS: i64 = 15_000;
/// So many times as many sessions as live traffic may be open at once. Without any wait a third of a day of two partitions would be: 130
/// times as many.
const TIMES: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn partitions_a_third_of_a_day_apart_open_no_more_than_twice_the_sessions_of_live_traffic() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    // The more often they tell, the surer the most open sessions are seen.
    cluster.jobmanager.restart_with(&[("GAPWISE_HEARTBEAT_INTERVAL", "50ms")])?;
    cluster.wait_for_taskmanagers()?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "backfill").await?;
    for from in (0..EVENTS).step_by(50_000) {
        let events: Vec<Event> = (from..from + 50_000).map(event).collect();
        block_in_place(|| feed::produce_records(&bootstrap, "backfill", &events))?;
    }
    let live = most_open_live();
    for parallelism in [1, 3] {
        let most = backfill(&cluster, &format!("backfill_{parallelism}"), parallelism, &[]).await?;
        eprintln!("parallelism {parallelism}: at most {most} sessions were open at a look; live it were {live}");
        ensure!(most <= TIMES * live, "{most} sessions were open at once, and live traffic has {live}");
        ensure!(most > live / 4, "{most} sessions at most: nobody looked");
    }
    let most = backfill(&cluster, "out_of_step", 1, &["--max-drift", "0"]).await?;
    ensure!(most > 10 * live, "{most} sessions were open at once out of step: this topic proves nothing");
    Ok(())
}

/// Sessionizes the topic to its end, compares the table, and returns the most sessions that were open at a look.
async fn backfill(cluster: &Cluster, name: &str, parallelism: u32, more: &[&str]) -> Result<u64> {
    let (url, bootstrap) = (cluster.create_database(name).await?, cluster.broker.bootstrap_servers());
    let parallelism = parallelism.to_string();
    let args =
        ["submit", "sessionize", "--name", name, "--gap", "5m", "--until", "latest", "--parallelism", &parallelism];
    let env = [("KAFKA_TOPIC", "backfill"), ("POSTGRES_URL", url.as_str())];
    cluster.jobctl_with(&[&args[..], more].concat(), &env)?.ok()?;
    let most = block_in_place(|| watch(cluster, name))?;

    let mut sql = connectors::postgres::Client::connect(&url.parse()?).await?;
    let subject = Subject::Sessions { gap_ms: GAP_MS };
    let verdict = oracle::compare(&mut sql, cluster.dir(), &bootstrap, "backfill", subject).await?;
    ensure!(verdict.is_exact() && verdict.records == EVENTS.unsigned_abs(), "{verdict:?}");
    let late = sql.query_text("SELECT count(*) FROM late_events").await?;
    ensure!(late.rows[0][0].as_deref() == Some("0"), "{late:?} late events");
    Ok(most)
}

/// The most sessions that were seen open, until the job has ended.
fn watch(cluster: &Cluster, name: &str) -> Result<u64> {
    let mut most = 0;
    let ended = Deadline::after(4 * RECOVERY_LIMIT).wait_for(|| {
        let described: Value = serde_json::from_str(&cluster.jobctl(&["describe", name, "--output", "json"])?.ok()?)?;
        // Before it is planned it has no subtasks.
        most = most.max(job::counter(&described, "window", "open_windows").unwrap_or(0));
        let state = described["state"].as_str().unwrap_or_default();
        ensure!(state != "failed", "{described}");
        Ok((state == "finished").then_some(()))
    })?;
    ended.context("the job did not end")?;
    Ok(most)
}

/// A third of the day lies in each partition, one after the other.
fn event(number: i64) -> Event {
    let partition = i32::try_from(number * i64::from(PARTITIONS) / EVENTS).unwrap();
    let at_ms = BEGIN_MS + number * STEP_MS;
    let at = EventTime(at_ms).to_string().replace(' ', "T");
    let json = format!(r#"{{"ip":"{}","host":"www.techcreator.io","event_time":"{at}Z"}}"#, visitor(number));
    Event { partition, at_ms, json }
}

fn visitor(number: i64) -> i64 {
    number / CROWD_EVENTS * CROWD + number * 7919 % CROWD
}

/// The most sessions that are open at once where events come in their order.
fn most_open_live() -> u64 {
    let mut last = BTreeMap::new();
    let mut changes = BTreeMap::new();
    for number in 0..EVENTS {
        if last.insert(visitor(number), number * STEP_MS).is_none() {
            *changes.entry(number * STEP_MS).or_insert(0_i64) += 1;
        }
    }
    for at in last.into_values() {
        *changes.entry(at + GAP_MS + DELAY_MS).or_insert(0) -= 1;
    }
    let (mut open, mut most) = (0, 0);
    for change in changes.into_values() {
        open += change;
        most = most.max(open);
    }
    most.unsigned_abs()
}
