//! What the service does about the job store: when a job's record is written, and what waits for that.

use std::sync::Arc;
use std::time::Duration;

use stream_core::checkpoint::Manifest;
use stream_core::ids::{AttemptNumber, JobId};
use stream_core::job::Event;
use stream_core::plan::Plan;
use tokio::sync::oneshot;

use crate::beside::Outcome;
use crate::handle::AcceptError;
use crate::job_store::{StoredAttempt, StoredJob, Superseded, WriteError};
use crate::preparation::{NotPrepared, Start};
use crate::service::{Service, answer};

/// An attempt that has its slots.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// Which.
    pub(crate) attempt: AttemptNumber,
    /// What it begins with.
    pub(crate) start: Arc<Start>,
    /// What runs where.
    pub(crate) plan: Plan,
    /// Every manifest that is stored, oldest first.
    pub(crate) stored: Vec<Manifest>,
}

/// What waits for a record to be stored.
#[derive(Debug)]
pub(crate) enum Then {
    /// Whoever submitted the job, and its first attempt.
    Submission(oneshot::Sender<Result<JobId, AcceptError>>),
    /// The attempt's deployment.
    Attempt(Box<Ready>),
    /// Those who stopped the job, which has ended.
    Ended,
    /// Nothing.
    Nothing,
}

/// How often the end of a job is tried to be stored.
const END_TRIES: u32 = 30;
/// Between two tries.
const END_PAUSE: Duration = Duration::from_secs(1);

impl Service {
    /// Stores a job's record; where nothing is stored, that is as good as done.
    pub(crate) fn store_job(&mut self, job: JobId, then: Then) {
        let attempt = match &then {
            Then::Attempt(ready) => Some(StoredAttempt {
                attempt: ready.attempt,
                start: ready.start.as_ref().clone(),
                plan: ready.plan.clone(),
            }),
            Then::Submission(_) | Then::Ended | Then::Nothing => self.current_attempt(job),
        };
        let Some(stored) = self.stored_job(job, attempt) else { return };
        let Some(store) = self.job_store.clone() else { return self.on_job_stored(job, then, Ok(())) };
        let sequence = self.next_record();
        self.beside.spawn(async move {
            let result = store.write(sequence, &stored).await;
            Outcome::JobStored { job, then, result }
        });
    }

    /// A job's record is stored, or is not.
    pub(crate) fn on_job_stored(&mut self, job: JobId, then: Then, result: Result<(), WriteError>) {
        if let Err(WriteError::Superseded(superseded)) = result {
            self.step_down(superseded);
        }
        match (then, result) {
            (Then::Submission(reply), Ok(())) => {
                self.apply(job, Event::Submitted);
                answer(reply, Ok(job));
            }
            (Then::Submission(reply), Err(error)) => {
                self.discovery.forget(job);
                self.slots.release(job);
                self.jobs.remove(job);
                self.options.logs.forget_secrets(job);
                answer(reply, Err(error.into()));
            }
            (Then::Attempt(ready), Ok(())) => self.begin_attempt(job, *ready),
            (Then::Attempt(ready), Err(error)) => {
                let not_prepared = NotPrepared { causes: vec![error.to_string()], is_final: false };
                self.on_not_prepared(job, ready.attempt, not_prepared);
            }
            (Then::Ended, result) => {
                if let Err(error) = result {
                    tracing::error!(job_id = %job, %error, "the job ended, but the next jobmanager will find it");
                }
                self.answer_stops(job);
            }
            (Then::Nothing, Ok(())) => {}
            (Then::Nothing, Err(error)) => tracing::warn!(job_id = %job, %error, "the job's record is not up to date"),
        }
    }

    /// Another jobmanager has the store: this one ends.
    pub(crate) fn step_down(&mut self, superseded: Superseded) {
        tracing::error!(error = %superseded, "stepping down");
        self.superseded = Some(superseded);
    }

    /// The job has ended: a later jobmanager must not find it, and who stopped it hears of its end only then.
    pub(crate) fn forget_job(&mut self, job: JobId) {
        let stored = self.stored_job(job, None);
        let (Some(store), Some(stored)) = (self.job_store.clone(), stored) else { return self.answer_stops(job) };
        let ended = StoredJob { has_ended: true, ..stored };
        let sequence = self.next_record();
        self.beside.spawn(async move {
            let mut result = store.write(sequence, &ended).await;
            for _ in 1..END_TRIES {
                if !matches!(result, Err(WriteError::Store(_))) {
                    break;
                }
                tokio::time::sleep(END_PAUSE).await;
                result = store.write(sequence, &ended).await;
            }
            Outcome::JobStored { job, then: Then::Ended, result }
        });
    }

    fn next_record(&mut self) -> u32 {
        self.records_under_way += 1;
        self.record_sequence += 1;
        self.record_sequence
    }

    fn current_attempt(&self, job: JobId) -> Option<StoredAttempt> {
        let record = self.jobs.get(job)?;
        let start = record.start.as_ref()?;
        let plan = record.job.plan().clone();
        Some(StoredAttempt { attempt: record.job.attempt(), start: start.as_ref().clone(), plan })
    }

    fn stored_job(&self, job: JobId, attempt: Option<StoredAttempt>) -> Option<StoredJob> {
        let record = self.jobs.get(job)?;
        Some(StoredJob {
            id: record.id,
            name: record.name.clone(),
            pipeline: record.pipeline.as_ref().clone(),
            submitted: record.submitted,
            splits: record.splits.clone(),
            savepoint: record.savepoint.clone(),
            restarts: record.job.restarts(),
            last_failure: record.job.last_failure().to_vec(),
            attempt,
            has_ended: false,
        })
    }
}
