//! A real Flink: the job that `jobctl` submits to it makes the table that ours makes, row by row; and what it says no to.

use anyhow::{Context, Result, ensure};
use connectors::flink::{Error, Gateway, Session};
use connectors::postgres::Client;
use e2e::cluster::Cluster;
use e2e::feed;
use e2e::flink::Flink;
use e2e::programs;
use e2e::traffic::{Event, Traffic};
use serde_json::json;

const EVENTS: u64 = 200_000;
/// Of so many events one has no host, one no ip, and one is followed by a record that is no event.
const NULL_HOST_OF: u64 = 50;
const NULL_IP_OF: u64 = 70;
const BAD_OF: u64 = 100;
/// Produced at once.
const CHUNK: usize = 20_000;

const TOPIC: &str = "both";
/// The traffic is made for this gap and this delay: none of it is late.
const OPTIONS: [&str; 6] = ["--gap", "10s", "--watermark-delay", "5s", "--until", "latest"];

#[tokio::test(flavor = "multi_thread")]
async fn flink_and_gapwise_make_the_same_table_of_the_same_topic() -> Result<()> {
    if !Flink::is_available_for("the comparison with a real Flink")? {
        return Ok(());
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = Cluster::start(1, 2)?;
    let flink = Flink::start(cluster.dir())?;
    fill(&cluster).await?;
    let on = format!("flink={}", flink.gateway());
    let submit = |table: &str, more: &[&str]| {
        let args = ["submit", "sessionize", "--parallelism", "2", "--table", table, "--wait", "--name", "the-same"];
        cluster.jobctl_with(&[&args[..], &OPTIONS, more].concat(), &[("KAFKA_TOPIC", TOPIC)])
    };
    let said = submit("of_flink", &["--on", &on])?;
    ensure!(said.err.contains(" is FINISHED\n"), "{said:?}");
    ensure!(said.ok()?.starts_with("submitted `the-same` to Flink as "));
    submit("of_gapwise", &["--max-future", "0"])?.ok()?;

    let mut sql = cluster.sql().await?;
    let rows = number(&mut sql, "SELECT count(*) FROM of_flink").await?;
    let of_null_host = "SELECT count(*) FROM of_flink WHERE host IS NULL AND num_hits = 0";
    ensure!(number(&mut sql, of_null_host).await? > 0 && rows > 50_000, "{rows} rows are too few to prove anything");
    // `COUNT(host)`: an event without a host is in a session, and counts nothing.
    let hits = EVENTS - EVENTS / NULL_HOST_OF;
    ensure!(number(&mut sql, "SELECT sum(num_hits) FROM of_flink").await? == hits, "hits of Flink's table");
    ensure!(different(&mut sql).await? == 0, "{} of {rows} rows differ", different(&mut sql).await?);
    eprintln!("{rows} rows, equal");
    // The judge sees one row that is not what it should be.
    let change = "UPDATE of_gapwise SET num_hits = num_hits + 1 WHERE ctid = (SELECT min(ctid) FROM of_gapwise)";
    sql.execute(change).await?;
    ensure!(different(&mut sql).await? == 2, "one changed row is missing in each table");

    a_running_job_is_not_waited_for(&cluster, &on)?;
    a_job_that_fails_says_why(&cluster, &on)?;
    printed_script_is_taken_as_it_stands(&flink).await
}

/// Without `--wait` and without an end; the table is in a schema, and made by `jobctl`.
fn a_running_job_is_not_waited_for(cluster: &Cluster, on: &str) -> Result<()> {
    let args = ["submit", "sessionize", "--on", on, "--table", "\"Of Flink\"", "--output", "json"];
    let said = cluster.jobctl_with(&args, &[("KAFKA_TOPIC", TOPIC)])?;
    ensure!(said.err.ends_with(" is RUNNING\n"), "{said:?}");
    let answer: serde_json::Value = serde_json::from_str(&said.ok()?)?;
    ensure!(answer["job_id"].as_str().is_some_and(|id| id.len() == 32), "{answer}");
    Ok(())
}

fn a_job_that_fails_says_why(cluster: &Cluster, on: &str) -> Result<()> {
    let args = ["submit", "sessionize", "--on", on, "--table", "of_nothing", "--wait", "--until", "latest"];
    let said = cluster.jobctl_with(&args, &[("KAFKA_TOPIC", "absent")])?;
    ensure!(said.code == Some(1) && said.err.contains("failed in Flink"), "{said:?}");
    ensure!(said.err.contains("because This server does not host this topic-partition."), "{said:?}");
    Ok(())
}

/// `explain --flink-sql` with all that can be said, statement by statement; the last is only planned.
async fn printed_script_is_taken_as_it_stands(flink: &Flink) -> Result<()> {
    let session = Gateway::new(&flink.gateway())?.open("e2e").await?;
    let lines = [
        "--gap 90500ms --watermark-delay 0 --idle-timeout 0 --max-drift 10m --on-late drop --on-bad-record fail \
         --from committed --source kafka://a:1,b/t --kafka-property fetch.wait.max.ms=9 --table logs.s \
         --sink postgres://me:hunter2@db:6/web?sslmode=require",
        "--gap 100d --watermark-delay 1500ms --from 2025-01-14T17:00:00Z --until latest --parallelism 3 --name it's",
    ];
    let login = [("KAFKA_WEB_TRAFFIC_KEY", "k"), ("KAFKA_WEB_TRAFFIC_SECRET", "hunter2")];
    for line in lines {
        // A build without TLS would refuse the default protocol.
        let args = ["explain", "sessionize", "--flink-sql", "--kafka-property", "security.protocol=sasl_plaintext"];
        let args: Vec<&str> = args.into_iter().chain(line.split_whitespace()).collect();
        let script = programs::run("jobctl", &args, &login)?.ok()?;
        ensure!(!script.contains("hunter2"), "{script}");
        let plan = planned(&session, &script).await.with_context(|| script.clone())?;
        let gap = if line.contains("100d") { "gap=[100 d]" } else { "gap=[90500 ms]" };
        // A watermark that is made in the source is one for each partition.
        ensure!(plan.contains(gap) && plan.contains("watermark=["), "{plan}");
        for table in ["events", "timed_events", "sessions"] {
            let kind = if table == "timed_events" { "VIEW" } else { "TABLE" };
            session.execute(&format!("DROP TEMPORARY {kind} `{table}`")).await?;
        }
    }
    let Err(Error::Refused { statement, causes }) = session.execute("SELECT\n nothing FROM nowhere").await else {
        anyhow::bail!("that was taken")
    };
    ensure!(statement == "SELECT", "{statement}");
    ensure!(causes.iter().any(|cause| cause.contains("Object 'nowhere' not found")), "{causes:?}");
    session.close().await;
    Ok(())
}

/// Runs a script but for its `INSERT`, whose plan is told.
async fn planned(session: &Session, script: &str) -> Result<String> {
    let mut plan = None;
    for statement in script.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        // Comments stand before the first statement.
        let statement: Vec<&str> = statement.lines().filter(|line| !line.starts_with("--")).collect();
        let statement = statement.join("\n");
        let explained = if statement.starts_with("INSERT") { format!("EXPLAIN {statement}") } else { statement };
        let answer = session.execute(&explained).await?;
        plan = answer.rows.into_iter().next().and_then(|row| Some(row.first()?.as_str()?.to_owned()));
    }
    plan.context("no plan")
}

