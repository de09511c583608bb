//! What is late or cannot be read is kept beside the result, exactly once, on a real cluster whose taskmanagers are killed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::audit::{Audit, Ledger};
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::oracle;
use e2e::subject::Subject;
use e2e::traffic::{Event, PARTITIONS, Traffic};
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

const MILLION: u64 = 1_000_000;
const EVENTS: u64 = 30_000;
/// Of so many records one is bad, and one is of the future.
const BAD_OF: u64 = 100;
const FUTURE_OF: u64 = 1000;
const LATE: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn late_bad_and_future_records_are_kept_exactly_once_beside_the_result() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    of_a_million(&cluster).await.context("of a million")?;
    kept(&mut cluster).await.context("kept")?;
    refused(&cluster).await.context("refused")
}

async fn kept(cluster: &mut Cluster) -> Result<()> {
    let job = new_job(cluster, "kept").await?;
    let observer = Audit::start(&job.postgres_url, Deadline::after(Duration::MAX))?;
    let bootstrap = cluster.broker.bootstrap_servers();
    let id = job.submit(cluster, 2, &[])?;

    let mut traffic = Traffic::new(11);
    let mut records = Vec::new();
    for number in 0..EVENTS {
        records.push(traffic.next_event());
        if number % BAD_OF == 0 {
            records.push(record(&format!("not json, number {number}"), number));
        }
        if number % FUTURE_OF == 0 {
            records.push(event("2099-01-01T00:00:00.000Z", "9.9.9.9", number));
        }
    }
    let (first, second) = records.split_at(records.len() / 2);
    feed::produce_records(&bootstrap, "kept", first)?;
    wait_for(&observer, "a published epoch", |now| now.bad > 0)?;
    cluster.taskmanagers[0].kill();
    cluster.taskmanagers[0].restart()?;
    feed::produce_records(&bootstrap, "kept", second)?;
    feed::close(&bootstrap, "kept", &traffic)?;
    let closing = u64::from(PARTITIONS.unsigned_abs());
    let bad = EVENTS / BAD_OF + EVENTS / FUTURE_OF;
    wait_for(&observer, "all sessions", |now| now.events_read == EVENTS + closing + bad && now.open_events == closing)?;

    // Their windows are long over.
    let late: Vec<Event> = (0..LATE).map(|number| event("2025-01-14T00:00:00.000Z", "8.8.8.8", number)).collect();
    feed::produce_records(&bootstrap, "kept", &late[..100])?;
    wait_for(&observer, "the first late events", |now| now.late == 100)?;
    cluster.taskmanagers[1].kill();
    feed::produce_records(&bootstrap, "kept", &late[100..])?;
    cluster.taskmanagers[1].restart()?;
    let ledger = wait_for(&observer, "every late event", |now| now.late == LATE)?;
    ensure!(ledger.bad == bad, "{bad} bad records: {ledger:?}");

    let mut sql = Client::connect(&job.postgres_url.parse()?).await?;
    let late = "SELECT concat_ws(' ', count(*), count(DISTINCT (topic, partition, \"offset\")), min(ip), count(host), \
                bool_and(late_by_ms = 1000 * extract(epoch FROM watermark - event_time)), min(topic), min(job_id)) \
                FROM late_events";
    ensure!(text(&mut sql, late).await? == format!("{LATE} {LATE} 8.8.8.8 {LATE} t kept {id}"), "late events");
    let reasons = "SELECT string_agg(concat_ws(' ', kind, n, places, bytes), ', ' ORDER BY kind) FROM (\
                   SELECT reason LIKE '%is in the future' AS kind, count(*) AS n, \
                          count(DISTINCT (partition, \"offset\")) AS places, \
                          bool_and(bytes = octet_length(record)) AS bytes \
                   FROM dead_letter_events WHERE job_id = '{id}' GROUP BY 1) AS r";
    let (plain, future) = (EVENTS / BAD_OF, EVENTS / FUTURE_OF);
    let found = text(&mut sql, &reasons.replace("{id}", &id)).await?;
    ensure!(found == format!("f {plain} {plain} t, t {future} {future} t"), "dead letters: {found}");
    let raw = "SELECT convert_from(record, 'UTF8') FROM dead_letter_events ORDER BY 1 DESC LIMIT 1";
    ensure!(text(&mut sql, raw).await?.starts_with("{\"ip\":\"9.9.9.9\""), "the record as it came");

    let findings = block_in_place(|| observer.finish())?;
    ensure!(findings.violations == 0, "{:?}", findings.told);
    let env = [("POSTGRES_URL", job.postgres_url.as_str())];
    // What was in the future then, it takes from the dead letters.
    let audit = cluster.jobctl_with(&["audit", "kept", "--replay", "--output", "json"], &env)?.ok()?;
    let audit: Value = serde_json::from_str(&audit)?;
    let told = audit["checks"].as_array().context("checks")?.iter();
    let side: Vec<(&str, Option<u64>)> = told
        .filter_map(|check| Some((check["what"].as_str()?, check["found"].as_u64())))
        .filter(|(what, _)| what.contains("_events"))
        .collect();
    ensure!(side == [("rows in late_events", Some(LATE)), ("rows in dead_letter_events", Some(bad))], "{audit}");

    // One that is lost, or there twice, is told.
    sql.execute("DELETE FROM late_events WHERE ctid = (SELECT min(ctid) FROM late_events)").await?;
    let said = cluster.jobctl_with(&["audit", "kept"], &env)?;
    ensure!(said.code != Some(0) && said.out.contains("rows in late_events"), "{said:?}");
    Ok(())
}

