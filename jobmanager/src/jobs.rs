//! The jobs there are and those that ended lately: found by id, prefix or name, and watched for changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use stream_core::checkpoint;
use stream_core::ids::{CheckpointId, JobId, SlotId, SubtaskId};
use stream_core::job::{Job, JobState};
use stream_core::pipeline::{Pipeline, Split};
use stream_core::time::Timestamp;
use tokio::sync::watch;

use crate::preparation::{Savepoint, Start};
use crate::protocol::SubtaskCounters;

/// Ended jobs that can still be described: a day's work at one every quarter of an hour, and at most some MB.
pub(crate) const ENDED_JOBS_KEPT: usize = 100;
/// Ids that a message about an ambiguous job lists.
const IDS_LISTED: usize = 5;

/// All that is known of a job; readers get a copy.
#[derive(Clone, Debug)]
pub(crate) struct JobRecord {
    /// The job.
    pub(crate) id: JobId,
    /// As users call it.
    pub(crate) name: String,
    /// When it was submitted, by the wall clock.
    pub(crate) submitted: Timestamp,
    /// When it ended, by the wall clock.
    pub(crate) ended: Option<Timestamp>,
    /// What runs; without its secrets once the job has ended.
    pub(crate) pipeline: Arc<Pipeline>,
    /// Its life.
    pub(crate) job: Job,
    /// What each task counted, as far as is known.
    pub(crate) counters: BTreeMap<SubtaskId, SubtaskCounters>,
    /// Every split that is known, with the bounds it was found with.
    pub(crate) splits: Vec<Split>,
    /// What the job was submitted with, until it has a checkpoint of its own.
    pub(crate) savepoint: Option<Savepoint>,
    /// Stored files that a task could not read: what names one is not restored from again.
    pub(crate) damaged: BTreeSet<String>,
    /// Slots that are kept for the attempt under preparation.
    pub(crate) reserved: Vec<SlotId>,
    /// What the current attempt began with.
    pub(crate) start: Option<Arc<Start>>,
    /// The last checkpoints, the latest first.
    pub(crate) checkpoints: Vec<checkpoint::Entry>,
    /// The epoch that the sink shows, as far as is known.
    pub(crate) published: CheckpointId,
}

/// The jobs by id.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    by_id: BTreeMap<JobId, Entry>,
    /// Those that ended, the first to end first.
    ended: VecDeque<JobId>,
}

#[derive(Debug)]
struct Entry {
    record: JobRecord,
    watchers: watch::Sender<Arc<JobRecord>>,
}

/// A text that does not name one job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FindJobError {
    /// No job is called that, and no id begins so.
    #[error("no job `{0}`: `jobctl list` shows the jobs")]
    Unknown(String),
    /// It could be any of several.
    #[error("`{text}` could be any of several jobs: give one of the ids {ids}")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Some of the ids.
        ids: String,
    },
}

impl Jobs {
    /// Adds a job; one of that id that has ended, whose savepoint it begins with, gives way.
    pub(crate) fn insert(&mut self, record: JobRecord) {
        self.ended.retain(|&ended| ended != record.id);
        let watchers = watch::Sender::new(Arc::new(record.clone()));
        self.by_id.insert(record.id, Entry { record, watchers });
    }

    /// One of them.
    pub(crate) fn get(&self, id: JobId) -> Option<&JobRecord> {
        self.by_id.get(&id).map(|entry| &entry.record)
    }

    /// One of them, to be changed; [`Jobs::publish`] afterwards.
    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut JobRecord> {
        self.by_id.get_mut(&id).map(|entry| &mut entry.record)
    }

    /// All of them, in the order in which they were submitted.
    pub(crate) fn in_order(&self) -> Vec<&JobRecord> {
        let mut jobs: Vec<&JobRecord> = self.by_id.values().map(|entry| &entry.record).collect();
        jobs.sort_by_key(|record| (record.submitted, record.id));
        jobs
    }

    /// Whether any job has not ended.
    pub(crate) fn has_live(&self) -> bool {
        self.by_id.values().any(|entry| entry.record.is_live())
    }

    /// The ids of those that have not ended.
    pub(crate) fn live(&self) -> Vec<JobId> {
        self.by_id.values().filter(|entry| entry.record.is_live()).map(|entry| entry.record.id).collect()
    }

