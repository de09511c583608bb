//! `jobctl late replay` on a real cluster: late events go into their sessions once, whoever dies, and an audit knows of it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::audit::{Audit, Ledger};
use e2e::cluster::{Cluster, Shape, repository_file};
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::programs::Said;
use e2e::traffic::{BEGIN_MS, Event, PARTITIONS, Traffic};
use localcluster::deadline::Deadline;
use serde_json::Value;
use stream_core::time::EventTime;
use tokio::task::block_in_place;

const TABLE: &str = "sessionized_aggregated_events";
const SECOND: i64 = 1000;
const CLOSING: u64 = PARTITIONS as u64;

/// One cluster for all: each clause has a job, a topic and a database of its own.
#[tokio::test(flavor = "multi_thread")]
async fn late_events_go_into_their_sessions_once() -> Result<()> {
    let cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    whoever_is_killed_in_between_the_sessions_are_those_of_all_events(&cluster).await.context("killed")?;
    what_cannot_be_decided_yet_is_left_with_a_word(&cluster).await.context("waiting")?;
    an_operator_needs_the_rights_of_the_script_and_nothing_more(&cluster).await.context("rights")?;
    what_cannot_be_replayed_says_why(&cluster).await.context("refusals")
}

async fn whoever_is_killed_in_between_the_sessions_are_those_of_all_events(cluster: &Cluster) -> Result<()> {
    const EVENTS: u64 = 8_000;
    let replayed = Replayed::create(cluster, "killed", &["--last-event"]).await?;
    let mut traffic = Traffic::new(21);
    let events: Vec<Event> = (0..EVENTS).map(|_| traffic.next_event()).collect();
    let (late, in_time): (Vec<_>, Vec<_>) = events.into_iter().enumerate().partition(|(number, _)| number % 20 == 7);
    let of = |events: Vec<(usize, Event)>| events.into_iter().map(|(_, event)| event).collect::<Vec<Event>>();
    let (late, in_time) = (of(late), of(in_time));
    feed::produce_records(&replayed.bootstrap, "killed", &in_time)?;
    feed::close(&replayed.bootstrap, "killed", &traffic)?;
    replayed.wait_for("all sessions", |now| {
        now.events_read == in_time.len() as u64 + CLOSING && now.open_events == CLOSING
    })?;
    feed::produce_records(&replayed.bootstrap, "killed", &late)?;
    replayed.wait_for("all late events", |now| now.late == late.len() as u64)?;

    // A late event is held by somebody else, and the replay that waits for it is killed.
    let mut sql = Client::connect(&replayed.job.postgres_url.parse()?).await?;
    // What is kept for replays is made before: to make it nobody waits for long.
    sql.execute(&std::fs::read_to_string(repository_file("sql/ledger/late_replay.sql")?)?).await?;
    let held = "BEGIN; SELECT FROM late_events ORDER BY ip, host, event_time \
                OFFSET (SELECT count(*) / 4 FROM late_events) LIMIT 1 FOR UPDATE";
    sql.execute(held).await?;
    let env = replayed.env();
    let mut command = cluster.jobctl_command(&["late", "replay", "killed", "--batch-keys", "1"], &env)?;
    let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut watch = Client::connect(&replayed.job.postgres_url.parse()?).await?;
    let of_replay = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gapwise/late-replay'";
    until(&mut watch, &format!("{of_replay} AND wait_event_type = 'Lock'"), "1").await?;
    let said = replayed.replay(cluster, &[])?;
    ensure!(said.code == Some(1) && said.err.contains("under way"), "two at once: {said:?}");
    killed.kill()?;
    killed.wait()?;
    sql.execute("ROLLBACK").await?;
    until(&mut watch, of_replay, "0").await?;
    replayed.audit(cluster, &["--replay"])?;
    let account = "SELECT coalesce((SELECT events FROM gapwise_late_replay), 0)";
    let before: u64 = text(&mut sql, account).await?.parse()?;
    ensure!(before < late.len() as u64, "it had replayed all");

    // Another one does the rest, while the job runs.
    let told = replayed.replayed(cluster, &[])?;
    ensure!(told["replayed"] == late.len() as u64 - before, "{before} before: {told}");
    ensure!(told["joined"].as_u64() > Some(0) && told["made"].as_u64() > Some(0), "{told}");
    ensure!(told["too_recent"] == 0 && told["undecided"] == 0, "{told}");
    ensure!(text(&mut sql, account).await? == late.len().to_string(), "the account");
    let audit = replayed.audit(cluster, &["--replay"])?;
    let (rows, replay) = (audit["replay"]["rows"].clone(), &audit["replay"]);
    ensure!(
        replay["equal"] == rows && replay["closed_sessions"] == rows && replay["sessions_in_parts"] == 0,
        "{audit}"
    );
    ensure!(audit["checks"].to_string().contains("late events marked as replayed"), "{audit}");
    let lasts = format!("SELECT count(*) FROM {TABLE} WHERE last_event IS NULL OR last_event < event_hour");
    ensure!(text(&mut sql, &lasts).await? == "0", "a session has no last event");

    // A third finds nothing to do.
    let whole = format!("SELECT md5(string_agg(t::text, ';' ORDER BY t::text)) FROM {TABLE} AS t");
    let before = text(&mut sql, &whole).await?;
    let told = replayed.replayed(cluster, &[])?;
    ensure!(told["replayed"] == 0 && told["changed"] == 0 && told["made"] == 0, "{told}");
    ensure!(text(&mut sql, &whole).await? == before, "the second changed something");

    // The accounts are a check: neither marks nor rows can be changed unseen.
    for change in [
        "UPDATE late_events SET replayed_at = NULL WHERE ctid = (SELECT max(ctid) FROM late_events)",
        "UPDATE gapwise_late_replay SET rows_added = rows_added + 1",
        "UPDATE gapwise_late_replay SET events = events - 1",
    ] {
        sql.execute(&format!("BEGIN; CREATE TABLE kept AS SELECT * FROM gapwise_late_replay; {change}; COMMIT"))
            .await?;
        ensure!(replayed.said(cluster, &["audit", "killed"])?.code == Some(1), "unseen: {change}");
        let back = "UPDATE late_events SET replayed_at = coalesce(replayed_at, now()); DELETE FROM gapwise_late_replay; \
                    INSERT INTO gapwise_late_replay SELECT * FROM kept; DROP TABLE kept";
        sql.execute(back).await?;
    }
    replayed.audit(cluster, &[])?;
    replayed.job.stop(cluster, true).map(drop)
}