/// A million records, of which one in a hundred is no JSON, as many are late, and one in a thousand is of the future: no restart, every table
/// exact.
async fn of_a_million(cluster: &Cluster) -> Result<()> {
    let job = new_job(cluster, "of_a_million").await?;
    let bootstrap = cluster.broker.bootstrap_servers();
    let observer = Audit::start(&job.postgres_url, Deadline::after(Duration::MAX))?;
    job.submit(cluster, 2, &[])?;
    let half = MILLION / 2;
    let mut traffic = Traffic::new(12).spoilt(half.cast_signed());
    block_in_place(|| feed::produce(&bootstrap, "of_a_million", &mut traffic, half))?;
    // By then every partition has a watermark.
    wait_for(&observer, "the first half", |now| now.events_read == half)?;
    block_in_place(|| feed::produce(&bootstrap, "of_a_million", &mut traffic, half))?;
    feed::close(&bootstrap, "of_a_million", &traffic)?;
    let closing = u64::from(PARTITIONS.unsigned_abs());
    wait_for(&observer, "all of it", |now| now.events_read == MILLION + closing && now.open_events == closing)?;
    let described = job.describe(cluster)?;
    ensure!(described["attempt"] == 1 && described["restarts"] == 0, "{described}");
    let findings = block_in_place(|| observer.finish())?;
    ensure!(findings.violations == 0, "{:?}", findings.told);
    let mut sql = Client::connect(&job.postgres_url.parse()?).await?;
    let verdict = oracle::compare(&mut sql, cluster.dir(), &bootstrap, "of_a_million", Subject::SESSIONS).await?;
    ensure!(verdict.is_exact() && verdict.records == MILLION + closing && verdict.kept > 14_000, "{verdict}");
    let env = [("POSTGRES_URL", job.postgres_url.as_str())];
    cluster.jobctl_with(&["audit", "of_a_million"], &env)?.ok()?;
    cluster.jobctl(&["cancel", "of_a_million"])?.ok()?;
    Ok(())
}

/// A job that is to fail at what is late or bad, and does.
async fn refused(cluster: &Cluster) -> Result<()> {
    let job = new_job(cluster, "refused").await?;
    let bootstrap = cluster.broker.bootstrap_servers();
    job.submit(cluster, 1, &["--on-bad-record", "fail"])?;
    feed::produce_records(&bootstrap, "refused", &[record("not json", 1)])?;
    let why = |job: &Value| job["last_failure"].to_string();
    let described = job.wait_until(cluster, |job| job["state"] == "failed")?;
    let told = why(&described).contains("the record at offset 0 of partition 1 of `refused` is bad");
    ensure!(told && described["restarts"] == 0, "{described}");
    Ok(())
}

async fn new_job(cluster: &Cluster, name: &str) -> Result<Job> {
    feed::create_topic(&cluster.broker.bootstrap_servers(), name).await?;
    Ok(Job { name: name.to_owned(), postgres_url: cluster.create_database(name).await? })
}

fn record(text: &str, number: u64) -> Event {
    let partition = (number % u64::from(PARTITIONS.unsigned_abs())) as i32;
    Event { partition, at_ms: 0, json: text.to_owned() }
}

fn event(time: &str, ip: &str, number: u64) -> Event {
    record(&format!(r#"{{"ip":"{ip}","host":"www.techcreator.io","event_time":"{time}","n":{number}}}"#), number)
}

fn wait_for(observer: &Audit, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
    let found = block_in_place(|| observer.wait_for(RECOVERY_LIMIT, is_so));
    found.with_context(|| format!("waited in vain for {what}; the ledger: {:?}", observer.ledger()))
}

async fn text(sql: &mut Client, query: &str) -> Result<String> {
    let table = sql.query_text(query).await?;
    table.rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).context("no answer")
}
