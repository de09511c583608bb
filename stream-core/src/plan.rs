//! The expansion of a pipeline over slots: which subtask runs where, with which key groups and which splits.
//!
//! Subtask *i* of every stage lives in the *i*-th granted slot, so that the subtasks of one slot exchange without the
//! network; a gathered stage lives in the first. The same pipeline, splits and slots give the same plan, whatever the
//! order in which the splits were found. What a subtask does is the job's business, which slots are granted the pool's
//! ([`crate::slot`]).

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{SlotId, SplitId, StageIndex, SubtaskId, SubtaskIndex, TaskManagerId};
use crate::key_group::KeyGroupRange;
use crate::pipeline::{Pipeline, Split, StageKind};

/// Every subtask of one attempt and where it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    tasks: Vec<PlannedTask>,
}

/// One subtask and where it runs. Shown as `window[1]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Which stage and copy.
    pub subtask: SubtaskId,
    /// The stage's name.
    pub stage_name: String,
    /// What runs in it.
    pub kind: StageKind,
    /// Where it runs.
    pub slot: SlotId,
    /// Operators: the key groups it owns.
    pub key_groups: Option<KeyGroupRange>,
    /// Sources: the splits it reads, possibly none.
    pub splits: Vec<Split>,
}

/// The slots that a pipeline takes: as many as its widest stage has subtasks.
pub fn slots_needed(pipeline: &Pipeline) -> u32 {
    (0..).zip(&pipeline.stages).map(|(stage, _)| pipeline.stage_parallelism(StageIndex(stage))).max().unwrap_or(0)
}

impl Plan {
    /// Expands a pipeline that passed [`Pipeline::check`] over the slots granted to it. Split *i*, in
    /// [`natural_order`] of the ids, goes to source subtask *i* mod parallelism.
    ///
    /// # Panics
    /// If fewer slots were granted than [`slots_needed`].
    pub fn new(pipeline: &Pipeline, splits: Vec<Split>, slots: &[SlotId]) -> Self {
        assert!(slots.len() >= slots_needed(pipeline) as usize, "a job is planned only once its slots are granted");
        let mut plan = Plan { tasks: Vec::new() };
        for (stage, spec) in (0..).map(StageIndex).zip(&pipeline.stages) {
            let parallelism = pipeline.stage_parallelism(stage);
            for (index, slot) in (0..parallelism).map(SubtaskIndex).zip(slots) {
                let key_groups = (spec.kind == StageKind::Operator)
                    .then(|| KeyGroupRange::of_subtask(pipeline.max_parallelism, parallelism, index));
                plan.tasks.push(PlannedTask {
                    subtask: SubtaskId { stage, index },
                    stage_name: spec.name.clone(),
                    kind: spec.kind,
                    slot: slot.clone(),
                    key_groups,
                    splits: Vec::new(),
                });
            }
        }
        plan.assign_new_splits(splits);
        plan
    }

    /// Gives each split that no source subtask reads yet to one, and returns what went where. Splits that were assigned
    /// before stay where they are, with the bounds they had.
    pub fn assign_new_splits(&mut self, mut discovered: Vec<Split>) -> Vec<(SubtaskId, Vec<Split>)> {
        let known: BTreeSet<SplitId> = self.splits().map(|split| split.id.clone()).collect();
        discovered.retain(|split| !known.contains(&split.id));
        discovered.sort_by(|a, b| natural_order(&a.id.0, &b.id.0));
        discovered.dedup_by(|a, b| a.id == b.id);

        let mut sources: Vec<&mut PlannedTask> =
            self.tasks.iter_mut().filter(|task| task.kind == StageKind::Source).collect();
        let parallelism = sources.len();
        if parallelism == 0 {
            return Vec::new();
        }
        let mut assigned = vec![Vec::new(); parallelism];
        for (place, split) in (known.len()..).zip(discovered) {
            assigned[place % parallelism].push(split);
        }
        let mut changes = Vec::new();
        for (source, splits) in sources.iter_mut().zip(assigned).filter(|(_, splits)| !splits.is_empty()) {
            source.splits.extend_from_slice(&splits);
            changes.push((source.subtask, splits));
        }
        changes
    }

    /// The subtasks, stage by stage.
    pub fn tasks(&self) -> &[PlannedTask] {
        &self.tasks
    }

    /// One of them.
    pub fn task(&self, subtask: SubtaskId) -> Option<&PlannedTask> {
        self.tasks.binary_search_by_key(&subtask, |task| task.subtask).ok().map(|place| &self.tasks[place])
    }

    /// Everybody who runs at least one of them.
    pub fn taskmanagers(&self) -> BTreeSet<&TaskManagerId> {
        self.tasks.iter().map(|task| &task.slot.taskmanager).collect()
    }

    /// All splits that are read.
    pub fn splits(&self) -> impl Iterator<Item = &Split> {
        self.tasks.iter().flat_map(|task| &task.splits)
    }
}

impl fmt::Display for PlannedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.stage_name, self.subtask.index)
    }
}

/// Orders texts as people do: runs of digits by their value, so that `topic/2` comes before `topic/10`.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    while !a_rest.is_empty() && !b_rest.is_empty() {
        let (a_run, b_run) = (take_run(&mut a_rest), take_run(&mut b_rest));
        let order = match (is_number(a_run), is_number(b_run)) {
            (true, true) => value_order(a_run, b_run),
            _ => a_run.cmp(b_run),
        };
        if order.is_ne() {
            return order;
        }
    }
    // `1` and `01` have one value but are two names: the order is total.
    a_rest.len().cmp(&b_rest.len()).then_with(|| a.cmp(b))
}

/// Cuts the leading run of digits, or of anything else, off a text that is not empty.
fn take_run<'a>(rest: &mut &'a str) -> &'a str {
    let starts_with_digit = is_number(rest);
    let end = rest.find(|c: char| c.is_ascii_digit() != starts_with_digit).unwrap_or(rest.len());
    let (run, tail) = rest.split_at(end);
    *rest = tail;
    run
}

fn is_number(run: &str) -> bool {
    run.starts_with(|c: char| c.is_ascii_digit())
}

fn value_order(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
