//! A sessionizing job on a cluster under test, as the tests submit, ask and end it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use localcluster::deadline::Deadline;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::traffic::{GAP_MS, WATERMARK_DELAY_MS};

/// A recovery is over by then, on a machine that is busy with other tests.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

const CHECKPOINT_INTERVAL: &str = "--checkpoint-interval";

/// A job: its topic, its database.
#[derive(Clone, Debug)]
pub struct Job {
    /// As its users call it; the topic's name too.
    pub name: String,
    /// The database, as the job reaches it.
    pub postgres_url: String,
}

impl Job {
    /// Submits it, with the options that [`crate::traffic`] is made for. `more` are further arguments; a checkpoint is due each
    /// second unless they say otherwise.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub fn submit(&self, cluster: &Cluster, parallelism: u32, more: &[&str]) -> Result<String> {
        let (gap, delay) = (format!("{GAP_MS}ms"), format!("{WATERMARK_DELAY_MS}ms"));
        let parallelism = parallelism.to_string();
        // While a broker is away every partition is silent, and none may be taken to be so for ever. They are read in step all the same.
        let never_idle = unless_said(more, "--idle-timeout", "0");
        let in_step = if never_idle.is_empty() { Vec::new() } else { unless_said(more, "--max-drift", &gap) };
        let interval = unless_said(more, CHECKPOINT_INTERVAL, "1s");
        let args: Vec<&str> = [
            &["submit", "sessionize", "--name", &self.name, "--gap", &gap, "--watermark-delay", &delay][..],
            &["--parallelism", &parallelism, "--output", "json"],
            &never_idle,
            &in_step,
            &interval,
            more,
        ]
        .concat();
        let env = [("KAFKA_TOPIC", self.name.as_str()), ("POSTGRES_URL", &self.postgres_url)];
        let said = cluster.jobctl_with(&args, &env)?.ok()?;
        let submitted: Value = serde_json::from_str(&said)?;
        Ok(submitted["job_id"].as_str().context("a job id")?.to_owned())
    }

    /// `jobctl describe`.
    ///
    /// # Errors
    /// If the jobmanager does not answer, or does not know the job.
    pub fn describe(&self, cluster: &Cluster) -> Result<Value> {
        Ok(serde_json::from_str(&cluster.jobctl(&["describe", &self.name, "--output", "json"])?.ok()?)?)
    }

    /// `jobctl checkpoints`, the latest first.
    ///
    /// # Errors
    /// If the jobmanager does not answer, or does not know the job.
    pub fn checkpoints(&self, cluster: &Cluster) -> Result<Vec<Value>> {
        Ok(serde_json::from_str(&cluster.jobctl(&["checkpoints", &self.name, "--output", "json"])?.ok()?)?)
    }

    /// The epochs of the completed checkpoints that are shown, as the ledger has them.
    ///
    /// # Errors
    /// As [`Job::checkpoints`].
    pub fn completed_epochs(&self, cluster: &Cluster) -> Result<Vec<u64>> {
        let shown = self.checkpoints(cluster)?;
        let ids = shown.iter().filter(|shown| shown["state"] == "completed").map(|shown| shown["id"].as_str());
        ids.map(|id| epoch(id.context("an id")?)).collect()
    }

    /// The place in [`Cluster::taskmanagers`] of one that runs a subtask of a stage.
    ///
    /// # Errors
    /// If none does, or the jobmanager does not answer.
    pub fn a_taskmanager_of(&self, cluster: &Cluster, stage: &str) -> Result<usize> {
        let described = self.describe(cluster)?;
        let subtasks = described["subtasks"].as_array().context("no subtasks")?;
        let subtask = subtasks.iter().find(|subtask| subtask["stage"] == stage);
        let name = subtask.and_then(|subtask| subtask["taskmanager"].as_str()).context("no taskmanager")?;
        Ok(name.trim_start_matches("tm-").parse::<usize>()? - 1)
    }

    /// Waits until `jobctl describe` is as `is_so` wants it, while the jobmanager may be away.
    ///
    /// # Errors
    /// If it is not within [`RECOVERY_LIMIT`], with what it was last.
    pub fn wait_until(&self, cluster: &Cluster, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = None;
        let found = Deadline::after(RECOVERY_LIMIT).wait_for(|| {
            let described = self.describe(cluster);
            let found = described.as_ref().ok().filter(|job| is_so(job)).cloned();
            last = Some(described);
            anyhow::Ok(found)
        })?;
        found.with_context(|| format!("job `{}` did not come to that state; the last answer: {last:?}", self.name))
    }

    /// Rescales it.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub fn rescale(&self, cluster: &Cluster, parallelism: u32) -> Result<()> {
        let args = ["rescale", &self.name, "--parallelism", &parallelism.to_string()];
        cluster.jobctl(&args)?.ok().map(drop)
    }

    /// `jobctl stop`; the savepoint's folder.
    ///
    /// # Errors
    /// If the cluster refuses, or the job does not end.
    pub fn stop(&self, cluster: &Cluster, is_drain: bool) -> Result<String> {
        let mut args = vec!["stop", &self.name, "--output", "json"];
        args.extend(is_drain.then_some("--drain"));
        let said: Value = serde_json::from_str(&cluster.jobctl(&args)?.ok()?)?;
        let folder = said["folder"].as_str().context("a savepoint's folder")?.to_owned();
        self.wait_until(cluster, |job| job["state"] == "finished")?;
        Ok(folder)
    }
}

/// An option with this value, unless it is among those that were given.
fn unless_said<'a>(given: &[&str], option: &'a str, value: &'a str) -> Vec<&'a str> {
    if given.contains(&option) { Vec::new() } else { vec![option, value] }
}

/// `3.17`, as token and sequence number in one.
///
/// # Errors
/// If it is no such number.
pub fn epoch(id: &str) -> Result<u64> {
    let (token, sequence) = id.split_once('.').with_context(|| format!("`{id}` is no checkpoint"))?;
    Ok(token.parse::<u64>()? << 32 | sequence.parse::<u64>()?)
}

/// The sum of a counter over a job's subtasks of a stage.
///
/// # Errors
/// If the answer has no such counter.
pub fn counter(described: &Value, stage: &str, name: &str) -> Result<u64> {
    let subtasks = described["subtasks"].as_array().context("no subtasks")?;
    let of_stage = subtasks.iter().filter(|subtask| subtask["stage"] == stage);
    let counts: Option<Vec<u64>> = of_stage.map(|subtask| subtask[name].as_u64()).collect();
    let counts = counts.with_context(|| format!("no counter `{name}`"))?;
    ensure!(!counts.is_empty(), "no stage `{stage}`");
    Ok(counts.iter().sum())
}