async fn what_cannot_be_decided_yet_is_left_with_a_word(cluster: &Cluster) -> Result<()> {
    let replayed = Replayed::create(cluster, "waiting", &[]).await?;
    // The table as it always was: a session of 0 s to 8 s, of which the row says that it began at 0 s and had two hits, so that it
    // may have ended anywhere up to 10 s.
    let mut events = vec![event("a", 0), event("a", 8)];
    events.extend(event_time_is(100));
    feed::produce_records(&replayed.bootstrap, "waiting", &events)?;
    replayed.wait_for("the first session", |now| now.rows_total == 1)?;
    let late = [event("a", 5), event("a", 16), event("a", 40), event("a", 85)];
    feed::produce_records(&replayed.bootstrap, "waiting", &late)?;
    replayed.wait_for("all late events", |now| now.late == 4)?;
    let text = replayed.said(cluster, &["late", "replay", "waiting"])?.ok()?;
    ensure!(
        text.contains(
            "2 late events replayed, of 1 keys: 1 sessions corrected, 0 rows joined to others, 1 sessions made"
        ),
        "{text}"
    );
    ensure!(text.contains("1 late events are left: the table does not show yet"), "{text}");
    ensure!(text.contains("1 late events are left: whether they touch a session"), "{text}");
    let told = replayed.replayed(cluster, &[])?;
    ensure!(told["replayed"] == 0 && told["too_recent"] == 1 && told["undecided"] == 1, "{told}");
    replayed.audit(cluster, &["--replay"])?;
    feed::produce_records(&replayed.bootstrap, "waiting", &event_time_is(200))?;
    replayed.wait_for("event time", |now| now.rows_total == 4)?;
    let told = replayed.replayed(cluster, &[])?;
    ensure!(told["replayed"] == 1 && told["too_recent"] == 0 && told["undecided"] == 1, "{told}");
    let mut sql = Client::connect(&replayed.job.postgres_url.parse()?).await?;
    let rows = format!(
        "SELECT string_agg(extract(epoch FROM event_hour - '2025-01-14')::int || ': ' || num_hits, ', ' ORDER BY event_hour) \
         FROM {TABLE} WHERE ip = 'a'"
    );
    ensure!(self::text(&mut sql, &rows).await? == "0: 3, 40: 1, 85: 1", "{}", self::text(&mut sql, &rows).await?);
    replayed.audit(cluster, &["--replay"])?;
    replayed.job.stop(cluster, true).map(drop)
}

