//! The event loop: a clock that jumps to the next event, the network, and who does what when.

use std::collections::{BTreeMap, BTreeSet};

use stream_core::checkpoint::{LedgerEntry, Listed, choose, orphans};
use stream_core::ids::{AttemptNumber, CheckpointId, Nonce, Token};

use crate::faults::{FAULTS_UNTIL, Fault, Faults};
use crate::input::Input;
use crate::invariants::Invariant;
use crate::jobmanager::JobManager;
use crate::mail::{Done, Mail};
use crate::postgres::{Postgres, Publish};
use crate::random::Random;
use crate::store::{Object, Store};
use crate::taskmanager::TaskManager;
use crate::trace::Trace;

/// By when a job has finished, after the last fault: in simulated milliseconds.
const PROGRESS_MS: i64 = 300_000;

/// The rules that the simulation's wiring can leave out, to see that it finds what goes wrong then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// The ledger compares token and nonce.
    pub checks_token: bool,
    /// The ledger compares the epoch before.
    pub checks_prev: bool,
    /// Checkpoints are listed behind the fence.
    pub fences_first: bool,
    /// A checkpoint's id holds its attempt's token.
    pub ids_hold_token: bool,
    /// A sweep leaves the files of the attempt's own token.
    pub sweeps_below_token: bool,
    /// Whether there is a table of open sessions, and when its changes are sent.
    pub open_table: OpenTable,
}

/// When the changes of a table of open sessions are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenTable {
    /// There is no such table.
    Absent,
    /// As the last rows before the barrier, as the product does.
    BeforeBarrier,
    /// As the first rows behind it, which are of another epoch than the ledger's accounts.
    BehindBarrier,
}

impl Wiring {
    /// As the product is.
    pub const WHOLE: Wiring = Wiring {
        checks_token: true,
        checks_prev: true,
        fences_first: true,
        ids_hold_token: true,
        sweeps_below_token: true,
        open_table: OpenTable::Absent,
    };
    /// The same with a table of open sessions, which takes other turns: there is more to be stored.
    pub const WITH_OPEN_TABLE: Wiring = Wiring { open_table: OpenTable::BeforeBarrier, ..Wiring::WHOLE };
}

/// A process.
pub(crate) enum Role {
    JobManager(Box<JobManager>),
    TaskManager(Box<TaskManager>),
}

pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) paused_until: i64,
}

pub(crate) type Answer<T> = Box<dyn FnOnce(Result<T, String>) -> Done>;

/// What a publish came to: `false` if the ledger is elsewhere.
pub(crate) enum Request {
    Fence(Token, Nonce, Answer<LedgerEntry>),
    Look(Answer<LedgerEntry>),
    Publish(Box<Publish>, Answer<bool>),
}

pub(crate) enum Event {
    To(u32, Mail),
    Put(u32, String, Object, Option<Answer<()>>),
    Postgres(u32, u64, Request),
    Commit(u32, u64, Box<Publish>, Answer<bool>),
    /// Only while this is the leader's number: who slept may know of less than is needed now.
    Delete(u32, Vec<String>),
    /// A step of the sweep of this process's attempt: files are listed, then manifests, then it is told what nobody needs.
    Sweep(u32, AttemptNumber, Token, Option<Vec<Listed>>),
    Fault,
    StartJobManager,
    StartTaskManager(String),
}

pub(crate) struct Link {
    pub(crate) ends: [u32; 2],
}

/// All there is.
pub struct World {
    pub(crate) now: i64,
    sequence: u64,
    queue: BTreeMap<(i64, u64), Event>,
    pub(crate) random: Random,
    /// Apart, so that seeds mean what they meant before anything was swept.
    pub(crate) sweeps: Random,
    pub(crate) trace: Trace,
    pub(crate) store: Store,
    pub(crate) postgres: Postgres,
    pub(crate) input: Input,
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) links: BTreeMap<u64, Link>,
    arrivals: BTreeMap<(u64, u64), i64>,
    pub(crate) cut: BTreeSet<(AttemptNumber, u32, u32)>,
    pub(crate) disk_full_until: i64,
    pub(crate) triggered: BTreeSet<CheckpointId>,
    last_number: u64,
    pub(crate) faults: Faults,
    pub(crate) wiring: Wiring,
    pub(crate) violation: Option<(Invariant, String)>,
    pub(crate) is_finished: bool,
}

