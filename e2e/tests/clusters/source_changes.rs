//! What becomes of a job whose topic changes under it: one that comes later and grows, and one that loses records it was to read.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::kafka::{Admin, ClientSettings};
use connectors::postgres::Client;
use e2e::audit::{Audit, Ledger};
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::oracle;
use e2e::subject::Subject;
use e2e::traffic::{Event, GAP_MS, PARTITIONS, Traffic};
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

/// At once, which is less of event time than partitions may drift apart.
const EVENTS: usize = 800;

#[tokio::test(flavor = "multi_thread")]
async fn source_changes() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { taskmanagers: 1, ..Shape::TWO_BY_TWO })?;
    cluster.jobmanager.restart_with(&[("GAPWISE_DISCOVERY_INTERVAL", "500ms")])?;
    cluster.wait_for_taskmanagers()?;
    a_topic_that_comes_later_and_grows_is_read_from_its_beginning_exactly_once(&mut cluster)
        .await
        .context("a topic that comes later and grows is read from its beginning exactly once")?;
    a_job_whose_records_are_deleted_unread_fails_once_and_says_so(&mut cluster)
        .await
        .context("a job whose records are deleted unread fails once and says so")?;
    a_job_goes_on_behind_deleted_records_if_it_may(&mut cluster)
        .await
        .context("a job goes on behind deleted records if it may")?;
    a_job_whose_topic_is_made_anew_fails_once_and_says_so(&cluster)
        .await
        .context("a job whose topic is made anew fails once and says so")
}

async fn a_topic_that_comes_later_and_grows_is_read_from_its_beginning_exactly_once(
    cluster: &mut Cluster,
) -> Result<()> {
    let (job, bootstrap) = (job(cluster, "later").await?, cluster.broker.bootstrap_servers());
    let observer = Audit::start(&job.postgres_url, Deadline::after(Duration::MAX))?;
    let refused = job.submit(cluster, 2, &[]).unwrap_err().to_string();
    ensure!(refused.contains("no topic `later`") && refused.contains("--wait-for-topic"), "{refused}");
    job.submit(cluster, 2, &["--wait-for-topic"])?;
    job.wait_until(cluster, |job| job["state"] == "running")?;

    admin(cluster)?.create_topic("later", PARTITIONS - 1).await?;
    let (mut traffic, mut sent) = (Traffic::new(3), 0);
    let mut produce = |to: fn(Event) -> Event| {
        let events: Vec<Event> = (0..EVENTS).map(|_| to(traffic.next_event())).collect();
        sent += events.len() as u64;
        feed::produce_records(&bootstrap, "later", &events)?;
        anyhow::Ok((sent, traffic.clone()))
    };
    // The third partition is not there yet.
    let (read, _) = produce(|event| Event { partition: event.partition % 2, ..event })?;
    wait_for(&observer, "what the first partitions hold", |now| now.events_read == read)?;
    admin(cluster)?.create_partitions("later", PARTITIONS.unsigned_abs() as usize).await?;
    let (read, _) = produce(|event| Event { partition: 2, ..event })?;
    wait_for(&observer, "what the new partition holds", |now| now.events_read == read)?;
    cluster.taskmanagers[0].kill();
    let (read, traffic) = produce(|event| event)?;
    cluster.taskmanagers[0].restart()?;
    wait_for(&observer, "all partitions behind a failure", |now| now.events_read == read)?;
    feed::close(&bootstrap, "later", &traffic)?;
    let closing = u64::from(PARTITIONS.unsigned_abs());
    wait_for(&observer, "the end of all sessions", |now| now.open_events == closing)?;
    job.stop(cluster, true)?;

    let findings = block_in_place(|| observer.finish())?;
    ensure!(findings.violations == 0, "{:?}", findings.told);
    let mut sql = Client::connect(&job.postgres_url.parse()?).await?;
    let subject = Subject::Sessions { gap_ms: GAP_MS };
    let verdict = oracle::compare(&mut sql, cluster.dir(), &bootstrap, "later", subject).await?;
    ensure!(verdict.is_exact() && verdict.records == read + closing, "{verdict}");
    Ok(())
}