async fn an_operator_needs_the_rights_of_the_script_and_nothing_more(cluster: &Cluster) -> Result<()> {
    let replayed = Replayed::create(cluster, "rights", &["--last-event"]).await?;
    let mut events = vec![event("a", 0)];
    events.extend(event_time_is(100));
    feed::produce_records(&replayed.bootstrap, "rights", &events)?;
    replayed.wait_for("the first session", |now| now.rows_total == 1)?;
    feed::produce_records(&replayed.bootstrap, "rights", &[event("a", 5)])?;
    replayed.wait_for("the late event", |now| now.late == 1)?;
    let mut sql = Client::connect(&replayed.job.postgres_url.parse()?).await?;
    sql.execute("CREATE ROLE operator LOGIN PASSWORD 'operator'; GRANT USAGE ON SCHEMA public TO operator").await?;
    sql.execute(&format!("GRANT SELECT ON {TABLE}, gapwise_ledger TO operator")).await?;
    let (_, place) = replayed.job.postgres_url.rsplit_once('@').context("a URL with a user")?;
    let sink = format!("postgres://operator:operator@{place}");
    let as_operator = ["late", "replay", "rights", "--sink", &sink];
    let said = replayed.said(cluster, &as_operator)?;
    ensure!(said.code == Some(7) && said.err.contains("sql/ledger/late_replay.sql"), "{said:?}");
    sql.execute(&std::fs::read_to_string(repository_file("sql/ledger/late_replay.sql")?)?).await?;
    let grants = &said.err[said.err.find("GRANT").context("grants")?..said.err.rfind(';').context("grants")?];
    sql.execute(grants).await?;
    let text = replayed.said(cluster, &as_operator)?.ok()?;
    ensure!(text.contains("1 late events replayed, of 1 keys: 1 sessions corrected"), "{text}");
    for grant in grants.split("; ") {
        let revoked = grant.replace("GRANT ", "REVOKE ").replace(" TO ", " FROM ");
        sql.execute(&format!("{revoked}; UPDATE late_events SET replayed_at = NULL")).await?;
        let said = replayed.said(cluster, &as_operator)?;
        ensure!(said.code == Some(7), "without {grant}: {said:?}");
        sql.execute(grant).await?;
    }
    replayed.job.stop(cluster, true).map(drop)
}

