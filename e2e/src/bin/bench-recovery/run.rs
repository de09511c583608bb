//! One run: a cluster, a job with so many open sessions, and one kill after the other.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::audit::{Audit, Ledger};
use e2e::cluster::{Cluster, Shape};
use e2e::interrupted::Interrupted;
use e2e::job::Job;
use e2e::open_sessions;
use e2e::random::Random;
use e2e::visitors::{Pace, Visitors, Visits};
use localcluster::deadline::{Deadline, pause};
use serde_json::Value;
use stream_runtime::clock::{Clock, SystemClock};

use crate::args::Args;
use crate::timeline::{self, Steps};

const JOB: &str = "bench_recovery";
/// Epochs that an attempt publishes before it is killed: by then it has caught up, and its state has files of several checkpoints.
const SETTLED_EPOCHS: u64 = 4;
/// A recovery, or what settles an attempt, that takes longer beside its intervals is none.
const PATIENCE: Duration = Duration::from_secs(180);
/// A backlog is produced by then.
const BACKLOG_LIMIT: Duration = Duration::from_secs(1800);
/// Events that stay in the topic and not yet read when the backlog is: more than are read between two epochs a second apart.
const UNREAD: u64 = 1_000_000;
/// Log lines of another process are here by then.
const LINES_LIMIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a run measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) interval: Duration,
    /// Open sessions, as the job counted them at the end, too.
    pub(crate) sessions: u64,
    /// From the submit until all were open.
    pub(crate) opening: Duration,
    pub(crate) broker: String,
    pub(crate) kills: Vec<Kill>,
    /// What the auditor found wrong.
    pub(crate) violations: Vec<String>,
}

/// What came of a kill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// From the kill until the first epoch of a new attempt was seen in Postgres.
    pub(crate) took: Duration,
    pub(crate) steps: Steps,
    pub(crate) begun: timeline::Begun,
    /// The files of the last checkpoint before.
    pub(crate) state_bytes: u64,
    /// Of the first checkpoint behind: what was written for it.
    pub(crate) written_bytes: u64,
    /// Events a second that were read and published before the kill.
    pub(crate) load: u64,
}

/// The job, and what is done to it.
struct Stage<'a> {
    args: &'a Args,
    interval: Duration,
    cluster: Cluster,
    job: Job,
    audit: Audit,
    /// That of the auditor's times.
    clock: Deadline,
    visits: Visits,
    interrupted: &'a Interrupted,
}

/// Measures at one checkpoint interval. Everything that was started is stopped when this returns, also with an error.
pub(crate) async fn measure(args: &Args, interval: Duration, interrupted: &Interrupted) -> Result<Measured> {
    let (parallelism, sessions) = (args.parallelism.get(), args.sessions.get());
    let shape = Shape {
        taskmanagers: parallelism + 1,
        slots: 1,
        broker: args.broker,
        has_durable_postgres: true,
        ..Shape::TWO_BY_TWO
    };
    let mut cluster = Cluster::start_with(shape)?;
    let (broker, dir) = (cluster.broker.name(), cluster.dir().to_owned());
    eprintln!("{broker}, a checkpoint each {interval:?}: opening {sessions} sessions");
    let visitors = Visitors::new(&cluster.broker.bootstrap_servers(), JOB, sessions).await?;
    visitors.open(interrupted, &mut |_| {})?;
    let backlog = args.backlog.get();
    let visits = visitors.come_again(Pace::Unread(backlog), args.seed)?;
    let are_there = || interrupted.check().map(|()| (visits.sent() >= backlog).then_some(()));
    Deadline::after(BACKLOG_LIMIT).wait_for(are_there)?.context("the backlog was not produced in time")?;
    visits.set_pace(Pace::Unread(UNREAD));
    let job = Job { name: JOB.to_owned(), postgres_url: cluster.postgres.url() };
    open_sessions::submit(&cluster, &job, parallelism, interval, &[])?;
    let describe = || interrupted.check().and_then(|()| open_sessions::described(&cluster, &job));
    let opening = open_sessions::wait_until_open(sessions.into(), describe, &mut |_| {})?;
    eprintln!("all are open after {:.1} s", opening.as_secs_f64());
    let clock = Deadline::after(Duration::MAX);
    let audit = Audit::start(&cluster.postgres.url(), clock)?;
    // The logs are wanted where it fails.
    cluster.keep_dir();
    let stage = Stage { args, interval, cluster, job, audit, clock, visits, interrupted };
    let measured = stage.measure(opening, broker).with_context(|| format!("logs: `{}`", dir.display()))?;
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove `{}`", dir.display()))?;
    Ok(measured)
}

