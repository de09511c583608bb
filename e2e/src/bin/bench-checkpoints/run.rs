//! One run: a cluster, a job with so many open sessions, and checkpoints while events go on to come.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::interrupted::Interrupted;
use e2e::job::{Job, counter};
use e2e::open_sessions;
use e2e::visitors::{Pace, Visitors, Visits};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use localcluster::deadline::{Deadline, pause};
use serde_json::Value;

use crate::args::Args;
use crate::costs::{Costs, Delta};
use crate::overhead::Round;

const JOB: &str = "bench_checkpoints";
/// What is measured may take so much longer than its checkpoints have to.
const SPARE: Duration = Duration::from_secs(120);
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a run measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Open sessions, as the job counts them.
    pub(crate) sessions: u64,
    /// From the submit until all were open.
    pub(crate) opening: Duration,
    /// By how much the taskmanagers' memory grew meanwhile.
    pub(crate) memory_bytes: u64,
    /// At each rate.
    pub(crate) rates: Vec<AtRate>,
    pub(crate) costs: Costs,
    /// Of the incremental checkpoints.
    pub(crate) deltas: Vec<Delta>,
    /// With checkpoints and without.
    pub(crate) rounds: Vec<Round>,
}

/// The traffic while checkpoints were taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AtRate {
    /// Events a second that were sent.
    pub(crate) rate: u64,
    /// Events that the windows took in, and in how long.
    pub(crate) events: u64,
    pub(crate) measuring: Duration,
    /// The most events that were in the topic and not yet read.
    pub(crate) lag_max: u64,
}

/// A job that holds its sessions, and what asks about it.
pub(crate) struct Subject<'a> {
    pub(crate) args: &'a Args,
    pub(crate) cluster: &'a Cluster,
    pub(crate) job: Job,
    pub(crate) bar: ProgressBar,
    interrupted: &'a Interrupted,
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
        let Args { parallelism, interval, seed, .. } = *self.args;
        let visitors = Visitors::new(&self.cluster.broker.bootstrap_servers(), JOB, sessions).await?;
        self.bar.set_message("events produced");
        visitors.open(self.interrupted, &mut |sent| self.bar.set_position(sent))?;
        let empty_bytes = open_sessions::resident_bytes(self.cluster)?;
        open_sessions::submit(self.cluster, &self.job, parallelism.get(), interval, &[])?;
        self.bar.set_message("sessions opened");
        let on_progress = &mut |open| self.bar.set_position(open);
        let opening = open_sessions::wait_until_open(sessions.into(), || self.described(), on_progress)?;
        let memory_bytes = open_sessions::resident_bytes(self.cluster)?.saturating_sub(empty_bytes);
        let visits = visitors.come_again(Pace::Rate(0), seed)?;
        let (mut rates, mut costs) = (Vec::new(), Costs::default());
        let since_ms = self.newest_checkpoint()?;
        for rate in &self.args.rate {
            visits.set_pace(Pace::Rate(rate.get()));
            rates.push(self.take_checkpoints(rate.get(), &visits, since_ms, &mut costs)?);
        }
        let rounds = self.rounds(&visits, sessions.into())?;
        visits.stop()?;
        let open = open_sessions::count(&self.described()?)?;
        ensure!(open == u64::from(sessions), "{open} sessions are open at the end");
        let (parts, written): (Vec<_>, Vec<_>) = costs.deltas().into_iter().unzip();
        let changed = visitors.came(seed, &parts);
        let deltas = changed.into_iter().zip(written);
        let deltas = deltas.map(|(changed, written_bytes)| Delta { changed, written_bytes }).collect();
        Ok(Measured { sessions: open, opening, memory_bytes, rates, costs, deltas, rounds })
    }

    /// Waits for the checkpoints that are wanted at a rate. At the first, a full one is asked for first, and then among the others.
    fn take_checkpoints(&self, rate: u64, visits: &Visits, since_ms: i64, costs: &mut Costs) -> Result<AtRate> {
        let (full, incremental) = (self.args.full.get(), costs.of(false).len() + self.args.incremental.get());
        self.bar.set_length((full + incremental) as u64);
        let wanted = u32::try_from(2 * (full + self.args.incremental.get()))?;
        let deadline = Deadline::after(self.args.interval * wanted + SPARE);
        let before = counter(&self.described()?, "window", "records_in")?;
        let mut measured = AtRate { rate, ..AtRate::default() };
        let mut asked = costs.of(true).len();
        loop {
            costs.read(&self.job.checkpoints(self.cluster)?, since_ms)?;
            let described = self.described()?;
            measured.events = counter(&described, "window", "records_in")?.saturating_sub(before);
            measured.measuring = deadline.elapsed();
            measured.lag_max = measured.lag_max.max(open_sessions::lag(&described));
            let done = [true, false].map(|is_full| costs.of(is_full).len());
            self.bar.set_position((done[0].min(full) + done[1].min(incremental)) as u64);
            self.bar.set_message(format!("checkpoints, {} events sent", HumanCount(visits.sent())));
            if done[0] >= full && done[1] >= incremental {
                return Ok(measured);
            }
            ensure!(
                !deadline.has_passed(),
                "{} full and {} incremental checkpoints in {} s; given up: {:?}",
                done[0],
                done[1],
                deadline.elapsed().as_secs(),
                costs.aborted()
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

    /// # Errors
    /// If Ctrl-C was pressed.
    pub(crate) fn check(&self) -> Result<()> {
        self.interrupted.check()
    }

    /// `jobctl describe` of a job that runs.
    pub(crate) fn described(&self) -> Result<Value> {
        self.check()?;
        open_sessions::described(self.cluster, &self.job)
    }
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
}
