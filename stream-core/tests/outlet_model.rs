//! The protocol of outlets under every order of steps that a seed draws: attempts that stand still and go on behind their
//! successors, processes that die between any two steps, checkpoints that cannot be read any more.
//!
//! A row is a number; an epoch has those between two cuts. The rules are the real ones (`turn`, `standing`); what is made up is
//! who runs when. With each rule taken away, a seed is found in which a row is there twice.

use stream_core::checkpoint::{Accounts, LedgerEntry, SealedEpoch, Standing, standing};
use stream_core::ids::{CheckpointId, Nonce, Token};
use stream_core::outlet::{Turn, turn};
use stream_core::random::SplitMix64;
use stream_core::table::RowCounts;

const SEEDS: u64 = 20_000;
const STEPS: u32 = 80;

/// What the protocol consists of; a test takes one away.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    /// Whoever takes the register over keeps those before from committing.
    is_exclusive: bool,
    /// What is there already is seen by the register.
    has_register: bool,
    /// The first epoch of an attempt moves the register, rows or not.
    first_moves: bool,
    /// The ledger is asked before the outlet is touched.
    asks_ledger: bool,
}

/// What may go wrong beside processes that die or stand still.
#[derive(Clone, Copy, Debug)]
struct Faults {
    /// The newest checkpoint cannot be read.
    damage: bool,
    /// A jobmanager that was replaced stores a checkpoint all the same.
    late_manifests: bool,
}

const NONE: Faults = Faults { damage: false, late_manifests: false };
const ALL: Faults = Faults { damage: true, late_manifests: true };
const WHOLE: Protocol = Protocol { is_exclusive: true, has_register: true, first_moves: true, asks_ledger: true };

/// An epoch and the rows that it has for the outlet.
#[derive(Clone, Debug)]
struct Epoch {
    sealed: SealedEpoch,
    rows: Vec<u32>,
}

/// A stored checkpoint: its epochs that were pending then, oldest first, and how far had been read.
#[derive(Clone, Debug)]
struct Manifest {
    pending: Vec<Epoch>,
    cut: u32,
}

/// What outlives every process.
#[derive(Debug, Default)]
struct World {
    ledger: Option<LedgerEntry>,
    manifests: Vec<Manifest>,
    register: Option<CheckpointId>,
    /// Who took the register over last.
    holder: u32,
    in_outlet: Vec<u32>,
    /// The highest row that the sink's ledger accounts for.
    in_sink: u32,
}

/// What an attempt does next with its first pending epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    AskLedger,
    TakeOver,
    ReadRegister,
    Commit,
    MoveLedger,
}

#[derive(Debug)]
struct Attempt {
    token: Token,
    sequence: u32,
    last: CheckpointId,
    cut: u32,
    pending: Vec<Epoch>,
    next: Next,
    session: Option<Session>,
    has_moved: bool,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    number: u32,
    register: Option<CheckpointId>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Fenced,
    Passed,
}

/// What a run showed.
#[derive(Debug, Default)]
struct Run {
    world: World,
    /// How often an attempt was refused that nobody had replaced.
    passed: u32,
}

impl Attempt {
    /// Fences, chooses, begins. A damaged checkpoint is passed over, as long as an older one continues the ledger.
    fn begin(world: &mut World, random: &mut SplitMix64, faults: Faults) -> Attempt {
        let (token, last) = world.ledger.map_or((0, CheckpointId::ROOT), |entry| (entry.token.0, entry.last_epoch));
        let token = Token(token + 1);
        world.ledger = Some(LedgerEntry { token, nonce: Nonce(token.0.into()), last_epoch: last });
        // One that stands still may store an older one behind a newer one.
        world.manifests.sort_by_key(|manifest| manifest.pending.last().map(|epoch| epoch.sealed.epoch));
        if faults.damage && random.bits().is_multiple_of(4) {
            world.manifests.pop();
        }
        let chosen = world.manifests.iter().rev().find_map(|manifest| {
            let behind = manifest.pending.iter().position(|epoch| epoch.sealed.prev == last);
            let is_its_own = manifest.pending.last().is_some_and(|epoch| epoch.sealed.epoch == last);
            let pending = if is_its_own { Vec::new() } else { manifest.pending[behind?..].to_vec() };
            Some((pending, manifest.cut))
        });
        // A job that has published nothing may begin anew.
        let (pending, cut) = chosen.unwrap_or((Vec::new(), world.in_sink));
        let last = pending.last().map_or(last, |epoch| epoch.sealed.epoch);
        Attempt { token, sequence: 0, last, cut, pending, next: Next::AskLedger, session: None, has_moved: false }
    }

