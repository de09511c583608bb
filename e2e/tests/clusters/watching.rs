//! `jobctl describe --watch`, as a program reads it and as a person sees it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::feed::{self, Feed};
use e2e::job::Job;
use e2e::programs;
use e2e::tmux::{Seen, Terminal};
use e2e::traffic::Traffic;
use serde_json::Value;
use tokio::task::block_in_place;

const RATE: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn watched_job_is_a_line_of_json_for_each_change_until_it_ends() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let (job, feed) = running(&cluster, "watched").await?;
    block_in_place(|| {
        let args = ["describe", &job.name, "--watch", "--interval", "100ms", "--output", "json"];
        let mut command = cluster.jobctl_command(&args, &[])?;
        let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(watching.stdout.take().context("its output")?).lines();
        let mut next = || -> Result<Option<Value>> {
            lines.next().transpose()?.map(|line| Ok(serde_json::from_str(&line)?)).transpose()
        };
        // Five different counts, one after the other.
        let mut counts = Vec::new();
        while counts.len() < 5 {
            let details = next()?.context("it ended")?;
            ensure!(details["name"] == job.name.as_str() && details["subtasks"].is_array(), "{details}");
            let count = details["records_in"].as_u64().context("a count")?;
            if counts.last() != Some(&count) {
                counts.push(count);
            }
        }
        ensure!(counts.is_sorted(), "{counts:?}");

        // A jobmanager that comes back is asked again.
        cluster.jobmanager.restart()?;
        job.wait_until(&cluster, |job| job["state"] == "running")?;
        cluster.jobctl(&["cancel", &job.name])?.ok()?;
        let mut last = None;
        while let Some(details) = next()? {
            last = Some(details);
        }
        let last = last.context("nothing after the restart")?;
        ensure!(last["state"] == "canceled", "{last}");
        let ended = watching.wait_with_output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.code() == Some(0), "{:?}: {said}", ended.status);
        ensure!(said.contains("trying again"), "{said}");
        anyhow::Ok(())
    })?;
    feed.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_job_is_redrawn_on_a_terminal_and_stays_there_when_it_has_ended() -> Result<()> {
    if !Terminal::is_available_for("`jobctl describe --watch` in a terminal")? {
        return Ok(());
    }
    let cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let (job, feed) = running(&cluster, "redrawn").await?;
    block_in_place(|| {
        let dir = tempfile::tempdir()?;
        let terminal = Terminal::open(dir.path(), 150, 40, &[])?;
        let (program, address) = (programs::path("jobctl")?, &cluster.rpc_address);
        let options = format!("--watch --interval 100ms --jobmanager {address}");
        terminal.run(&format!("{} describe {} {options}; echo ended with $?", program.display(), job.name))?;
        let position =
            |seen: &Seen| -> Option<u64> { seen.line("redrawn/0 ")?.split_whitespace().nth(3)?.parse().ok() };
        let seen = terminal.wait_for("a position", |seen| position(seen).is_some())?;
        ensure!(seen.lines.first().is_some_and(|line| line.starts_with("Job ")), "not from the top: {seen:#?}");
        let before = position(&seen);
        let seen = terminal.wait_for("another position", |seen| position(seen) > before)?;
        ensure!(seen.lines.iter().filter(|line| line.starts_with("Job ")).count() == 1, "drawn twice: {seen:#?}");

        terminal.resize(60, 12)?;
        terminal.wait_for("what does not fit, counted", |seen| seen.has("more lines)") && seen.lines.len() <= 12)?;
        terminal.resize(150, 40)?;
        cluster.jobctl(&["cancel", &job.name])?.ok()?;
        let seen = terminal.wait_for("the end", Seen::is_at_prompt)?;
        ensure!(seen.has("State        canceled") && seen.has("ended with 0"), "{seen:#?}");
        anyhow::Ok(())
    })?;
    feed.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_of_a_job_that_is_not_there_or_has_ended_does_not_wait() -> Result<()> {
    let cluster = Cluster::start(1, 1)?;
    let said = cluster.jobctl(&["describe", "nobody", "--watch"])?;
    ensure!(said.code == Some(4) && said.err.contains("no job `nobody`"), "{said:?}");
    let said = cluster.jobctl(&["describe", "nobody", "--interval", "1s"])?;
    ensure!(said.code == Some(2), "{said:?}");
    Ok(())
}

async fn running(cluster: &Cluster, name: &str) -> Result<(Job, Feed)> {
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, name).await?;
    let job = Job { name: name.to_owned(), postgres_url: cluster.create_database(name).await? };
    job.submit(cluster, 2, &[])?;
    let feed = Feed::start(&bootstrap, name, Traffic::new(12), RATE)?;
    job.wait_until(cluster, |job| job["records_in"].as_u64() > Some(0))?;
    Ok((job, feed))
}