async fn what_cannot_be_replayed_says_why(cluster: &Cluster) -> Result<()> {
    let said = cluster.jobctl(&["late", "replay", "nobody"])?;
    ensure!(said.code == Some(4), "{said:?}");
    let dropping = Replayed::create(cluster, "dropping", &["--on-late", "drop"]).await?;
    let said = dropping.replay(cluster, &[])?;
    ensure!(said.code == Some(2) && said.err.contains("does not keep late events"), "{said:?}");
    // A second job into the same table: no row tells whose it is.
    feed::produce_records(&dropping.bootstrap, "dropping", &event_time_is(100))?;
    feed::produce_records(&dropping.bootstrap, "dropping", &event_time_is(200))?;
    // The observer of the tests expects a table of late events, so it is the ledger that is asked.
    let mut sql = Client::connect(&dropping.job.postgres_url.parse()?).await?;
    until(&mut sql, "SELECT coalesce(sum(rows_total), 0) FROM gapwise_ledger", "3").await?;
    let keeping = dropping.job.submit(cluster, 1, &["--until", "latest", "--wait"])?;
    let said = dropping.said(cluster, &["late", "replay", &keeping])?;
    ensure!(said.code == Some(1) && said.err.contains("rows of several jobs"), "{said:?}");
    Ok(())
}

/// A job whose late events are replayed.
struct Replayed {
    job: Job,
    bootstrap: String,
    observer: Audit,
}

impl Replayed {
    async fn create(cluster: &Cluster, name: &str, more: &[&str]) -> Result<Replayed> {
        let bootstrap = cluster.broker.bootstrap_servers();
        feed::create_topic(&bootstrap, name).await?;
        let job = Job { name: name.to_owned(), postgres_url: cluster.create_database(name).await? };
        let observer = Audit::start(&job.postgres_url, Deadline::after(Duration::MAX))?;
        job.submit(cluster, 1, more)?;
        Ok(Replayed { job, bootstrap, observer })
    }

    fn env(&self) -> [(&str, &str); 1] {
        [("POSTGRES_URL", &self.job.postgres_url)]
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
        let found = block_in_place(|| self.observer.wait_for(RECOVERY_LIMIT, is_so));
        found.with_context(|| format!("waited in vain for {what}; the ledger: {:?}", self.observer.ledger()))
    }

    fn said(&self, cluster: &Cluster, args: &[&str]) -> Result<Said> {
        cluster.jobctl_with(args, &self.env())
    }

    fn replay(&self, cluster: &Cluster, more: &[&str]) -> Result<Said> {
        self.said(cluster, &[&["late", "replay", &self.job.name, "--output", "json"], more].concat())
    }

    /// What a replay tells that does what it can.
    fn replayed(&self, cluster: &Cluster, more: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.replay(cluster, more)?.ok()?)?)
    }

    /// An audit in which every check holds.
    fn audit(&self, cluster: &Cluster, more: &[&str]) -> Result<Value> {
        let args = [&["audit", &self.job.name, "--output", "json"], more].concat();
        Ok(serde_json::from_str(&self.said(cluster, &args)?.ok()?)?)
    }
}

/// An event so many seconds behind the begin.
fn event(ip: &str, seconds: i64) -> Event {
    of_partition(0, ip, seconds)
}

/// Events of every partition, so that event time is there; each of a visitor of its own.
fn event_time_is(seconds: i64) -> Vec<Event> {
    (0..PARTITIONS).map(|partition| of_partition(partition, &format!("time {partition}"), seconds)).collect()
}

fn of_partition(partition: i32, ip: &str, seconds: i64) -> Event {
    let at_ms = BEGIN_MS + seconds * SECOND;
    let time = EventTime(at_ms).to_string().replace(' ', "T");
    let json = format!(r#"{{"ip":"{ip}","host":"www.techcreator.io","event_time":"{time}Z"}}"#);
    Event { partition, at_ms, json }
}

async fn until(sql: &mut Client, query: &str, expected: &str) -> Result<()> {
    let is_over = Deadline::after(RECOVERY_LIMIT);
    while text(sql, query).await? != expected {
        ensure!(!is_over.has_passed(), "waited in vain until {query} is {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn text(sql: &mut Client, query: &str) -> Result<String> {
    let table = sql.query_text(query).await?;
    table.rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).context("no answer")
}