    /// A checkpoint: some rows more, or none, and all of them in one step, since what comes before its manifest is another model's.
    fn seal(&mut self, world: &mut World, random: &mut SplitMix64) {
        self.sequence += 1;
        let epoch = CheckpointId::new(self.token, self.sequence);
        let rows: Vec<u32> = (self.cut + 1..=self.cut + (random.bits() % 3) as u32).collect();
        self.cut += rows.len() as u32;
        let sealed = SealedEpoch {
            epoch,
            prev: std::mem::replace(&mut self.last, epoch),
            files: Vec::new(),
            rows: RowCounts { result: 0, side: vec![rows.len() as u64] },
            accounts: Accounts::default(),
            cut: None,
        };
        self.pending.push(Epoch { sealed, rows });
        world.manifests.push(Manifest { pending: self.pending.clone(), cut: self.cut });
    }

    fn step(&mut self, world: &mut World, protocol: Protocol) -> Result<(), End> {
        let Some(Epoch { sealed, rows }) = self.pending.first().cloned() else { return Ok(()) };
        self.next = match self.next {
            Next::AskLedger => {
                let is_concerned = !rows.is_empty() || (protocol.first_moves && !self.has_moved);
                if protocol.asks_ledger {
                    self.is_due(world, &sealed)?;
                }
                match (is_concerned, self.session) {
                    (false, _) => Next::MoveLedger,
                    (true, None) => Next::TakeOver,
                    (true, Some(_)) => Next::Commit,
                }
            }
            Next::TakeOver => {
                world.holder += 1;
                self.session = Some(Session { number: world.holder, register: None });
                Next::ReadRegister
            }
            Next::ReadRegister => {
                let session = self.session.as_mut().expect("it was just taken over");
                session.register = world.register.filter(|_| protocol.has_register);
                Next::Commit
            }
            Next::Commit => self.commit(world, protocol, &sealed, &rows)?,
            Next::MoveLedger => {
                let is_due = self.is_due(world, &sealed)?;
                if is_due {
                    world.ledger.as_mut().expect("it was fenced").last_epoch = sealed.epoch;
                    world.in_sink = rows.last().copied().unwrap_or(world.in_sink);
                }
                self.pending.remove(0);
                Next::AskLedger
            }
        };
        Ok(())
    }

    fn commit(
        &mut self,
        world: &mut World,
        protocol: Protocol,
        sealed: &SealedEpoch,
        rows: &[u32],
    ) -> Result<Next, End> {
        let session = self.session.as_mut().expect("it was taken over");
        match turn(session.register, sealed) {
            Turn::Published => {}
            Turn::Passed(_) => return Err(End::Passed),
            Turn::Due if protocol.is_exclusive && session.number != world.holder => {
                // Another has taken it over: from the beginning.
                self.session = None;
                return Ok(Next::AskLedger);
            }
            Turn::Due => {
                world.in_outlet.extend(rows);
                world.register = Some(sealed.epoch);
                session.register = world.register.filter(|_| protocol.has_register);
            }
        }
        self.has_moved = true;
        Ok(Next::MoveLedger)
    }

    fn is_current(&self, world: &World) -> bool {
        world.ledger.is_some_and(|entry| entry.token == self.token)
    }

    fn is_due(&self, world: &World, sealed: &SealedEpoch) -> Result<bool, End> {
        match standing(world.ledger, self.token, Nonce(self.token.0.into()), sealed) {
            Standing::Due => Ok(true),
            Standing::Published => Ok(false),
            _ => Err(End::Fenced),
        }
    }
}

