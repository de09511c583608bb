//! What checkpoints cost an event: the same job, which reads a backlog as fast as it can, with one each few seconds and with one an hour in
//! turn.
//!
//! Each half begins with the savepoint that the half before ended with. CPU time is what the system charged to the jobmanager and the
//! taskmanagers; it says on a busy machine, too, what events a second say on one that has nothing else to do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::job::counter;
use e2e::member::Member;
use e2e::open_sessions;
use e2e::visitors::{Pace, Visits};
use localcluster::deadline::{Deadline, pause};
use serde_json::Value;

use crate::run::{LOOK_EVERY, Subject};

/// Practically none.
const SELDOM: Duration = Duration::from_secs(3600);
/// A job that begins again has its state and its first checkpoint by then.
const BEGIN_LIMIT: Duration = Duration::from_secs(300);
/// A backlog is produced, and read, at so many events a second at least.
const LEAST_PER_SECOND: u64 = 20_000;

/// What half a round measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Half {
    pub(crate) events: u64,
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
    /// Completed checkpoints.
    pub(crate) checkpoints: u64,
}

/// With checkpoints, and practically without.
pub(crate) type Round = [Half; 2];

impl Half {
    /// Microseconds of CPU time for each event.
    pub(crate) fn cpu_us(&self) -> f64 {
        1e6 * self.cpu.as_secs_f64() / self.events.max(1) as f64
    }

    /// Events a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.events as f64 / self.time.as_secs_f64().max(0.001)
    }
}

impl Subject<'_> {
    /// As many rounds as are wanted, whose halves take turns in being first.
    pub(crate) fn rounds(&self, visits: &Visits, sessions: u64) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for number in 0..self.args.rounds {
            let mut round = Round::default();
            let order = if number.is_multiple_of(2) { [0, 1] } else { [1, 0] };
            for place in order {
                let interval = [self.args.often, SELDOM][place];
                self.bar.set_message(format!(
                    "round {}: a checkpoint each {}",
                    number + 1,
                    stream_runtime::duration::show(interval)
                ));
                round[place] = self.half(interval, visits, sessions)?;
            }
            rounds.push(round);
        }
        Ok(rounds)
    }

    /// While the job is away a backlog is produced, so that nobody but the job is at work while it is measured.
    fn half(&self, interval: Duration, visits: &Visits, sessions: u64) -> Result<Half> {
        visits.set_pace(Pace::Rate(0));
        let folder = self.job.stop(self.cluster, false)?;
        let backlog = self.args.backlog.get();
        let limit = Duration::from_secs(backlog / LEAST_PER_SECOND) + BEGIN_LIMIT;
        let goal = visits.sent() + backlog;
        visits.set_read(sessions + visits.sent());
        visits.set_pace(Pace::Unread(backlog));
        let are_there = || self.check().map(|()| (visits.sent() >= goal).then_some(()));
        Deadline::after(limit).wait_for(are_there)?.context("the backlog was not produced in time")?;
        let parallelism = self.args.parallelism.get();
        open_sessions::submit(self.cluster, &self.job, parallelism, interval, &["--from-savepoint", &folder])?;
        self.wait_for_the_first_checkpoint()?;
        let (before, deadline) = (self.state()?, Deadline::after(limit));
        let is_read = || anyhow::Ok((open_sessions::read(&self.described()?) >= sessions + goal).then_some(()));
        while is_read()?.is_none() {
            ensure!(!deadline.has_passed(), "the backlog was not read within {} s", limit.as_secs());
            pause(LOOK_EVERY);
        }
        let time = deadline.elapsed();
        let after = self.state()?;
        let events = after.events.saturating_sub(before.events);
        ensure!(
            2 * events >= backlog,
            "only {events} of {backlog} events were left when it was measured: make it more"
        );
        Ok(Half {
            events,
            time,
            cpu: after.cpu.saturating_sub(before.cpu),
            checkpoints: after.checkpoints.saturating_sub(before.checkpoints),
        })
    }

    /// Behind the start there is one at once, of whatever interval.
    fn wait_for_the_first_checkpoint(&self) -> Result<()> {
        let is_there = || {
            self.check()?;
            let runs = self.job.describe(self.cluster)?["state"] == "running";
            let newest: Option<Value> = self.job.checkpoints(self.cluster)?.into_iter().next();
            let is_its_own = |newest: &Value| newest["state"] == "completed" && newest["is_savepoint"] == false;
            anyhow::Ok((runs && newest.as_ref().is_some_and(is_its_own)).then_some(()))
        };
        Deadline::after(BEGIN_LIMIT).wait_for(is_there)?.context("the job did not begin again")
    }

    fn state(&self) -> Result<Half> {
        let described = self.described()?;
        let members = self.cluster.taskmanagers.iter().chain([&self.cluster.jobmanager]);
        let cpu: Option<Duration> = members.map(Member::cpu_time).sum();
        let completed = self.job.checkpoints(self.cluster)?;
        Ok(Half {
            events: counter(&described, "window", "records_in")?,
            time: Duration::ZERO,
            cpu: cpu.context("a process has died; its log says why")?,
            checkpoints: completed.iter().filter(|shown| shown["state"] == "completed").count() as u64,
        })
    }
}
