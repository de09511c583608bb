//! Tasks that taskmanagers bring along when they register: those of a job that a new jobmanager found in the job store, and
//! what is left of attempts that are over.
//!
//! An attempt is *adopted* if every task of its plan is reported running where the plan has it: then nothing of it has
//! changed, and it goes on. Otherwise its tasks are canceled, and the next attempt is prepared, which fences. Slots of tasks
//! that are not (or not yet) a job's count as taken until those tasks have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use stream_core::checkpoint::{self, Adopted, Manifest};
use stream_core::ids::{AttemptNumber, JobId, SlotId, SubtaskId, TaskManagerId};
use stream_core::job::{Event, History, Job, TaskState};
use stream_core::plan::PlannedTask;

use crate::beside::Outcome;
use crate::job_store::{StoredAttempt, StoredJob};
use crate::jobs::JobRecord;
use crate::preparation::Start;
use crate::protocol::{Command, RunningTask, TaskRef};
use crate::records::Then;
use crate::service::{Service, seed};

/// The tasks that nobody here has deployed.
#[derive(Debug, Default)]
pub(crate) struct Adoptions {
    /// Jobs whose tasks are waited for.
    waiting: BTreeMap<JobId, Adoption>,
    /// When that is over, on the steady clock.
    deadline: Duration,
    /// Tasks that are reported and are no job's, with their slots.
    leftovers: BTreeMap<TaskManagerId, Vec<RunningTask>>,
}

#[derive(Debug)]
struct Adoption {
    stored: StoredAttempt,
    reported: BTreeMap<SubtaskId, RunningTask>,
    /// Whether the manifests are being listed.
    is_listing: bool,
}

impl Adoption {
    fn is_complete(&self) -> bool {
        self.stored.plan.tasks().iter().all(|task| self.reported.contains_key(&task.subtask))
    }

    /// A task that the plan has on this taskmanager and that was not reported.
    fn missing_on(&self, taskmanager: &TaskManagerId) -> Option<&PlannedTask> {
        let mut planned = self.stored.plan.tasks().iter().filter(|task| task.slot.taskmanager == *taskmanager);
        planned.find(|task| !self.reported.contains_key(&task.subtask))
    }

    /// Where its checkpoints go on, if that is clear.
    fn checkpoints(&self, manifests: &[Manifest]) -> Result<Adopted, checkpoint::Unclear> {
        let barriers = self.reported.values().filter_map(|task| task.last_barrier);
        let newest = barriers.max_by_key(|barrier| barrier.checkpoint);
        checkpoint::adopt(self.stored.start.token, manifests, newest)
    }

    /// Whether this is a task of the plan, where the plan has it.
    fn expects(&self, taskmanager: &TaskManagerId, running: &RunningTask) -> bool {
        let is_there = |slot: &SlotId| slot.taskmanager == *taskmanager && slot.index == running.slot;
        let planned = self.stored.plan.task(running.task.subtask);
        running.task.attempt == self.stored.attempt
            && !running.state.is_terminal()
            && running.state != TaskState::Canceling
            && planned.is_some_and(|planned| is_there(&planned.slot))
    }
}

impl Service {
    /// The jobmanager begins, with the jobs of the one before it.
    pub(crate) fn recover(&mut self, jobs: Vec<StoredJob>) {
        self.adoptions.deadline = self.clock.monotonic() + self.options.adoption_timeout;
        for stored in jobs {
            let id = stored.id;
            tracing::info!(job_id = %id, name = stored.name, "found a job");
            let history = History { restarts: stored.restarts, last_failure: stored.last_failure };
            let last = stored.attempt.as_ref().map_or(AttemptNumber(0), |attempt| attempt.attempt);
            let job = Job::recovered(self.options.job(), seed(id), history, last);
            if !stored.pipeline.source.is_bounded {
                self.discovery.watch(id, &stored.pipeline.source, self.clock.monotonic());
            }
            self.options.logs.hide(id, stored.pipeline.redaction());
            let record = JobRecord::new(id, stored.name, stored.submitted, stored.pipeline, job);
            self.jobs.insert(JobRecord { splits: stored.splits, savepoint: stored.savepoint, ..record });
            match stored.attempt {
                Some(stored) => {
                    let adoption = Adoption { stored, reported: BTreeMap::new(), is_listing: false };
                    self.adoptions.waiting.insert(id, adoption);
                }
                None => self.apply(id, Event::Submitted),
            }
        }
    }