impl World {
    pub(crate) fn new(seed: u64, wiring: Wiring) -> Self {
        let mut random = Random::new(seed);
        let input = Input::new(&mut random);
        let mut world = World {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            random,
            sweeps: Random::new(seed),
            trace: Trace::default(),
            store: Store::default(),
            postgres: Postgres::new(),
            input,
            processes: BTreeMap::new(),
            links: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            cut: BTreeSet::new(),
            disk_full_until: 0,
            triggered: BTreeSet::new(),
            last_number: 0,
            faults: Faults::default(),
            wiring,
            violation: None,
            is_finished: false,
        };
        world.after(0, Event::StartJobManager);
        for index in 0..world.random.between(1, 3) {
            world.after(1, Event::StartTaskManager(format!("taskmanager-{index}")));
        }
        world.after(1000, Event::Fault);
        world
    }

    pub(crate) fn run(&mut self) {
        while self.violation.is_none() && !self.is_finished {
            let Some(((at, _), event)) = self.queue.pop_first() else { break };
            self.now = at;
            if at > FAULTS_UNTIL + PROGRESS_MS {
                return self.violate(Invariant::L2Progress, "the job has not finished".to_owned());
            }
            self.on(event);
        }
        if self.violation.is_none() {
            self.check_reference();
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::To(to, mail) => self.deliver(to, mail),
            Event::Put(from, name, object, answer) => self.on_put(from, name, object, answer),
            Event::Postgres(from, id, request) => self.on_postgres(from, id, request),
            Event::Commit(from, id, publish, answer) => self.on_commit(from, id, *publish, answer),
            Event::Delete(leader, _) if leader < self.store.leader() => {}
            Event::Delete(_, names) => {
                names.iter().for_each(|name| self.store.delete(name));
                self.trace.add(self.now, &format!("store: deleted {names:?}"));
                self.check_retention();
            }
            Event::Sweep(pid, attempt, below, listed) => self.on_sweep(pid, attempt, below, listed),
            Event::Fault => self.on_fault(),
            Event::StartJobManager => {
                let pid = self.number() as u32;
                let manager = JobManager::start(pid, self);
                self.start(pid, Role::JobManager(Box::new(manager)));
            }
            Event::StartTaskManager(name) => {
                let pid = self.number() as u32;
                self.start(pid, Role::TaskManager(Box::new(TaskManager::new(pid, name))));
            }
        }
    }

    fn on_sweep(&mut self, pid: u32, attempt: AttemptNumber, below: Token, listed: Option<Vec<Listed>>) {
        let pause = self.sweeps.between(1, 400);
        let Some(listed) = listed else {
            return self.after(pause, Event::Sweep(pid, attempt, below, Some(self.store.files())));
        };
        let below = if self.wiring.sweeps_below_token { below } else { Token(u32::MAX) };
        let orphans = orphans(below, &listed, &self.store.every_manifest());
        let names = orphans.into_iter().map(|orphan| orphan.name.clone()).collect();
        self.after(pause, Event::To(pid, Mail::Done(Done::Orphans(attempt, names))));
    }

    fn start(&mut self, pid: u32, role: Role) {
        self.processes.insert(pid, Process { role, paused_until: 0 });
        self.after(1, Event::To(pid, Mail::Tick));
    }

    fn deliver(&mut self, to: u32, mail: Mail) {
        if mail.link().is_some_and(|link| !self.links.contains_key(&link)) {
            return;
        }
        let Some(process) = self.processes.get(&to) else { return };
        if process.paused_until > self.now {
            let resumed = process.paused_until - self.now;
            return self.after(resumed, Event::To(to, mail));
        }
        let Some(mut process) = self.processes.remove(&to) else { return };
        if !matches!(mail, Mail::Tick) && !mail.is_heartbeat() {
            self.trace.add(self.now, &format!("{to} <- {mail:?}"));
        }
        let goes_on = match &mut process.role {
            Role::JobManager(manager) => manager.on(mail, self),
            Role::TaskManager(manager) => manager.on(mail, self),
        };
        if goes_on {
            self.processes.insert(to, process);
        } else {
            self.buried(to, &process);
        }
    }

