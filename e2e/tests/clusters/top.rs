//! `jobctl top` in a real terminal: live figures, another size, a jobmanager that goes and comes back, and a terminal that is whole in the end.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Shape};
use e2e::feed::{self, Feed};
use e2e::job::Job;
use e2e::programs;
use e2e::tmux::{Seen, Terminal};
use e2e::traffic::Traffic;
use tokio::task::block_in_place;

/// Events a second: enough to be seen, little enough for a busy machine.
const RATE: u64 = 2_000;
const NAME: &str = "top";
/// What stands on the screen before.
const BEFORE: &str = "this-was-here-before";

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_live_figures_in_every_size_and_leaves_the_terminal_whole() -> Result<()> {
    if !Terminal::is_available_for("`jobctl top` in a terminal")? {
        return Ok(());
    }
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, NAME).await?;
    let job = Job { name: NAME.to_owned(), postgres_url: cluster.create_database(NAME).await? };
    job.submit(&cluster, 2, &[])?;
    let feed = Feed::start(&bootstrap, NAME, Traffic::new(11), RATE)?;
    block_in_place(|| {
        let dir = tempfile::tempdir()?;
        // By a variable: a line that is typed with a long path in it is broken in two wherever the path says.
        let terminal = Terminal::open(dir.path(), 120, 40, &[("TOP", &top(&cluster)?)])?;
        terminal.run(&format!("echo {BEFORE}"))?;
        terminal.run(&format!("$TOP {NAME}"))?;
        see_live_figures(&terminal)?;
        see_other_sizes(&terminal)?;
        see_jobmanager_go_and_come_back(&terminal, &mut cluster)?;
        terminal.press("q")?;
        terminal.expect_whole(BEFORE)?;
        leave_in_other_ways(&terminal)
    })?;
    feed.stop()?;
    Ok(())
}

/// Whoever has no terminal is told what there is for them.
#[test]
fn top_without_a_terminal_says_what_to_use() -> Result<()> {
    let said = programs::run("jobctl", &["top"], &[])?;
    ensure!(said.code == Some(2) && said.out.is_empty(), "{said:?}");
    ensure!(said.err.contains("`top` draws on a terminal") && said.err.contains("describe JOB --watch"), "{said:?}");
    Ok(())
}

fn top(cluster: &Cluster) -> Result<String> {
    let program = programs::path("jobctl")?;
    Ok(format!("{} top --jobmanager {} --interval 200ms", program.display(), cluster.rpc_address))
}

fn see_live_figures(terminal: &Terminal) -> Result<()> {
    let is_all_there = |seen: &Seen| {
        let names = ["source[0]", "source[1]", "window[0]", "window[1]", "sink[0]", "top/0", "top/1", "top/2"];
        let are_rows_there = names.iter().all(|name| seen.line(name).is_some());
        are_rows_there && seen.has("published") && seen.has("tm-1/") && rate(seen).is_ok_and(|rate| rate > 0.0)
    };
    let seen = terminal.wait_for("a job with everything that belongs to it", is_all_there)?;
    ensure!(seen.is_alternate && seen.program == "jobctl", "{seen:#?}");
    let headline = seen.lines.first().context("no line")?;
    ensure!(headline.contains("2 free of 4 slots") && headline.contains("2 taskmanagers"), "{headline}");
    let load = seen.line("source[0]").context("a source")?;
    ensure!(load.contains('·') || load.contains('█'), "no bar: {load}");
    ensure!(seen.line("EVENTS/S").is_some() && seen.has("█"), "no sparkline: {seen:#?}");
    see_progress(terminal)
}

/// A partition is read on, from one look to the next.
fn see_progress(terminal: &Terminal) -> Result<()> {
    let position = |seen: &Seen| -> Option<u64> { seen.line("top/0 ")?.split_whitespace().nth(4)?.parse().ok() };
    let before = terminal.wait_for("a position", |seen| position(seen).is_some())?;
    let before = position(&before).context("a position")?;
    terminal.wait_for("another position", |seen| position(seen).is_some_and(|now| now > before)).map(drop)
}

fn see_other_sizes(terminal: &Terminal) -> Result<()> {
    terminal.resize(40, 10)?;
    let seen = terminal.wait_for("the small screen", |seen| {
        seen.lines.len() <= 10 && seen.line("SUBTASK").is_some() && seen.line("q quit").is_some()
    })?;
    ensure!(seen.lines.iter().all(|line| line.chars().count() <= 40), "{seen:#?}");
    // Down to the subtasks, which have the place that there is.
    terminal.press("Tab")?;
    terminal.wait_for("another subtask", |seen| seen.line("source[1]").is_some())?;
    terminal.resize(160, 50)?;
    terminal.wait_for("the large screen", |seen| seen.has("WATERMARK") && seen.line("top/2").is_some())?;
    terminal.resize(120, 40)?;
    see_progress(terminal)
}

fn see_jobmanager_go_and_come_back(terminal: &Terminal, cluster: &mut Cluster) -> Result<()> {
    cluster.jobmanager.kill();
    let seen = terminal.wait_for("that it is away", |seen| seen.has("away for"))?;
    ensure!(seen.line("source[0]").is_some(), "the last figures are gone: {seen:#?}");
    cluster.jobmanager.restart()?;
    terminal.wait_for("that it is back", |seen| !seen.has("away for") && seen.line("gapwise").is_some())?;
    see_progress(terminal)
}

fn leave_in_other_ways(terminal: &Terminal) -> Result<()> {
    for key in ["Escape", "C-c", "a signal"] {
        terminal.run(&format!("clear; echo {BEFORE}"))?;
        // Its exit code is shown, so that a shell that killed it is not mistaken for it.
        terminal.run("$TOP; echo ended with $?")?;
        terminal.wait_for("top", |seen| seen.is_alternate && seen.line("source[0]").is_some())?;
        match key {
            "a signal" => terminal.terminate()?,
            key => terminal.press(key)?,
        }
        let seen = terminal.wait_for(key, Seen::is_at_prompt)?;
        ensure!(seen.has("ended with 0"), "{key}: {seen:#?}");
        terminal.expect_whole(BEFORE).with_context(|| key.to_owned())?;
    }
    Ok(())
}

/// What stands before `events/s`.
fn rate(seen: &Seen) -> Result<f64> {
    let line = seen.lines.iter().find(|line| line.contains(" events/s")).context("no rate")?;
    let number = line.split_whitespace().next().context("no number")?;
    let (number, unit) = number.strip_suffix('k').map_or((number, 1.0), |number| (number, 1000.0));
    Ok(number.parse::<f64>()? * unit)
}