    /// A taskmanager registered with tasks that run.
    pub(crate) fn on_running_tasks(&mut self, taskmanager: &TaskManagerId, running: Vec<RunningTask>) {
        let mut foreign: BTreeSet<(JobId, AttemptNumber)> = BTreeSet::new();
        let mut touched: BTreeSet<JobId> = BTreeSet::new();
        for task in &running {
            self.slots.occupy(&SlotId { taskmanager: taskmanager.clone(), index: task.slot });
            let job = task.task.job;
            match self.adoptions.waiting.get_mut(&job).filter(|adoption| adoption.expects(taskmanager, task)) {
                Some(adoption) => {
                    adoption.reported.insert(task.task.subtask, task.clone());
                    touched.insert(job);
                }
                None => {
                    foreign.insert((job, task.task.attempt));
                }
            }
        }
        if !running.is_empty() {
            self.adoptions.leftovers.insert(taskmanager.clone(), running);
        }
        for (job, attempt) in foreign {
            tracing::info!(job_id = %job, %attempt, %taskmanager, "canceling tasks of an attempt that is over");
            self.command(taskmanager, Command::CancelTasks { job, attempt });
        }
        for job in touched {
            self.adopt_if_complete(job);
        }
        self.give_up_adoptions_that_miss_tasks_of(taskmanager);
    }

    /// A taskmanager that registers tells all that it runs: a task of the plan that is not among it will not come any more.
    fn give_up_adoptions_that_miss_tasks_of(&mut self, taskmanager: &TaskManagerId) {
        let missing = |(job, adoption): (&JobId, &Adoption)| {
            Some((*job, format!("{taskmanager} came back without its task {}", adoption.missing_on(taskmanager)?)))
        };
        let hopeless: Vec<(JobId, String)> = self.adoptions.waiting.iter().filter_map(missing).collect();
        for (job, reason) in hopeless {
            self.give_up_adoption(job, &reason);
        }
    }

    /// A task changed its state; if it is left over and has ended, its slot comes free.
    pub(crate) fn on_leftover(&mut self, taskmanager: &TaskManagerId, task: &TaskRef, state: TaskState) {
        let Some(leftovers) = self.adoptions.leftovers.get_mut(taskmanager) else { return };
        let Some(place) = leftovers.iter().position(|leftover| leftover.task == *task) else { return };
        if !state.is_terminal() {
            leftovers[place].state = state;
            if let Some(adoption) = self.adoptions.waiting.get_mut(&task.job)
                && let Some(reported) = adoption.reported.get_mut(&task.subtask)
            {
                reported.state = state;
            }
            return;
        }
        let slot = leftovers.remove(place).slot;
        if !leftovers.iter().any(|leftover| leftover.slot == slot) {
            self.slots.vacate(&SlotId { taskmanager: taskmanager.clone(), index: slot });
            self.wake_jobs_without_slots();
        }
        let is_awaited = |adoption: &&mut Adoption| adoption.stored.attempt == task.attempt;
        if self.adoptions.waiting.get_mut(&task.job).filter(is_awaited).is_some() {
            self.give_up_adoption(task.job, "one of its tasks ended meanwhile");
        }
    }

    /// A taskmanager is gone, with what it had brought.
    pub(crate) fn forget_reported(&mut self, taskmanager: &TaskManagerId) {
        for leftover in self.adoptions.leftovers.remove(taskmanager).unwrap_or_default() {
            if let Some(adoption) = self.adoptions.waiting.get_mut(&leftover.task.job) {
                adoption.reported.remove(&leftover.task.subtask);
            }
        }
    }

    /// Jobs whose tasks were not all reported in time are restarted.
    pub(crate) fn give_up_late_adoptions(&mut self) {
        if self.adoptions.waiting.is_empty() || self.clock.monotonic() < self.adoptions.deadline {
            return;
        }
        let late: Vec<JobId> = self.adoptions.waiting.keys().copied().collect();
        for job in late {
            let timeout = self.options.adoption_timeout;
            self.give_up_adoption(job, &format!("not all of its tasks were reported within {timeout:?}"));
        }
    }

