//! The slot pool: which taskmanagers there are, how many slots each has, and which job holds which.
//!
//! A job's slots are spread over as many taskmanagers as there are: the next slot comes from the taskmanager that gave
//! this job the fewest so far, then from the one with the most free, then by name. Nothing here knows what runs in a
//! slot, or notices by itself that a taskmanager is gone. Property tests check that no slot is held twice
//! and that jobs are spread.

use std::collections::BTreeMap;

use crate::ids::{JobId, SlotId, TaskManagerId};

/// All slots of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotPool {
    /// Each taskmanager's slots, with who holds each.
    taskmanagers: BTreeMap<TaskManagerId, Vec<Option<Holder>>>,
}

/// Who holds a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// A job it was granted to.
    Job(JobId),
    /// Tasks that their taskmanager brought along, of an attempt that is over or may yet be adopted.
    Leftover,
}

/// Slots of the cluster or of one taskmanager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCount {
    /// All of them.
    pub total: u32,
    /// Those that no job holds.
    pub free: u32,
}

/// A job needs more slots than are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no free slot: the job needs {needed}, {free} of {total} {are} free; cancel a job, choose a lower `--parallelism` or \
     start another taskmanager",
    free = .count.free, total = .count.total, are = if .count.free == 1 { "is" } else { "are" }
)]
pub struct NoFreeSlot {
    /// The slots that the job asked for.
    pub needed: u32,
    /// The slots there are.
    pub count: SlotCount,
}

impl SlotPool {
    /// A taskmanager came with this many slots, all free. If one of that name was known, its slots are gone, as by
    /// [`SlotPool::remove`].
    pub fn register(&mut self, taskmanager: TaskManagerId, slots: u32) {
        self.taskmanagers.insert(taskmanager, vec![None; slots as usize]);
    }

    /// A taskmanager is gone, and its slots with it.
    pub fn remove(&mut self, taskmanager: &TaskManagerId) {
        self.taskmanagers.remove(taskmanager);
    }

    /// Takes slots for a job that holds none yet; all of them or none.
    ///
    /// # Errors
    /// If fewer are free.
    pub fn allocate(&mut self, job: JobId, needed: u32) -> Result<Vec<SlotId>, NoFreeSlot> {
        self.check_free(needed)?;
        let mut granted: Vec<SlotId> = Vec::new();
        for _ in 0..needed {
            let slot = self.next_slot(job).expect("as many slots are free as are needed");
            self.taskmanagers.get_mut(&slot.taskmanager).expect("its slot was just found")[slot.index as usize] =
                Some(Holder::Job(job));
            granted.push(slot);
        }
        Ok(granted)
    }

    /// Whether [`SlotPool::allocate`] would succeed now.
    ///
    /// # Errors
    /// If it would not.
    pub fn check_free(&self, needed: u32) -> Result<(), NoFreeSlot> {
        let count = self.count();
        if count.free < needed { Err(NoFreeSlot { needed, count }) } else { Ok(()) }
    }

    /// Gives back whatever a job holds.
    pub fn release(&mut self, job: JobId) {
        for holder in self.taskmanagers.values_mut().flatten() {
            if *holder == Some(Holder::Job(job)) {
                *holder = None;
            }
        }
    }

    /// A taskmanager brought a task along that runs in this slot: nobody else gets it. Nothing happens if the slot is not there
    /// or is held.
    pub fn occupy(&mut self, slot: &SlotId) {
        if let Some(holder @ None) = self.holder(slot) {
            *holder = Some(Holder::Leftover);
        }
    }

    /// The last such task in this slot has ended.
    pub fn vacate(&mut self, slot: &SlotId) {
        if let Some(holder @ Some(Holder::Leftover)) = self.holder(slot) {
            *holder = None;
        }
    }

    /// The tasks in this slot are the job's again.
    pub fn hand_over(&mut self, slot: &SlotId, job: JobId) {
        if let Some(holder @ (None | Some(Holder::Leftover))) = self.holder(slot) {
            *holder = Some(Holder::Job(job));
        }
    }

    /// The slots of the whole cluster.
    pub fn count(&self) -> SlotCount {
        self.taskmanagers.values().map(|slots| count(slots)).fold(SlotCount::default(), |sum, one| SlotCount {
            total: sum.total + one.total,
            free: sum.free + one.free,
        })
    }

    /// The slots of one taskmanager; none if it is not registered.
    pub fn count_of(&self, taskmanager: &TaskManagerId) -> SlotCount {
        self.taskmanagers.get(taskmanager).map(|slots| count(slots)).unwrap_or_default()
    }

    fn holder(&mut self, slot: &SlotId) -> Option<&mut Option<Holder>> {
        self.taskmanagers.get_mut(&slot.taskmanager)?.get_mut(slot.index as usize)
    }

    fn next_slot(&self, job: JobId) -> Option<SlotId> {
        let with_free = self.taskmanagers.iter().filter(|(_, slots)| slots.contains(&None));
        let (taskmanager, slots) = with_free.min_by_key(|(id, slots)| {
            let given = slots.iter().filter(|&&holder| holder == Some(Holder::Job(job))).count();
            (given, std::cmp::Reverse(count(slots).free), *id)
        })?;
        let index = (0..).zip(slots).find_map(|(index, holder)| holder.is_none().then_some(index))?;
        Some(SlotId { taskmanager: taskmanager.clone(), index })
    }
}

fn count(slots: &[Option<Holder>]) -> SlotCount {
    let number = |of: usize| u32::try_from(of).expect("slots were counted in 32 bits when they were registered");
    SlotCount { total: number(slots.len()), free: number(slots.iter().filter(|holder| holder.is_none()).count()) }
}

#[cfg(test)]
mod tests;
