//! Flink's own answers, through a real cluster: two taskmanager processes, a topic of three partitions, a table.

use anyhow::{Result, ensure};
use e2e::cluster::{Cluster, repository_file};
use e2e::expected::{self, SELECT_SESSIONS};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn table_equals_flinks_sessions_at_every_parallelism() -> Result<()> {
    let cluster = Cluster::start(2, 2)?;
    let mut sql = cluster.sql().await?;
    for name in ["traffic_a", "traffic_b"] {
        let expected = expected::sessions(&repository_file(&format!("conformance/web/{name}.sessions.csv"))?)?;
        cluster.load(name, 3, &repository_file(&format!("conformance/web/{name}.jsonl.gz"))?)?;
        for parallelism in ["1", "2", "3"] {
            sql.execute("DROP TABLE IF EXISTS sessionized_aggregated_events").await?;
            submit_and_wait(&cluster, name, parallelism)?;
            let mut rows = sql.query_text(SELECT_SESSIONS).await?.rows;
            rows.sort();
            ensure!(
                rows.len() == expected.len(),
                "{name} at {parallelism}: {} rows, expected {}",
                rows.len(),
                expected.len()
            );
            ensure!(rows == expected, "{name} at parallelism {parallelism}: rows differ");
        }
    }
    taskmanagers_exchange_over_grpc(&cluster)?;
    describe_shows_where_everything_runs(&cluster)
}

fn submit_and_wait(cluster: &Cluster, topic: &str, parallelism: &str) -> Result<()> {
    let args = ["submit", "sessionize", "--gap", "5m", "--until", "latest", "--wait", "--parallelism", parallelism];
    cluster.jobctl_with(&args, &[("KAFKA_TOPIC", topic)])?.ok().map(drop)
}

fn taskmanagers_exchange_over_grpc(cluster: &Cluster) -> Result<()> {
    for name in ["taskmanager-1", "taskmanager-2"] {
        let log = cluster.log(name)?;
        ensure!(log.contains("exchange stream opened"), "{name} opened no exchange stream:\n{log}");
    }
    Ok(())
}

fn describe_shows_where_everything_runs(cluster: &Cluster) -> Result<()> {
    let jobs: Vec<Value> = serde_json::from_str(&cluster.jobctl(&["list", "--output", "json"])?.ok()?)?;
    ensure!(jobs.len() == 6, "{jobs:?}");
    let widest = jobs.iter().find(|job| job["parallelism"] == 3).unwrap();
    let id = widest["id"].as_str().unwrap();
    let job: Value = serde_json::from_str(&cluster.jobctl(&["describe", id, "--output", "json"])?.ok()?)?;
    let tasks = job["subtasks"].as_array().unwrap();
    let of_stage = |stage: &str| tasks.iter().filter(|task| task["stage"] == stage).cloned().collect::<Vec<_>>();
    let (sources, windows, sinks) = (of_stage("source"), of_stage("window"), of_stage("sink"));
    ensure!((sources.len(), windows.len(), sinks.len()) == (3, 3, 1), "{tasks:?}");
    let range = |start, end| serde_json::json!({ "start": start, "end": end });
    let ranges: Vec<&Value> = windows.iter().map(|task| &task["key_groups"]).collect();
    ensure!(ranges == [&range(0, 43), &range(43, 86), &range(86, 128)], "{ranges:?}");
    ensure!(sources.iter().all(|task| task["splits"].as_array().unwrap().len() == 1), "{sources:?}");
    let sum = |tasks: &[Value], counter: &str| tasks.iter().map(|task| task[counter].as_u64().unwrap()).sum::<u64>();
    ensure!(sum(&sources, "records_in") == 20_000, "{sources:?}");
    ensure!(sum(&windows, "records_in") + sum(&sources, "bad") == 20_000, "{windows:?}");
    let mut homes: Vec<&Value> = windows.iter().map(|task| &task["taskmanager"]).collect();
    homes.dedup();
    ensure!(homes.len() > 1, "windows run in one taskmanager only: {homes:?}");
    Ok(())
}
