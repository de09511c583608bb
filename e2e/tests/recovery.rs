//! What a job survives, one thing at a time: real processes are killed and halted, and the table is compared with what
//! Postgres computes from the topic by itself. `make chaos` does all of it at once.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::audit::{Audit, Findings, Ledger};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::feed::{self, Feed};
use e2e::job::{Job, RECOVERY_LIMIT, counter};
use e2e::oracle;
use e2e::traffic::{GAP_MS, PARTITIONS, Traffic};
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

const SHAPE: Shape = Shape { taskmanagers: 2, slots: 2, has_checkpoints: true, broker: Choice::Best };
/// Enough for hundreds of sessions each second, little enough for an unoptimised build.
const RATE: u64 = 1_000;

/// One cluster for all: each clause has a job, a topic and a database of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_dies_is_made_up_for() -> Result<()> {
    let mut cluster = Cluster::start_with(SHAPE)?;
    a_killed_taskmanager_loses_and_repeats_nothing(&mut cluster).await.context("a killed taskmanager")?;
    a_killed_jobmanager_stops_no_task(&mut cluster).await.context("a killed jobmanager")?;
    a_crashed_postgres_loses_and_repeats_nothing(&mut cluster).await.context("a crashed postgres")?;
    Ok(())
}

/// One cluster for all, as above.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_asks_for_keeps_every_session() -> Result<()> {
    let mut cluster = Cluster::start_with(SHAPE)?;
    a_rescaled_job_keeps_its_sessions(&cluster).await.context("rescale")?;
    a_stopped_job_goes_on_from_its_savepoint(&cluster).await.context("stop, savepoint")?;
    a_damaged_checkpoint_is_not_believed(&mut cluster).await.context("a damaged checkpoint")?;
    Ok(())
}

async fn a_killed_taskmanager_loses_and_repeats_nothing(cluster: &mut Cluster) -> Result<()> {
    let running = Running::begin_with_few_rights(cluster, "taskmanager_killed", 2).await?;
    let described = running.job.describe(cluster)?;
    let of_window = described["subtasks"].as_array().unwrap().iter().find(|subtask| subtask["stage"] == "window");
    let victim = of_window.context("a window")?["taskmanager"].as_str().context("a taskmanager")?.to_owned();
    let number: usize = victim.trim_start_matches("tm-").parse()?;
    let before = running.ledger()?;
    cluster.taskmanagers[number - 1].kill();
    cluster.taskmanagers[number - 1].restart()?;
    running.wait_for_a_new_attempt_to_publish(&before)?;
    running.end(cluster).await.map(drop)
}

async fn a_killed_jobmanager_stops_no_task(cluster: &mut Cluster) -> Result<()> {
    let running = Running::begin(cluster, "jobmanager_killed", 2).await?;
    let before = running.job.describe(cluster)?;
    let read_before = counter(&before, "source", "records_in")?;
    let ledger = running.ledger()?;
    cluster.jobmanager.kill();
    cluster.jobmanager.restart()?;
    let after = running.job.wait_until(cluster, |job| {
        job["state"] == "running" && counter(job, "source", "records_in").is_ok_and(|read| read > read_before)
    })?;
    ensure!(after["id"] == before["id"] && after["attempt"] == before["attempt"], "it was restarted: {after}");
    let published =
        running.wait_for("an epoch after the jobmanager's end", |now| now.last_epoch > ledger.last_epoch)?;
    ensure!(published.token == ledger.token, "it was fenced: {published:?}");
    running.end(cluster).await.map(drop)
}

async fn a_crashed_postgres_loses_and_repeats_nothing(cluster: &mut Cluster) -> Result<()> {
    let running = Running::begin(cluster, "postgres_crashed", 2).await?;
    // Two crashes: the second is likely to meet the sink as it catches up.
    for _ in 0..2 {
        let before = running.ledger()?;
        block_in_place(|| {
            cluster.postgres.stop_immediately();
            cluster.postgres.restart()
        })?;
        running.wait_for("an epoch after the crash", |now| now.last_epoch > before.last_epoch)?;
    }
    let findings = running.end(cluster).await?;
    ensure!(findings.outages > 0, "the auditor noticed no crash: {findings:?}");
    Ok(())
}