    /// A process is gone: its connections break, and whoever supervises it starts it again.
    pub(crate) fn buried(&mut self, pid: u32, process: &Process) {
        let links: Vec<u64> =
            self.links.iter().filter(|(_, link)| link.ends.contains(&pid)).map(|(&number, _)| number).collect();
        links.into_iter().for_each(|link| self.break_link(link));
        let pause = self.random.between(100, 1500);
        match &process.role {
            Role::JobManager(_) => {
                let others = self.processes.values().any(|other| matches!(other.role, Role::JobManager(_)));
                if !others {
                    self.after(pause, Event::StartJobManager);
                }
            }
            Role::TaskManager(manager) => self.after(pause, Event::StartTaskManager(manager.name.clone())),
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn after(&mut self, ms: i64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + ms, self.sequence), event);
    }

    /// Sends in order with what went before on the same way.
    pub(crate) fn send(&mut self, way: (u64, u64), to: u32, mail: Mail) {
        let delay = if self.random.percent(3) { self.random.between(20, 400) } else { self.random.between(0, 8) };
        let at = self.arrivals.get(&way).copied().unwrap_or(0).max(self.now + delay);
        self.arrivals.insert(way, at);
        self.after(at - self.now, Event::To(to, mail));
    }

    /// What is under way on it is lost; each end notices in its own time.
    pub(crate) fn break_link(&mut self, number: u64) {
        let Some(link) = self.links.remove(&number) else { return };
        for end in link.ends {
            let notice = self.random.between(1, 1500);
            self.after(notice, Event::To(end, Mail::LinkLost(number)));
        }
    }

    /// Writes an object; the answer may be lost, and the write come late or never.
    pub(crate) fn put(&mut self, from: u32, name: String, object: Object, answer: Answer<()>) {
        let lands = self.random.between(1, 25);
        if self.random.percent(3) {
            self.faults.add(Fault::StoreError);
            if self.random.percent(50) {
                self.faults.add(Fault::LateWrite);
                let late = self.random.between(30, 2000);
                self.after(late, Event::Put(from, name, object, None));
            }
            let done = answer(Err("the store does not answer".to_owned()));
            return self.after(lands, Event::To(from, Mail::Done(done)));
        }
        self.after(lands, Event::Put(from, name, object, Some(answer)));
    }

    fn on_put(&mut self, from: u32, name: String, object: Object, answer: Option<Answer<()>>) {
        if !self.processes.contains_key(&from) && self.random.percent(50) {
            self.store.torn += 1;
            return self.faults.add(Fault::TornWrite);
        }
        let result = match self.now < self.disk_full_until {
            true => Err("no space left".to_owned()),
            false if self.wiring.ids_hold_token => self.store.create(&name, object),
            false => {
                self.store.replace(&name, object);
                Ok(())
            }
        };
        self.trace.add(self.now, &format!("store: {name} {result:?}"));
        if let Some(answer) = answer {
            let back = self.random.between(1, 20);
            self.after(back, Event::To(from, Mail::Done(answer(result))));
        }
    }

    pub(crate) fn ask_postgres(&mut self, from: u32, request: Request) {
        let is_slow = self.random.percent(8);
        let (id, delay) = (self.number(), self.random.between(1, if is_slow { 2000 } else { 20 }));
        self.after(delay, Event::Postgres(from, id, request));
    }

