//! Does to a cluster what was planned, ends it when its time has come, and counts what really happened.

use std::fs::File;
use std::io::Write;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cluster::Cluster;
use e2e::proxy::{Proxy, Weather};
use localcluster::deadline::Deadline;

use crate::fault::{Fault, Kind};

/// A rescale that takes longer has failed.
const RESCALE_LIMIT: Duration = Duration::from_secs(30);

/// A fault that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) kind: Kind,
    pub(crate) began: Duration,
    pub(crate) over: Duration,
}

/// What is under way, and what undoes it.
#[derive(Debug)]
struct Ongoing {
    kind: Kind,
    began: Duration,
    due: Duration,
    undo: Undo,
}

#[derive(Debug)]
enum Undo {
    RestartTaskmanagers(Vec<usize>),
    ResumeTaskmanager(usize),
    RestartJobmanager,
    ResumeJobmanager,
    RestartBroker,
    ClearWeather { then_cut: bool },
    AwaitRescale(Child),
}

/// The tormentor.
#[derive(Debug)]
pub(crate) struct Injector {
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
    /// The job that is rescaled.
    job: String,
    clock: Deadline,
    planned: std::vec::IntoIter<(Duration, Fault)>,
    next: Option<(Duration, Fault)>,
    ongoing: Vec<Ongoing>,
    pub(crate) done: Vec<Done>,
    /// Planned, but there was nothing to do it to.
    pub(crate) skipped: u64,
    /// Processes that ended though nobody had killed them.
    pub(crate) own_ends: Vec<String>,
    log: File,
}

impl Injector {
    pub(crate) fn new(
        cluster: Cluster,
        proxy: Proxy,
        job: &str,
        clock: Deadline,
        plan: Vec<(Duration, Fault)>,
    ) -> Result<Injector> {
        let log = File::create(cluster.dir().join("faults.log"))?;
        let mut planned = plan.into_iter();
        let next = planned.next();
        Ok(Injector {
            cluster,
            proxy,
            job: job.to_owned(),
            clock,
            planned,
            next,
            ongoing: Vec::new(),
            done: Vec::new(),
            skipped: 0,
            own_ends: Vec::new(),
            log,
        })
    }

    /// Does what is due by now.
    pub(crate) fn turn(&mut self) -> Result<()> {
        self.undo_what_is_due(false)?;
        self.start_again_what_ended_by_itself()?;
        while let Some((_, fault)) = self.next.take_if(|(at, _)| *at <= self.clock.elapsed()) {
            self.next = self.planned.next();
            self.begin(fault)?;
        }
        Ok(())
    }