fn run(seed: u64, protocol: Protocol, faults: Faults) -> Run {
    let mut random = SplitMix64::new(seed);
    let mut run = Run::default();
    let mut attempts = vec![Attempt::begin(&mut run.world, &mut random, faults)];
    for _ in 0..STEPS {
        let world = &mut run.world;
        if attempts.is_empty() || random.bits().is_multiple_of(16) {
            // Those before are not told: they go on for as long as they can.
            let attempt = Attempt::begin(world, &mut random, faults);
            attempts.push(attempt);
        }
        let place = (random.bits() % attempts.len() as u64) as usize;
        let ended = match random.bits() % 8 {
            0 => true,
            1 | 2 => {
                let attempt = &mut attempts[place];
                if faults.late_manifests || attempt.is_current(world) {
                    attempt.seal(world, &mut random);
                }
                false
            }
            _ => match attempts[place].step(world, protocol) {
                Ok(()) => false,
                Err(end) => {
                    // One that was replaced is to end, in whatever way.
                    run.passed += u32::from(attempts[place].is_current(world) && end == End::Passed);
                    true
                }
            },
        };
        if ended {
            attempts.remove(place);
        }
    }
    run
}

/// What is wrong with the rows of a run.
fn complaint(run: &Run) -> Option<String> {
    let World { in_outlet, in_sink, .. } = &run.world;
    let mut rows = in_outlet.clone();
    rows.sort_unstable();
    if let Some(pair) = rows.windows(2).find(|pair| pair[0] == pair[1]) {
        return Some(format!("row {} is in the outlet twice", pair[0]));
    }
    (1..=*in_sink).find(|row| !rows.contains(row)).map(|row| format!("row {row} is missing in the outlet"))
}

fn first_complaint(protocol: Protocol, faults: Faults) -> Option<String> {
    (0..SEEDS).find_map(|seed| Some(format!("seed {seed}: {}", complaint(&run(seed, protocol, faults))?)))
}

fn is_anybody_refused(protocol: Protocol, faults: Faults) -> bool {
    (0..SEEDS).any(|seed| run(seed, protocol, faults).passed > 0)
}

#[test]
fn a_row_is_in_the_outlet_once_and_no_later_than_the_sink_accounts_for_it() {
    assert_eq!(first_complaint(WHOLE, NONE), None);
    assert_eq!(first_complaint(WHOLE, ALL), None);
    let rows: usize = (0..100).map(|seed| run(seed, WHOLE, ALL).world.in_outlet.len()).sum();
    assert!(rows > 500, "hardly anything was published: {rows}");
}

#[test]
fn nobody_is_refused_unless_a_checkpoint_cannot_be_read_or_comes_late() {
    assert!(!is_anybody_refused(WHOLE, NONE));
    assert!(is_anybody_refused(WHOLE, Faults { damage: true, ..NONE }));
    assert!(is_anybody_refused(WHOLE, Faults { late_manifests: true, ..NONE }));
}

#[test]
fn without_any_of_its_rules_a_row_is_there_twice() {
    for protocol in [
        Protocol { is_exclusive: false, ..WHOLE },
        Protocol { has_register: false, ..WHOLE },
        Protocol { first_moves: false, ..WHOLE },
    ] {
        assert!(first_complaint(protocol, ALL).is_some(), "{protocol:?}");
    }
}

#[test]
fn without_a_question_to_the_ledger_a_zombie_stands_in_its_successors_way() {
    let protocol = Protocol { asks_ledger: false, ..WHOLE };
    let late_manifests = Faults { late_manifests: true, ..NONE };
    assert_eq!(first_complaint(protocol, late_manifests), None);
    let refused = |protocol| (0..SEEDS).filter(|&seed| run(seed, protocol, late_manifests).passed > 0).count();
    let (without, with) = (refused(protocol), refused(WHOLE));
    assert!(without > 2 * with, "refused in {without} runs, and in {with} with the question");
}
