#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::plan::testing::{pipeline, split};

fn slots(count: u32) -> Vec<SlotId> {
    (0..count).map(|i| SlotId { taskmanager: TaskManagerId(format!("tm-{}", i % 2 + 1)), index: i / 2 }).collect()
}

fn splits(count: u32) -> Vec<Split> {
    (0..count).map(|partition| split(&format!("events/{partition}"))).collect()
}

fn shown(plan: &Plan) -> Vec<String> {
    let show = |task: &PlannedTask| {
        let groups = task.key_groups.map_or(String::new(), |range| format!(" {}..{}", range.start, range.end));
        let splits: String = task.splits.iter().map(|split| format!(" {}", split.id)).collect();
        format!("{task} {}{groups}{splits}", task.slot)
    };
    plan.tasks().iter().map(show).collect()
}

#[test]
fn subtask_i_lives_in_slot_i_and_a_gathered_stage_in_the_first() {
    let plan = Plan::new(&pipeline(3), splits(4), &slots(3));
    assert_eq!(
        shown(&plan),
        [
            "source[0] tm-1/0 events/0 events/3",
            "source[1] tm-2/0 events/1",
            "source[2] tm-1/1 events/2",
            "window[0] tm-1/0 0..43",
            "window[1] tm-2/0 43..86",
            "window[2] tm-1/1 86..128",
            "sink[0] tm-1/0",
        ]
    );
}

#[test]
fn partitions_are_ordered_by_number() {
    let mut found = splits(12);
    found.reverse();
    assert_eq!(Plan::new(&pipeline(4), found, &slots(4)), Plan::new(&pipeline(4), splits(12), &slots(4)));
    let plan = Plan::new(&pipeline(1), splits(12), &slots(1));
    let order: Vec<&str> = plan.splits().map(|split| split.id.0.as_str()).collect();
    assert_eq!(&order[9..], ["events/9", "events/10", "events/11"]);
}

#[test]
fn subtasks_without_a_split_are_planned_all_the_same() {
    let plan = Plan::new(&pipeline(3), splits(1), &slots(3));
    assert_eq!(plan.tasks().len(), 7);
    assert!(plan.tasks()[1].splits.is_empty());
    assert_eq!(Plan::new(&pipeline(2), Vec::new(), &slots(2)).splits().count(), 0);
}

#[test]
fn new_splits_move_no_old_one() {
    let mut plan = Plan::new(&pipeline(2), splits(3), &slots(2));
    let before = plan.clone();
    let moved = plan.assign_new_splits(splits(6));
    let source = |index| SubtaskId { stage: StageIndex(0), index: SubtaskIndex(index) };
    assert_eq!(moved, [(source(0), vec![split("events/4")]), (source(1), vec![split("events/3"), split("events/5")])]);
    for (old, new) in before.tasks().iter().zip(plan.tasks()) {
        assert!(new.splits.starts_with(&old.splits));
    }
    assert_eq!(plan.assign_new_splits(splits(6)), []);
}

#[test]
fn natural_order_reads_numbers_as_numbers() {
    for (less, more) in
        [("t/2", "t/10"), ("t/9", "t/10"), ("a", "b"), ("a", "a1"), ("x1y2", "x1y10"), ("01", "1"), ("", "0")]
    {
        assert_eq!(natural_order(less, more), Ordering::Less, "{less} {more}");
        assert_eq!(natural_order(more, less), Ordering::Greater, "{less} {more}");
    }
    assert_eq!(natural_order("t/10", "t/10"), Ordering::Equal);
}

proptest! {
    #[test]
    fn natural_order_is_total(mut texts in proptest::collection::vec("[a0-2/é-]{0,5}", 3)) {
        texts.sort_by(|a, b| natural_order(a, b));
        let [a, b, c] = texts.as_slice() else { unreachable!("three texts") };
        prop_assert!(natural_order(a, b).is_le() && natural_order(b, c).is_le() && natural_order(a, c).is_le());
        prop_assert_eq!(natural_order(a, c), natural_order(c, a).reverse());
        prop_assert_eq!(natural_order(a, b) == Ordering::Equal, a == b);
    }

    #[test]
    fn each_key_group_and_each_split_has_one_owner(parallelism in 1_u32..20, count in 0_u32..60, later in 0_u32..20) {
        let mut plan = Plan::new(&pipeline(parallelism), splits(count), &slots(parallelism));
        plan.assign_new_splits(splits(count + later));

        let ranges = plan.tasks().iter().filter_map(|task| task.key_groups);
        let covered: Vec<u16> = ranges.flat_map(|range| range.start..range.end).collect();
        prop_assert_eq!(covered, (0..128).collect::<Vec<u16>>());

        let ids: BTreeSet<&SplitId> = plan.splits().map(|split| &split.id).collect();
        prop_assert_eq!((ids.len(), plan.splits().count()), ((count + later) as usize, (count + later) as usize));
        let loads: Vec<usize> =
            plan.tasks().iter().filter(|task| task.kind == StageKind::Source).map(|task| task.splits.len()).collect();
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
    }
}
