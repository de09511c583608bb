//! Generated bids on a cluster: what dies is read again from its positions, and the table is the naive answer.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::job::{Job, RECOVERY_LIMIT};
use localcluster::deadline::Deadline;
use nexmark::Plan;
use nexmark::q11::sessions;
use tokio::task::block_in_place;

const NAME: &str = "nexmark-q11";
/// Enough that it is not all read before the first checkpoint is complete, which is checked.
const PLAN: &str = "events=12000000,rate=10000,splits=4,seed=3";

#[tokio::test(flavor = "multi_thread")]
async fn killed_taskmanager_changes_nothing_of_the_answer() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let job = Job { name: NAME.to_owned(), postgres_url: cluster.postgres.url() };
    let source = format!("nexmark:{PLAN}");
    let line = ["submit", NAME, "--source", &source, "--parallelism", "2", "--checkpoint-interval", "200ms"];
    cluster.jobctl(&line)?.ok()?;
    block_in_place(|| kill_behind_a_checkpoint(&mut cluster, &job))?;
    let ended = block_in_place(|| job.wait_until(&cluster, |job| job["state"] == "finished"))?;
    ensure!(ended["attempt"].as_u64() >= Some(2), "the job did not notice: {ended}");

    let ms = |column| format!("to_char({column}, 'YYYY-MM-DD HH24:MI:SS.MS')");
    let (start, end) = (ms("starttime"), ms("endtime"));
    let sql = format!("SELECT concat_ws(',', bidder, bid_count, {start}, {end}) FROM nexmark_q11");
    let rows = cluster.sql().await?.query_text(&sql).await?.rows;
    let count = rows.len();
    let found: BTreeSet<Option<String>> = rows.into_iter().flatten().collect();
    let expected = sessions(&Plan::parse(PLAN)?);
    ensure!(count == expected.len(), "{count} rows, {} expected", expected.len());
    for session in &expected {
        let row = format!("{},{},{},{}", session.bidder, session.bids, session.start, session.end);
        ensure!(found.contains(&Some(row.clone())), "row {row} is missing");
    }
    Ok(())
}

/// Kills one that reads, once there is something to go on from.
fn kill_behind_a_checkpoint(cluster: &mut Cluster, job: &Job) -> Result<()> {
    let has_checkpoint = Deadline::after(RECOVERY_LIMIT).wait_for(|| {
        let epochs = job.completed_epochs(cluster)?;
        anyhow::Ok((!epochs.is_empty()).then_some(()))
    })?;
    has_checkpoint.context("no checkpoint was completed")?;
    let victim = job.a_taskmanager_of(cluster, "source")?;
    ensure!(job.describe(cluster)?["state"] == "running", "it has read everything already: make the plan larger");
    cluster.taskmanagers[victim].kill();
    cluster.taskmanagers[victim].restart()
}