async fn a_rescaled_job_keeps_its_sessions(cluster: &Cluster) -> Result<()> {
    let running = Running::begin(cluster, "rescaled", 1).await?;
    for parallelism in [3, 2] {
        let before = running.ledger()?;
        running.job.rescale(cluster, parallelism)?;
        running.wait_for_a_new_attempt_to_publish(&before)?;
        running.job.wait_until(cluster, |job| job["state"] == "running" && job["parallelism"] == parallelism)?;
    }
    running.end(cluster).await.map(drop)
}

async fn a_stopped_job_goes_on_from_its_savepoint(cluster: &Cluster) -> Result<()> {
    let mut running = Running::begin(cluster, "stopped", 2).await?;
    // Open sessions wait in the savepoint; the feed goes on meanwhile.
    let savepoint = running.job.stop(cluster, false)?;
    let ledger = running.ledger()?;
    ensure!(ledger.open_events > 0, "a stop without --drain closed sessions: {ledger:?}");
    running.job.submit(cluster, 1, &["--from-savepoint", &savepoint])?;
    running.wait_for_a_new_attempt_to_publish(&ledger)?;
    let mut traffic = running.close(cluster).await?;
    // Event time has ended, so nothing may be open; what comes later begins sessions of its own.
    let savepoint = running.job.stop(cluster, true)?;
    let ledger = running.wait_for("an end with everything published", |now| now.open_events == 0)?;
    running.job.submit(cluster, 2, &["--from-savepoint", &savepoint])?;
    traffic.go_on_after_closing();
    feed::produce(&cluster.broker.bootstrap_servers(), &running.job.name, &mut traffic, 5 * RATE)?;
    running.feed = Some(Feed::start(&cluster.broker.bootstrap_servers(), &running.job.name, traffic, RATE)?);
    running.wait_for_a_new_attempt_to_publish(&ledger)?;
    running.end(cluster).await.map(drop)
}

/// Bits rot while the whole cluster is off. Either an older checkpoint does, and then all is exact; or the job says which
/// file it cannot read.
async fn a_damaged_checkpoint_is_not_believed(cluster: &mut Cluster) -> Result<()> {
    let running = Running::begin(cluster, "damaged", 2).await?;
    let ledger = running.ledger()?;
    running.wait_for("more epochs", |now| now.last_epoch > ledger.last_epoch + 1)?;
    cluster.jobmanager.kill();
    cluster.taskmanagers.iter_mut().for_each(|taskmanager| taskmanager.kill());
    let folder = cluster.checkpoint_dir().join(&running.id);
    let damaged = damage_newest_file(&folder.join("state"))?;
    let name = damaged.strip_prefix(&folder)?.to_str().context("a name that is text")?.to_owned();
    let ledger = running.ledger()?;
    cluster.jobmanager.restart()?;
    cluster.taskmanagers.iter_mut().try_for_each(|taskmanager| taskmanager.restart())?;
    let refuses =
        |job: &Value| job["causes"].to_string().contains(&name) || job["last_failure"].to_string().contains(&name);
    let mut said = String::new();
    let outcome = block_in_place(|| {
        Deadline::after(RECOVERY_LIMIT).wait_for(|| {
            let job = running.job.describe(cluster);
            said = format!("{job:?}");
            let is_refused = job.is_ok_and(|job| refuses(&job) && job["state"] == "failed");
            // What was pending is published in either case; only an epoch of its own shows that an attempt runs.
            let has_recovered = running.ledger()?.last_epoch >> 32 > ledger.token;
            anyhow::Ok((is_refused || has_recovered).then_some(has_recovered))
        })
    })?;
    match outcome.with_context(|| format!("neither refused for `{}` nor recovered: {said}", damaged.display()))? {
        true => running.end(cluster).await.map(drop),
        false => Ok(()),
    }
}