/// The traffic, with events that lack a part of their key and records that are no events among it.
async fn fill(cluster: &Cluster) -> Result<()> {
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, TOPIC).await?;
    let mut traffic = Traffic::new(22);
    let mut records = Vec::new();
    for number in 0..EVENTS {
        let Event { partition, at_ms, json } = traffic.next_event();
        let mut event: serde_json::Value = serde_json::from_str(&json)?;
        if number % NULL_HOST_OF == 0 {
            event["host"] = serde_json::Value::Null;
        }
        if number % NULL_IP_OF == 0 {
            event.as_object_mut().unwrap().remove("ip");
        }
        records.push(Event { partition, at_ms, json: event.to_string() });
        if number % BAD_OF == 0 {
            let bad = [
                "not json".to_owned(),
                json!({ "ip": "1.1.1.1", "host": "bad.example" }).to_string(),
                json!({ "ip": "1.1.1.1", "host": "bad.example", "event_time": "yesterday" }).to_string(),
            ];
            records.push(Event { partition, at_ms, json: bad[(number / BAD_OF % 3) as usize].clone() });
        }
    }
    records.chunks(CHUNK).try_for_each(|records| feed::produce_records(&bootstrap, TOPIC, records))
}

/// Rows of one table that are not in the other.
async fn different(sql: &mut Client) -> Result<u64> {
    let difference = "SELECT count(*) FROM (
        (TABLE of_flink EXCEPT ALL TABLE of_gapwise) UNION ALL (TABLE of_gapwise EXCEPT ALL TABLE of_flink)) AS d";
    number(sql, difference).await
}

async fn number(sql: &mut Client, query: &str) -> Result<u64> {
    Ok(sql.query_text(query).await?.rows[0][0].clone().context("a number")?.parse()?)
}
