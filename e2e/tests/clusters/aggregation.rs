//! The aggregate job on real clusters: both of its tables against what Postgres computes from the topic by itself.

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::cluster::{Cluster, Shape, repository_file};
use e2e::feed;
use e2e::hits;
use e2e::job::RECOVERY_LIMIT;
use e2e::traffic::{Event, LATE_IP, PARTITIONS, Traffic, time_text};
use localcluster::deadline::Deadline;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

const EVENTS: u64 = 40_000;
/// Of so many events one has a twin without a host, and one is followed by a bad record.
const NULL_HOST_OF: u64 = 50;
const BAD_OF: u64 = 100;
const LATE: u64 = 300;
const WINDOW_MS: i64 = 10_000;
const TABLES: [&str; 2] = ["processed_events_aggregated", "processed_events_aggregated_source"];

/// Flink's tumbling windows of five minutes over the recorded web traffic.
#[tokio::test(flavor = "multi_thread")]
async fn both_tables_equal_a_batch_computation_at_every_parallelism() -> Result<()> {
    let cluster = Cluster::start(2, 2)?;
    let bootstrap = cluster.broker.bootstrap_servers();
    let mut sql = cluster.sql().await?;
    for topic in ["traffic_a", "traffic_b"] {
        cluster.load(topic, 3, &repository_file(&format!("conformance/web/{topic}.jsonl.gz"))?)?;
        for parallelism in ["1", "2", "3"] {
            for table in TABLES {
                sql.execute(&format!("DROP TABLE IF EXISTS {table}")).await?;
            }
            let args =
                ["submit", "aggregate", "--window", "5m", "--until", "latest", "--wait", "--parallelism", parallelism];
            cluster.jobctl_with(&args, &[("KAFKA_TOPIC", topic)])?.ok()?;
            let rows = hits::compare(&mut sql, cluster.dir(), &bootstrap, topic, 300_000).await;
            let rows = rows.with_context(|| format!("{topic} at parallelism {parallelism}"))?;
            eprintln!("{topic} at parallelism {parallelism}: {rows:?} rows, exact");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_tables_are_exact_though_taskmanagers_are_killed() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "hits").await?;
    let url = cluster.create_database("hits").await?;
    let env = [("KAFKA_TOPIC", "hits"), ("POSTGRES_URL", url.as_str())];
    let args = ["submit", "aggregate", "--name", "hits", "--window", "10s", "--watermark-delay", "5s"];
    let more = ["--parallelism", "2", "--checkpoint-interval", "1s", "--idle-timeout", "0"];
    cluster.jobctl_with(&[&args[..], &more].concat(), &env)?.ok()?;
    let mut sql = Client::connect(&url.parse()?).await?;

    let mut traffic = Traffic::new(17);
    let records = records(&mut traffic);
    let mut token = 0;
    for (turn, records) in records.chunks(records.len().div_ceil(3)).enumerate() {
        feed::produce_records(&bootstrap, "hits", records)?;
        let published = wait_for(&mut sql, "an epoch", |now| now.token > token && now.in_windows > 0)?;
        token = published.token;
        if turn < 2 {
            cluster.taskmanagers[turn].kill();
            cluster.taskmanagers[turn].restart()?;
        }
    }
    feed::close(&bootstrap, "hits", &traffic)?;
    let closing = u64::from(PARTITIONS.unsigned_abs());
    let read = records.len() as u64 + closing;
    wait_for(&mut sql, "all windows", |now| now.read == read && now.open == closing)?;

    // Their windows are long over.
    feed::produce_records(&bootstrap, "hits", &late())?;
    let ledger = wait_for(&mut sql, "every late event", |now| now.late == LATE)?;
    ensure!(ledger.read == ledger.in_windows + ledger.open + ledger.late + ledger.bad, "{ledger:?}");
    ensure!(ledger.bad == EVENTS / BAD_OF && ledger.read == read + LATE, "{ledger:?}");

    let [by_host, by_referrer] = hits::compare(&mut sql, cluster.dir(), &bootstrap, "hits", WINDOW_MS).await?;
    eprintln!("{by_host} rows per host, {by_referrer} per host and referrer, exact: {ledger:?}");
    let null_hosts = EVENTS / NULL_HOST_OF;
    for (table, rows, of_ledger) in [(TABLES[0], by_host, "rows_total"), (TABLES[1], by_referrer, "side_rows[1]")] {
        let found = format!(
            "SELECT concat_ws(' ', count(*), sum(num_hits), (SELECT {of_ledger} FROM gapwise_ledger)) FROM {table}"
        );
        // An event without a host is counted as COUNT(host) does, and is an event all the same.
        let expected = format!("{rows} {} {rows}", ledger.in_windows - null_hosts);
        ensure!(text(&mut sql, &found).await? == expected, "`{table}` and the ledger: {expected}");
    }
    let late = "SELECT concat_ws(' ', count(*), count(DISTINCT (partition, \"offset\")), min(host), count(ip)) FROM late_events";
    ensure!(text(&mut sql, late).await? == format!("{LATE} {LATE} www.techcreator.io 0"), "late events");
    let bad = "SELECT concat_ws(' ', count(*), count(DISTINCT (partition, \"offset\"))) FROM dead_letter_events";
    ensure!(text(&mut sql, bad).await? == format!("{0} {0}", EVENTS / BAD_OF), "dead letters");

    // The judge sees one row that is not what it should be; it looks at the first table first.
    for table in [TABLES[1], TABLES[0]] {
        let change = "SET num_hits = num_hits + 1 WHERE ctid = (SELECT min(ctid) FROM";
        sql.execute(&format!("UPDATE {table} {change} {table})")).await?;
        let judged = hits::compare(&mut sql, cluster.dir(), &bootstrap, "hits", WINDOW_MS).await;
        let told = judged.map_or_else(|error| error.to_string(), |rows| format!("{rows:?} rows, exact"));
        ensure!(told.starts_with(&format!("`{table}`: of")) && told.contains("1 are missing"), "{told}");
    }

    let said = cluster.jobctl_with(&["audit", "hits"], &env)?;
    ensure!(said.code == Some(2) && said.err.contains("a job of type `aggregate` cannot be audited"), "{said:?}");
    cluster.jobctl(&["stop", "hits", "--drain"])?.ok().map(drop)
}

/// The clock ends the last windows of a topic that falls silent; nothing of their rows is other than if an event had done it.
#[tokio::test(flavor = "multi_thread")]
async fn silent_topic_closes_its_last_windows() -> Result<()> {
    let cluster = Cluster::start(1, 1)?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, "silent").await?;
    let args = ["submit", "aggregate", "--window", "10s", "--watermark-delay", "5s", "--idle-timeout", "2s"];
    let more = ["--close-when-idle", "--checkpoint-interval", "1s"];
    cluster.jobctl_with(&[&args[..], &more].concat(), &[("KAFKA_TOPIC", "silent")])?.ok()?;
    let mut traffic = Traffic::new(3);
    feed::produce(&bootstrap, "silent", &mut traffic, 3000)?;
    let mut sql = cluster.sql().await?;
    wait_for(&mut sql, "every window", |now| now.in_windows == 3000 && now.open == 0)?;
    hits::compare(&mut sql, cluster.dir(), &bootstrap, "silent", WINDOW_MS).await.map(drop)
}

