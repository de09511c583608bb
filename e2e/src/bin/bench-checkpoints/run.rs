//! One run: a cluster, a job with so many open sessions, and checkpoints while events go on to come.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::interrupted::Interrupted;
use e2e::job::{Job, counter};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use localcluster::deadline::{Deadline, pause};
use serde_json::Value;

use crate::args::Args;
use crate::costs::Costs;
use crate::visitors::{Traffic, Visitors};

const JOB: &str = "bench_checkpoints";
/// A gap that nothing here is as long as, and a delay that the disorder between partitions stays below.
const OPTIONS: [&str; 6] = ["--gap", "1h", "--watermark-delay", "15s", "--idle-timeout", "0"];
/// Sessions are open by then, on a machine that is busy with other things: so much in any case,
const OPENING_LIMIT: Duration = Duration::from_secs(200);
/// and a second for so many of them.
const OPENED_A_SECOND: u64 = 20_000;
/// What is measured may take so much longer than its checkpoints have to.
const SPARE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a run measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Open sessions, as the job counts them.
    pub(crate) sessions: u64,
    /// From the submit until all were open.
    pub(crate) opening: Duration,
    /// By how much the taskmanagers' memory grew meanwhile.
    pub(crate) memory_bytes: u64,
    /// Events that the windows took in while checkpoints were measured, and in how long.
    pub(crate) events: u64,
    pub(crate) measuring: Duration,
    /// The most events that were in the topic and not yet read.
    pub(crate) lag_max: u64,
    pub(crate) costs: Costs,
}

/// A job that holds its sessions, and what asks about it.
struct Subject<'a> {
    args: &'a Args,
    cluster: &'a Cluster,
    job: Job,
    interrupted: &'a Interrupted,
    bar: ProgressBar,
}

/// Measures with so many open sessions. Everything that was started is stopped when this returns, also with an error.
pub(crate) async fn measure(args: &Args, sessions: u32, interrupted: &Interrupted) -> Result<Measured> {
    let shape =
        Shape { taskmanagers: args.parallelism.get(), slots: 1, broker: Choice::Devbroker, ..Shape::TWO_BY_TWO };
    let bar = bar(u64::from(sessions));
    bar.set_message("starting a cluster");
    let cluster = Cluster::start_with(shape)?;
    interrupted.check()?;
    let job = Job { name: JOB.to_owned(), postgres_url: cluster.postgres.url() };
    let subject = Subject { args, cluster: &cluster, job, interrupted, bar };
    let measured = subject.measure(sessions).await;
    subject.bar.finish_and_clear();
    measured.with_context(|| format!("with {sessions} sessions"))
}

