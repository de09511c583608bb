//! What is late or bad goes into topics of a real Kafka, or into files, whatever dies: each is there once, in topics for readers of committed
//! records.
//!
//! The reader is a consumer of its own, and what it should find is what was sent. Where the machine has no Apache Kafka, only files are
//! looked at, and the refusal of a broker without transactions.

mod found;
mod stage;

use anyhow::{Context, Result, ensure};
use connectors::kafka::{Admin, ClientSettings};
use e2e::broker::{Broker, Choice};
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::RECOVERY_LIMIT;
use localcluster::deadline::Deadline;
use rdkafka::error::KafkaError;
use serde_json::Value;
use tokio::task::block_in_place;

use found::config;
use stage::{BATCH, Kind, Stage, record};

const ONE_BY_TWO: Shape = Shape { taskmanagers: 1, ..Shape::TWO_BY_TWO };
const FAIL_POINT: &str = "GAPWISE_FAIL_POINT";

/// Where the committer dies: with records in an open transaction, of the first outlet and of the second; between the transactions of the two;
/// between the last of them and the sink; and behind the sink's.
const POINTS: [&str; 6] = [
    "outlet-rows-sent:7",
    "outlet-rows-sent:8",
    "outlet-committed:7",
    "outlet-committed:8",
    "rows-sent:5",
    "publication-committed:5",
];

#[tokio::test(flavor = "multi_thread")]
async fn late_and_bad_records_are_in_their_topics_once_whatever_dies() -> Result<()> {
    let mut cluster = Cluster::start_with(ONE_BY_TWO)?;
    if matches!(cluster.broker, Broker::Devbroker(_)) {
        eprintln!("SKIPPED: topics for late and bad records, since devbroker has no transactions");
        return Ok(());
    }
    for point in POINTS {
        dies(&mut cluster, Kind::Topics, point).await.context(point)?;
    }
    stands_still(&mut cluster).await.context("a zombie")?;
    without_kafka(&mut cluster).await.context("without Kafka")?;
    without_topic(&mut cluster).await.context("without its topic")?;
    too_large(&mut cluster).await.context("too large")
}

#[tokio::test(flavor = "multi_thread")]
async fn late_and_bad_records_are_in_their_files_once_whatever_dies() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..ONE_BY_TWO })?;
    for point in POINTS {
        dies(&mut cluster, Kind::Files, point).await.context(point)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_transactions_is_refused_at_submit() -> Result<()> {
    let cluster = Cluster::start_with(Shape { broker: Choice::Devbroker, ..ONE_BY_TWO })?;
    let said = Stage::submit(&cluster, Kind::Topics, "refused").await.err().context("it was taken")?.to_string();
    ensure!(said.contains("refuses a transaction") && said.contains("devbroker has no transactions"), "{said}");
    ensure!(said.contains("exit code Some(7)"), "{said}");
    Ok(())
}

async fn dies(cluster: &mut Cluster, kind: Kind, point: &str) -> Result<()> {
    cluster.taskmanagers[0].restart_with(&[(FAIL_POINT, point)])?;
    let mut stage = Stage::submit(cluster, kind, &name(point)).await?;
    let deadline = Deadline::after(RECOVERY_LIMIT);
    while !cluster.taskmanagers[0].has_ended() {
        ensure!(!deadline.has_passed(), "it never came to its point");
        stage.send(cluster)?;
        stage.wait_for_all_or(|| cluster.taskmanagers[0].has_ended()).await?;
    }
    ensure!(cluster.taskmanagers[0].was_killed(), "it ended by itself");
    cluster.taskmanagers[0].restart()?;
    // What died behind the sink's commit left nothing to wait for.
    stage.send(cluster)?;
    stage.end(cluster).await
}

/// The open transaction of a process that stands still is aborted by its successor, and it can commit nothing afterwards.
async fn stands_still(cluster: &mut Cluster) -> Result<()> {
    cluster.taskmanagers[0].restart_with(&[(FAIL_POINT, "outlet-rows-sent:7:pause")])?;
    let mut stage = Stage::submit(cluster, Kind::Topics, "zombie").await?;
    let deadline = Deadline::after(RECOVERY_LIMIT);
    while !cluster.taskmanagers[0].is_stopped() {
        ensure!(!deadline.has_passed(), "it never came to its point");
        stage.send(cluster)?;
        stage.wait_for_all_or(|| cluster.taskmanagers[0].is_stopped()).await?;
    }
    cluster.add_taskmanager()?;
    stage.send(cluster)?;
    stage.wait_for_all().await?;
    let zombie = &mut cluster.taskmanagers[0];
    zombie.resume();
    let goes_on = "this process goes on";
    let has_ended = |log: &str| log.split(goes_on).nth(1).is_some_and(|since| since.contains("all tasks have ended"));
    let ended =
        block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_for(|| Ok(has_ended(&zombie.log()?).then_some(()))));
    let ended: Result<_> = ended;
    ended?.context("the zombie goes on for ever")?;
    stage.send(cluster)?;
    stage.end(cluster).await?;
    // As it was, for the next case.
    cluster.taskmanagers.truncate(1);
    cluster.taskmanagers[0].restart()
}

