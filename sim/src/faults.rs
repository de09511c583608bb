//! What goes wrong, when, and how often it did.

use std::collections::BTreeMap;

use crate::mail::Mail;
use crate::world::{Event, Role, World};

/// When the last fault begins, in simulated milliseconds.
pub const FAULTS_UNTIL: i64 = 20_000;

/// How long ago the state may be to which Postgres is set back: less than checkpoints are retained.
const LAG_MS: i64 = 3000;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A taskmanager dies.
    KillTaskManager,
    /// A taskmanager stands still, and goes on.
    PauseTaskManager,
    /// A jobmanager dies.
    KillJobManager,
    /// A jobmanager stands still while another takes over, and goes on.
    TwoLeaders,
    /// A connection between jobmanager and taskmanager breaks.
    BreakLink,
    /// A stream between two taskmanagers breaks.
    CutExchange,
    /// Postgres crashes.
    PostgresCrash,
    /// A standby takes over that had not all commits.
    LaggingFailover,
    /// The store is full for a while.
    FullDisk,
    /// The job is restarted with another parallelism.
    Rescale,
    /// A write to the store fails.
    StoreError,
    /// A write that was reported as failed comes through later.
    LateWrite,
    /// A process dies in the middle of a write.
    TornWrite,
    /// A commit's answer is lost.
    LostAck,
    /// A request reaches Postgres twice.
    Duplicate,
    /// A fenced attempt tries to publish.
    ZombiePublish,
    /// Files that an attempt left are swept by a later one.
    Orphans,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Fault; 17] = [
        Fault::KillTaskManager,
        Fault::PauseTaskManager,
        Fault::KillJobManager,
        Fault::TwoLeaders,
        Fault::BreakLink,
        Fault::CutExchange,
        Fault::PostgresCrash,
        Fault::LaggingFailover,
        Fault::FullDisk,
        Fault::Rescale,
        Fault::StoreError,
        Fault::LateWrite,
        Fault::TornWrite,
        Fault::LostAck,
        Fault::Duplicate,
        Fault::ZombiePublish,
        Fault::Orphans,
    ];
    /// Those that are begun on purpose; the others come with requests.
    const BEGUN: usize = 10;
}

/// How often each happened.
#[derive(Clone, Debug, Default)]
pub struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    /// One more.
    pub fn add(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// How often it happened.
    pub fn count(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// All of another run, too.
    pub fn add_all(&mut self, other: &Faults) {
        other.0.iter().for_each(|(&fault, count)| *self.0.entry(fault).or_default() += count);
    }
}

impl World {
    pub(crate) fn on_fault(&mut self) {
        if self.now > FAULTS_UNTIL {
            return;
        }
        let next = self.random.between(200, 2500);
        self.after(next, Event::Fault);
        let of_kind = |is_job: bool| -> Vec<u32> {
            let is_it = |role: &Role| matches!(role, Role::JobManager(_)) == is_job;
            let running = self.processes.iter().filter(|(_, it)| is_it(&it.role) && it.paused_until <= self.now);
            running.map(|(&pid, _)| pid).collect()
        };
        let (jobmanagers, taskmanagers) = (of_kind(true), of_kind(false));
        let fault = self.random.pick(&Fault::ALL[..Fault::BEGUN]).expect("there are some");
        let happened = match fault {
            Fault::KillTaskManager => self.kill(&taskmanagers),
            Fault::KillJobManager => self.kill(&jobmanagers),
            Fault::PauseTaskManager => self.pause(&taskmanagers).is_some(),
            Fault::TwoLeaders => {
                let is_paused = self.pause(&jobmanagers).is_some();
                if is_paused {
                    let standby = self.random.between(50, 1500);
                    self.after(standby, Event::StartJobManager);
                }
                is_paused
            }
            Fault::BreakLink => {
                let links: Vec<u64> = self.links.keys().copied().collect();
                let link = self.random.pick(&links);
                link.into_iter().for_each(|link| self.break_link(link));
                link.is_some()
            }
            Fault::CutExchange => self.cut_exchange(&taskmanagers),
            Fault::PostgresCrash => {
                self.postgres.holder = None;
                self.postgres.down_until = self.now + self.random.between(50, 1500);
                true
            }
            Fault::LaggingFailover => self.fail_over(),
            Fault::FullDisk => {
                self.disk_full_until = self.now + self.random.between(100, 2000);
                true
            }
            Fault::Rescale => self.rescale(&jobmanagers),
            _ => unreachable!("it comes with a request"),
        };
        if happened {
            self.faults.add(fault);
            self.trace.add(self.now, &format!("fault: {fault:?}"));
        }
    }

    fn kill(&mut self, pids: &[u32]) -> bool {
        let Some(pid) = self.random.pick(pids) else { return false };
        let Some(process) = self.processes.remove(&pid) else { return false };
        self.buried(pid, &process);
        true
    }

    fn pause(&mut self, pids: &[u32]) -> Option<u32> {
        let pid = self.random.pick(pids)?;
        let until = self.now + self.random.between(200, 6000);
        self.processes.get_mut(&pid)?.paused_until = until;
        Some(pid)
    }

    fn cut_exchange(&mut self, taskmanagers: &[u32]) -> bool {
        let (from, to) = (self.random.pick(taskmanagers), self.random.pick(taskmanagers));
        let (Some(from), Some(to)) = (from, to) else { return false };
        let Some(Role::TaskManager(receiver)) = self.processes.get(&to).map(|process| &process.role) else {
            return false;
        };
        let Some(attempt) = receiver.newest_attempt().filter(|_| from != to) else { return false };
        self.cut.insert((attempt, from, to));
        let notice = self.random.between(1, 1000);
        self.after(notice, Event::To(to, Mail::ExchangeLost(attempt)));
        true
    }

    fn fail_over(&mut self) -> bool {
        // What was published last may be all there is: a job that has ended cannot publish it again.
        if self.postgres.ledger.accounts.read == self.input.len() {
            return false;
        }
        self.postgres.holder = None;
        let at = self.now - self.random.between(0, LAG_MS);
        self.postgres.down_until = self.now + self.random.between(10, 500);
        let has_lost = self.postgres.fail_over(at);
        self.check_retention();
        has_lost
    }

    fn rescale(&mut self, jobmanagers: &[u32]) -> bool {
        let Some(pid) = self.random.pick(jobmanagers) else { return false };
        let Some(mut process) = self.processes.remove(&pid) else { return false };
        let happened = match &mut process.role {
            Role::JobManager(manager) => manager.rescale(self),
            Role::TaskManager(_) => false,
        };
        self.processes.insert(pid, process);
        happened
    }
}
