//! Limits of sessions on a real cluster: robots are in parts within the limits, everybody else is as without, and an audit knows the rule.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::audit::Audit;
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::traffic::{PARTITIONS, Traffic};
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

const TABLE: &str = "sessionized_aggregated_events";
const EVENTS: u64 = 20_000;
const MAX_HITS: u64 = 150;
const MAX_SESSION_S: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn robots_are_in_parts_and_everybody_else_is_as_without_limits() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let limited = run(&mut cluster, "limited", &["--max-hits", "150", "--max-session", "40s"]).await?;
    let free = run(&mut cluster, "free", &[]).await?;
    let is_robot = |row: &&Session| row.hits >= MAX_HITS || row.lasted_ms >= MAX_SESSION_S * 1000;
    let robots: BTreeSet<&str> = free.iter().filter(is_robot).map(|row| row.visitor.as_str()).collect();
    for row in &limited {
        ensure!(row.hits <= MAX_HITS && row.lasted_ms < MAX_SESSION_S * 1000, "{row:?}");
    }
    let of_people = |rows: &[Session]| {
        let rows = rows.iter().filter(|row| !robots.contains(row.visitor.as_str()));
        rows.cloned().collect::<Vec<_>>()
    };
    ensure!(!robots.is_empty() && of_people(&free).len() > free.len() / 2, "{} robots", robots.len());
    ensure!(of_people(&limited) == of_people(&free), "sessions below the limits differ");
    let hits = |rows: &[Session]| rows.iter().map(|row| row.hits).sum::<u64>();
    ensure!(hits(&limited) == hits(&free), "hits differ");
    ensure!(limited.len() > free.len(), "nothing was parted");
    let said = cluster.jobctl(&["late", "replay", "limited"])?;
    ensure!(said.code == Some(2) && said.err.contains("stand there in parts"), "{said:?}");
    Ok(())
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    visitor: String,
    start: String,
    hits: u64,
    lasted_ms: u64,
}

/// Every session, sorted. A taskmanager dies meanwhile, and audits hold while it runs and behind its end.
async fn run(cluster: &mut Cluster, name: &str, more: &[&str]) -> Result<Vec<Session>> {
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, name).await?;
    let job = Job { name: name.to_owned(), postgres_url: cluster.create_database(name).await? };
    let observer = Audit::start(&job.postgres_url, Deadline::after(Duration::MAX))?;
    job.submit(cluster, 2, &[&["--last-event"], more].concat())?;
    let mut traffic = Traffic::new(31);
    feed::produce(&bootstrap, name, &mut traffic, EVENTS / 2)?;
    let begun = |observer: &Audit| observer.wait_for(RECOVERY_LIMIT, |now| now.rows_total > 100);
    block_in_place(|| begun(&observer)).context("no sessions")?;
    audit(cluster, &job)?;
    cluster.taskmanagers[0].kill();
    cluster.taskmanagers[0].restart()?;
    feed::produce(&bootstrap, name, &mut traffic, EVENTS / 2)?;
    feed::close(&bootstrap, name, &traffic)?;
    let closing = u64::from(PARTITIONS.unsigned_abs());
    let all =
        observer.wait_for(RECOVERY_LIMIT, |now| now.events_read == EVENTS + closing && now.open_events == closing);
    all.with_context(|| format!("not all was read: {:?}", observer.ledger()))?;
    let findings = block_in_place(|| observer.finish())?;
    ensure!(findings.violations == 0, "{:?}", findings.told);
    let said = audit(cluster, &job)?;
    eprintln!("{name}: {} rows, {} sessions in parts", said["replay"]["rows"], said["replay"]["sessions_in_parts"]);
    let mut sql = Client::connect(&job.postgres_url.parse()?).await?;
    let rows = format!(
        "SELECT concat_ws(' ', ip, host), event_hour::text, num_hits::text, \
                (1000 * extract(epoch FROM last_event - event_hour))::bigint::text FROM {TABLE} ORDER BY 1, 2, 3, 4"
    );
    let rows = sql.query_text(&rows).await?.rows;
    job.stop(cluster, false)?;
    let row = |row: Vec<Option<String>>| {
        let [Some(visitor), Some(start), Some(hits), Some(lasted_ms)] = &row[..] else {
            anyhow::bail!("not a session: {row:?}")
        };
        let (visitor, start) = (visitor.clone(), start.clone());
        Ok(Session { visitor, start, hits: hits.parse()?, lasted_ms: lasted_ms.parse()? })
    };
    rows.into_iter().map(row).collect()
}

/// An audit with a replay, in which every check holds.
fn audit(cluster: &Cluster, job: &Job) -> Result<Value> {
    let args = ["audit", &job.name, "--replay", "--output", "json"];
    Ok(serde_json::from_str(&cluster.jobctl_with(&args, &[("POSTGRES_URL", &job.postgres_url)])?.ok()?)?)
}
