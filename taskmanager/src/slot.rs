//! The slots of this taskmanager: which attempt holds which.
//!
//! A slot holds one subtask of each stage of one attempt. It is given back when the last of the attempt's tasks here
//! has ended, and not when that was merely asked for.

use stream_core::ids::{AttemptNumber, JobId};

/// All slots of this taskmanager.
#[derive(Debug)]
pub(crate) struct Slots {
    holders: Vec<Option<Holder>>,
}

/// An attempt that holds slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The job.
    pub(crate) job_id: JobId,
    /// Its try.
    pub(crate) attempt: AttemptNumber,
}

/// A deployment that names a slot which it cannot have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SlotError {
    /// Beyond the last one.
    #[error("there is no slot {slot}: this taskmanager has {slots}")]
    NoSuchSlot {
        /// Asked for.
        slot: u32,
        /// How many there are.
        slots: usize,
    },
    /// Another attempt's tasks have not all ended.
    #[error("slot {slot} is still held by attempt {} of job {}", holder.attempt, holder.job_id)]
    Taken {
        /// Asked for.
        slot: u32,
        /// By whom.
        holder: Holder,
    },
}

impl Slots {
    /// `count` free slots.
    pub(crate) fn new(count: u32) -> Self {
        Slots { holders: (0..count).map(|_| None).collect() }
    }

    /// Gives slots to an attempt: all of them or, on an error, none.
    ///
    /// # Errors
    /// If one of them is not there or not free.
    pub(crate) fn take(&mut self, slots: &[u32], holder: Holder) -> Result<(), SlotError> {
        for &slot in slots {
            match self.holders.get(slot as usize) {
                None => return Err(SlotError::NoSuchSlot { slot, slots: self.holders.len() }),
                Some(Some(holder)) => return Err(SlotError::Taken { slot, holder: *holder }),
                Some(None) => {}
            }
        }
        for &slot in slots {
            self.holders[slot as usize] = Some(holder);
        }
        Ok(())
    }

    /// Takes back all slots of an attempt.
    pub(crate) fn release(&mut self, holder: Holder) {
        self.holders.iter_mut().filter(|slot| **slot == Some(holder)).for_each(|slot| *slot = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(attempt: u32) -> Holder {
        Holder { job_id: JobId(7), attempt: AttemptNumber(attempt) }
    }

    #[test]
    fn slot_is_held_until_its_attempt_releases_it() {
        let mut slots = Slots::new(2);
        assert_eq!(slots.take(&[0, 1, 1], holder(1)), Ok(()));
        assert_eq!(slots.take(&[1], holder(2)), Err(SlotError::Taken { slot: 1, holder: holder(1) }));
        slots.release(holder(2));
        assert!(slots.take(&[1], holder(2)).is_err());
        slots.release(holder(1));
        assert_eq!(slots.take(&[1], holder(2)), Ok(()));
    }

    #[test]
    fn refused_deployment_takes_nothing() {
        let mut slots = Slots::new(2);
        assert_eq!(slots.take(&[0, 2], holder(1)), Err(SlotError::NoSuchSlot { slot: 2, slots: 2 }));
        assert_eq!(slots.take(&[0], holder(2)), Ok(()));
    }
}
