//! Snapshots against the state that they were begun at (invariant I10), and a restored run against the undisturbed one.
//!
//! Several subtasks take random events and watermarks. At random points each begins a snapshot, full or delta, and copies it
//! in slices between later events; some are given up. What is restored from any finished one and those that it builds on, at
//! another parallelism, must be the state as it was at the beginning, and must go on as the undisturbed run did.

mod cluster;
mod windows;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use stream_core::snapshot::SnapshotKind;
use stream_core::{session, tumbling};

use cluster::{Cluster, Outcome, Step};
use windows::Windows;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_u8..8, -50_i64..350).prop_map(|(key, time)| Step::Event { key, time }),
        3 => (-60_i64..360).prop_map(Step::Watermark),
        1 => Just(Step::Begin(SnapshotKind::Full)),
        2 => Just(Step::Begin(SnapshotKind::Delta)),
        8 => (0_usize..8, 0_usize..4).prop_map(|(subtask, keys)| Step::Continue { subtask, keys }),
        2 => Just(Step::Finish),
    ]
}

fn lateness() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0_i64), 0_i64..150]
}

fn limits() -> impl Strategy<Value = session::Limits> {
    let limited = (1_i64..100, 1_u64..10);
    let limited = limited.prop_map(|(max_span_ms, max_events)| session::Limits { max_span_ms, max_events });
    prop_oneof![Just(session::Limits::NONE), limited]
}

fn sessions() -> impl Strategy<Value = session::Config> {
    let config = |(gap_ms, allowed_lateness_ms, limits)| session::Config { gap_ms, allowed_lateness_ms, limits };
    (1_i64..40, lateness(), limits()).prop_map(config)
}

fn tumbling() -> impl Strategy<Value = tumbling::Config> {
    let config =
        |(size_ms, allowed_lateness_ms)| tumbling::Config { size_ms, allowed_lateness_ms, head: windows::head };
    (1_i64..80, lateness()).prop_map(config)
}

/// Random steps; the last ones finish what was begun and close all windows.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..150).prop_map(|mut steps| {
        steps.extend([Step::Finish, Step::Watermark(i64::MAX)]);
        steps
    })
}

/// For so many steps before each crash, and whether the parallelism is another one behind it.
fn crashes() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((1_usize..60, any::<bool>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn restored_sessions_are_those_at_the_barrier_and_go_on_as_if_nothing_had_happened(
        steps in steps(), config in sessions(), parallelism in 1_u32..=8, new_parallelism in 1_u32..=8,
    ) {
        restored_state_goes_on::<session::Windows>(&steps, config, parallelism, new_parallelism)?;
    }

    #[test]
    fn restored_counts_are_those_at_the_barrier_and_go_on_as_if_nothing_had_happened(
        steps in steps(), config in tumbling(), parallelism in 1_u32..=8, new_parallelism in 1_u32..=8,
    ) {
        restored_state_goes_on::<tumbling::Windows>(&steps, config, parallelism, new_parallelism)?;
    }

    #[test]
    fn sessions_that_crash_again_and_again_give_what_the_undisturbed_ones_give(
        steps in steps(), config in sessions(), parallelism in 1_u32..=8, crashes in crashes(),
    ) {
        crashing_run_gives_the_same::<session::Windows>(&steps, config, parallelism, crashes)?;
    }

    #[test]
    fn counts_that_crash_again_and_again_give_what_the_undisturbed_ones_give(
        steps in steps(), config in tumbling(), parallelism in 1_u32..=8, crashes in crashes(),
    ) {
        crashing_run_gives_the_same::<tumbling::Windows>(&steps, config, parallelism, crashes)?;
    }
}

fn restored_state_goes_on<W: Windows>(
    steps: &[Step],
    config: W::Config,
    parallelism: u32,
    new_parallelism: u32,
) -> TestCaseResult {
    let mut undisturbed = Cluster::<W>::new(config, parallelism);
    let outcomes = undisturbed.run(0, steps);
    for (number, checkpoint) in undisturbed.finished() {
        let mut restored = Cluster::restored(&undisturbed, number, new_parallelism);
        prop_assert_eq!(&restored.state(), &checkpoint.begun_at);
        let rest = checkpoint.step + 1;
        prop_assert_eq!(restored.run(rest, &without_snapshots(&steps[rest..])), &outcomes[rest..]);
        prop_assert!(restored.is_empty());
    }
    Ok(())
}

fn crashing_run_gives_the_same<W: Windows>(
    steps: &[Step],
    config: W::Config,
    parallelism: u32,
    crashes: Vec<(usize, bool)>,
) -> TestCaseResult {
    let expected = Cluster::<W>::new(config, parallelism).run(0, steps);
    let mut cluster = Cluster::<W>::new(config, parallelism);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (run_steps, is_rescaled) in crashes {
        let end = (outcomes.len() + run_steps).min(steps.len());
        let more = cluster.run(outcomes.len(), &steps[outcomes.len()..end]);
        outcomes.extend(more);
        let last = cluster.finished().map(|(number, checkpoint)| (number, checkpoint.step)).last();
        let Some((number, begun)) = last else { continue }; // Nothing to go back to: it does not crash after all.
        outcomes.truncate(begun + 1);
        let restored = cluster.behind_a_crash(number, is_rescaled);
        prop_assert_eq!(&restored.state(), &cluster.checkpoint(number).begun_at);
        cluster = restored;
    }
    let more = cluster.run(outcomes.len(), &steps[outcomes.len()..]);
    outcomes.extend(more);
    prop_assert_eq!(outcomes, expected);
    Ok(())
}

/// The steps with the snapshots turned into nothing, so that they keep their places.
fn without_snapshots(steps: &[Step]) -> Vec<Step> {
    let keep = |step: &Step| match step {
        Step::Event { .. } | Step::Watermark(_) => step.clone(),
        Step::Begin(_) | Step::Continue { .. } | Step::Finish => Step::Continue { subtask: 0, keys: 0 },
    };
    steps.iter().map(keep).collect()
}
