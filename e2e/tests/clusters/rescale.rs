//! A job is rescaled again and again while its cluster is killed: what is published stays exact throughout.

use std::process::Child;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::job::RECOVERY_LIMIT;
use e2e::running::{Load, RATE, Running};
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

#[tokio::test(flavor = "multi_thread")]
async fn rescaling_amid_kills_loses_and_repeats_nothing() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let running = Running::begin(&cluster, "rescaled_amid_kills", Load { rate: 3 * RATE, ..Load::of(1) }).await?;
    rescale(&running, &cluster, 3)?;
    a_killed_taskmanager(&running, &mut cluster).context("a taskmanager between two rescales")?;
    a_killed_jobmanager_amid_a_rescale(&running, &mut cluster, 2).context("the jobmanager amid a rescale")?;
    a_killed_taskmanager_amid_a_rescale(&running, &mut cluster, 4).context("a taskmanager amid a rescale")?;
    let findings = running.end(&cluster).await?;
    let attempts = findings.publications.chunk_by(|one, other| one.epoch >> 32 == other.epoch >> 32).count();
    // The first, one for each rescale, and one for the taskmanager.
    ensure!(attempts >= 5, "only {attempts} attempts published: {:?}", findings.publications);
    Ok(())
}

fn rescale(running: &Running, cluster: &Cluster, parallelism: u32) -> Result<()> {
    let before = running.ledger()?;
    running.job.rescale(cluster, parallelism)?;
    is_rescaled(running, cluster, parallelism)?;
    running.wait_for_a_new_attempt_to_publish(&before).map(drop)
}

fn a_killed_taskmanager(running: &Running, cluster: &mut Cluster) -> Result<()> {
    let before = running.ledger()?;
    let attempt = running.job.describe(cluster)?["attempt"].clone();
    kill_a_window(running, cluster)?;
    running.wait_for_a_new_attempt_to_publish(&before)?;
    let after = is_rescaled(running, cluster, 3)?;
    ensure!(after["attempt"].as_u64() > attempt.as_u64(), "the kill hit nothing that the job needs: {after}");
    Ok(())
}

/// Nobody promises which of both the job has afterwards: who asked may have got no answer, and asks again.
fn a_killed_jobmanager_amid_a_rescale(running: &Running, cluster: &mut Cluster, parallelism: u32) -> Result<()> {
    let (before, pid) = (running.ledger()?, pid(cluster)?);
    let mut asking = rescale_begins(running, cluster, parallelism)?;
    cluster.jobmanager.kill();
    ensure!(cluster.jobmanager.has_ended(), "the jobmanager outlives its kill");
    cluster.jobmanager.restart()?;
    block_in_place(|| asking.wait())?;
    let is_up = |job: &Value| job["state"] == "running";
    let after = block_in_place(|| running.job.wait_until(cluster, is_up))?;
    ensure!(self::pid(cluster)? != pid, "it is the same jobmanager");
    if after["parallelism"] != parallelism {
        running.job.rescale(cluster, parallelism)?;
    }
    is_rescaled(running, cluster, parallelism)?;
    running.wait_for_a_new_attempt_to_publish(&before).map(drop)
}

fn a_killed_taskmanager_amid_a_rescale(running: &Running, cluster: &mut Cluster, parallelism: u32) -> Result<()> {
    let before = running.ledger()?;
    let mut asking = rescale_begins(running, cluster, parallelism)?;
    cluster.taskmanagers[0].kill();
    ensure!(cluster.taskmanagers[0].has_ended(), "the taskmanager outlives its kill");
    cluster.taskmanagers[0].restart()?;
    // Refused or granted: the job is one attempt further in both cases, and has kept what it was asked for.
    block_in_place(|| asking.wait())?;
    is_rescaled(running, cluster, parallelism)?;
    running.wait_for_a_new_attempt_to_publish(&before).map(drop)
}

/// Asks for it, and waits until the old attempt is being ended.
fn rescale_begins(running: &Running, cluster: &Cluster, parallelism: u32) -> Result<Child> {
    let begun = |log: &str| log.matches("rescaling").count();
    let before = begun(&cluster.log("jobmanager")?);
    let args = ["rescale", &running.job.name, "--parallelism", &parallelism.to_string()];
    let asking = cluster.jobctl_command(&args, &[])?.spawn()?;
    let has_begun = || cluster.log("jobmanager").is_ok_and(|log| begun(&log) > before);
    ensure!(block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_until(has_begun)), "no rescale began");
    Ok(asking)
}

fn is_rescaled(running: &Running, cluster: &Cluster, parallelism: u32) -> Result<Value> {
    let is_so = |job: &Value| job["state"] == "running" && job["parallelism"] == parallelism;
    block_in_place(|| running.job.wait_until(cluster, is_so))
}

fn kill_a_window(running: &Running, cluster: &mut Cluster) -> Result<()> {
    let victim = running.job.a_taskmanager_of(cluster, "window")?;
    cluster.taskmanagers[victim].kill();
    ensure!(cluster.taskmanagers[victim].has_ended(), "the taskmanager outlives its kill");
    cluster.taskmanagers[victim].restart()
}

fn pid(cluster: &Cluster) -> Result<Value> {
    let said: Value = serde_json::from_str(&cluster.jobctl(&["cluster", "--output", "json"])?.ok()?)?;
    Ok(said["pid"].clone())
}
