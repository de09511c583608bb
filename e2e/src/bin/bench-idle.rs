//! `make bench-idle`: what a cluster takes while it has nothing to do, how soon it is ready, and what a job on a tiny file takes.
//!
//! The cluster is our processes of `make up`, one jobmanager and two taskmanagers, started by it; Kafka and Postgres count as the
//! user's. It ends with failure where a figure is above what the project aims at.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::cluster::readable_dir;
use e2e::programs;
use e2e::usage::Usage;
use localcluster::deadline::{Deadline, pause};
use localcluster::postgres::Postgres;
use localcluster::state_dir::StateDir;
use localcluster::{machine, ports};

/// All of it together.
const AIM_BYTES: f64 = 60e6;
/// Of one core, in per cent.
const AIM_CPU_PERCENT: f64 = 0.5;
const AIM_READY: Duration = Duration::from_secs(2);
const AIM_RUN: Duration = Duration::from_millis(50);

const PROCESSES: [&str; 3] = ["jobmanager", "taskmanager-1", "taskmanager-2"];
/// What starting up leaves behind is over by then.
const SETTLE: Duration = Duration::from_secs(5);
const MB: f64 = 1e6;

/// Measures an idle cluster.
#[derive(Debug, Parser)]
#[command(name = "bench-idle", max_term_width = 110)]
struct Args {
    /// For how long the cluster is looked at
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = stream_runtime::duration::parse)]
    time: Duration,

    /// Starts, and runs of the tiny job; their medians count
    #[arg(long, value_name = "N", default_value = "9", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every aim is reached.
fn measure(args: &Args) -> Result<bool> {
    println!("{}, commit {}", machine::machine(), machine::commit(Path::new(".")));
    let dir = readable_dir()?;
    // `make up` ends once it has reached the database; Kafka it does not ask.
    let postgres = Postgres::start(dir.path())?;
    let mut lines = Vec::new();
    let mut starts = Vec::new();
    for nth in 0..args.runs {
        let dir = dir.path().join(format!("cluster-{nth}"));
        let cluster = Cluster { dir, port: ports::free()?, postgres_url: postgres.url() };
        starts.push(cluster.start()?);
        if nth + 1 == args.runs {
            lines.extend(cluster.idle(args.time)?);
        }
    }
    lines.push(timed("ready after `make up`", &mut starts, AIM_READY));
    let mut runs = (0..args.runs).map(|_| run_tiny_job(dir.path())).collect::<Result<Vec<_>>>()?;
    lines.push(timed("`jobctl run` of a tiny file", &mut runs, AIM_RUN));
    for Line { what, figure, aim, is_reached } in &lines {
        println!("{what:<32} {figure:<44} {} ({aim})", if *is_reached { "ok" } else { "MISSED" });
    }
    Ok(lines.iter().all(|line| line.is_reached))
}

/// A figure and what it should be.
struct Line {
    what: &'static str,
    figure: String,
    aim: String,
    is_reached: bool,
}

fn timed(what: &'static str, times: &mut [Duration], aim: Duration) -> Line {
    times.sort_unstable();
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    let figure = format!("{median:.1?} ({least:.1?}–{most:.1?}, {} times)", times.len());
    Line { what, figure, aim: format!("≤ {aim:?}"), is_reached: median <= aim }
}

/// Our processes of `make up`; stopped when dropped.
struct Cluster {
    dir: PathBuf,
    port: u16,
    postgres_url: String,
}

impl Cluster {
    /// From the call until everything can be used.
    fn start(&self) -> Result<Duration> {
        std::fs::create_dir_all(&self.dir)?;
        let clock = Deadline::after(Duration::MAX);
        programs::Said::from(self.localcluster("up")?.output()?).ok()?;
        Ok(clock.elapsed())
    }

    fn localcluster(&self, command: &str) -> Result<Command> {
        let (dir, port) = (self.dir.to_str().context("a path that is text")?, self.port.to_string());
        let env = [
            ("KAFKA_URL", "127.0.0.1:1"),
            ("POSTGRES_URL", &self.postgres_url),
            ("GAPWISE_LOCAL_DIR", dir),
            ("JOBMANAGER_PORT", &port),
        ];
        programs::command("localcluster", &["--project", dir, command], &env)
    }

