//! The jobs that live, kept in the checkpoint store so that they outlive their jobmanager.
//!
//! ```text
//! leader/LEADER                a jobmanager has taken the store over; the highest number counts
//! jobs/JOB/LEADER-SEQUENCE     a version of a job's record; the newest counts, older ones are removed
//! ```
//!
//! Objects are only ever created, so a jobmanager that was taken over cannot undo what its successor wrote: its own number is
//! lower. After each write it looks whether there is a higher one, and steps down.
//!
//! Records hold the secrets of the job's source and sink: the store must be as well kept as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stream_core::ids::{AttemptNumber, JobId};
use stream_core::pipeline::{Pipeline, Split};
use stream_core::plan::Plan;
use stream_core::time::Timestamp;
use stream_runtime::store::{ObjectStore, StoreError, StoreErrorKind};
use stream_runtime::stored::{decode_job, encode_job};
use tokio::sync::Mutex;

use crate::checkpoint_store::create_once;
use crate::preparation::{Savepoint, Start};

const LEADERS: &str = "leader/";
const JOBS: &str = "jobs/";

/// A job as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredJob {
    /// The job.
    pub(crate) id: JobId,
    /// As users call it.
    pub(crate) name: String,
    /// What it runs, with its secrets.
    pub(crate) pipeline: Pipeline,
    /// When it was submitted.
    pub(crate) submitted: Timestamp,
    /// Every split that is known, with the bounds it was found with.
    pub(crate) splits: Vec<Split>,
    /// What it was submitted with.
    pub(crate) savepoint: Option<Savepoint>,
    /// How often it was restarted.
    pub(crate) restarts: u32,
    /// What the last attempt that failed failed with, outermost first.
    pub(crate) last_failure: Vec<String>,
    /// The last attempt that was deployed, or was about to be.
    pub(crate) attempt: Option<StoredAttempt>,
    /// Whether it has ended: what is left of it is to be removed.
    pub(crate) has_ended: bool,
}

/// An attempt as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredAttempt {
    /// Which.
    pub(crate) attempt: AttemptNumber,
    /// What it began with.
    pub(crate) start: Start,
    /// What runs where.
    pub(crate) plan: Plan,
}

/// A record was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// Another jobmanager has taken the store over.
    #[error(transparent)]
    Superseded(#[from] Superseded),
    /// The store failed.
    #[error("the job store: {0}")]
    Store(#[from] StoreError),
}

/// Another jobmanager has taken the store over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "jobmanager {leader} has taken the checkpoint store over from this one, which is {own}: run one jobmanager for a store, or \
     give each a `--checkpoint-dir` of its own"
)]
pub struct Superseded {
    /// Its number.
    pub leader: u32,
    /// Our number.
    pub own: u32,
}

/// The store, as its leader sees it.
#[derive(Clone)]
pub(crate) struct JobStore {
    store: Arc<dyn ObjectStore>,
    leader: u32,
    /// The newest version of each job that was written. Writes take turns: one that comes late must not bring a job back that
    /// was forgotten meanwhile.
    written: Arc<Mutex<BTreeMap<JobId, u32>>>,
}

impl JobStore {
    /// Takes the store over and reads the jobs that live.
    ///
    /// # Errors
    /// If the store does not answer, or a record cannot be read.
    pub(crate) async fn take_over(store: Arc<dyn ObjectStore>) -> Result<(Self, Vec<StoredJob>), StoreError> {
        let leader = loop {
            let next = highest_leader(store.as_ref()).await? + 1;
            match store.create(&leader_name(next), Bytes::new()).await {
                Ok(()) => break next,
                Err(error) if error.kind == StoreErrorKind::Exists => {}
                Err(error) => return Err(error),
            }
        };
        for name in store.list(LEADERS).await? {
            if leader_of(&name).is_some_and(|other| other < leader) {
                store.delete(&name).await?;
            }
        }
        let store = JobStore { store, leader, written: Arc::default() };
        let jobs = store.jobs().await?;
        Ok((store, jobs))
    }

    /// Writes a version of a job's record; of two versions the one with the higher `sequence` counts. A job that has ended
    /// is forgotten thereby.
    ///
    /// # Errors
    /// If it is not stored, or no longer counts.
    pub(crate) async fn write(&self, sequence: u32, job: &StoredJob) -> Result<(), WriteError> {
        let mut written = self.written.lock().await;
        if written.get(&job.id).is_some_and(|&newer| newer > sequence) {
            return Ok(());
        }
        let name = format!("{}{:08x}-{sequence:08x}", folder(job.id), self.leader);
        create_once(self.store.as_ref(), &name, encode_job(job).into()).await?;
        written.insert(job.id, sequence);
        self.check_leader().await?;
        self.remove_older(job.id, &name).await?;
        if job.has_ended {
            self.store.delete(&name).await?;
        }
        Ok(())
    }

