//! The topics: a directory each under `topics/`, and in it a directory for each partition, `0`, `1`, and so on.
//!
//! The directories are the only record of what exists. A topic is made and deleted under `staging/` and moved in or
//! out by one rename, so a crash leaves it whole or gone. Topics have no settings. Tested beside the code.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thiserror::Error;
use tokio::sync::watch;
use tracing::error;

use crate::disk::{At, DiskError};
use crate::log::{AppendError, Log};

/// Partitions of one topic: each holds a file open.
pub(crate) const MAX_PARTITIONS: i32 = 1_000;

/// Why a topic was not created, changed or deleted.
#[derive(Debug, Error)]
pub(crate) enum TopicError {
    #[error("a topic name has 1 to 249 letters, digits, `.`, `_` or `-`, and is not `.` or `..`")]
    Name,
    #[error("topic `{name}` exists already")]
    Exists { name: String },
    #[error("topic `{name}` does not exist")]
    Unknown { name: String },
    #[error("`{count}` partitions: a topic has 1 to {MAX_PARTITIONS}, and never fewer than before")]
    Partitions { count: i32 },
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// One partition: its log, and its end where a waiting fetch can look without waiting for a writer.
#[derive(Debug)]
pub(crate) struct Partition {
    log: Mutex<Log>,
    end_offset: AtomicI64,
}

impl Partition {
    fn open(dir: &Path, fsync: bool) -> Result<Arc<Self>, DiskError> {
        let log = Log::open(dir, fsync)?;
        Ok(Arc::new(Self { end_offset: AtomicI64::new(log.end_offset()), log: Mutex::new(log) }))
    }

    /// The log, which this holds until dropped: for short work only.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        // A log changes its fields only after the write succeeded, so it is sound after a panic elsewhere.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of the log, without waiting.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset.load(Ordering::Acquire)
    }
}

type ByName = BTreeMap<String, Vec<Arc<Partition>>>;

/// All topics of the broker.
#[derive(Debug)]
pub(crate) struct Topics {
    topics_dir: PathBuf,
    staging_dir: PathBuf,
    fsync: bool,
    by_name: RwLock<ByName>,
    changed: watch::Sender<()>,
}

impl Topics {
    /// Opens every partition under `dir`.
    pub(crate) fn open(dir: &Path, fsync: bool) -> Result<Self, DiskError> {
        let (topics_dir, staging_dir) = (dir.join("topics"), dir.join("staging"));
        fs::create_dir_all(&topics_dir).at("create", &topics_dir)?;
        remove_if_there(&staging_dir)?;
        fs::create_dir_all(&staging_dir).at("create", &staging_dir)?;
        let mut by_name = ByName::new();
        for entry in fs::read_dir(&topics_dir).at("list", &topics_dir)? {
            let dir = entry.at("list", &topics_dir)?.path();
            if let Some(name) = dir.file_name().and_then(|name| name.to_str()).filter(|name| is_valid_name(name)) {
                by_name.insert(name.to_owned(), open_partitions(&dir, fsync)?);
            }
        }
        Ok(Self { topics_dir, staging_dir, fsync, by_name: RwLock::new(by_name), changed: watch::Sender::new(()) })
    }

    /// Every topic with its number of partitions, by name.
    pub(crate) fn list(&self) -> Vec<(String, usize)> {
        self.read().iter().map(|(name, partitions)| (name.clone(), partitions.len())).collect()
    }

    /// How many partitions a topic has; `None` if there is no such topic.
    pub(crate) fn partition_count(&self, topic: &str) -> Option<usize> {
        self.read().get(topic).map(Vec::len)
    }