    fn on_postgres(&mut self, from: u32, id: u64, request: Request) {
        let is_down = self.now < self.postgres.down_until;
        if let Some((_, until)) = self.postgres.holder.filter(|_| !is_down && !matches!(request, Request::Look(_))) {
            return self.after((until - self.now).max(0) + 1, Event::Postgres(from, id, request));
        }
        let refused = || "the connection broke".to_owned();
        let is_lost = is_down || self.random.percent(3);
        let done = match request {
            Request::Fence(highest, nonce, answer) if !is_down => {
                let entry = self.postgres.fence(self.now, highest, nonce);
                if self.random.percent(3) {
                    self.faults.add(Fault::Duplicate);
                    self.postgres.fence(self.now, highest, nonce);
                }
                self.trace.add(self.now, &format!("postgres: fenced {entry:?}"));
                answer(if is_lost { Err(refused()) } else { Ok(entry) })
            }
            Request::Fence(.., answer) => answer(Err(refused())),
            Request::Look(answer) => answer(if is_lost { Err(refused()) } else { Ok(self.postgres.entry()) }),
            Request::Publish(_, answer) if is_down => answer(Err(refused())),
            Request::Publish(publish, answer) => {
                let Wiring { checks_token, checks_prev, .. } = self.wiring;
                if self.postgres.matches(&publish, checks_token, checks_prev) {
                    let takes = if self.random.percent(3) { 600 } else { self.random.between(1, 20) };
                    self.postgres.holder = Some((id, self.now + takes));
                    return self.after(takes, Event::Commit(from, id, publish, answer));
                }
                if publish.token < self.postgres.ledger.token {
                    self.faults.add(Fault::ZombiePublish);
                }
                answer(Ok(false))
            }
        };
        let back = self.random.between(1, 20);
        self.after(back, Event::To(from, Mail::Done(done)));
    }

    fn on_commit(&mut self, from: u32, id: u64, publish: Publish, answer: Answer<bool>) {
        let mut result = Err("the connection broke".to_owned());
        if self.postgres.holder.take_if(|(holder, _)| *holder == id).is_some() {
            let epoch = publish.epoch.epoch;
            self.trace.add(self.now, &format!("postgres: {epoch} behind {} committed", publish.epoch.prev));
            self.check_publish(&publish);
            if let Err((invariant, what)) = self.postgres.commit(self.now, publish) {
                self.violate(invariant, what);
            }
            self.check_retention();
            if self.random.percent(5) {
                self.faults.add(Fault::LostAck);
            } else {
                result = Ok(true);
            }
        }
        let back = self.random.between(1, 20);
        self.after(back, Event::To(from, Mail::Done(answer(result))));
    }

    /// Only where the rule is in force: without it, what is to be found is the damage.
    fn check_publish(&mut self, publish: &Publish) {
        let (ledger, wiring) = (&self.postgres.ledger, self.wiring);
        if wiring.checks_token && (publish.token, publish.nonce) != (ledger.token, ledger.nonce) {
            let what = format!("token {} published, and the ledger has {}", publish.token, ledger.token);
            self.violate(Invariant::I6Fencing, what);
        } else if wiring.checks_prev && publish.epoch.prev != ledger.last_epoch {
            self.violate(
                Invariant::I5Chain,
                format!("{} was published behind {}", publish.epoch.epoch, ledger.last_epoch),
            );
        }
    }

    pub(crate) fn check_retention(&mut self) {
        if ![Wiring::WHOLE, Wiring::WITH_OPEN_TABLE].contains(&self.wiring) {
            return;
        }
        if let Err(refusal) = choose(self.store.manifests(), self.postgres.ledger.last_epoch) {
            self.violate(Invariant::I9Retention, refusal.to_string());
        }
    }

    fn check_reference(&mut self) {
        let expected = self.input.sessions();
        let mut found = self.postgres.rows.clone();
        found.sort();
        if found != expected {
            let missing = expected.iter().filter(|row| !found.contains(row)).count();
            let what = format!("{} rows instead of {}, {missing} missing", found.len(), expected.len());
            self.violate(Invariant::I2Reference, what);
        }
        if !self.postgres.open.is_empty() {
            let what = format!("{} sessions are shown as open that are closed", self.postgres.open.len());
            self.violate(Invariant::I2Reference, what);
        }
    }

    pub(crate) fn violate(&mut self, invariant: Invariant, what: String) {
        self.trace.add(self.now, &format!("{invariant}: {what}"));
        self.violation.get_or_insert((invariant, what));
    }
}
