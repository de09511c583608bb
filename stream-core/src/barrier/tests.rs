use proptest::prelude::*;

use super::*;

fn barrier(number: u64) -> Barrier {
    Barrier {
        checkpoint: CheckpointId(number),
        prev: CheckpointId::ROOT,
        triggered: Timestamp(0),
        is_full: false,
        is_last: false,
    }
}

#[test]
fn completes_with_the_last_input_and_releases_all() {
    let mut alignment = Alignment::new(3);
    assert_eq!(alignment.on_barrier(1, barrier(5)), Aligned::Hold);
    assert_eq!(alignment.on_barrier(0, barrier(5)), Aligned::Hold);
    assert!(alignment.is_held(0) && alignment.is_held(1) && !alignment.is_held(2));
    assert_eq!(alignment.on_barrier(2, barrier(5)), Aligned::Complete(barrier(5)));
    assert!((0..3).all(|input| !alignment.is_held(input)));
}

#[test]
fn one_input_is_complete_at_once() {
    assert_eq!(Alignment::new(1).on_barrier(0, barrier(5)), Aligned::Complete(barrier(5)));
}

#[test]
fn a_newer_barrier_releases_what_waits_for_an_abandoned_one() {
    let mut alignment = Alignment::new(2);
    assert_eq!(alignment.on_barrier(0, barrier(5)), Aligned::Hold);
    let overtake = Aligned::Overtake { given_up: CheckpointId(5), release: vec![0] };
    assert_eq!(alignment.on_barrier(1, barrier(6)), overtake);
    assert!(!alignment.is_held(0) && alignment.is_held(1));
    assert_eq!(alignment.on_barrier(0, barrier(6)), Aligned::Complete(barrier(6)));
}

#[test]
fn older_and_repeated_barriers_are_ignored() {
    let mut alignment = Alignment::new(2);
    assert_eq!(alignment.on_barrier(0, barrier(6)), Aligned::Hold);
    assert_eq!(alignment.on_barrier(0, barrier(6)), Aligned::Ignore);
    assert_eq!(alignment.on_barrier(1, barrier(5)), Aligned::Ignore);
    assert_eq!(alignment.on_barrier(1, barrier(6)), Aligned::Complete(barrier(6)));
    assert_eq!(alignment.on_barrier(1, barrier(6)), Aligned::Ignore);
}

#[test]
fn an_ended_input_counts_as_having_every_barrier() {
    let mut alignment = Alignment::new(2);
    assert_eq!(alignment.on_barrier(0, barrier(5)), Aligned::Hold);
    assert_eq!(alignment.on_end(1), Aligned::Complete(barrier(5)));
    assert_eq!(alignment.on_barrier(0, barrier(6)), Aligned::Complete(barrier(6)));
    assert_eq!(alignment.on_end(0), Aligned::Ignore);
}

#[test]
fn a_checkpoint_that_was_given_up_does_not_hold_an_input_again() {
    let mut alignment = Alignment::new(2);
    assert_eq!(alignment.on_barrier(0, barrier(5)), Aligned::Hold);
    assert_eq!(alignment.give_up(CheckpointId(5)), vec![0]);
    assert_eq!(alignment.on_barrier(1, barrier(5)), Aligned::Ignore);
    assert_eq!(alignment.give_up(CheckpointId(5)), Vec::<usize>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The model keeps every input's newest barrier: a checkpoint is complete when all live inputs stand exactly at it, and
    /// an input is held while it stands at the newest barrier that anybody brought.
    #[test]
    fn agrees_with_the_naive_model(
        inputs in 1_usize..4,
        steps in proptest::collection::vec((0_usize..4, prop_oneof![9 => (1_u64..7).prop_map(Some), 1 => Just(None)]), 0..40),
    ) {
        let mut alignment = Alignment::new(inputs);
        let mut stands_at = vec![0_u64; inputs];
        let mut ended = vec![false; inputs];
        let mut completed = 0;
        for (input, brings) in steps {
            let input = input % inputs;
            let newest = stands_at.iter().copied().max().unwrap_or(0).max(completed);
            let is_new = brings.is_some_and(|number| {
                !ended[input] && number > completed && number >= newest && number > stands_at[input]
            });
            match brings {
                Some(number) if is_new => stands_at[input] = number,
                Some(_) => {}
                None => ended[input] = true,
            }
            let newest = stands_at.iter().copied().max().unwrap_or(0);
            let is_complete = newest > completed && (0..inputs).all(|i| ended[i] || stands_at[i] == newest);
            let result = match brings {
                Some(number) => alignment.on_barrier(input, barrier(number)),
                None => alignment.on_end(input),
            };
            if is_complete {
                completed = newest;
                prop_assert_eq!(&result, &Aligned::Complete(barrier(newest)));
            } else {
                let holds = matches!(result, Aligned::Hold | Aligned::Overtake { .. });
                prop_assert_eq!(holds, is_new, "{:?}", result);
            }
            for i in 0..inputs {
                let is_held = !ended[i] && newest > completed && stands_at[i] == newest;
                prop_assert_eq!(alignment.is_held(i), is_held);
            }
        }
    }
}