    /// Ends every fault now, and begins none any more.
    pub(crate) fn calm_down(&mut self) -> Result<()> {
        self.next = None;
        let patience = Deadline::after(RESCALE_LIMIT);
        while !self.ongoing.is_empty() {
            self.undo_what_is_due(!self.only_rescales() || patience.has_passed())?;
            localcluster::deadline::pause(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Looks after the processes while the job catches up.
    pub(crate) fn supervise(&mut self) -> Result<()> {
        self.start_again_what_ended_by_itself()
    }

    fn begin(&mut self, fault: Fault) -> Result<()> {
        let began = self.clock.elapsed();
        let kind = fault.kind();
        let after = |lasts: Duration, undo| Some((began + lasts, undo));
        let begun = match fault {
            Fault::KillTaskmanagers { count, pick, down } => {
                let victims = self.victims(count, pick);
                victims.iter().for_each(|&victim| self.cluster.taskmanagers[victim].kill());
                (!victims.is_empty()).then(|| (began + down, Undo::RestartTaskmanagers(victims)))
            }
            Fault::PauseTaskmanager { pick, lasts } => self.victims(1, pick).first().map(|&victim| {
                self.cluster.taskmanagers[victim].pause();
                (began + lasts, Undo::ResumeTaskmanager(victim))
            }),
            Fault::KillJobmanager { down } if self.is_jobmanager_well() => {
                self.cluster.jobmanager.kill();
                after(down, Undo::RestartJobmanager)
            }
            Fault::PauseJobmanager { lasts } if self.is_jobmanager_well() => {
                self.cluster.jobmanager.pause();
                after(lasts, Undo::ResumeJobmanager)
            }
            Fault::KillJobmanager { .. } | Fault::PauseJobmanager { .. } => None,
            Fault::CrashPostgres => {
                self.cluster.postgres.stop_immediately();
                self.cluster.postgres.restart().context("postgres does not start again")?;
                self.finish(kind, began);
                return Ok(());
            }
            Fault::KillBroker { down } => {
                let is_down = self.ongoing.iter().any(|fault| matches!(fault.undo, Undo::RestartBroker));
                (!is_down).then(|| {
                    self.cluster.broker.kill();
                    (began + down, Undo::RestartBroker)
                })
            }
            Fault::CutPostgres => {
                self.proxy.cut();
                self.finish(kind, began);
                return Ok(());
            }
            Fault::SlowPostgres { delay, lasts } => self.weather(Weather::Slow(delay), began + lasts),
            Fault::SilencePostgres { lasts } => self.weather(Weather::Silent, began + lasts),
            Fault::LoseAnswers { lasts } => self.weather(Weather::AnswersLost, began + lasts),
            Fault::Rescale { parallelism } => {
                let args = ["rescale", &self.job, "--parallelism", &parallelism.to_string()];
                let mut command = self.cluster.jobctl_command(&args, &[])?;
                let said = File::options().create(true).append(true).open(self.cluster.dir().join("rescale.log"))?;
                command.stdout(said.try_clone()?).stderr(said);
                after(RESCALE_LIMIT, Undo::AwaitRescale(command.spawn()?))
            }
        };
        match begun {
            Some((due, undo)) => {
                self.note(&format!("{fault:?}"))?;
                self.ongoing.push(Ongoing { kind, began, due, undo });
            }
            None => {
                self.note(&format!("skipped: {fault:?}"))?;
                self.skipped += 1;
            }
        }
        Ok(())
    }

    fn weather(&self, weather: Weather, due: Duration) -> Option<(Duration, Undo)> {
        let is_fair = !self.ongoing.iter().any(|fault| matches!(fault.undo, Undo::ClearWeather { .. }));
        is_fair.then(|| {
            self.proxy.set(weather);
            (due, Undo::ClearWeather { then_cut: !matches!(weather, Weather::Slow(_)) })
        })
    }

    /// Undoes what is due, or everything; a rescale is over when `jobctl` says so.
    fn undo_what_is_due(&mut self, all: bool) -> Result<()> {
        let now = self.clock.elapsed();
        for mut fault in std::mem::take(&mut self.ongoing) {
            let is_due = all || fault.due <= now;
            if let Undo::AwaitRescale(jobctl) = &mut fault.undo {
                match jobctl.try_wait()? {
                    Some(status) if status.success() => self.finish(fault.kind, fault.began),
                    Some(status) => {
                        self.skipped += 1;
                        self.note(&format!("not rescaled ({status}), see rescale.log"))?;
                    }
                    None if is_due => {
                        self.skipped += 1;
                        self.note("not rescaled in time")?;
                        let _ = (jobctl.kill(), jobctl.wait());
                    }
                    None => self.ongoing.push(fault),
                }
            } else if is_due {
                self.undo(&fault.undo)?;
                self.finish(fault.kind, fault.began);
            } else {
                self.ongoing.push(fault);
            }
        }
        Ok(())
    }

    fn undo(&mut self, undo: &Undo) -> Result<()> {
        match undo {
            Undo::RestartTaskmanagers(victims) => {
                for &victim in victims {
                    self.cluster.taskmanagers[victim].restart()?;
                }
            }
            Undo::ResumeTaskmanager(victim) => self.cluster.taskmanagers[*victim].resume(),
            Undo::RestartJobmanager => self.cluster.jobmanager.restart()?,
            Undo::ResumeJobmanager => self.cluster.jobmanager.resume(),
            Undo::RestartBroker => self.cluster.broker.restart().context("the broker does not start again")?,
            Undo::ClearWeather { then_cut } => {
                // The other way round what was held back would get through.
                if *then_cut {
                    self.proxy.cut();
                }
                self.proxy.set(Weather::Fair);
            }
            Undo::AwaitRescale(_) => {}
        }
        Ok(())
    }

    /// Taskmanagers that are well, up to `count` of them, from number `pick` on.
    fn victims(&mut self, count: usize, pick: u64) -> Vec<usize> {
        let mut well: Vec<usize> = (0..self.cluster.taskmanagers.len()).filter(|&each| self.is_well(each)).collect();
        if !well.is_empty() {
            let first = (pick % well.len() as u64) as usize;
            well.rotate_left(first);
        }
        well.truncate(count);
        well
    }

    fn is_well(&mut self, taskmanager: usize) -> bool {
        let is_ill = self.ongoing.iter().any(|fault| match &fault.undo {
            Undo::RestartTaskmanagers(victims) => victims.contains(&taskmanager),
            Undo::ResumeTaskmanager(victim) => *victim == taskmanager,
            _ => false,
        });
        !is_ill && !self.cluster.taskmanagers[taskmanager].has_ended()
    }

    fn is_jobmanager_well(&mut self) -> bool {
        let is_ill =
            self.ongoing.iter().any(|fault| matches!(fault.undo, Undo::RestartJobmanager | Undo::ResumeJobmanager));
        !is_ill && !self.cluster.jobmanager.has_ended()
    }

    fn start_again_what_ended_by_itself(&mut self) -> Result<()> {
        for number in 0..self.cluster.taskmanagers.len() {
            let is_killed = self
                .ongoing
                .iter()
                .any(|fault| matches!(&fault.undo, Undo::RestartTaskmanagers(victims) if victims.contains(&number)));
            if !is_killed && self.cluster.taskmanagers[number].has_ended() {
                self.note_own_end(&format!("taskmanager-{}", number + 1))?;
                self.cluster.taskmanagers[number].restart()?;
            }
        }
        let is_killed = self.ongoing.iter().any(|fault| matches!(fault.undo, Undo::RestartJobmanager));
        if !is_killed && self.cluster.jobmanager.has_ended() {
            self.note_own_end("jobmanager")?;
            self.cluster.jobmanager.restart()?;
        }
        Ok(())
    }

    fn note_own_end(&mut self, name: &str) -> Result<()> {
        let at_s = self.clock.elapsed().as_secs_f64();
        self.own_ends.push(format!("{name} at {at_s:.3} s"));
        self.note(&format!("{name} ended by itself"))
    }

    fn finish(&mut self, kind: Kind, began: Duration) {
        let over = self.clock.elapsed();
        self.done.push(Done { kind, began, over });
        // A log that cannot be written is no reason to stop: the report has the numbers.
        let _ = self.note(&format!("over: {kind}, begun at {:.3} s", began.as_secs_f64()));
    }

    fn note(&mut self, what: &str) -> Result<()> {
        Ok(writeln!(self.log, "{:>9.3} {what}", self.clock.elapsed().as_secs_f64())?)
    }

    fn only_rescales(&self) -> bool {
        self.ongoing.iter().all(|fault| matches!(fault.undo, Undo::AwaitRescale(_)))
    }
}
