//! `jobctl audit` on a real cluster: it holds for a good job, at any moment and after its end, and tells every row that is
//! changed in the table.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::kafka::{Admin, ClientSettings};
use connectors::postgres::Client;
use e2e::audit::{Audit, Ledger};
use e2e::cluster::{Cluster, Shape};
use e2e::feed::{self, Feed};
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::programs::Said;
use e2e::traffic::{PARTITIONS, Traffic};
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

const SHAPE: Shape = Shape::TWO_BY_TWO;
const RATE: u64 = 1_000;
const TABLE: &str = "sessionized_aggregated_events";

/// One cluster for all: each clause has a job, a topic and a database of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_audited_against_its_ledger_and_its_topic() -> Result<()> {
    let mut cluster = Cluster::start_with(SHAPE)?;
    a_good_table_holds_while_the_job_runs_and_behind_each_of_its_ends(&mut cluster).await.context("a good table")?;
    every_change_of_the_table_is_told(&cluster).await.context("a changed table")?;
    late_events_are_told_from_lost_ones(&cluster).await.context("late events")?;
    what_stood_in_the_table_before_is_not_guessed(&cluster).await.context("rows before")?;
    what_cannot_be_audited_says_why(&cluster).await.context("refusals")?;
    Ok(())
}

async fn a_good_table_holds_while_the_job_runs_and_behind_each_of_its_ends(cluster: &mut Cluster) -> Result<()> {
    let audited = Audited::create(cluster, "good").await?;
    let bootstrap = cluster.broker.bootstrap_servers();
    let mut traffic = Traffic::new(3);
    // Before the job: what it does not read must not be replayed either.
    feed::produce(&bootstrap, "good", &mut traffic, 3_000)?;
    let id = audited.job.submit(cluster, 2, &["--from", "latest"])?;
    let feed = Feed::start(&bootstrap, "good", traffic, RATE)?;
    audited.wait_for("the first sessions", |now| now.rows_total > 500)?;
    audited.holds(cluster, &[])?;
    let said = audited.holds(cluster, &["--replay"])?;
    ensure!(said["replay"]["open_sessions"].as_u64() > Some(0), "there are open sessions: {said}");
    ensure!(said["replay"]["sessions_in_parts"] == 0 && said["replay"]["equal"] == said["replay"]["rows"], "{said}");
    ensure!(said["replay"]["rows"].as_u64() > Some(500), "{said}");

    // Rows are computed the same by another attempt, with another parallelism.
    let ledger = audited.ledger()?;
    cluster.taskmanagers[0].kill();
    cluster.taskmanagers[0].restart()?;
    audited.wait_for("a new attempt's epoch", |now| now.last_epoch >> 32 > ledger.token)?;
    audited.holds(cluster, &["--replay"])?;

    let mut traffic = block_in_place(|| feed.stop())?;
    feed::close(&bootstrap, "good", &traffic)?;
    let savepoint = audited.job.stop(cluster, true)?;
    audited.holds(cluster, &[])?;
    let said = audited.holds(cluster, &["--replay"])?;
    ensure!(said["replay"]["open_sessions"] == 0 && said["replay"]["closed_sessions"].as_u64() > Some(500), "{said}");

    // It goes on behind the drain, where sessions begin anew.
    traffic.go_on_after_closing();
    audited.job.submit(cluster, 1, &["--from-savepoint", &savepoint])?;
    let ledger = audited.ledger()?;
    feed::produce(&bootstrap, "good", &mut traffic, 5_000)?;
    audited.wait_for("more sessions", |now| now.rows_total > ledger.rows_total)?;
    // What was open at the drain is continued at once: together they would be one session.
    let said = audited.holds(cluster, &["--replay"])?;
    ensure!(said["replay"]["equal"] == said["replay"]["rows"], "{said}");
    let savepoint = audited.job.stop(cluster, true)?;
    audited.job.submit(cluster, 2, &["--from-savepoint", &savepoint])?;
    let ledger = audited.ledger()?;
    feed::produce(&bootstrap, "good", &mut traffic, 5_000)?;
    audited.wait_for("sessions behind a drain amidst traffic", |now| now.rows_total > ledger.rows_total)?;
    let said = audited.holds(cluster, &["--replay"])?;
    ensure!(said["replay"]["equal"] == said["replay"]["rows"], "{said}");
    audited.job.stop(cluster, true)?;
    // Checkpoints are not what an audit needs.
    std::fs::remove_dir_all(cluster.checkpoint_dir().join(id))?;
    audited.holds(cluster, &["--replay"])?;
    let text = cluster.jobctl_with(&["audit", "good", "--replay"], &audited.env())?.ok()?;
    ensure!(text.ends_with("every check holds\n") && text.contains("rows in the table"), "{text}");
    Ok(())
}