impl Subject<'_> {
    async fn measure(&self, sessions: u32) -> Result<Measured> {
        let visitors = Visitors::new(&self.cluster.broker.bootstrap_servers(), JOB, sessions).await?;
        self.bar.set_message("events produced");
        visitors.open(self.interrupted, &mut |sent| self.bar.set_position(sent))?;
        let empty_bytes = self.resident_bytes()?;
        self.submit()?;
        let opening = self.wait_until_open(sessions.into())?;
        let memory_bytes = self.resident_bytes()?.saturating_sub(empty_bytes);
        let traffic = visitors.come_again(self.args.rate.get(), self.args.seed)?;
        let mut measured = Measured {
            sessions: 0,
            opening,
            memory_bytes,
            events: 0,
            measuring: Duration::ZERO,
            lag_max: 0,
            costs: Costs::default(),
        };
        self.take_checkpoints(&traffic, &mut measured)?;
        traffic.stop()?;
        measured.sessions = self.open_sessions(&self.job.describe(self.cluster)?)?;
        ensure!(measured.sessions == u64::from(sessions), "{} sessions are open at the end", measured.sessions);
        Ok(measured)
    }

    fn submit(&self) -> Result<()> {
        let (parallelism, interval) =
            (self.args.parallelism.to_string(), stream_runtime::duration::show(self.args.interval));
        let more = ["--checkpoint-interval", &interval, "--parallelism", &parallelism];
        let args = [&["submit", "sessionize", "--name", JOB][..], &OPTIONS, &more].concat();
        self.cluster.jobctl_with(&args, &[("KAFKA_TOPIC", JOB)])?.ok().map(drop)
    }

    /// Waits until all sessions are open.
    fn wait_until_open(&self, sessions: u64) -> Result<Duration> {
        self.bar.set_message("sessions opened");
        let limit = OPENING_LIMIT + Duration::from_secs(sessions / OPENED_A_SECOND);
        let deadline = Deadline::after(limit);
        loop {
            let described = self.described()?;
            // Until it is deployed, a job has no subtasks that could be asked.
            let open = self.open_sessions(&described).unwrap_or(0);
            self.bar.set_position(open);
            if open >= sessions {
                return Ok(deadline.elapsed());
            }
            ensure!(!deadline.has_passed(), "{open} sessions are open after {} s", limit.as_secs());
            pause(LOOK_EVERY);
        }
    }

    /// Waits for the checkpoints that are wanted. A full one is asked for first, and then among the others.
    fn take_checkpoints(&self, traffic: &Traffic, measured: &mut Measured) -> Result<()> {
        let (full, incremental) = (self.args.full.get(), self.args.incremental.get());
        self.bar.set_length((full + incremental) as u64);
        self.bar.set_message("checkpoints");
        let since_ms = self.newest_checkpoint()?;
        let deadline = Deadline::after(self.args.interval * u32::try_from(2 * (full + incremental))? + SPARE);
        let before = counter(&self.described()?, "window", "records_in")?;
        let mut asked = 0;
        loop {
            measured.costs.read(&self.job.checkpoints(self.cluster)?, since_ms)?;
            let described = self.described()?;
            measured.events = counter(&described, "window", "records_in")?.saturating_sub(before);
            measured.measuring = deadline.elapsed();
            measured.lag_max = measured.lag_max.max(lag(&described));
            let done = [true, false].map(|is_full| measured.costs.of(is_full).len());
            self.bar.set_position((done[0].min(full) + done[1].min(incremental)) as u64);
            self.bar.set_message(format!("checkpoints, {} events sent", HumanCount(traffic.sent())));
            if done[0] >= full && done[1] >= incremental {
                return Ok(());
            }
            ensure!(
                !deadline.has_passed(),
                "{} full and {} incremental checkpoints in {} s; given up: {:?}",
                done[0],
                done[1],
                deadline.elapsed().as_secs(),
                measured.costs.aborted()
            );
            if asked < full && done[1] * full >= asked * incremental {
                self.cluster.jobctl(&["savepoint", JOB])?.ok()?;
                asked += 1;
            }
            pause(LOOK_EVERY);
        }
    }

    /// Behind every checkpoint that was triggered so far.
    fn newest_checkpoint(&self) -> Result<i64> {
        let shown = self.job.checkpoints(self.cluster)?;
        Ok(shown.iter().filter_map(|shown| shown["triggered_ms"].as_i64()).max().map_or(0, |newest| newest + 1))
    }

    /// `jobctl describe` of a job that runs.
    fn described(&self) -> Result<Value> {
        self.interrupted.check()?;
        let described = self.job.describe(self.cluster)?;
        ensure!(described["restarts"] == 0, "the job failed: {}", described["last_failure"]);
        ensure!(described["causes"].as_array().is_none_or(Vec::is_empty), "the job failed: {}", described["causes"]);
        Ok(described)
    }

    fn open_sessions(&self, described: &Value) -> Result<u64> {
        counter(described, "window", "open_windows")
    }

    /// The memory of all taskmanagers.
    fn resident_bytes(&self) -> Result<u64> {
        let said = self.cluster.jobctl(&["taskmanagers", "--output", "json"])?.ok()?;
        let listed: Vec<Value> = serde_json::from_str(&said)?;
        let all: Option<Vec<u64>> = listed.iter().map(|taskmanager| taskmanager["rss_bytes"].as_u64()).collect();
        Ok(all.context("`rss_bytes` is missing")?.iter().sum())
    }
}

fn lag(described: &Value) -> u64 {
    described["splits"].as_array().into_iter().flatten().filter_map(|split| split["lag"].as_u64()).sum()
}

/// Drawn on a terminal only.
fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {msg}");
    ProgressBar::new(length).with_style(style.expect("the template is a constant that a test reads"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_well_formed() {
        bar(1);
    }

    #[test]
    fn the_lag_is_that_of_all_splits() {
        assert_eq!(lag(&serde_json::json!({ "splits": [{ "lag": 3 }, { "lag": null }, { "lag": 4 }] })), 7);
    }
}