    /// One partition, if it exists.
    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let index = usize::try_from(index).ok()?;
        self.read().get(topic)?.get(index).cloned()
    }

    /// Appends a batch; returns its base offset and the log's first offset.
    pub(crate) fn append(&self, partition: &Partition, batch: &[u8]) -> Result<(i64, i64), AppendError> {
        let mut log = partition.log();
        let base_offset = log.append(batch)?;
        partition.end_offset.store(log.end_offset(), Ordering::Release);
        self.changed.send_replace(());
        Ok((base_offset, log.start_offset()))
    }

    /// Changes whenever a record was added or a topic deleted.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Makes a topic, or with `dry_run` says whether it could be made.
    pub(crate) fn create(&self, name: &str, count: i32, dry_run: bool) -> Result<(), TopicError> {
        if !is_valid_name(name) {
            return Err(TopicError::Name);
        }
        let mut by_name = self.write();
        if by_name.contains_key(name) {
            return Err(TopicError::Exists { name: name.to_owned() });
        }
        if !(1..=MAX_PARTITIONS).contains(&count) {
            return Err(TopicError::Partitions { count });
        }
        if dry_run {
            return Ok(());
        }
        let (staged, dir) = (self.staging_dir.join(name), self.topics_dir.join(name));
        remove_if_there(&staged)?;
        for index in 0..count {
            let partition = staged.join(index.to_string());
            fs::create_dir_all(&partition).at("create", &partition)?;
        }
        fs::rename(&staged, &dir).at("create", &dir)?;
        by_name.insert(name.to_owned(), open_partitions(&dir, self.fsync)?);
        Ok(())
    }

    /// Gives a topic more partitions, `count` in all.
    pub(crate) fn grow(&self, name: &str, count: i32, dry_run: bool) -> Result<(), TopicError> {
        let mut by_name = self.write();
        let partitions = by_name.get_mut(name).ok_or_else(|| TopicError::Unknown { name: name.to_owned() })?;
        let wanted = usize::try_from(count).unwrap_or(0);
        if count > MAX_PARTITIONS || wanted <= partitions.len() {
            return Err(TopicError::Partitions { count });
        }
        while !dry_run && partitions.len() < wanted {
            let dir = self.topics_dir.join(name).join(partitions.len().to_string());
            partitions.push(Partition::open(&dir, self.fsync)?);
        }
        Ok(())
    }

    /// Deletes a topic and its records.
    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let mut by_name = self.write();
        if !by_name.contains_key(name) {
            return Err(TopicError::Unknown { name: name.to_owned() });
        }
        let (staged, dir) = (self.staging_dir.join(name), self.topics_dir.join(name));
        remove_if_there(&staged)?;
        fs::rename(&dir, &staged).at("delete", &dir)?;
        by_name.remove(name);
        self.changed.send_replace(());
        // Gone for every client from here on; what is left over is removed at the next start at the latest.
        Ok(remove_if_there(&staged)?)
    }

    /// Asks the operating system to put everything on the disk.
    pub(crate) fn sync(&self) {
        for (topic, partitions) in self.read().iter() {
            for (index, partition) in partitions.iter().enumerate() {
                if let Err(e) = partition.log().sync() {
                    error!(topic, partition = index, error = %e, "cannot sync the log to disk");
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, ByName> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ByName> {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kafka's rule for topic names; it also makes them safe as names of directories.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

fn open_partitions(topic: &Path, fsync: bool) -> Result<Vec<Arc<Partition>>, DiskError> {
    let dirs = (0..).map(|index: u32| topic.join(index.to_string())).take_while(|dir| dir.is_dir());
    dirs.map(|dir| Partition::open(&dir, fsync)).collect()
}

fn remove_if_there(dir: &Path) -> Result<(), DiskError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at("remove", dir),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::batch_of;

    #[test]
    fn topics_survive_a_restart_and_deleted_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let topics = Topics::open(dir.path(), false).unwrap();
        topics.create("kept", 2, false).unwrap();
        topics.create("gone", 1, false).unwrap();
        topics.grow("kept", 12, false).unwrap();
        topics.append(&topics.partition("kept", 11).unwrap(), &batch_of(&[(1, "a")])).unwrap();
        topics.delete("gone").unwrap();
        let topics = Topics::open(dir.path(), false).unwrap();
        assert_eq!(topics.list(), [("kept".to_owned(), 12)]);
        assert_eq!(topics.partition("kept", 11).unwrap().end_offset(), 1);
        topics.create("gone", 1, false).unwrap();
        assert_eq!(topics.partition("gone", 0).unwrap().end_offset(), 0);
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let topics = Topics::open(dir.path(), false).unwrap();
        for name in ["", ".", "..", "a/b", "../x", "a\0b", "ä", &"x".repeat(250)] {
            assert!(matches!(topics.create(name, 1, false), Err(TopicError::Name)), "{name:?}");
        }
        topics.create(&"x".repeat(249), 1, false).unwrap();
        topics.delete(&"x".repeat(249)).unwrap();
    }

    #[test]
    fn a_dry_run_checks_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let topics = Topics::open(dir.path(), false).unwrap();
        topics.create("t", 1, true).unwrap();
        assert_eq!(topics.list(), []);
        topics.create("t", 1, false).unwrap();
        topics.grow("t", 2, true).unwrap();
        assert!(matches!(topics.grow("t", 1, false), Err(TopicError::Partitions { count: 1 })));
        assert_eq!(topics.partition_count("t"), Some(1));
    }
}
