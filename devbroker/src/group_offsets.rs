//! Offsets that consumers committed, by group, topic and partition, in one JSON file.
//!
//! There are no group members here, only offsets: consumers assign their partitions themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::disk::{self, DiskError};

/// What a consumer committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    /// Whatever the consumer wished to have kept beside the offset.
    pub(crate) metadata: String,
}

/// The partitions of topics, by name and index.
pub(crate) type ByTopic<T> = BTreeMap<String, BTreeMap<i32, T>>;

/// The committed offsets of all groups.
#[derive(Debug)]
pub(crate) struct GroupOffsets {
    path: PathBuf,
    fsync: bool,
    by_group: Mutex<BTreeMap<String, ByTopic<Committed>>>,
}

impl GroupOffsets {
    pub(crate) fn open(dir: &Path, fsync: bool) -> Result<Self, DiskError> {
        let path = dir.join("group-offsets.json");
        let by_group = Mutex::new(disk::read_json(&path)?.unwrap_or_default());
        Ok(Self { path, fsync, by_group })
    }

    /// Stores a commit; once this returns it survives a restart.
    pub(crate) fn commit(&self, group: &str, offsets: ByTopic<Committed>) -> Result<(), DiskError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut by_group = self.lock();
        let topics = by_group.entry(group.to_owned()).or_default();
        for (topic, partitions) in offsets {
            topics.entry(topic).or_default().extend(partitions);
        }
        disk::write_json(&self.path, &*by_group, self.fsync)
    }

    /// Everything a group has committed.
    pub(crate) fn of_group(&self, group: &str) -> ByTopic<Committed> {
        self.lock().get(group).cloned().unwrap_or_default()
    }

    /// Drops the offsets of a deleted topic: a new one of that name begins at 0 again.
    pub(crate) fn forget_topic(&self, topic: &str) -> Result<(), DiskError> {
        let mut by_group = self.lock();
        let mut is_changed = false;
        for topics in by_group.values_mut() {
            is_changed |= topics.remove(topic).is_some();
        }
        if is_changed { disk::write_json(&self.path, &*by_group, self.fsync) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ByTopic<Committed>>> {
        self.by_group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn commits_survive_a_restart_and_go_with_their_topic() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = GroupOffsets::open(dir.path(), false).unwrap();
        let committed = Committed { offset: 42, leader_epoch: 0, metadata: "\"quoted\"\n".to_owned() };
        let commit = |topic: &str| BTreeMap::from([(topic.to_owned(), BTreeMap::from([(3, committed.clone())]))]);
        offsets.commit("g", commit("a")).unwrap();
        offsets.commit("g", commit("b")).unwrap();
        offsets.forget_topic("a").unwrap();
        let offsets = GroupOffsets::open(dir.path(), false).unwrap();
        assert_eq!(offsets.of_group("g"), commit("b"));
        assert_eq!(offsets.of_group("other"), BTreeMap::new());
    }
}