async fn every_change_of_the_table_is_told(cluster: &Cluster) -> Result<()> {
    let audited = Audited::create(cluster, "changed").await?;
    let bootstrap = cluster.broker.bootstrap_servers();
    let mut traffic = Traffic::new(4);
    audited.job.submit(cluster, 2, &[])?;
    feed::produce(&bootstrap, "changed", &mut traffic, 5_000)?;
    feed::close(&bootstrap, "changed", &traffic)?;
    audited.wait_for("all sessions", |now| {
        now.events_read == 5_000 + u64::from(PARTITIONS.unsigned_abs()) && now.open_events == 3
    })?;
    audited.holds(cluster, &["--replay"])?;
    let mut sql = Client::connect(&audited.url.parse()?).await?;
    let pick = format!(
        "SELECT ctid::text, ip, host, num_hits FROM {TABLE} WHERE num_hits > 1 ORDER BY ip, host, event_hour LIMIT 1"
    );
    let row = sql.query_text(&pick).await?.rows.concat();
    let [Some(ctid), Some(ip), Some(host), Some(hits)] = &row[..] else { anyhow::bail!("no row: {row:?}") };
    let hits: u64 = hits.parse()?;
    let copy = format!("INSERT INTO {TABLE} SELECT * FROM kept");
    sql.execute(&format!("CREATE TABLE kept AS SELECT * FROM {TABLE} WHERE ctid = '{ctid}'")).await?;
    let gone = format!(
        "DELETE FROM {TABLE} AS t USING kept AS k WHERE (t.event_hour, t.ip, t.host, t.num_hits) = (k.event_hour, k.ip, k.host, k.num_hits)"
    );
    let changes = [
        // What is done to the row, whether the accounts see it, and what the replay tells of it.
        (gone.clone(), true, vec![("missing", hits)]),
        (copy.clone(), true, vec![("duplicate", hits)]),
        (
            format!(
                "{gone}; {copy}; UPDATE {TABLE} SET num_hits = num_hits + 1 WHERE (event_hour, ip, host) IN (SELECT event_hour, ip, host FROM kept)"
            ),
            true,
            vec![("missing", hits), ("unexpected", hits + 1)],
        ),
        (
            format!(
                "{gone}; {copy}; UPDATE {TABLE} SET event_hour = event_hour + interval '1 ms' WHERE (event_hour, ip, host) IN (SELECT event_hour, ip, host FROM kept)"
            ),
            false,
            vec![("missing", hits), ("unexpected", hits)],
        ),
        (
            format!(
                "{gone}; {copy}; UPDATE {TABLE} SET host = NULL WHERE (event_hour, ip, host) IN (SELECT event_hour, ip, host FROM kept)"
            ),
            true,
            vec![("missing", hits), ("unexpected", hits)],
        ),
    ];
    let restore = format!("TRUNCATE {TABLE}; INSERT INTO {TABLE} SELECT * FROM whole");
    sql.execute(&format!("CREATE TABLE whole AS SELECT * FROM {TABLE}")).await?;
    for (change, is_seen_by_accounts, expected) in changes {
        sql.execute(&change).await?;
        let said = audited.audit(cluster, &[])?;
        let code = if is_seen_by_accounts { 1 } else { 0 };
        ensure!(said.code == Some(code), "the accounts: {change}: {said:?}");
        let said = audited.audit(cluster, &["--replay"])?;
        ensure!(said.code == Some(1), "{change}: {said:?}");
        let audit: Value = serde_json::from_str(&said.out)?;
        let rows = audit["replay"]["differences"].as_array().context("differences")?;
        let told: Vec<(&str, u64)> =
            rows.iter().map(|row| (row["kind"].as_str().unwrap(), row["num_hits"].as_u64().unwrap())).collect();
        let mut expected = expected;
        let mut sorted = told.clone();
        sorted.sort_unstable();
        expected.sort_unstable();
        ensure!(sorted == expected, "{change}: {told:?}, expected {expected:?}");
        ensure!(rows.iter().all(|row| row["ip"] == ip.as_str()), "another row: {rows:?}");
        let text = cluster.jobctl_with(&["audit", "changed", "--replay"], &audited.env())?;
        ensure!(text.code == Some(1) && text.out.contains(expected[0].0) && text.out.contains(host), "{text:?}");
        ensure!(text.out.ends_with("not every check holds\n"), "{text:?}");
        sql.execute(&restore).await?;
        audited.holds(cluster, &["--replay"])?;
    }
    audited.job.stop(cluster, true)?;
    // What Kafka has deleted cannot be computed any more; nothing is claimed then.
    Admin::new(&ClientSettings::new(&bootstrap)?)?.delete_records("changed", 1, 7).await?;
    let said = audited.audit(cluster, &["--replay"])?;
    ensure!(
        said.code == Some(1) && said.out.is_empty() && said.err.contains("before offset 7 was deleted"),
        "{said:?}"
    );
    audited.holds(cluster, &[]).map(drop)
}

