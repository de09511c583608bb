//! `jobctl logs`: what all processes of a cluster say about a job, in the order of time, also of those that are gone.

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::feed;
use e2e::job::{Job, RECOVERY_LIMIT};
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

/// The password of the job's role, which must turn up nowhere.
const PASSWORD: &str = "correct-horse-battery";

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_of_all_processes_in_the_order_of_time_and_outlive_them() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let job = submit(&cluster, "logged").await?;
    block_in_place(|| {
        let all = ["jobmanager", "tm-1", "tm-2"];
        let lines = wait_for_lines(&cluster, &job, &[], |lines| processes(lines) == all.into())?;
        ensure!(said_by(&lines, "jobmanager").any(|line| line["message"] == "job submitted"), "{lines:#?}");
        for taskmanager in &all[1..] {
            ensure!(said_by(&lines, taskmanager).any(|line| line["message"] == "deployed"), "{lines:#?}");
        }
        let following = follow(&cluster, &job)?;

        // A sink that cannot be reached is told by the task, with its name; a taskmanager that dies by the jobmanager.
        cluster.postgres.stop_immediately();
        let is_trouble = |line: &Value| line["level"] == "warn" && line["fields"]["subtask"] == "sink[0]";
        let lines = wait_for_lines(&cluster, &job, &["--level", "warn"], |lines| lines.iter().any(is_trouble))?;
        ensure!(lines.iter().all(|line| line["level"] == "warn" || line["level"] == "error"), "{lines:#?}");
        // It is about the results of one checkpoint.
        let is_whole = |line: &Value| ["attempt", "checkpoint"].iter().all(|field| line["fields"][field].is_string());
        ensure!(lines.iter().filter(|line| is_trouble(line)).all(is_whole), "{lines:#?}");
        cluster.postgres.restart()?;
        let victim = job.a_taskmanager_of(&cluster, "sink")?;
        cluster.taskmanagers[victim].kill();
        let victim_name = format!("tm-{}", victim + 1);
        // The jobmanager learns of it from its connection, or from a task that has lost the other end.
        let is_loss = |line: &Value| line["fields"]["causes"].as_str().is_some_and(|why| why.contains(&victim_name));
        let lines = wait_for_lines(&cluster, &job, &[], |lines| lines.iter().any(is_loss))?;
        ensure!(said_by(&lines, &victim_name).any(is_trouble), "its last words are gone: {lines:#?}");

        // What taskmanagers keep is told to a new jobmanager too.
        cluster.taskmanagers[victim].restart()?;
        job.wait_until(&cluster, |job| job["state"] == "running")?;
        cluster.jobctl(&["cancel", &job.name])?.ok()?;
        let followed = lines_of(&String::from_utf8(following.wait_with_output()?.stdout)?)?;
        let last = followed.last().context("nothing was followed")?;
        ensure!(followed.iter().any(is_trouble) && followed.iter().any(is_loss), "{followed:#?}");
        ensure!(last["time_ms"].as_i64() >= followed[0]["time_ms"].as_i64(), "{followed:#?}");
        ensure!(followed.iter().any(|line| line["message"] == "job ended"), "{followed:#?}");

        let everything = cluster.jobctl(&["logs", &job.name])?.ok()?;
        ensure!(everything.contains("job submitted") && everything.contains("WARN"), "{everything}");
        ensure!(!everything.contains(PASSWORD) && !format!("{followed:?}").contains(PASSWORD), "{everything}");
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn new_jobmanager_is_told_what_taskmanagers_logged_before_it() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let job = submit(&cluster, "kept").await?;
    block_in_place(|| {
        let is_deployed = |lines: &[Value]| {
            let deployed = lines.iter().filter(|line| line["message"] == "deployed");
            deployed.map(|line| line["process"].to_string()).collect::<BTreeSet<_>>().len() == 2
        };
        wait_for_lines(&cluster, &job, &[], is_deployed)?;
        cluster.jobmanager.kill();
        cluster.jobmanager.restart()?;
        let lines = wait_for_lines(&cluster, &job, &[], is_deployed)?;
        ensure!(lines.iter().filter(|line| line["message"] == "deployed").count() == 2, "told twice: {lines:#?}");
        let old = lines.iter().filter(|line| line["process"] == "jobmanager" && line["message"] == "job submitted");
        ensure!(old.count() == 0, "of the jobmanager before only its own log tells: {lines:#?}");

        let recent = cluster.jobctl(&["logs", &job.name, "--since", "2099-01-01T00:00:00Z"])?.ok()?;
        ensure!(recent.is_empty(), "{recent}");
        let unknown = cluster.jobctl(&["logs", "nobody", "--follow"])?;
        ensure!(unknown.code == Some(4) && unknown.err.contains("no job `nobody`"), "{unknown:?}");
        Ok(())
    })
}

async fn submit(cluster: &Cluster, name: &str) -> Result<Job> {
    feed::create_topic(&cluster.broker.bootstrap_servers(), name).await?;
    let url = cluster.create_database(name).await?;
    cluster.sql().await?.execute(&format!("CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{PASSWORD}'")).await?;
    let (_, place) = url.split_once('@').context("a URL has a user")?;
    let job = Job { name: name.to_owned(), postgres_url: format!("postgres://{name}:{PASSWORD}@{place}") };
    job.submit(cluster, 2, &[])?;
    job.wait_until(cluster, |job| job["state"] == "running")?;
    Ok(job)
}

fn follow(cluster: &Cluster, job: &Job) -> Result<std::process::Child> {
    let mut command = cluster.jobctl_command(&["logs", &job.name, "--follow", "--output", "json"], &[])?;
    Ok(command.stdout(Stdio::piped()).spawn()?)
}

/// Waits until `jobctl logs` is as `is_so` wants it. Its lines are in the order of time, and hold no password.
fn wait_for_lines(cluster: &Cluster, job: &Job, more: &[&str], is_so: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
    let args = [&["logs", &job.name, "--output", "json"], more].concat();
    let mut last = Vec::new();
    let found = Deadline::after(RECOVERY_LIMIT).wait_for(|| {
        // The jobmanager may have just been started again.
        let said = cluster.jobctl(&args)?;
        last = if said.code == Some(0) { lines_of(&said.out)? } else { Vec::new() };
        anyhow::Ok(is_so(&last).then(|| last.clone()))
    })?;
    let lines = found.with_context(|| format!("that was never logged; the last lines: {last:#?}"))?;
    ensure!(lines.iter().map(|line| line["time_ms"].as_i64()).is_sorted(), "not in order: {lines:#?}");
    ensure!(!format!("{lines:?}").contains(PASSWORD), "a secret: {lines:#?}");
    Ok(lines)
}

fn lines_of(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn processes(lines: &[Value]) -> BTreeSet<&str> {
    lines.iter().filter_map(|line| line["process"].as_str()).collect()
}

fn said_by<'a>(lines: &'a [Value], process: &'a str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line["process"] == process)
}
