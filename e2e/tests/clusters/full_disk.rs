//! The checkpoint store runs full: checkpoints fail, the job goes on, and nothing of it is missing in the end.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::job::counter;
use e2e::running::{Load, RATE, Running};
use e2e::small_disk::SmallDisk;
use serde_json::Value;
use tokio::task::block_in_place;

/// Checkpoints that fail one after the other.
const FAILED: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_checkpoint_store_stops_checkpoints_and_not_the_job() -> Result<()> {
    if let Err(missing) = SmallDisk::available() {
        eprintln!("SKIPPED: a full checkpoint store ({missing}); run this test as root");
        return Ok(());
    }
    let cluster = Cluster::start_with(Shape { checkpoint_disk_mib: Some(64), ..Shape::TWO_BY_TWO })?;
    let disk = cluster.checkpoint_disk.as_ref().context("a disk")?;
    let running = Running::begin(&cluster, "full_disk", Load { rate: 2 * RATE, ..Load::of(2) }).await?;
    let before = running.job.describe(&cluster)?;

    // What a failing writer removes is room again: it is filled until checkpoints have failed for want of room.
    let wait_for_failures = || {
        running.job.wait_until(&cluster, |_| {
            let failed = disk.fill().and_then(|()| aborted_for_want_of_room(&running, &cluster));
            failed.is_ok_and(|failed| failed.len() >= FAILED)
        })
    };
    block_in_place(wait_for_failures).context("checkpoints that fail for want of room")?;
    let full = running.ledger()?;
    let at_full = running.job.describe(&cluster)?;
    let read = counter(&at_full, "source", "records_in")?;
    let goes_on = |job: &Value| counter(job, "source", "records_in").is_ok_and(|now| now > read + RATE);
    let after = block_in_place(|| running.job.wait_until(&cluster, goes_on))?;
    ensure!(after["state"] == "running" && after["attempt"] == before["attempt"], "the job did not go on: {after}");
    ensure!(running.ledger()? == full, "epochs without a checkpoint are published: {full:?}");

    disk.free()?;
    running.wait_for("an epoch after there was room again", |now| now.last_epoch > full.last_epoch)?;
    let recovered = running.job.describe(&cluster)?;
    ensure!(recovered["attempt"] == before["attempt"], "the job was restarted: {recovered}");
    running.end(&cluster).await.map(drop)
}

/// The reasons of the latest checkpoints, as long as they failed because the store is full.
fn aborted_for_want_of_room(running: &Running, cluster: &Cluster) -> Result<Vec<String>> {
    let ended = running.job.checkpoints(cluster)?.into_iter().filter(|checkpoint| checkpoint["state"] != "pending");
    let reasons = ended.map_while(|checkpoint| checkpoint["reason"].as_str().map(str::to_owned));
    Ok(reasons.take_while(|reason| reason.contains("No space left")).collect())
}
