//! A seeded simulation of a whole job, with everything that can go wrong (`sim --seed N` shows one run).
//!
//! What decides is real: the job, its coordinator and the choice of a checkpoint, splits, watermarks, sessions, snapshots,
//! alignment, the committer's epochs, the rule of the ledger. What waits, talks or tells the time is simulated: an event loop with a
//! clock that jumps, one generator of chance, a network, a store and a Postgres ([`postgres`]). The same seed gives the same
//! trace to the byte.
//!
//! Not simulated: adoption of running attempts by a new jobmanager (it always begins a new attempt), idle splits,
//! savepoints, and the bytes of files. `stream-core/tests/exactly_once_model.rs` tries *every* order of a much smaller job.

pub mod faults;
pub mod input;
pub mod invariants;
mod jobmanager;
mod mail;
pub mod postgres;
pub mod random;
pub mod store;
mod subtask;
mod taskmanager;
pub mod trace;
mod world;

pub use world::{OpenTable, Wiring, World};

use faults::Faults;
use invariants::Invariant;
use trace::Trace;

/// What a run came to.
pub struct Outcome {
    /// What was violated, if anything.
    pub violation: Option<(Invariant, String)>,
    /// What happened.
    pub trace: Trace,
    /// What went wrong on purpose.
    pub faults: Faults,
}

/// Runs a seed.
pub fn run(seed: u64, wiring: Wiring) -> Outcome {
    let mut world = World::new(seed, wiring);
    world.run();
    Outcome { violation: world.violation, trace: world.trace, faults: world.faults }
}
