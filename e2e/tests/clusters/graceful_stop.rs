//! Processes that are told to stop (SIGTERM, as Docker and Kubernetes do it): a last checkpoint, then exit code 0, and what goes on
//! reads nothing twice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{Job, counter};
use e2e::member::Member;
use e2e::running::{Load, Running};
use e2e::traffic::Traffic;
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

const NAME: &str = "graceful";
/// Events in the topic before the first stop, and behind each.
const EVENTS: u64 = 5_000;
const MORE: u64 = 500;
/// As a container has it before it is killed, on a machine that is busy with other tests.
const GRACE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_stop_leaves_nothing_to_be_done_again() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let job = Job { name: NAME.to_owned(), postgres_url: cluster.create_database(NAME).await? };
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, NAME).await?;
    let mut traffic = Traffic::new(1);
    block_in_place(|| feed::produce(&bootstrap, NAME, &mut traffic, EVENTS))?;
    // No checkpoint comes by itself.
    job.submit(&cluster, 1, &["--checkpoint-interval", "1h"])?;
    let mut read = EVENTS;
    ensure!(read_of_this_attempt(&job, &cluster, read, 1)? == EVENTS);
    ensure!(job.completed_epochs(&cluster)?.is_empty(), "a checkpoint came by itself");

    let victim = job.a_taskmanager_of(&cluster, "source")?;
    block_in_place(|| stop(&mut [&mut cluster.taskmanagers[victim]])).context("a taskmanager of two")?;
    block_in_place(|| feed::produce(&bootstrap, NAME, &mut traffic, MORE))?;
    read += MORE;
    ensure!(read_of_this_attempt(&job, &cluster, read, 2)? == MORE, "what the first attempt had read was read again");

    // Everything at once, as a machine shuts down.
    let Cluster { taskmanagers, jobmanager, .. } = &mut cluster;
    let other = &mut taskmanagers[1 - victim];
    block_in_place(|| stop(&mut [jobmanager, other])).context("jobmanager and taskmanager at once")?;
    cluster.jobmanager.restart()?;
    cluster.taskmanagers[1 - victim].restart()?;
    block_in_place(|| feed::produce(&bootstrap, NAME, &mut traffic, MORE))?;
    read += MORE;
    ensure!(read_of_this_attempt(&job, &cluster, read, 3)? == MORE, "what the second attempt had read was read again");
    let described = job.describe(&cluster)?;
    ensure!(described["last_failure"] == serde_json::json!([]), "that was taken for a failure: {described}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_stays_exact_while_processes_are_told_to_stop() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
    let running = Running::begin(&cluster, "stopped_amid_traffic", Load::of(2)).await?;
    for victim in [0, 1] {
        let before = running.ledger()?;
        block_in_place(|| stop(&mut [&mut cluster.taskmanagers[victim]]))?;
        cluster.taskmanagers[victim].restart()?;
        running.wait_for_a_new_attempt_to_publish(&before)?;
    }
    running.end(&cluster).await.map(drop)
}

/// Tells all of them to stop, and waits until they have, each in good order.
fn stop(members: &mut [&mut Member]) -> Result<()> {
    members.iter_mut().for_each(|member| member.terminate());
    let have_ended = || members.iter_mut().all(|member| member.has_ended());
    ensure!(Deadline::after(GRACE).wait_until(have_ended), "not within {GRACE:?}");
    for member in members {
        let status = member.exit_status().context("it has ended")?;
        ensure!(status.success(), "{status}: {}", member.log()?);
    }
    Ok(())
}

/// Waits until everything in the topic is read; how many records of it were read by the current attempt, which is this one.
fn read_of_this_attempt(job: &Job, cluster: &Cluster, all: u64, attempt: u64) -> Result<u64> {
    let position =
        |job: &Value| -> Option<u64> { job["splits"].as_array()?.iter().map(|split| split["position"].as_u64()).sum() };
    let is_so = |job: &Value| job["attempt"].as_u64() >= Some(attempt) && position(job) == Some(all);
    let described = block_in_place(|| job.wait_until(cluster, is_so))?;
    counter(&described, "source", "records_in")
}
