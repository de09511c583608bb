//! What changed of the open windows since it was last told: for a table of them that is kept outside.
//!
//! Each open window has an id there, which it gets when it is first told and keeps for as long as it is open: it is part of the state, so a
//! restore does not change it, and of windows that join that of the earliest stays, in whatever order they join. So an id stands for
//! one session from the instant at which it is seen to that at which its row is in the result. A window that opened and fired between two
//! tellings was never seen and has none.
//!
//! What is told is in proportion to what changed, not to what is open, and telling changes no window.

use std::num::NonZeroU64;

use super::Windows;
use crate::time::EventTime;

/// What an open window is called outside. 63 bits, so that it is a positive number in SQL as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(NonZeroU64);

/// What became of a window since it was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It is open, and this is what it is now.
    Open {
        /// Which.
        id: WindowId,
        /// Whose session it is.
        key: &'a [u8],
        /// The first event's time.
        start: EventTime,
        /// The last event's time plus the gap.
        end: EventTime,
        /// Events in it that no window was fired with yet.
        events: u64,
    },
    /// It has fired, or is a part of another.
    Gone(WindowId),
}

/// Whether whoever is told knows the windows that are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// As they are in the snapshot: only what changes from there on is told.
    Told,
    /// Not, or perhaps as they were at another time: all of them are told.
    Untold,
}

impl Windows {
    /// The same, which can tell what changed. Ids are as good as unique if everybody who tells into one table has another `salt`. To be
    /// called before anything else.
    pub fn telling_changes(mut self, salt: u64, restored: Restored) -> Self {
        self.store.tell_changes_with(salt, restored);
        self
    }

    /// Tells what changed since the last call, or since the restore; what is gone first. Nothing unless
    /// [`Windows::telling_changes`] was called.
    pub fn tell_changes(&mut self, tell: impl FnMut(Change<'_>)) {
        self.store.tell_changes(tell);
    }
}

impl WindowId {
    /// Of a number other than 0.
    pub(super) fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(WindowId)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}
