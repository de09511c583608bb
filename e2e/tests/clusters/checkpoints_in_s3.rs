//! Checkpoints, savepoints and jobs in S3: what a folder does, a bucket does too, and it may be away for a while.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT, counter};
use e2e::object_server::ObjectServer;
use e2e::programs;
use e2e::running::{Load, RATE, Running};
use localcluster::deadline::Deadline;
use localcluster::ports;
use serde_json::Value;
use tokio::task::block_in_place;

const SHAPE: Shape = Shape { checkpoints_in_s3: true, ..Shape::TWO_BY_TWO };
/// Checkpoints that fail one after the other.
const FAILED: usize = 2;
/// The secret that the processes have.
const SECRET: &str = "hunter2";

/// One cluster for all: each clause has a job, a topic and a database of its own. The last one ends its jobmanager.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_what_a_folder_keeps() -> Result<()> {
    if !ObjectServer::is_available_for("checkpoints in S3") {
        return Ok(());
    }
    let mut cluster = Cluster::start_with(SHAPE)?;
    what_dies_is_made_up_for(&mut cluster).await.context("kills")?;
    a_bucket_that_is_away_stops_checkpoints_and_not_the_job(&cluster).await.context("away")?;
    a_savepoint_lies_in_the_bucket_and_is_gone_on_from(&cluster).await.context("savepoint")?;
    for name in ["jobmanager", "taskmanager-1", "taskmanager-2"] {
        ensure!(!cluster.log(name)?.contains(SECRET), "the log of {name} has a secret in it");
    }
    ensure!(!cluster.checkpoint_dir().exists(), "checkpoints are in a folder");
    a_second_jobmanager_takes_the_bucket_over(&mut cluster).await.context("takeover")
}

async fn what_dies_is_made_up_for(cluster: &mut Cluster) -> Result<()> {
    let running = Running::begin(cluster, "s3_kills", Load::of(2)).await?;
    let victim = running.job.a_taskmanager_of(cluster, "window")?;
    let before = running.ledger()?;
    cluster.taskmanagers[victim].kill();
    cluster.taskmanagers[victim].restart()?;
    running.wait_for_a_new_attempt_to_publish(&before)?;

    let before = running.job.wait_until(cluster, |job| job["state"] == "running")?;
    let ledger = running.ledger()?;
    cluster.jobmanager.kill();
    cluster.jobmanager.restart()?;
    let after = running.job.wait_until(cluster, |job| job["state"] == "running")?;
    ensure!(after["id"] == before["id"] && after["attempt"] == before["attempt"], "it was restarted: {after}");
    running.wait_for("an epoch after the jobmanager's end", |now| now.last_epoch > ledger.last_epoch)?;
    running.end(cluster).await.map(drop)
}

async fn a_bucket_that_is_away_stops_checkpoints_and_not_the_job(cluster: &Cluster) -> Result<()> {
    let server = cluster.object_server.as_ref().context("a server")?;
    let running = Running::begin(cluster, "s3_away", Load::of(2)).await?;
    let before = running.job.describe(cluster)?;
    server.take_away();
    let away = block_in_place(|| {
        running.job.wait_until(cluster, |_| failed(&running, cluster).is_ok_and(|failed| failed >= FAILED))
    });
    let at_away = away.context("checkpoints that fail")?;
    let ledger = running.ledger()?;
    let read = counter(&at_away, "source", "records_in")?;
    let goes_on = |job: &Value| counter(job, "source", "records_in").is_ok_and(|now| now > read + RATE);
    let after = block_in_place(|| running.job.wait_until(cluster, goes_on))?;
    ensure!(after["state"] == "running" && after["attempt"] == before["attempt"], "the job did not go on: {after}");
    ensure!(running.ledger()? == ledger, "epochs without a checkpoint are published: {ledger:?}");

    server.bring_back();
    running.wait_for("an epoch after the bucket was back", |now| now.last_epoch > ledger.last_epoch)?;
    let recovered = running.job.describe(cluster)?;
    ensure!(recovered["attempt"] == before["attempt"], "the job was restarted: {recovered}");
    running.end(cluster).await.map(drop)
}

/// How many of the latest checkpoints failed because the server is away.
fn failed(running: &Running, cluster: &Cluster) -> Result<usize> {
    let ended = running.job.checkpoints(cluster)?.into_iter().filter(|checkpoint| checkpoint["state"] != "pending");
    let reasons = ended.map_while(|checkpoint| checkpoint["reason"].as_str().map(str::to_owned));
    Ok(reasons.take_while(|reason| reason.contains("AWS_ENDPOINT_URL")).count())
}

async fn a_savepoint_lies_in_the_bucket_and_is_gone_on_from(cluster: &Cluster) -> Result<()> {
    let server = cluster.object_server.as_ref().context("a server")?;
    let running = Running::begin(cluster, "s3_savepoint", Load::of(2)).await?;
    let elsewhere = server.uri("elsewhere");
    let args = ["savepoint", &running.job.name, &elsewhere, "--output", "json"];
    let said: Value = serde_json::from_str(&block_in_place(|| cluster.jobctl(&args))?.ok()?)?;
    let folder = said["folder"].as_str().context("a folder")?;
    ensure!(folder.starts_with(&format!("{elsewhere}/")), "the savepoint is in {folder}");

    // Beside the checkpoints, with open sessions in it; the feed goes on meanwhile.
    let savepoint = running.job.stop(cluster, false)?;
    ensure!(savepoint.starts_with("s3://"), "the savepoint is in {savepoint}");
    let ledger = running.ledger()?;
    ensure!(ledger.open_events > 0, "a stop without --drain closed sessions: {ledger:?}");
    running.job.submit(cluster, 1, &["--from-savepoint", &savepoint])?;
    running.wait_for_a_new_attempt_to_publish(&ledger)?;
    running.end(cluster).await.map(drop)
}

async fn a_second_jobmanager_takes_the_bucket_over(cluster: &mut Cluster) -> Result<()> {
    // All that a job needs, so that nothing but the store stands against it.
    let name = "s3_refused";
    feed::create_topic(&cluster.broker.bootstrap_servers(), name).await?;
    let job = Job { name: name.to_owned(), postgres_url: cluster.create_database(name).await? };
    let server = cluster.object_server.as_ref().context("a server")?;
    let (address, uri) = (format!("127.0.0.1:{}", ports::free()?), server.uri("checkpoints"));
    let variables = server.variables();
    let env: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut second = programs::command("jobmanager", &["--rpc-address", &address, "--checkpoint-dir", &uri], &env)?
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("a second jobmanager")?;
    // It answers once it has taken over.
    let ask = || programs::run("jobctl", &["--jobmanager", &address, "list"], &[]).and_then(programs::Said::ok);
    let is_up = block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_until(|| ask().is_ok()));
    // The first hears of it at its next write, which a submission is.
    let submitted = block_in_place(|| job.submit(cluster, 1, &[]));
    let has_stepped_down =
        block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_until(|| cluster.jobmanager.has_ended()));
    second.kill()?;
    second.wait()?;
    ensure!(is_up, "the second did not come up");
    ensure!(submitted.is_err(), "the first took a job: {submitted:?}");
    ensure!(has_stepped_down, "{submitted:?}; the first did not step down:\n{}", cluster.log("jobmanager")?);
    ensure!(cluster.log("jobmanager")?.contains("taken the checkpoint store over"), "{}", cluster.log("jobmanager")?);
    Ok(())
}
