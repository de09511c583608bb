#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn id(name: &str) -> TaskManagerId {
    TaskManagerId(name.to_owned())
}

fn pool(taskmanagers: &[(&str, u32)]) -> SlotPool {
    let mut pool = SlotPool::default();
    for (name, slots) in taskmanagers {
        pool.register(id(name), *slots);
    }
    pool
}

fn granted(pool: &mut SlotPool, job: u128, needed: u32) -> Vec<String> {
    pool.allocate(JobId(job), needed).expect("enough slots").iter().map(ToString::to_string).collect()
}

#[test]
fn slot_of_a_task_that_was_brought_along_is_nobody_s_until_it_ends_or_is_adopted() {
    let mut pool = pool(&[("a", 3)]);
    let slot = |index| SlotId { taskmanager: id("a"), index };
    for index in [0, 1, 9] {
        pool.occupy(&slot(index));
    }
    assert_eq!(pool.count(), SlotCount { total: 3, free: 1 });
    pool.hand_over(&slot(0), JobId(1));
    pool.vacate(&slot(0));
    pool.vacate(&slot(1));
    assert_eq!(granted(&mut pool, 2, 2), ["a/1", "a/2"]);
    pool.hand_over(&slot(1), JobId(1));
    pool.release(JobId(1));
    assert_eq!(granted(&mut pool, 3, 1), ["a/0"]);
}

#[test]
fn slots_are_taken_in_turn_from_the_taskmanager_with_most_free() {
    let mut pool = pool(&[("a", 2), ("b", 4), ("c", 2)]);
    assert_eq!(granted(&mut pool, 1, 5), ["b/0", "a/0", "c/0", "b/1", "a/1"]);
    assert_eq!(granted(&mut pool, 2, 2), ["b/2", "c/1"]);
    assert_eq!(pool.count(), SlotCount { total: 8, free: 1 });
}

#[test]
fn a_job_that_does_not_fit_takes_nothing_and_the_message_says_what_to_do() {
    let mut pool = pool(&[("a", 4)]);
    granted(&mut pool, 1, 3);
    let before = pool.clone();
    let error = pool.allocate(JobId(2), 3).expect_err("one is free");
    assert_eq!(pool, before);
    assert_eq!(
        error.to_string(),
        "no free slot: the job needs 3, 1 of 4 is free; cancel a job, choose a lower `--parallelism` or start another \
         taskmanager"
    );
}

#[test]
fn released_slots_are_granted_again() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    granted(&mut pool, 1, 1);
    granted(&mut pool, 2, 1);
    pool.release(JobId(1));
    assert_eq!(granted(&mut pool, 3, 1), ["a/0"]);
}

#[test]
fn a_taskmanager_that_registers_again_brings_fresh_slots() {
    let mut pool = pool(&[("a", 2)]);
    granted(&mut pool, 1, 2);
    pool.register(id("a"), 3);
    assert_eq!(pool.count_of(&id("a")), SlotCount { total: 3, free: 3 });
    pool.remove(&id("a"));
    assert_eq!(pool.count_of(&id("a")), SlotCount::default());
}

#[derive(Clone, Debug)]
enum Step {
    Register(u8, u32),
    Remove(u8),
    Allocate(u128, u32),
    Release(u128),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..4, 0_u32..5).prop_map(|(name, slots)| Step::Register(name, slots)),
        (0_u8..4).prop_map(Step::Remove),
        (0_u128..6, 0_u32..7).prop_map(|(job, needed)| Step::Allocate(job, needed)),
        (0_u128..6).prop_map(Step::Release),
    ]
}

proptest! {
    #[test]
    fn no_slot_is_held_twice_and_jobs_are_spread(steps in proptest::collection::vec(step(), 0..40)) {
        let mut pool = SlotPool::default();
        let mut held: BTreeMap<JobId, BTreeSet<SlotId>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Register(name, slots) => {
                    let name = id(&format!("tm-{name}"));
                    pool.register(name.clone(), slots);
                    forget(&mut held, &name);
                }
                Step::Remove(name) => {
                    let name = id(&format!("tm-{name}"));
                    pool.remove(&name);
                    forget(&mut held, &name);
                }
                Step::Allocate(job, needed) if !held.contains_key(&JobId(job)) => {
                    let free_before: BTreeMap<TaskManagerId, u32> =
                        pool.taskmanagers.keys().map(|name| (name.clone(), pool.count_of(name).free)).collect();
                    if let Ok(slots) = pool.allocate(JobId(job), needed) {
                        prop_assert_eq!(slots.len(), needed as usize);
                        assert_spread(&slots, &free_before);
                        held.insert(JobId(job), slots.into_iter().collect());
                    } else {
                        prop_assert!(pool.count().free < needed);
                    }
                }
                Step::Allocate(..) => {}
                Step::Release(job) => {
                    pool.release(JobId(job));
                    held.remove(&JobId(job));
                }
            }
            let all: Vec<&SlotId> = held.values().flatten().collect();
            prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            let count = pool.count();
            prop_assert_eq!((count.total - count.free) as usize, all.len());
        }
    }
}

fn forget(held: &mut BTreeMap<JobId, BTreeSet<SlotId>>, taskmanager: &TaskManagerId) {
    for slots in held.values_mut() {
        slots.retain(|slot| slot.taskmanager != *taskmanager);
    }
}

/// Nobody gave two slots more than somebody who still has one to give.
fn assert_spread(slots: &[SlotId], free_before: &BTreeMap<TaskManagerId, u32>) {
    let given =
        |name: &TaskManagerId| u32::try_from(slots.iter().filter(|slot| slot.taskmanager == *name).count()).unwrap();
    let most = free_before.keys().map(given).max().unwrap_or(0);
    for (name, free) in free_before {
        assert!(given(name) == *free || given(name) + 1 >= most, "{slots:?} of {free_before:?}");
    }
}