    /// The job will not be adopted: what runs of it is canceled, and the next attempt prepared.
    pub(crate) fn give_up_adoption(&mut self, job: JobId, reason: &str) {
        let Some(adoption) = self.adoptions.waiting.remove(&job) else { return };
        tracing::warn!(job_id = %job, reason, "not adopted");
        let attempt = adoption.stored.attempt;
        let brings = |tasks: &Vec<RunningTask>| {
            tasks.iter().any(|leftover| leftover.task.job == job && leftover.task.attempt == attempt)
        };
        let taskmanagers: Vec<TaskManagerId> =
            self.adoptions.leftovers.iter().filter(|(_, tasks)| brings(tasks)).map(|(id, _)| id.clone()).collect();
        for taskmanager in taskmanagers {
            self.command(&taskmanager, Command::CancelTasks { job, attempt });
        }
        self.apply(job, Event::Submitted);
    }

    /// The manifests of a job that may be adopted are known.
    pub(crate) fn on_adoption_listed(&mut self, job: JobId, result: Result<Vec<Manifest>, String>) {
        let Some(adoption) = self.adoptions.waiting.get_mut(&job) else { return };
        adoption.is_listing = false;
        let manifests = match result {
            Ok(manifests) => manifests,
            Err(reason) => return self.give_up_adoption(job, &reason),
        };
        // A taskmanager may be gone meanwhile; it may come back in time.
        if !adoption.is_complete() {
            return;
        }
        match adoption.checkpoints(&manifests) {
            Err(unclear) => self.give_up_adoption(job, &unclear.to_string()),
            Ok(adopted) => {
                if let Some(adoption) = self.adoptions.waiting.remove(&job) {
                    self.adopt(job, adoption, manifests, adopted);
                }
            }
        }
    }

    fn adopt_if_complete(&mut self, job: JobId) {
        let Some(store) = self.checkpoint_store(job) else { return };
        let Some(adoption) = self.adoptions.waiting.get_mut(&job) else { return };
        if !adoption.is_complete() || std::mem::replace(&mut adoption.is_listing, true) {
            return;
        }
        self.beside.spawn(async move {
            let result = store.manifests().await.map(|listing| listing.whole).map_err(|error| error.to_string());
            Outcome::AdoptionListed { job, result }
        });
    }

    fn adopt(&mut self, job: JobId, adoption: Adoption, manifests: Vec<Manifest>, adopted: Adopted) {
        let Adoption { stored: StoredAttempt { attempt, start, plan }, reported, .. } = adoption;
        let Some(record) = self.jobs.get(job) else { return };
        let history = History { restarts: record.job.restarts(), last_failure: record.job.last_failure().to_vec() };
        let states = reported.iter().map(|(&subtask, task)| (subtask, task.state)).collect();
        for task in plan.tasks() {
            self.slots.hand_over(&task.slot, job);
        }
        for leftovers in self.adoptions.leftovers.values_mut() {
            leftovers.retain(|leftover| leftover.task.job != job || leftover.task.attempt != attempt);
        }
        let (settings, now) = (self.options.job(), self.steady());
        let start = Arc::new(start);
        let Some(record) = self.jobs.get_mut(job) else { return };
        record.job = Job::adopted(settings, seed(job), history, attempt, plan, &states, now);
        record.start = Some(Arc::clone(&start));
        tracing::info!(job_id = %job, %attempt, token = %start.token, "adopted");

        // What the old jobmanager may have decided without telling: the newest manifest's epochs are to be published.
        let newest = manifests.iter().filter(|manifest| manifest.token == start.token).max_by_key(|m| m.checkpoint);
        let going_on = match newest {
            None => start.as_ref().clone(),
            Some(newest) => Start {
                last_epoch: newest.pending.first().map_or(newest.checkpoint, |epoch| epoch.prev),
                pending: newest.pending.clone(),
                ..start.as_ref().clone()
            },
        };
        self.begin_coordination(job, &going_on, manifests, Some(adopted));
        self.resume_sources(job);
        self.store_job(job, Then::Nothing);
        self.notice_running(job);
        self.jobs.publish(job);
    }
}