/// The traffic, with events that have no host and records that are no events among it.
fn records(traffic: &mut Traffic) -> Vec<Event> {
    let mut records = Vec::new();
    for number in 0..EVENTS {
        let event = traffic.next_event();
        let (partition, at_ms) = (event.partition, event.at_ms);
        records.push(event);
        if number % NULL_HOST_OF == 0 {
            let referrer = (number % 3 == 0).then_some("https://t.co/abc");
            let json = json!({ "ip": "1.1.1.1", "host": null, "referrer": referrer, "event_time": time_text(at_ms) });
            records.push(Event { partition, at_ms, json: json.to_string() });
        }
        if number % BAD_OF == 0 {
            records.push(Event { partition, at_ms, json: format!("not json, number {number}") });
        }
    }
    records
}

fn late() -> Vec<Event> {
    let event = |number: u64| {
        let time = "2025-01-14T00:00:00.000Z";
        let json = json!({ "ip": LATE_IP, "host": "www.techcreator.io", "event_time": time, "n": number }).to_string();
        Event { partition: (number % u64::from(PARTITIONS.unsigned_abs())) as i32, at_ms: 0, json }
    };
    (0..LATE).map(event).collect()
}

/// The job's row of the ledger.
#[derive(Clone, Copy, Debug)]
struct Ledger {
    token: u64,
    read: u64,
    in_windows: u64,
    open: u64,
    late: u64,
    bad: u64,
}

/// Waits until the ledger is as `is_so` wants it.
fn wait_for(sql: &mut Client, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
    let mut last = None;
    let found = block_in_place(|| {
        Deadline::after(RECOVERY_LIMIT).wait_for(|| {
            last = Handle::current().block_on(ledger(sql))?;
            anyhow::Ok(last.filter(&is_so))
        })
    })?;
    found.with_context(|| format!("waited in vain for {what}; the ledger: {last:?}"))
}

async fn ledger(sql: &mut Client) -> Result<Option<Ledger>> {
    let is_there = "SELECT count(*) FROM pg_class WHERE relname = 'gapwise_ledger'";
    if text(sql, is_there).await? == "0" {
        return Ok(None);
    }
    let look = "SELECT last_epoch >> 32, events_read, events_in_sessions, open_events, late, bad FROM gapwise_ledger";
    let row = sql.query_text(look).await?.rows.concat();
    let numbers = row.iter().map(|field| Ok(field.as_deref().unwrap_or("0").parse()?)).collect::<Result<Vec<u64>>>()?;
    let [token, read, in_windows, open, late, bad] = numbers[..] else { return Ok(None) };
    Ok(Some(Ledger { token, read, in_windows, open, late, bad }))
}

async fn text(sql: &mut Client, query: &str) -> Result<String> {
    let table = sql.query_text(query).await?;
    table.rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).context("no answer")
}
