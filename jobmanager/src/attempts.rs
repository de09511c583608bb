//! From a job's wish for an attempt to its plan: prepare beside the loop, take slots, plan.

use std::sync::Arc;

use stream_core::ids::{AttemptNumber, JobId, Nonce, TaskManagerId};
use stream_core::job::{Event, JobState, Waiting};
use stream_core::plan::{Plan, slots_needed};
use stream_core::slot::NoFreeSlot;
use tracing::Instrument as _;

use crate::beside::Outcome;
use crate::checkpoint_store::CheckpointStore;
use crate::handle::CheckpointError;
use crate::job_store::WriteError;
use crate::preparation::{NotPrepared, Preparation, Prepared};
use crate::records::{Ready, Then};
use crate::service::Service;

impl Service {
    /// Something that was done beside the loop is done.
    pub(crate) fn on_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Prepared { job, attempt, result } => self.on_prepared(job, attempt, result),
            Outcome::ManifestStored { job, attempt, checkpoint, result } => {
                self.on_manifest_stored(job, attempt, checkpoint, result);
            }
            Outcome::SavepointCopied { number, checkpoint, result } => {
                self.on_savepoint_copied(number, checkpoint, result);
            }
            Outcome::JobStored { job, then, result } => {
                self.records_under_way -= 1;
                self.on_job_stored(job, then, result);
            }
            Outcome::AdoptionListed { job, result } => self.on_adoption_listed(job, result),
            Outcome::Superseded(superseded) => self.step_down(superseded),
            Outcome::Done => {}
        }
    }

    /// Begins to prepare an attempt.
    pub(crate) fn prepare(&mut self, job: JobId, attempt: AttemptNumber) {
        let nonce = match self.job_ids.next_nonce() {
            Ok(nonce) => nonce,
            Err(error) => {
                let causes = vec!["the system's generator of random numbers failed".to_owned(), error.to_string()];
                let result = Err(NotPrepared { causes, is_final: false });
                return self.beside.spawn(async move { Outcome::Prepared { job, attempt, result } });
            }
        };
        let Some(preparation) = self.preparation(job, nonce) else { return };
        let job_store = self.job_store.clone();
        // Whatever the sink and the store log meanwhile is logged with whose it is.
        let span = tracing::error_span!("preparation", job_id = %job, %attempt);
        let work = async move {
            // Who stood still for long may have a successor, whose attempt it would fence. A store that does not answer is told by
            // the preparation.
            if let Some(job_store) = job_store
                && let Err(WriteError::Superseded(superseded)) = job_store.check_leader().await
            {
                return Outcome::Superseded(superseded);
            }
            let result = preparation.run().await.map(Box::new);
            Outcome::Prepared { job, attempt, result }
        };
        self.beside.spawn(work.instrument(span));
    }

    /// Where the job's checkpoints lie; `None` if nothing is stored.
    pub(crate) fn checkpoint_store(&self, job: JobId) -> Option<CheckpointStore> {
        self.store.as_ref().map(|store| CheckpointStore::new(Arc::clone(store), job))
    }

    /// Slots came, or came free: jobs that wait for them try again.
    pub(crate) fn wake_jobs_without_slots(&mut self) {
        for job in self.jobs.live() {
            let Some(record) = self.jobs.get(job) else { continue };
            let is_waiting = record.job.waiting() == Some(Waiting::Slots);
            if is_waiting && self.slots.check_free(slots_needed(&record.pipeline)).is_ok() {
                self.apply(job, Event::SlotsChanged);
            }
        }
    }

    /// A taskmanager is gone: what was kept on it for attempts under preparation is kept no more.
    pub(crate) fn forget_reserved(&mut self, taskmanager: &TaskManagerId) {
        for job in self.jobs.live() {
            let Some(record) = self.jobs.get_mut(job) else { continue };
            if record.reserved.iter().any(|slot| slot.taskmanager == *taskmanager) {
                record.reserved.clear();
                self.slots.release(job);
            }
        }
    }

    fn preparation(&self, job: JobId, nonce: Nonce) -> Option<Preparation> {
        let record = self.jobs.get(job)?;
        Some(Preparation {
            connectors: Arc::clone(&self.connectors),
            store: self.checkpoint_store(job),
            sink_timeout: self.options.connector_timeout,
            job,
            pipeline: Arc::clone(&record.pipeline),
            nonce,
            savepoint: record.savepoint.clone(),
            damaged: record.damaged.clone(),
        })
    }

    fn on_prepared(&mut self, job: JobId, attempt: AttemptNumber, result: Result<Box<Prepared>, NotPrepared>) {
        if !self.is_preparing(job, attempt) {
            return;
        }
        let Prepared { start, stored } = match result {
            Ok(prepared) => *prepared,
            Err(not_prepared) => return self.on_not_prepared(job, attempt, not_prepared),
        };
        let Some(record) = self.jobs.get_mut(job) else { return };
        if record.reserved.is_empty() {
            match self.slots.allocate(job, slots_needed(&record.pipeline)) {
                Ok(slots) => record.reserved = slots,
                Err(error) => return self.on_no_slots(job, attempt, error),
            }
        }
        if let Some(savepoint) = &mut record.savepoint {
            savepoint.since.get_or_insert(start.token);
        }
        let plan = Plan::new(&record.pipeline, start.splits(&record.splits), &record.reserved);
        let ready = Ready { attempt, start: Arc::new(start), plan, stored };
        // A later jobmanager must know of the attempt before any task of it can run.
        self.store_job(job, Then::Attempt(Box::new(ready)));
    }

    /// An attempt that has its slots, and of which a later jobmanager would know, begins.
    pub(crate) fn begin_attempt(&mut self, job: JobId, ready: Ready) {
        let Ready { attempt, start, plan, stored } = ready;
        if !self.is_preparing(job, attempt) {
            return;
        }
        let Some(record) = self.jobs.get_mut(job) else { return };
        if std::mem::take(&mut record.reserved).is_empty() {
            // Their taskmanager was lost meanwhile.
            let error = NoFreeSlot { needed: slots_needed(&record.pipeline), count: self.slots.count() };
            self.on_no_slots(job, attempt, error);
            return self.wake_jobs_without_slots();
        }
        self.observing.on_planned(job, self.clock.monotonic());
        record.published = start.last_epoch;
        record.counters.clear();
        tracing::info!(
            job_id = %job, %attempt, token = %start.token, last_epoch = %start.last_epoch,
            checkpoint = start.restored.as_ref().map(|manifest| tracing::field::display(manifest.checkpoint)),
            "attempt planned"
        );
        record.start = Some(Arc::clone(&start));
        self.apply(job, Event::Planned { attempt, plan });
        if self.jobs.get(job).is_some_and(|record| record.state() == JobState::Running) {
            self.begin_coordination(job, &start, stored, None);
        }
        self.answer_rescale(job, Ok(()));
    }

    /// An attempt cannot begin.
    pub(crate) fn on_not_prepared(&mut self, job: JobId, attempt: AttemptNumber, not_prepared: NotPrepared) {
        if !self.is_preparing(job, attempt) {
            return;
        }
        let NotPrepared { causes, is_final } = not_prepared;
        tracing::warn!(job_id = %job, causes = causes.join(": "), is_final, "attempt not prepared");
        self.answer_rescale(job, Err(CheckpointError::Failed(causes.join(": "))));
        self.apply(job, Event::NotPrepared { attempt, causes, is_final });
    }

    fn is_preparing(&self, job: JobId, attempt: AttemptNumber) -> bool {
        self.jobs
            .get(job)
            .is_some_and(|record| record.job.attempt() == attempt && record.job.waiting() == Some(Waiting::Preparation))
    }

    fn on_no_slots(&mut self, job: JobId, attempt: AttemptNumber, error: NoFreeSlot) {
        tracing::warn!(job_id = %job, reason = %error, "job waits for slots");
        self.answer_rescale(job, Err(error.into()));
        self.apply(job, Event::NoSlots { attempt });
    }
}
