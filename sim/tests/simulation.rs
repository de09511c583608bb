//! The simulation is green, says the same twice, meets every fault, and finds what goes wrong without each rule.

use sim::faults::{Fault, Faults};
use sim::{OpenTable, Wiring, run};

/// The first of so many seeds that is red.
fn first_red(wiring: Wiring, seeds: u64) -> Option<u64> {
    (0..seeds).find(|&seed| run(seed, wiring).violation.is_some())
}

#[test]
fn every_seed_is_green_and_says_the_same_twice_and_every_fault_happens() {
    let mut faults = Faults::default();
    for seed in 0..200 {
        let (once, again) = (run(seed, Wiring::WHOLE), run(seed, Wiring::WHOLE));
        assert_eq!(once.violation, None, "sim --seed {seed}");
        assert_eq!((once.trace.hash(), once.trace.steps()), (again.trace.hash(), again.trace.steps()), "seed {seed}");
        faults.add_all(&once.faults);
    }
    for fault in Fault::ALL {
        assert!(faults.count(fault) > 0, "{fault:?} never happened");
    }
}

/// The table of open sessions holds, at each commit, the events that the ledger calls open.
#[test]
fn every_seed_is_green_with_a_table_of_open_sessions() {
    assert_eq!(first_red(Wiring::WITH_OPEN_TABLE, 400), None);
}

#[test]
fn changes_that_travel_behind_their_barrier_are_found() {
    assert!(first_red(Wiring { open_table: OpenTable::BehindBarrier, ..Wiring::WHOLE }, 50).is_some());
}

/// Two leaders, a slow fence and a Postgres that was set back gave a token under which a checkpoint was already stored.
#[test]
fn token_that_was_given_twice_begins_no_attempt() {
    assert_eq!(run(563, Wiring::WHOLE).violation, None);
}

/// The same, with a token below that of the late checkpoint.
#[test]
fn token_below_that_of_a_stored_checkpoint_begins_no_attempt() {
    assert_eq!(run(9823, Wiring::WHOLE).violation, None);
}

#[test]
fn without_token_and_prev_the_damage_is_found() {
    let wiring = Wiring { checks_token: false, checks_prev: false, ..Wiring::WHOLE };
    assert!(first_red(wiring, 500).is_some());
}

#[test]
fn without_prev_the_damage_is_found() {
    assert!(first_red(Wiring { checks_prev: false, ..Wiring::WHOLE }, 500).is_some());
}

#[test]
fn listing_before_the_fence_is_found() {
    assert!(first_red(Wiring { fences_first: false, ..Wiring::WHOLE }, 500).is_some());
}

#[test]
fn ids_used_twice_are_found() {
    assert!(first_red(Wiring { ids_hold_token: false, ..Wiring::WHOLE }, 500).is_some());
}

/// Files of a checkpoint that is not complete yet are named by no manifest either.
#[test]
fn sweep_that_ignores_the_token_is_found() {
    assert!(first_red(Wiring { sweeps_below_token: false, ..Wiring::WHOLE }, 500).is_some());
}

/// A jobmanager that stood still for longer than the retention removed, before it learned that it leads no more, the checkpoint
/// that a Postgres which was set back meanwhile has to be continued with.
#[test]
fn leader_that_slept_removes_nothing_that_is_needed() {
    assert_eq!(run(1590, Wiring::WHOLE).violation, None);
}