impl Stage<'_> {
    fn measure(mut self, opening: Duration, broker: String) -> Result<Measured> {
        let mut random = Random::new(self.args.seed);
        let mut kills = Vec::new();
        for number in 1..=self.args.kills.get() {
            let kill = self.kill(&mut random).with_context(|| format!("kill {number}"))?;
            eprintln!("kill {number}: {:.2} s, {} events/s before", kill.took.as_secs_f64(), kill.load);
            kills.push(kill);
        }
        self.visits.stop()?;
        let sessions = u64::from(self.args.sessions.get());
        let are_all_open = |job: &Value| open_sessions::count(job).is_ok_and(|open| open == sessions);
        self.job.wait_until(&self.cluster, are_all_open).context("not all sessions are open at the end")?;
        let violations = self.audit.finish()?.told;
        Ok(Measured { interval: self.interval, sessions, opening, broker, kills, violations })
    }

    fn kill(&mut self, random: &mut Random) -> Result<Kill> {
        let (began, first) = (self.clock.elapsed(), self.ledger()?);
        let settled =
            self.wait_for("an attempt that publishes", |now| now.last_epoch >= first.last_epoch + SETTLED_EPOCHS)?;
        let settling = self.clock.elapsed().saturating_sub(began).as_secs_f64();
        let load = (settled.events_read.saturating_sub(first.events_read)) as f64 / settling.max(0.001);
        let extra = random.between(0, u64::try_from(self.interval.as_millis())?);
        let until = Deadline::after(extra);
        self.wait(|_| until.has_passed(), extra + PATIENCE)?;

        let victim = self.victim(random)?;
        let state_bytes = self.checkpoint(|shown| shown["state"] == "completed")?["total_bytes"].as_u64();
        let token = self.ledger()?.last_epoch >> 32;
        let (killed, killed_ms) = (self.clock.elapsed(), SystemClock::new().now().0);
        self.cluster.taskmanagers[victim].kill();
        self.cluster.taskmanagers[victim].restart()?;
        self.wait_for("an epoch of a new attempt", |now| now.last_epoch >> 32 > token)?;

        let publications = self.audit.findings().publications;
        let published = publications.iter().find(|publication| publication.epoch >> 32 > token);
        let published = published.context("the auditor forgot what it saw")?;
        let took = published.at.saturating_sub(killed);
        let id = format!("{}.{}", published.epoch >> 32, published.epoch & 0xffff_ffff);
        let begun = self.begun(killed_ms)?;
        let checkpoint = self.checkpoint(|shown| shown["id"] == id.as_str())?;
        let figure = |name: &str| checkpoint[name].as_i64().with_context(|| format!("no `{name}`: {checkpoint}"));
        let [detected, canceled, planned, running] = begun.instants_ms;
        let published_ms = killed_ms + i64::try_from(took.as_millis())?;
        let instants =
            [detected, canceled, planned, running, figure("triggered_ms")?, figure("ended_ms")?, published_ms];
        Ok(Kill {
            took,
            steps: timeline::steps(killed_ms, instants),
            begun,
            state_bytes: state_bytes.context("no checkpoint was completed")?,
            written_bytes: u64::try_from(figure("written_bytes")?)?,
            load: load as u64,
        })
    }

    /// Waits, and tells the visits what is read meanwhile: of what is published, since nothing else survives a kill.
    fn wait(&self, is_so: impl Fn(&Ledger) -> bool, limit: Duration) -> Result<Option<Ledger>> {
        let deadline = Deadline::after(limit);
        loop {
            self.interrupted.check()?;
            if let Some(ledger) = self.audit.ledger() {
                self.visits.set_read(ledger.events_read);
                if is_so(&ledger) {
                    return Ok(Some(ledger));
                }
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            pause(LOOK_EVERY);
        }
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
        let limit = PATIENCE + self.interval * u32::try_from(SETTLED_EPOCHS)?;
        let found = self.wait(is_so, limit)?;
        found.with_context(|| format!("waited {limit:?} in vain for {what}; the ledger: {:?}", self.audit.ledger()))
    }

    fn ledger(&self) -> Result<Ledger> {
        self.wait_for("the first epoch", |now| now.last_epoch > 0)
    }

    /// The place of a taskmanager that runs a window.
    fn victim(&self, random: &mut Random) -> Result<usize> {
        let described = self.job.describe(&self.cluster)?;
        let subtasks = described["subtasks"].as_array().context("no subtasks")?;
        let windows: Vec<&Value> = subtasks.iter().filter(|subtask| subtask["stage"] == "window").collect();
        let chosen = usize::try_from(random.below(windows.len() as u64))?;
        let name = windows.get(chosen).and_then(|subtask| subtask["taskmanager"].as_str()).context("no window runs")?;
        Ok(name.trim_start_matches("tm-").parse::<usize>()? - 1)
    }

    /// The latest checkpoint of which this is so.
    fn checkpoint(&self, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let shown = self.job.checkpoints(&self.cluster)?;
        shown.into_iter().find(is_it).context("the jobmanager does not show the checkpoint")
    }

    fn begun(&self, killed_ms: i64) -> Result<timeline::Begun> {
        let windows = self.args.parallelism.get() as usize;
        let found = Deadline::after(LINES_LIMIT).wait_for(|| {
            let said = self.cluster.jobctl(&["logs", JOB, "--since", "10m", "--output", "json"])?.ok()?;
            let lines: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            timeline::begun(&lines, killed_ms, windows)
        })?;
        found.context("the processes did not log how the attempt began")
    }
}