    /// Whether this is the leader still. Asked before anything is removed: who stood still for long may not know what is needed
    /// now.
    ///
    /// # Errors
    /// If it is not, or the store does not answer.
    pub(crate) async fn check_leader(&self) -> Result<(), WriteError> {
        let leader = highest_leader(self.store.as_ref()).await?;
        if leader > self.leader { Err(Superseded { leader, own: self.leader }.into()) } else { Ok(()) }
    }

    async fn jobs(&self) -> Result<Vec<StoredJob>, StoreError> {
        // Names are in ascending order: the last of each folder is the newest.
        let mut newest: BTreeMap<String, String> = BTreeMap::new();
        for name in self.store.list(JOBS).await? {
            if let Some((folder, _)) = name.rsplit_once('/') {
                newest.insert(folder.to_owned(), name);
            }
        }
        let mut jobs = Vec::new();
        for name in newest.into_values() {
            let job: StoredJob = decode_job(&name, &self.store.read(&name).await?)?;
            if job.has_ended {
                self.remove_older(job.id, &name).await?;
                self.store.delete(&name).await?;
            } else {
                jobs.push(job);
            }
        }
        Ok(jobs)
    }

    async fn remove_older(&self, job: JobId, newest: &str) -> Result<(), StoreError> {
        for name in self.store.list(&folder(job)).await? {
            if name.as_str() < newest {
                self.store.delete(&name).await?;
            }
        }
        Ok(())
    }
}

fn folder(job: JobId) -> String {
    format!("{JOBS}{job}/")
}

fn leader_name(leader: u32) -> String {
    format!("{LEADERS}{leader:08x}")
}

fn leader_of(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix(LEADERS)?, 16).ok()
}

async fn highest_leader(store: &dyn ObjectStore) -> Result<u32, StoreError> {
    Ok(store.list(LEADERS).await?.iter().filter_map(|name| leader_of(name)).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use stream_runtime::store::MemoryStore;

    use super::*;
    use crate::testing::pipeline;

    fn job(id: u128, name: &str) -> StoredJob {
        StoredJob {
            id: JobId(id),
            name: name.to_owned(),
            pipeline: pipeline(1),
            submitted: Timestamp(1),
            splits: Vec::new(),
            savepoint: None,
            restarts: 0,
            last_failure: Vec::new(),
            attempt: None,
            has_ended: false,
        }
    }

    async fn take_over(memory: &MemoryStore) -> (JobStore, Vec<StoredJob>) {
        JobStore::take_over(Arc::new(memory.clone())).await.expect("the store is in order")
    }

    #[tokio::test]
    async fn newest_version_counts_and_older_ones_are_removed() {
        let memory = MemoryStore::default();
        let (store, jobs) = take_over(&memory).await;
        assert!(jobs.is_empty());
        store.write(1, &job(7, "first")).await.expect("stored");
        store.write(2, &job(7, "second")).await.expect("stored");
        let names = memory.names();
        assert_eq!(names, ["jobs/00000000000000000000000000000007/00000001-00000002", "leader/00000001"]);
        let (_, jobs) = take_over(&memory).await;
        assert_eq!(jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), ["second"]);
    }

    #[tokio::test]
    async fn job_that_has_ended_is_forgotten() {
        let memory = MemoryStore::default();
        let (store, _) = take_over(&memory).await;
        store.write(1, &job(7, "toy")).await.expect("stored");
        store.write(2, &StoredJob { has_ended: true, ..job(7, "toy") }).await.expect("stored");
        assert_eq!(memory.names(), ["leader/00000001"]);
        // A version that was begun before, and comes late.
        store.write(1, &job(7, "late")).await.expect("passed over");
        assert_eq!(memory.names(), ["leader/00000001"]);
        // It died between the word and the deed.
        let ended = StoredJob { has_ended: true, ..job(8, "toy") };
        let name = "jobs/00000000000000000000000000000008/00000001-00000003";
        memory.create(name, encode_job(&ended).into()).await.expect("written");
        let (_, jobs) = take_over(&memory).await;
        assert!(jobs.is_empty() && memory.names() == ["leader/00000002"]);
    }

    #[tokio::test]
    async fn jobmanager_that_was_taken_over_hears_so_and_cannot_undo_what_its_successor_wrote() {
        let memory = MemoryStore::default();
        let (old, _) = take_over(&memory).await;
        let (new, _) = take_over(&memory).await;
        new.write(1, &job(7, "new")).await.expect("stored");
        new.check_leader().await.expect("it leads");
        old.check_leader().await.expect_err("it is not the leader");
        let error = old.write(9, &job(7, "old")).await.expect_err("it is not the leader");
        assert_eq!(error, WriteError::Superseded(Superseded { leader: 2, own: 1 }));
        assert_eq!(take_over(&memory).await.1[0].name, "new");
    }
}
