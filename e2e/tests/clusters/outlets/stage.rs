//! A job whose late events and bad records have outlets, and what is sent to it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use connectors::postgres::Client;
use e2e::cluster::Cluster;
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::traffic::{Event, PARTITIONS};
use localcluster::deadline::Deadline;
use tokio::task::block_in_place;

use super::found::{compare, ip, raw, read};

/// Bad records, and late events, that are sent at once.
pub(crate) const BATCH: usize = 20;

/// Where they go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Topics,
    Files,
}

/// A job, and what was sent that is to be in its topics or files.
pub(crate) struct Stage {
    kind: Kind,
    pub(crate) job: Job,
    id: String,
    sql: Client,
    /// The records as they are.
    pub(crate) bad: Vec<String>,
    /// Their ips, each of which comes once.
    late: Vec<String>,
}

impl Stage {
    pub(crate) async fn submit(cluster: &Cluster, kind: Kind, name: &str) -> Result<Stage> {
        let bootstrap = cluster.broker.bootstrap_servers();
        feed::create_topic(&bootstrap, name).await?;
        let job = Job { name: name.to_owned(), postgres_url: cluster.create_database(name).await? };
        let place = |what| match kind {
            Kind::Topics => format!("topic:{name}-{what}"),
            Kind::Files => format!("jsonl:{}", file(cluster, name, what).display()),
        };
        let (late, bad) = (place("late"), place("bad"));
        let more = ["--checkpoint-interval", "250ms", "--on-late", &late, "--on-bad-record", &bad];
        block_in_place(|| cluster.wait_for_taskmanagers())?;
        let id = job.submit(cluster, 1, &more)?;
        let sql = Client::connect(&job.postgres_url.parse()?).await?;
        let mut stage = Stage { kind, job, id, sql, bad: Vec::new(), late: Vec::new() };
        // From then on event time is in the afternoon.
        let events: Vec<Event> = (0..PARTITIONS as usize).map(|n| event("17:00:00", "1.2.3.4", n)).collect();
        feed::produce_records(&bootstrap, name, &events)?;
        stage.wait_for(&format!("open_events = {PARTITIONS}")).await?;
        Ok(stage)
    }

    /// Sends records that are bad and events that are late.
    pub(crate) fn send(&mut self, cluster: &Cluster) -> Result<()> {
        let mut records = Vec::new();
        for number in self.bad.len()..self.bad.len() + BATCH {
            let text = format!("no JSON, number {number}");
            records.push(record(text.clone(), number));
            self.bad.push(text);
        }
        for number in self.late.len()..self.late.len() + BATCH {
            let ip = format!("8.8.{}.{}", number / 250, number % 250);
            records.push(event("03:00:00", &ip, number));
            self.late.push(ip);
        }
        feed::produce_records(&cluster.broker.bootstrap_servers(), &self.job.name, &records)
    }

    /// Waits until the ledger has all that was sent.
    pub(crate) async fn wait_for_all(&mut self) -> Result<()> {
        let all = self.all();
        self.wait_for(&all).await
    }

    /// Likewise, or until something else is so.
    pub(crate) async fn wait_for_all_or(&mut self, mut is_so: impl FnMut() -> bool) -> Result<()> {
        let all = self.all();
        let deadline = Deadline::after(RECOVERY_LIMIT);
        while !is_so() && !self.is(&all).await? {
            ensure!(!deadline.has_passed(), "waited in vain for {all}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn all(&self) -> String {
        format!("bad >= {} AND late >= {}", self.bad.len(), self.late.len())
    }

    async fn wait_for(&mut self, condition: &str) -> Result<()> {
        let deadline = Deadline::after(RECOVERY_LIMIT);
        while !self.is(condition).await? {
            if deadline.has_passed() {
                let ledger = self.ask("SELECT gapwise_ledger::text FROM gapwise_ledger").await?;
                bail!("waited in vain for {condition}; the ledger: {ledger:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn is(&mut self, condition: &str) -> Result<bool> {
        let query = format!("SELECT {condition} FROM gapwise_ledger WHERE job_id = '{}'", self.id);
        Ok(self.ask(&query).await?.as_deref() == Some("t"))
    }

    async fn ask(&mut self, query: &str) -> Result<Option<String>> {
        let table = self.sql.query_text(query).await?;
        Ok(table.rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    pub(crate) async fn end(self, cluster: &Cluster) -> Result<()> {
        self.end_with(cluster, 0).await
    }

    /// Stops the job, and compares what is in the topics with what was sent; so many bad records are gone with their topic.
    pub(crate) async fn end_with(mut self, cluster: &Cluster, gone: usize) -> Result<()> {
        let (bad, late) = (self.bad.len() + gone, self.late.len());
        self.wait_for(&format!("bad = {bad} AND late = {late}")).await?;
        self.wait_for(&format!("side_rows = ARRAY[{late}, {bad}]::int8[]")).await?;
        let env = [("POSTGRES_URL", self.job.postgres_url.as_str())];
        let audit = cluster.jobctl_with(&["audit", &self.job.name], &env)?.ok()?;
        let note = format!("{late} rows of late_events were published into `");
        ensure!(audit.contains(&note), "{audit}");
        let replay = cluster.jobctl_with(&["late", "replay", &self.job.name], &env)?;
        ensure!(replay.code == Some(2) && replay.err.contains("late events of the job go into"), "{replay:?}");
        block_in_place(|| self.job.stop(cluster, false))?;

        match self.kind {
            Kind::Topics => block_in_place(|| self.compare_topics(cluster)),
            Kind::Files => self.compare_files(cluster),
        }
    }

    fn compare_topics(self, cluster: &Cluster) -> Result<()> {
        let name = &self.job.name;
        let found = read(cluster, &format!("{name}-bad"))?;
        compare("bad", found.iter().map(|record| record.value.clone()).collect(), self.bad)?;
        for record in &found {
            record.is_of(name, &self.id, "dead_letter_events", "gapwise.reason")?;
        }
        let found = read(cluster, &format!("{name}-late"))?;
        compare("late", found.iter().map(|record| ip(&record.value)).collect::<Result<_>>()?, self.late)?;
        for record in &found {
            record.is_of(name, &self.id, "late_events", "gapwise.watermark")?;
        }
        Ok(())
    }

    fn compare_files(self, cluster: &Cluster) -> Result<()> {
        let lines = |what| Ok(std::fs::read_to_string(file(cluster, &self.job.name, what))?);
        let (bad, late): (Result<String>, Result<String>) = (lines("bad"), lines("late"));
        compare("bad", bad?.lines().map(raw).collect::<Result<_>>()?, self.bad)?;
        compare("late", late?.lines().map(ip).collect::<Result<_>>()?, self.late)
    }
}

fn file(cluster: &Cluster, name: &str, what: &str) -> PathBuf {
    cluster.dir().join(format!("{name}-{what}.jsonl"))
}

pub(crate) fn record(text: String, number: usize) -> Event {
    Event { partition: (number % PARTITIONS as usize) as i32, at_ms: 0, json: text }
}

fn event(time: &str, ip: &str, number: usize) -> Event {
    let json =
        format!(r#"{{"ip":"{ip}","host":"www.techcreator.io","event_time":"2025-01-14T{time}.000Z","n":{number}}}"#);
    record(json, number)
}
