//! Ids for idempotent producers, never the same twice, also across restarts.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::disk::{self, DiskError};

/// Ids reserved on disk at a time. A restart skips the rest of a block.
const BLOCK: i64 = 1_000;

/// Hands out producer ids.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    fsync: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: i64,
    reserved_until: i64,
}

impl ProducerIds {
    pub(crate) fn open(dir: &Path, fsync: bool) -> Result<Self, DiskError> {
        let path = dir.join("producer-ids.json");
        let next = disk::read_json(&path)?.unwrap_or(0);
        Ok(Self { path, fsync, state: Mutex::new(State { next, reserved_until: next }) })
    }

    /// An id that was never handed out before.
    pub(crate) fn next(&self) -> Result<i64, DiskError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.next == state.reserved_until {
            let until = state.next + BLOCK;
            disk::write_json(&self.path, &until, self.fsync)?;
            state.reserved_until = until;
        }
        let id = state.next;
        state.next += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_never_handed_out_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut last = -1;
        for _restart in 0..3 {
            let ids = ProducerIds::open(dir.path(), false).unwrap();
            for _ in 0..1_500 {
                let id = ids.next().unwrap();
                assert!(id > last);
                last = id;
            }
        }
    }
}