/// Flips a bit in the middle of the file that was written last.
fn damage_newest_file(folder: &Path) -> Result<PathBuf> {
    let mut files = Vec::new();
    collect_files(folder, &mut files)?;
    let written = |file: &&PathBuf| file.metadata().and_then(|meta| meta.modified()).ok();
    let file = files.iter().max_by_key(written).context("no state file")?;
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("an empty state file")? ^= 1;
    std::fs::write(file, bytes)?;
    Ok(file.clone())
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect_files(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// A job that is fed and audited.
struct Running {
    job: Job,
    id: String,
    audit: Audit,
    feed: Option<Feed>,
    url: String,
}

impl Running {
    /// Begins one, and waits until it has published sessions that could be lost.
    async fn begin(cluster: &Cluster, name: &str, parallelism: u32) -> Result<Running> {
        let url = cluster.create_database(name).await?;
        Running::begin_as(cluster, name, parallelism, url.clone(), url).await
    }

    /// Likewise, with a role that has the rights which `gapwise_ledger.sql` names, and no other.
    async fn begin_with_few_rights(cluster: &Cluster, name: &str, parallelism: u32) -> Result<Running> {
        let url = cluster.create_database(name).await?;
        let mut sql = connectors::postgres::Client::connect(&url.parse()?).await?;
        sql.execute(include_str!("../../sql/ledger/gapwise_ledger.sql")).await?;
        sql.execute(
            "CREATE TABLE sessionized_aggregated_events \
                 (event_hour timestamp(3), ip varchar, host varchar, num_hits bigint); \
             CREATE ROLE gapwise LOGIN PASSWORD 'few-rights'; \
             REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO gapwise; \
             GRANT INSERT ON sessionized_aggregated_events TO gapwise; \
             GRANT SELECT, UPDATE ON gapwise_ledger TO gapwise; \
             REVOKE ALL ON FUNCTION gapwise_publish FROM PUBLIC; \
             GRANT EXECUTE ON FUNCTION gapwise_fence, gapwise_publish TO gapwise",
        )
        .await?;
        let (_, server) = url.split_once('@').context("a URL with a user")?;
        let job_url = format!("postgres://gapwise:few-rights@{server}");
        Running::begin_as(cluster, name, parallelism, url, job_url).await
    }

    async fn begin_as(
        cluster: &Cluster,
        name: &str,
        parallelism: u32,
        url: String,
        job_url: String,
    ) -> Result<Running> {
        let bootstrap = cluster.broker.bootstrap_servers();
        feed::create_topic(&bootstrap, name).await?;
        let job = Job { name: name.to_owned(), postgres_url: job_url };
        let id = job.submit(cluster, parallelism, &[])?;
        let audit = Audit::start(&url, Deadline::after(Duration::MAX))?;
        let seed = name.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte));
        let feed = Some(Feed::start(&bootstrap, name, Traffic::new(seed), RATE)?);
        let running = Running { job, id, audit, feed, url };
        running.wait_for("the first sessions", |now| now.rows_total > 100)?;
        Ok(running)
    }

    fn ledger(&self) -> Result<Ledger> {
        self.audit.ledger().context("nothing is published")
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
        let found = block_in_place(|| self.audit.wait_for(RECOVERY_LIMIT, is_so));
        found.with_context(|| format!("waited in vain for {what}; the ledger: {:?}", self.audit.ledger()))
    }

    fn wait_for_a_new_attempt_to_publish(&self, before: &Ledger) -> Result<Ledger> {
        self.wait_for("an epoch of a new attempt", |now| now.last_epoch >> 32 > before.token)
    }

    /// Ends the traffic and every session, and waits until all of it is published; the traffic, to go on with.
    async fn close(&mut self, cluster: &Cluster) -> Result<Traffic> {
        let bootstrap = cluster.broker.bootstrap_servers();
        let feed = self.feed.take().context("it is fed")?;
        let traffic = block_in_place(|| feed.stop())?;
        block_in_place(|| feed::close(&bootstrap, &self.job.name, &traffic))?;
        let records = feed::topic_length(&bootstrap, &self.job.name).await?;
        let closing = u64::from(PARTITIONS.unsigned_abs());
        let is_over = |now: &Ledger| now.events_read == records && now.open_events == closing;
        self.wait_for(&format!("all of {records} records"), is_over)?;
        Ok(traffic)
    }

    /// Ends everything, and compares.
    async fn end(mut self, cluster: &Cluster) -> Result<Findings> {
        self.close(cluster).await?;
        self.job.stop(cluster, true)?;
        let findings = self.audit.finish()?;
        ensure!(findings.violations == 0, "{} violations: {:#?}", findings.violations, findings.told);
        let mut sql = connectors::postgres::Client::connect(&self.url.parse()?).await?;
        let bootstrap = cluster.broker.bootstrap_servers();
        let verdict = oracle::compare(&mut sql, cluster.dir(), &bootstrap, &self.job.name, GAP_MS).await?;
        ensure!(verdict.is_exact(), "{verdict}");
        Ok(findings)
    }
}
