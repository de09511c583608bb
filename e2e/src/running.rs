//! A job that is fed and audited, from its first sessions to the comparison of its table with what should be there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use localcluster::deadline::Deadline;
use tokio::task::block_in_place;

use crate::audit::{Audit, Findings, LOOK_EVERY, Ledger, Looks};
use crate::cluster::Cluster;
use crate::feed::{self, Feed};
use crate::job::{Job, RECOVERY_LIMIT};
use crate::oracle;
use crate::subject::Subject;
use crate::traffic::{PARTITIONS, Traffic};

/// Enough for hundreds of sessions each second, little enough for an unoptimised build.
pub const RATE: u64 = 1_000;

/// What a job has to bear.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// As it is submitted.
    pub parallelism: u32,
    /// Events each second.
    pub rate: u64,
    /// The port on 127.0.0.1 where the job finds its Postgres; that of the server itself if `None`.
    pub sink_port: Option<u16>,
    /// Between two checkpoints.
    pub checkpoint_interval: Duration,
    /// Between two looks of the auditor, each of which counts the whole table.
    pub look_every: Duration,
}

impl Load {
    /// A light one.
    pub fn of(parallelism: u32) -> Load {
        let checkpoint_interval = Duration::from_secs(1);
        Load { parallelism, rate: RATE, sink_port: None, checkpoint_interval, look_every: LOOK_EVERY }
    }
}

/// A job that is fed and audited. The auditor asks the server itself.
#[derive(Debug)]
pub struct Running {
    /// The job.
    pub job: Job,
    /// Its id.
    pub id: String,
    /// What watches its table and ledger.
    pub audit: Audit,
    /// Its traffic, while there is some.
    pub feed: Option<Feed>,
    /// How long it may take to publish what is waited for.
    pub patience: Duration,
    url: String,
}

impl Running {
    /// Begins one, and waits until it has published sessions that could be lost.
    ///
    /// # Errors
    /// If it does not begin so.
    pub async fn begin(cluster: &Cluster, name: &str, load: Load) -> Result<Running> {
        let running = Running::submit(cluster, name, load).await?;
        running.wait_for_sessions()?;
        Ok(running)
    }

    /// Begins one, and waits for nothing.
    ///
    /// # Errors
    /// If it cannot be submitted.
    pub async fn submit(cluster: &Cluster, name: &str, load: Load) -> Result<Running> {
        let url = cluster.create_database(name).await?;
        Running::submit_as(cluster, name, load, url.clone(), url).await
    }

    /// As [`Running::begin`], with a role that has the rights which the scripts in `sql/ledger` name, and no other.
    ///
    /// # Errors
    /// As [`Running::begin`].
    pub async fn begin_with_few_rights(cluster: &Cluster, name: &str, load: Load) -> Result<Running> {
        let url = cluster.create_database(name).await?;
        let mut sql = connectors::postgres::Client::connect(&url.parse()?).await?;
        sql.execute(include_str!("../../sql/ledger/gapwise_ledger.sql")).await?;
        sql.execute(include_str!("../../sql/ledger/side_tables.sql")).await?;
        sql.execute(
            "CREATE TABLE sessionized_aggregated_events \
                 (event_hour timestamp(3), ip varchar, host varchar, num_hits bigint); \
             CREATE ROLE gapwise LOGIN PASSWORD 'few-rights'; \
             REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO gapwise; \
             GRANT INSERT ON sessionized_aggregated_events, late_events, dead_letter_events TO gapwise; \
             GRANT SELECT, UPDATE ON gapwise_ledger TO gapwise; \
             REVOKE ALL ON FUNCTION gapwise_publish FROM PUBLIC; \
             GRANT EXECUTE ON FUNCTION gapwise_fence, gapwise_publish TO gapwise",
        )
        .await?;
        let (_, server) = url.split_once('@').context("a URL with a user")?;
        let job_url = format!("postgres://gapwise:few-rights@{server}");
        let running = Running::submit_as(cluster, name, load, url, job_url).await?;
        running.wait_for_sessions()?;
        Ok(running)
    }

    async fn submit_as(cluster: &Cluster, name: &str, load: Load, url: String, job_url: String) -> Result<Running> {
        let its_own = format!(":{}/", cluster.postgres.port());
        let postgres_url =
            load.sink_port.map_or(job_url.clone(), |port| job_url.replace(&its_own, &format!(":{port}/")));
        let bootstrap = cluster.broker.bootstrap_servers();
        feed::create_topic(&bootstrap, name).await?;
        let job = Job { name: name.to_owned(), postgres_url };
        let interval = format!("{}ms", load.checkpoint_interval.as_millis());
        let id = job.submit(cluster, load.parallelism, &["--checkpoint-interval", &interval])?;
        let audit = Audit::start_with(
            Looks { every: load.look_every, ..Looks::default() },
            &url,
            Deadline::after(Duration::MAX),
        )?;
        let seed = name.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte));
        let feed = Some(Feed::start(&bootstrap, name, Traffic::new(seed), load.rate)?);
        Ok(Running { job, id, audit, feed, patience: RECOVERY_LIMIT, url })
    }

    /// Waits until it has published sessions that could be lost.
    ///
    /// # Errors
    /// If it does not within its patience.
    pub fn wait_for_sessions(&self) -> Result<Ledger> {
        self.wait_for("the first sessions", |now| now.rows_total > 100)
    }

    /// The latest look at the ledger.
    ///
    /// # Errors
    /// If nothing is published.
    pub fn ledger(&self) -> Result<Ledger> {
        self.audit.ledger().context("nothing is published")
    }

    /// Waits until the ledger is as `is_so` wants it.
    ///
    /// # Errors
    /// If it is not within its patience, with what it was last.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
        let found = block_in_place(|| self.audit.wait_for(self.patience, is_so));
        found.with_context(|| format!("waited in vain for {what}; the ledger: {:?}", self.audit.ledger()))
    }

    /// Waits for an epoch of a later attempt than that of `before`.
    ///
    /// # Errors
    /// If there is none within its patience.
    pub fn wait_for_a_new_attempt_to_publish(&self, before: &Ledger) -> Result<Ledger> {
        self.wait_for("an epoch of a new attempt", |now| now.last_epoch >> 32 > before.token)
    }

    /// Ends the traffic and every session, and waits until all of it is published; the traffic, to go on with.
    ///
    /// # Errors
    /// If it is not within its patience.
    pub async fn close(&mut self, cluster: &Cluster) -> Result<Traffic> {
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
    ///
    /// # Errors
    /// If the job does not end, the table is not exact, or at some instant it did not agree with the ledger.
    pub async fn end(mut self, cluster: &Cluster) -> Result<Findings> {
        self.close(cluster).await?;
        self.finish(cluster).await
    }

    /// As [`Running::end`], behind [`Running::close`].
    ///
    /// # Errors
    /// As [`Running::end`].
    pub async fn finish(self, cluster: &Cluster) -> Result<Findings> {
        self.job.stop(cluster, true)?;
        let findings = self.audit.finish()?;
        ensure!(findings.violations == 0, "{} violations: {:#?}", findings.violations, findings.told);
        let mut sql = connectors::postgres::Client::connect(&self.url.parse()?).await?;
        let bootstrap = cluster.broker.bootstrap_servers();
        let verdict = oracle::compare(&mut sql, cluster.dir(), &bootstrap, &self.job.name, Subject::SESSIONS).await?;
        ensure!(verdict.is_exact(), "{verdict}");
        Ok(findings)
    }
}