    /// What they take while nobody asks them anything.
    fn idle(&self, time: Duration) -> Result<Vec<Line>> {
        let state = StateDir::new(&self.dir);
        let running = |name: &str| state.running(name).map(|record| record.identity.pid).context("it does not run");
        let pids = PROCESSES.iter().map(|name| running(name)).collect::<Result<Vec<_>>>()?;
        pause(SETTLE);
        let all = || pids.iter().map(|&pid| Usage::of(pid)).collect::<Result<Vec<_>>>();
        let before = all()?;
        let clock = Deadline::after(Duration::MAX);
        pause(time);
        let (after, seconds) = (all()?, clock.elapsed().as_secs_f64());
        println!(
            "{:<16} {:>8} {:>8} {:>8} {:>12} {:>11}",
            "process", "RSS MB", "PSS MB", "threads", "CPU % core", "wakeups/s"
        );
        let mut sum = Usage::default();
        for ((name, before), after) in PROCESSES.iter().zip(&before).zip(&after) {
            let spent = Usage {
                cpu: after.cpu.saturating_sub(before.cpu),
                sleeps: after.sleeps.saturating_sub(before.sleeps),
                ..*after
            };
            row(name, &spent, seconds);
            sum += spent;
        }
        row("together", &sum, seconds);
        let (resident, proportional) = (sum.resident_bytes as f64, sum.proportional_bytes as f64);
        let cpu = 100.0 * sum.cpu.as_secs_f64() / seconds;
        Ok(vec![
            Line {
                what: "memory, idle",
                figure: format!("{:.1} MB RSS, {:.1} MB PSS", resident / MB, proportional / MB),
                aim: format!("≤ {:.0} MB RSS", AIM_BYTES / MB),
                is_reached: resident <= AIM_BYTES,
            },
            Line {
                what: "CPU, idle",
                figure: format!("{cpu:.3} % of a core"),
                aim: format!("≤ {AIM_CPU_PERCENT} %"),
                is_reached: cpu <= AIM_CPU_PERCENT,
            },
        ])
    }
}

fn row(name: &str, spent: &Usage, seconds: f64) {
    let Usage { resident_bytes, proportional_bytes, cpu, sleeps, threads } = *spent;
    let (rss, pss) = (resident_bytes as f64 / MB, proportional_bytes as f64 / MB);
    let (cpu, sleeps) = (100.0 * cpu.as_secs_f64() / seconds, sleeps as f64 / seconds);
    println!("{name:<16} {rss:>8.1} {pss:>8.1} {threads:>8} {cpu:>12.3} {sleeps:>11.1}");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = self.localcluster("down").and_then(|mut down| Ok(down.output()?));
        if let Err(error) = stopped {
            eprintln!("`{}` may still run: {error:#}", self.dir.display());
        }
    }
}

/// From start to end of `jobctl run` on two events.
fn run_tiny_job(dir: &Path) -> Result<Duration> {
    const EVENTS: &str = "{\"ip\":\"1.2.3.4\",\"host\":\"a.io\",\"event_time\":\"2025-01-14T17:00:00.000Z\"}\n\
                          {\"ip\":\"1.2.3.4\",\"host\":\"a.io\",\"event_time\":\"2025-01-14T17:00:01.000Z\"}\n";
    let (events, rows) = (dir.join("tiny.jsonl"), dir.join("tiny.csv"));
    std::fs::write(&events, EVENTS)?;
    let (source, sink) = (format!("file:{}", events.display()), format!("csv:{}", rows.display()));
    let clock = Deadline::after(Duration::MAX);
    programs::run("jobctl", &["run", "sessionize", "--source", &source, "--sink", &sink], &[])?.ok()?;
    let took = clock.elapsed();
    let found = std::fs::read_to_string(&rows)?;
    anyhow::ensure!(found.ends_with("2025-01-14 17:00:00.000,1.2.3.4,a.io,2\n"), "the job's result is {found}");
    Ok(took)
}