/// Some events are further behind than the watermark waits.
async fn late_events_are_told_from_lost_ones(cluster: &Cluster) -> Result<()> {
    let audited = Audited::create(cluster, "late").await?;
    let bootstrap = cluster.broker.bootstrap_servers();
    let mut traffic = Traffic::new(5);
    audited.job.submit(cluster, 1, &[])?;
    feed::produce(&bootstrap, "late", &mut traffic, 3_000)?;
    audited.wait_for("the first sessions", |now| now.rows_total > 50)?;
    // The same once more: nearly all of it is late.
    feed::produce(&bootstrap, "late", &mut Traffic::new(5), 300)?;
    feed::close(&bootstrap, "late", &traffic)?;
    audited.wait_for("all events", |now| now.events_read == 3_303 && now.open_events == 3)?;
    let late = audited.ledger()?.late;
    ensure!(late > 0, "nothing was late");
    let said = audited.holds(cluster, &["--replay"])?;
    ensure!(said["replay"]["sessions_in_parts"].as_u64() > Some(0), "{said}");
    ensure!(said["notes"].to_string().contains("order of arrival"), "{said}");
    let mut sql = Client::connect(&audited.url.parse()?).await?;
    sql.execute(&format!("UPDATE {TABLE} SET num_hits = num_hits + 1 WHERE ctid = (SELECT max(ctid) FROM {TABLE})"))
        .await?;
    ensure!(audited.audit(cluster, &["--replay"])?.code == Some(1), "a changed row was not told");
    audited.job.stop(cluster, true).map(drop)
}