async fn a_job_whose_records_are_deleted_unread_fails_once_and_says_so(cluster: &mut Cluster) -> Result<()> {
    let (job, _) = lose_records(cluster, "gone", &[]).await?;
    let failed = job.wait_until(cluster, |job| job["state"] == "failed")?;
    fails_for_data_loss(&failed, "gone")
}

async fn a_job_goes_on_behind_deleted_records_if_it_may(cluster: &mut Cluster) -> Result<()> {
    let (job, observer) = lose_records(cluster, "earliest", &["--on-data-loss", "earliest"]).await?;
    // A hundred before, and the last fifty of the hundred behind.
    wait_for(&observer, "what is left", |now| now.events_read == 150)?;
    let log = cluster.log("taskmanager-1")?;
    ensure!(log.contains("SOURCE_DATA_LOSS"), "nothing was said");
    job.stop(cluster, true)?;
    let findings = block_in_place(|| observer.finish())?;
    ensure!(findings.violations == 0, "{:?}", findings.told);
    Ok(())
}

async fn a_job_whose_topic_is_made_anew_fails_once_and_says_so(cluster: &Cluster) -> Result<()> {
    let (job, _observer) = read_hundred(cluster, "anew", &[]).await?;
    admin(cluster)?.delete_topic("anew").await?;
    let is_made = Deadline::after(RECOVERY_LIMIT);
    while admin(cluster)?.topics().await?.iter().any(|topic| topic == "anew") {
        ensure!(!is_made.has_passed(), "the topic is still there");
    }
    admin(cluster)?.create_topic("anew", 1).await?;
    feed::produce_records(&cluster.broker.bootstrap_servers(), "anew", &events(0..10))?;
    let failed = job.wait_until(cluster, |job| job["state"] == "failed")?;
    fails_for_data_loss(&failed, "anew")
}

/// A job that has read a hundred records of a topic with one partition.
async fn read_hundred(cluster: &Cluster, name: &str, options: &[&str]) -> Result<(Job, Audit)> {
    let job = job(cluster, name).await?;
    admin(cluster)?.create_topic(name, 1).await?;
    feed::produce_records(&cluster.broker.bootstrap_servers(), name, &events(0..100))?;
    job.submit(cluster, 1, options)?;
    let observer = Audit::start(&job.postgres_url, Deadline::after(Duration::MAX))?;
    wait_for(&observer, "a hundred records", |now| now.events_read == 100)?;
    Ok((job, observer))
}

/// The same, and while nobody reads, a hundred more come, of which the first fifty go.
async fn lose_records(cluster: &mut Cluster, name: &str, options: &[&str]) -> Result<(Job, Audit)> {
    let (job, observer) = read_hundred(cluster, name, options).await?;
    cluster.taskmanagers[0].kill();
    feed::produce_records(&cluster.broker.bootstrap_servers(), name, &events(100..200))?;
    admin(cluster)?.delete_records(name, 0, 150).await?;
    cluster.taskmanagers[0].restart()?;
    Ok((job, observer))
}

fn fails_for_data_loss(failed: &Value, topic: &str) -> Result<()> {
    let why = failed["last_failure"].to_string();
    let is_told = why.contains("SOURCE_DATA_LOSS") && why.contains(&format!("{topic}/0")) && why.contains("100");
    ensure!(is_told, "{failed}");
    Ok(())
}

/// Events of one partition, a second apart.
fn events(numbers: std::ops::Range<i64>) -> Vec<Event> {
    let event = |number: i64| {
        let at = format!("2025-01-14T{:02}:{:02}:{:02}.000Z", number / 3600, number / 60 % 60, number % 60);
        Event { partition: 0, at_ms: 0, json: format!(r#"{{"ip":"1.1.1.1","host":"a.io","event_time":"{at}"}}"#) }
    };
    numbers.map(event).collect()
}

async fn job(cluster: &Cluster, name: &str) -> Result<Job> {
    Ok(Job { name: name.to_owned(), postgres_url: cluster.create_database(name).await? })
}

fn admin(cluster: &Cluster) -> Result<Admin> {
    Ok(Admin::new(&ClientSettings::new(&cluster.broker.bootstrap_servers())?)?)
}

fn wait_for(observer: &Audit, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
    let found = block_in_place(|| observer.wait_for(RECOVERY_LIMIT, is_so));
    found.with_context(|| format!("waited in vain for {what}; the ledger: {:?}", observer.ledger()))
}
