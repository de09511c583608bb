//! A job whose sessions stay open, as the benchmarks of large state submit and ask it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use localcluster::deadline::{Deadline, pause};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::job::{Job, counter};

/// A gap that nothing here is as long as, and a delay that the disorder between partitions stays below.
const OPTIONS: [&str; 6] = ["--gap", "1h", "--watermark-delay", "15s", "--idle-timeout", "0"];
/// Sessions are open by then, on a machine that is busy with other things: so much in any case,
const OPENING_LIMIT: Duration = Duration::from_secs(200);
/// and a second for so many of them.
const OPENED_A_SECOND: u64 = 20_000;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Submits `job`, whose topic has its name.
///
/// # Errors
/// If the cluster refuses.
pub fn submit(cluster: &Cluster, job: &Job, parallelism: u32, interval: Duration, more: &[&str]) -> Result<()> {
    let (parallelism, interval) = (parallelism.to_string(), stream_runtime::duration::show(interval));
    let own = ["--checkpoint-interval", &interval, "--parallelism", &parallelism];
    let args = [&["submit", "sessionize", "--name", &job.name][..], &OPTIONS, &own, more].concat();
    cluster.jobctl_with(&args, &[("KAFKA_TOPIC", &job.name)])?.ok().map(drop)
}

/// Waits until so many sessions are open, as `describe` tells; how long that took.
///
/// # Errors
/// If they are not in time, or `describe` fails.
pub fn wait_until_open(
    sessions: u64,
    describe: impl Fn() -> Result<Value>,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Duration> {
    let limit = OPENING_LIMIT + Duration::from_secs(sessions / OPENED_A_SECOND);
    let deadline = Deadline::after(limit);
    loop {
        // Until it is deployed, a job has no subtasks that could be asked.
        let open = count(&describe()?).unwrap_or(0);
        on_progress(open);
        if open >= sessions {
            return Ok(deadline.elapsed());
        }
        ensure!(!deadline.has_passed(), "{open} sessions are open after {} s", limit.as_secs());
        pause(LOOK_EVERY);
    }
}

/// `jobctl describe` of a job that has not failed so far.
///
/// # Errors
/// If it has, or the jobmanager does not answer.
pub fn described(cluster: &Cluster, job: &Job) -> Result<Value> {
    let described = job.describe(cluster)?;
    ensure!(described["restarts"] == 0, "the job failed: {}", described["last_failure"]);
    ensure!(described["causes"].as_array().is_none_or(Vec::is_empty), "the job failed: {}", described["causes"]);
    Ok(described)
}

/// How many are open.
///
/// # Errors
/// If the job has no subtasks.
pub fn count(described: &Value) -> Result<u64> {
    counter(described, "window", "open_windows")
}

/// How many events the sources have read of the topic, from its beginning.
pub fn read(described: &Value) -> u64 {
    of_splits(described, "position")
}

/// How many events are in the topic and not yet read.
pub fn lag(described: &Value) -> u64 {
    of_splits(described, "lag")
}

/// The memory of all taskmanagers, in bytes.
///
/// # Errors
/// If the jobmanager does not tell.
pub fn resident_bytes(cluster: &Cluster) -> Result<u64> {
    let said = cluster.jobctl(&["taskmanagers", "--output", "json"])?.ok()?;
    let listed: Vec<Value> = serde_json::from_str(&said)?;
    let all: Option<Vec<u64>> = listed.iter().map(|taskmanager| taskmanager["rss_bytes"].as_u64()).collect();
    Ok(all.context("`rss_bytes` is missing")?.iter().sum())
}

fn of_splits(described: &Value, name: &str) -> u64 {
    described["splits"].as_array().into_iter().flatten().filter_map(|split| split[name].as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_not_is_that_of_all_splits() {
        let splits = [(1, Some(3)), (2, None), (5, Some(4))];
        let splits = splits.map(|(position, lag)| serde_json::json!({ "position": position, "lag": lag }));
        let described = serde_json::json!({ "splits": splits });
        assert_eq!((read(&described), lag(&described)), (8, 7));
    }
}