/// Kafka goes away with a transaction open: the epoch waits, as it does for Postgres, and says why.
async fn without_kafka(cluster: &mut Cluster) -> Result<()> {
    cluster.taskmanagers[0].restart_with(&[(FAIL_POINT, "outlet-rows-sent:7:pause")])?;
    let mut stage = Stage::submit(cluster, Kind::Topics, "without_kafka").await?;
    let deadline = Deadline::after(RECOVERY_LIMIT);
    while !cluster.taskmanagers[0].is_stopped() {
        ensure!(!deadline.has_passed(), "it never came to its point");
        stage.send(cluster)?;
        stage.wait_for_all_or(|| cluster.taskmanagers[0].is_stopped()).await?;
    }
    cluster.broker.kill();
    cluster.taskmanagers[0].resume();
    let trouble = |job: &Value| {
        let subtasks = job["subtasks"].as_array().into_iter().flatten();
        subtasks.filter_map(|subtask| subtask["trouble"].as_str()).any(|trouble| trouble.contains("Kafka"))
    };
    block_in_place(|| stage.job.wait_until(cluster, trouble))?;
    block_in_place(|| cluster.broker.restart())?;
    stage.wait_for_all().await?;
    stage.send(cluster)?;
    stage.end(cluster).await
}

/// A topic that is deleted is missed by name, and the job goes on once it is there again.
async fn without_topic(cluster: &mut Cluster) -> Result<()> {
    let mut stage = Stage::submit(cluster, Kind::Topics, "without_topic").await?;
    stage.send(cluster)?;
    stage.wait_for_all().await?;
    let admin = Admin::new(&ClientSettings::new(&cluster.broker.bootstrap_servers())?)?;
    admin.delete_topic("without_topic-bad").await?;
    stage.send(cluster)?;
    let is_missed = |job: &Value| job["last_failure"].to_string().contains("no topic `without_topic-bad`");
    block_in_place(|| stage.job.wait_until(cluster, is_missed))?;
    admin.create_topic("without_topic-bad", 2).await?;
    // What it had is gone with it.
    stage.bad.drain(..BATCH);
    stage.end_with(cluster, BATCH).await
}

/// A record that the topic does not take is told with the topic's name; once the limit is raised, it is there.
async fn too_large(cluster: &mut Cluster) -> Result<()> {
    let mut stage = Stage::submit(cluster, Kind::Topics, "too_large").await?;
    stage.send(cluster)?;
    stage.wait_for_all().await?;
    limit(cluster, "too_large-bad", "1000").await?;
    let long = format!("no JSON at all, and {}", "long ".repeat(1000));
    feed::produce_records(&cluster.broker.bootstrap_servers(), "too_large", &[record(long.clone(), 0)])?;
    stage.bad.push(long);
    let is_told = |job: &Value| job["last_failure"].to_string().contains("too large for topic `too_large-bad`");
    block_in_place(|| stage.job.wait_until(cluster, is_told))?;
    limit(cluster, "too_large-bad", "1000000").await?;
    stage.end(cluster).await
}

async fn limit(cluster: &Cluster, topic: &str, bytes: &str) -> Result<()> {
    use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
    let client: AdminClient<_> = config(cluster).create()?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", bytes);
    for result in client.alter_configs([&change], &AdminOptions::new()).await? {
        result.map_err(|(_, code)| KafkaError::AdminOp(code))?;
    }
    Ok(())
}

/// For a topic and a database.
fn name(point: &str) -> String {
    point.replace(['-', ':'], "_")
}
