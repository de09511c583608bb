//! A process is told to stop: its jobs have a checkpoint first, so that next to nothing is done twice.
//!
//! A taskmanager says that it is leaving. From then on it gets no tasks; each job that runs there is brought to a checkpoint and
//! begins with it anew elsewhere, without the pause of a failure; then the taskmanager is released. It waits only so long, and
//! whoever is not heard in time is lost like any other: what is correct does not depend on anything here.
//!
//! A jobmanager that stops leaves its jobs running. It takes a last checkpoint of each all the same: their taskmanagers may have been
//! told to stop at the same time.

use stream_core::checkpoint::{Event, Request, RequestKind};
use stream_core::ids::{CheckpointId, JobId, TaskManagerId};
use stream_core::job;

use crate::protocol::Command;
use crate::service::Service;

/// Who goes behind a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leaver {
    /// This jobmanager.
    JobManager,
    /// A taskmanager.
    TaskManager(TaskManagerId),
}

impl Service {
    /// A taskmanager was told to stop.
    pub(crate) fn on_leaving(&mut self, id: &TaskManagerId) {
        self.taskmanagers.set_leaving(id);
        self.slots.remove(id);
        self.forget_reserved(id);
        // Without a store no job could go on from its last checkpoint.
        let jobs = if self.store.is_some() { self.coordinated_jobs_on(id) } else { Vec::new() };
        tracing::info!(taskmanager = %id, jobs = jobs.len(), "taskmanager is leaving");
        for job in jobs {
            let coordination = self.coordinations.get(&job);
            match coordination.map(|coordination| (coordination.is_running, coordination.coordinator.is_over())) {
                // Its last checkpoint is complete: it only has to be published, where it runs.
                Some((_, true)) => {}
                Some((true, false)) => self.request_last_checkpoint(job, Leaver::TaskManager(id.clone())),
                // It has done nothing yet that could be lost.
                Some((false, false)) => self.apply(job, job::Event::RestartRequested),
                // It ended with the one before it, as when the connection broke meanwhile.
                None => {}
            }
        }
        self.release_if_ready(id);
    }

    /// This jobmanager stops and its jobs run on.
    pub(crate) fn request_last_checkpoints(&mut self) {
        let running = self.coordinations.iter().filter(|(_, coordination)| coordination.is_running);
        let jobs: Vec<JobId> = running.map(|(&job, _)| job).collect();
        for job in jobs {
            self.request_last_checkpoint(job, Leaver::JobManager);
        }
    }

    /// The last checkpoint of a job is complete, or there is none.
    pub(crate) fn on_last_checkpoint(&mut self, job: JobId, leaver: &Leaver, result: Result<CheckpointId, String>) {
        match result {
            Ok(checkpoint) => tracing::info!(job_id = %job, %checkpoint, ?leaver, "last checkpoint completed"),
            // Another one may have left behind the same checkpoint.
            Err(reason) => tracing::info!(job_id = %job, reason, ?leaver, "no last checkpoint"),
        }
        let Leaver::TaskManager(taskmanager) = leaver else { return };
        let is_over = self.coordinations.get(&job).is_some_and(|coordination| coordination.coordinator.is_over());
        // The next jobmanager begins the next attempt; and what has ended needs none.
        if self.drain_deadline.is_none() && !is_over {
            self.apply(job, job::Event::RestartRequested);
        }
        self.release_if_ready(taskmanager);
    }

    fn request_last_checkpoint(&mut self, job: JobId, leaver: Leaver) {
        self.requests += 1;
        let number = self.requests;
        self.leavers.insert(number, leaver);
        self.coordinate(job, Event::Requested(Request { number, kind: RequestKind::Checkpoint }));
    }

    fn release_if_ready(&mut self, id: &TaskManagerId) {
        let is_it = |leaver: &Leaver| matches!(leaver, Leaver::TaskManager(leaving) if leaving == id);
        let is_over = |job: &JobId| self.coordinations[job].coordinator.is_over();
        // Another process of the same name, which is not leaving, may have registered meanwhile.
        let is_leaving = self.taskmanagers.is_leaving(id);
        if is_leaving && !self.leavers.values().any(is_it) && !self.coordinated_jobs_on(id).iter().any(is_over) {
            self.command(id, Command::Release);
        }
    }

    /// The jobs with checkpoints that run a task on this taskmanager.
    fn coordinated_jobs_on(&self, id: &TaskManagerId) -> Vec<JobId> {
        let runs_there = |job: &JobId| {
            let plan = self.jobs.get(*job).map(|record| record.job.plan());
            plan.is_some_and(|plan| plan.tasks().iter().any(|task| task.slot.taskmanager == *id))
        };
        self.coordinations.keys().copied().filter(runs_there).collect()
    }
}