async fn what_stood_in_the_table_before_is_not_guessed(cluster: &Cluster) -> Result<()> {
    let audited = Audited::create(cluster, "before").await?;
    let bootstrap = cluster.broker.bootstrap_servers();
    let mut sql = Client::connect(&audited.url.parse()?).await?;
    let columns = "event_hour TIMESTAMP(3), ip VARCHAR, host VARCHAR, num_hits BIGINT";
    sql.execute(&format!(
        "CREATE TABLE {TABLE} ({columns}); INSERT INTO {TABLE} VALUES (now(), 'x', 'y', 7), (now(), 'x', 'y', 8)"
    ))
    .await?;
    audited.job.submit(cluster, 1, &[])?;
    let mut traffic = Traffic::new(6);
    feed::produce(&bootstrap, "before", &mut traffic, 2_000)?;
    feed::close(&bootstrap, "before", &traffic)?;
    // The observer of the tests expects a table of the job's own, so it is the ledger that is asked.
    let is_over = Deadline::after(RECOVERY_LIMIT);
    let read = "SELECT events_read - open_events FROM gapwise_ledger";
    while sql.query_text(read).await?.rows != [[Some("2000".to_owned())]] {
        ensure!(!is_over.has_passed(), "the job did not read all");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = audited.audit(cluster, &["--replay"])?;
    ensure!(said.code == Some(1) && said.out.contains("2 rows are of no job in the ledger"), "{said:?}");
    audited.holds(cluster, &["--rows-before", "2"])?;
    audited.holds(cluster, &["--rows-before", "2", "--replay"])?;
    ensure!(audited.audit(cluster, &["--rows-before", "3"])?.code == Some(1), "one row less than was said");
    audited.job.stop(cluster, true)?;

    // A second job into the same table: its rows count, and cannot be told from the first one's.
    let second = audited.job.submit(cluster, 1, &["--until", "latest", "--wait"])?;
    let of_second = |more: &[&str]| {
        let args = [&["audit", &second, "--rows-before", "2"], more].concat();
        cluster.jobctl_with(&args, &audited.env())
    };
    let said = of_second(&[])?.ok()?;
    ensure!(said.contains("by 2 jobs"), "{said}");
    let said = of_second(&["--replay"])?;
    ensure!(said.code == Some(1) && said.err.contains("several jobs"), "{said:?}");
    Ok(())
}

async fn what_cannot_be_audited_says_why(cluster: &Cluster) -> Result<()> {
    let said = cluster.jobctl(&["audit", "nobody"])?;
    ensure!(said.code == Some(4), "{said:?}");
    let empty = Audited::create(cluster, "elsewhere").await?;
    let said = cluster.jobctl_with(&["audit", "good"], &empty.env())?;
    ensure!(said.code == Some(4) && said.err.contains("is missing") || said.err.contains("are missing"), "{said:?}");
    let changed = cluster.create_database("empty_ledger").await?;
    let mut sql = Client::connect(&changed.parse()?).await?;
    sql.execute(&format!("CREATE TABLE {TABLE} (event_hour TIMESTAMP(3), ip VARCHAR, host VARCHAR, num_hits BIGINT)"))
        .await?;
    let ledger = std::fs::read_to_string(e2e::cluster::repository_file("sql/ledger/gapwise_ledger.sql")?)?;
    sql.execute(&ledger).await?;
    let said = cluster.jobctl_with(&["audit", "good"], &[("POSTGRES_URL", changed.as_str())])?;
    ensure!(said.code == Some(4) && said.err.contains("knows nothing of job"), "{said:?}");
    Ok(())
}

/// A job with a topic and a database, and an observer of its ledger.
struct Audited {
    job: Job,
    url: String,
    observer: Audit,
}

impl Audited {
    async fn create(cluster: &Cluster, name: &str) -> Result<Audited> {
        let url = cluster.create_database(name).await?;
        feed::create_topic(&cluster.broker.bootstrap_servers(), name).await?;
        let job = Job { name: name.to_owned(), postgres_url: url.clone() };
        let observer = Audit::start(&url, Deadline::after(Duration::MAX))?;
        Ok(Audited { job, url, observer })
    }

    fn env(&self) -> [(&str, &str); 1] {
        [("POSTGRES_URL", &self.url)]
    }

    fn ledger(&self) -> Result<Ledger> {
        self.observer.ledger().context("nothing is published")
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
        let found = block_in_place(|| self.observer.wait_for(RECOVERY_LIMIT, is_so));
        found.with_context(|| format!("waited in vain for {what}; the ledger: {:?}", self.observer.ledger()))
    }

    fn audit(&self, cluster: &Cluster, more: &[&str]) -> Result<Said> {
        let args = [&["audit", &self.job.name, "--output", "json"], more].concat();
        cluster.jobctl_with(&args, &self.env())
    }

    /// Every check holds; the answer.
    fn holds(&self, cluster: &Cluster, more: &[&str]) -> Result<Value> {
        let said: Value = serde_json::from_str(&self.audit(cluster, more)?.ok()?)?;
        ensure!(said["holds"] == true, "exit code 0, and yet {said}");
        Ok(said)
    }
}