    /// Shows a changed record to those who watch it.
    pub(crate) fn publish(&self, id: JobId) {
        if let Some(entry) = self.by_id.get(&id).filter(|entry| entry.watchers.receiver_count() > 0) {
            entry.watchers.send_replace(Arc::new(entry.record.clone()));
        }
    }

    /// The record now and after each change; the last one is that of the end.
    pub(crate) fn watch(&self, id: JobId) -> Option<watch::Receiver<Arc<JobRecord>>> {
        let entry = self.by_id.get(&id)?;
        // Nothing was published while nobody watched.
        entry.watchers.send_replace(Arc::new(entry.record.clone()));
        Some(entry.watchers.subscribe())
    }

    /// A job has ended: its secrets are forgotten now, the job itself once enough others have ended.
    pub(crate) fn retire(&mut self, id: JobId, now: Timestamp) {
        let Some(record) = self.get_mut(id) else { return };
        record.ended = Some(now);
        Arc::make_mut(&mut record.pipeline).clear_secrets();
        (record.start, record.savepoint) = (None, None);
        self.ended.push_back(id);
        while self.ended.len() > ENDED_JOBS_KEPT {
            if let Some(oldest) = self.ended.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// A job that was not taken after all.
    pub(crate) fn remove(&mut self, id: JobId) {
        self.by_id.remove(&id);
    }

    /// The job that a user means: by its id, its name (of several, the one that runs), or the beginning of its id.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(crate) fn find(&self, text: &str) -> Result<JobId, FindJobError> {
        if let Some(id) = text.parse().ok().filter(|id| self.by_id.contains_key(id)) {
            return Ok(id);
        }
        let records = || self.by_id.values().map(|entry| &entry.record);
        let named: Vec<&JobRecord> = records().filter(|record| record.name == text).collect();
        let live: Vec<&JobRecord> = named.iter().copied().filter(|record| record.is_live()).collect();
        let begin_so =
            || records().filter(|record| !text.is_empty() && record.id.to_string().starts_with(text)).collect();
        let candidates = [live, named].into_iter().find(|some| !some.is_empty()).unwrap_or_else(begin_so);
        match candidates.as_slice() {
            [] => Err(FindJobError::Unknown(text.to_owned())),
            [one] => Ok(one.id),
            several => Err(FindJobError::Ambiguous { text: text.to_owned(), ids: listed(several) }),
        }
    }
}

impl JobRecord {
    /// A job that was just taken.
    pub(crate) fn new(id: JobId, name: String, submitted: Timestamp, pipeline: Pipeline, job: Job) -> Self {
        JobRecord {
            id,
            name,
            submitted,
            ended: None,
            pipeline: Arc::new(pipeline),
            job,
            counters: BTreeMap::new(),
            splits: Vec::new(),
            savepoint: None,
            damaged: BTreeSet::new(),
            reserved: Vec::new(),
            start: None,
            checkpoints: Vec::new(),
            published: CheckpointId::ROOT,
        }
    }

    /// Whether the job has not ended.
    pub(crate) fn is_live(&self) -> bool {
        !self.state().is_terminal()
    }

    /// A task failed: if with a file of the checkpoint that it began with, that one is not used again. What the store says of
    /// a file that it cannot reach now is worded otherwise (`StoredError::in_file`).
    pub(crate) fn note_damage(&mut self, causes: &[String]) {
        let Some(manifest) = self.start.as_ref().and_then(|start| start.restored.as_ref()) else { return };
        let is_blamed = |file: &&checkpoint::FileRef| {
            let blame = format!("{}` cannot be used", file.name);
            causes.iter().any(|cause| cause.contains(&blame))
        };
        let blamed: Vec<String> = manifest.file_refs().filter(is_blamed).map(|file| file.name.clone()).collect();
        self.damaged.extend(blamed);
    }

    /// The job's state.
    pub(crate) fn state(&self) -> JobState {
        self.job.state()
    }
}

fn listed(jobs: &[&JobRecord]) -> String {
    let mut ids: Vec<String> = jobs.iter().take(IDS_LISTED).map(|record| record.id.to_string()).collect();
    if jobs.len() > IDS_LISTED {
        ids.push(format!("and {} more", jobs.len() - IDS_LISTED));
    }
    ids.join(", ")
}

#[cfg(test)]
mod tests;
