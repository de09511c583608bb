//! What a job survives, one thing at a time: real processes are killed and halted, and the table is compared with what
//! Postgres computes from the topic by itself. `make chaos` does all of it at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::feed::{self, Feed};
use e2e::job::{RECOVERY_LIMIT, counter};
use e2e::running::{Load, RATE, Running};
use localcluster::deadline::{Deadline, pause};
use serde_json::Value;
use tokio::task::block_in_place;

const SHAPE: Shape = Shape::TWO_BY_TWO;
/// How long there is no jobmanager.
const AWAY: Duration = Duration::from_secs(10);

/// One cluster for all: each clause has a job, a topic and a database of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_dies_is_made_up_for() -> Result<()> {
    let mut cluster = Cluster::start_with(SHAPE)?;
    a_killed_taskmanager_loses_and_repeats_nothing(&mut cluster).await.context("a killed taskmanager")?;
    a_killed_jobmanager_stops_no_task(&mut cluster).await.context("a killed jobmanager")?;
    a_crashed_postgres_loses_and_repeats_nothing(&mut cluster).await.context("a crashed postgres")?;
    Ok(())
}

/// One cluster for all, as above.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_asks_for_keeps_every_session() -> Result<()> {
    let cluster = Cluster::start_with(SHAPE)?;
    a_rescaled_job_keeps_its_sessions(&cluster).await.context("rescale")?;
    a_stopped_job_goes_on_from_its_savepoint(&cluster).await.context("stop, savepoint")?;
    Ok(())
}

async fn a_killed_taskmanager_loses_and_repeats_nothing(cluster: &mut Cluster) -> Result<()> {
    let running = Running::begin_with_few_rights(cluster, "taskmanager_killed", Load::of(2)).await?;
    let victim = running.job.a_taskmanager_of(cluster, "window")?;
    let before = running.ledger()?;
    cluster.taskmanagers[victim].kill();
    cluster.taskmanagers[victim].restart()?;
    running.wait_for_a_new_attempt_to_publish(&before)?;
    running.end(cluster).await.map(drop)
}

async fn a_killed_jobmanager_stops_no_task(cluster: &mut Cluster) -> Result<()> {
    let running = Running::begin(cluster, "jobmanager_killed", Load::of(2)).await?;
    let before = running.job.describe(cluster)?;
    cluster.jobmanager.kill();
    block_in_place(|| pause(AWAY));
    // Nothing is completed without a jobmanager, and nobody tells what is read; but it is read.
    let ledger = running.ledger()?;
    let sent = running.feed.as_ref().context("it is fed")?.sent();
    cluster.jobmanager.restart()?;
    let back = Deadline::after(RECOVERY_LIMIT);
    // The taskmanagers come back one by one, each with what its own sources have read.
    let has_told = |subtask: &Value| subtask["stage"] != "source" || subtask["records_in"].as_u64() > Some(0);
    let have_told = |job: &Value| job["subtasks"].as_array().is_some_and(|subtasks| subtasks.iter().all(has_told));
    let after = running.job.wait_until(cluster, |job| job["state"] == "running" && have_told(job))?;
    ensure!(after["id"] == before["id"] && after["attempt"] == before["attempt"], "it was restarted: {after}");
    let read = counter(&after, "source", "records_in")?;
    ensure!(read + RATE >= sent, "{read} of {sent} events were read without a jobmanager");
    let published =
        running.wait_for("an epoch after the jobmanager's end", |now| now.last_epoch > ledger.last_epoch)?;
    eprintln!("published {:.1} s after the jobmanager was started again", back.elapsed().as_secs_f64());
    ensure!(published.token == ledger.token, "it was fenced: {published:?}");
    running.end(cluster).await.map(drop)
}

async fn a_crashed_postgres_loses_and_repeats_nothing(cluster: &mut Cluster) -> Result<()> {
    let running = Running::begin(cluster, "postgres_crashed", Load::of(2)).await?;
    // Two crashes: the second is likely to meet the sink as it catches up.
    for _ in 0..2 {
        let before = running.ledger()?;
        block_in_place(|| {
            cluster.postgres.stop_immediately();
            cluster.postgres.restart()
        })?;
        running.wait_for("an epoch after the crash", |now| now.last_epoch > before.last_epoch)?;
    }
    let findings = running.end(cluster).await?;
    ensure!(findings.outages > 0, "the auditor noticed no crash: {findings:?}");
    Ok(())
}

async fn a_rescaled_job_keeps_its_sessions(cluster: &Cluster) -> Result<()> {
    let running = Running::begin(cluster, "rescaled", Load::of(1)).await?;
    for parallelism in [3, 2] {
        let before = running.ledger()?;
        running.job.rescale(cluster, parallelism)?;
        running.wait_for_a_new_attempt_to_publish(&before)?;
        running.job.wait_until(cluster, |job| job["state"] == "running" && job["parallelism"] == parallelism)?;
    }
    running.end(cluster).await.map(drop)
}

async fn a_stopped_job_goes_on_from_its_savepoint(cluster: &Cluster) -> Result<()> {
    let mut running = Running::begin(cluster, "stopped", Load::of(2)).await?;
    // Open sessions wait in the savepoint; the feed goes on meanwhile.
    let savepoint = running.job.stop(cluster, false)?;
    let ledger = running.ledger()?;
    ensure!(ledger.open_events > 0, "a stop without --drain closed sessions: {ledger:?}");
    running.job.submit(cluster, 1, &["--from-savepoint", &savepoint])?;
    running.wait_for_a_new_attempt_to_publish(&ledger)?;
    let mut traffic = running.close(cluster).await?;
    // Event time has ended, so nothing may be open; what comes later begins sessions of its own.
    let savepoint = running.job.stop(cluster, true)?;
    let ledger = running.wait_for("an end with everything published", |now| now.open_events == 0)?;
    running.job.submit(cluster, 2, &["--from-savepoint", &savepoint])?;
    traffic.go_on_after_closing();
    feed::produce(&cluster.broker.bootstrap_servers(), &running.job.name, &mut traffic, 5 * RATE)?;
    running.feed = Some(Feed::start(&cluster.broker.bootstrap_servers(), &running.job.name, traffic, RATE)?);
    running.wait_for_a_new_attempt_to_publish(&ledger)?;
    running.end(cluster).await.map(drop)
}
