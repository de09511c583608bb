//! Carries out what jobs decide, in its order, and tells them what came of it.

use std::collections::VecDeque;
use std::sync::Arc;

use stream_core::ids::{AttemptNumber, JobId, TaskManagerId};
use stream_core::job::{Effect, Event, JobState};
use stream_core::plan::PlannedTask;
use stream_runtime::fail_point::{self, Point};

use crate::handle::CheckpointError;
use crate::protocol::{Command, Deployment, TaskLocation, TaskRef};
use crate::service::Service;

/// Events that are still to be told, oldest first.
type Events = VecDeque<(JobId, Event)>;

impl Service {
    /// Tells a job what happened and carries out all that follows from it.
    pub(crate) fn apply(&mut self, job: JobId, event: Event) {
        self.drain(VecDeque::from([(job, event)]));
    }

    /// A taskmanager is gone: its slots, its connection and its tasks. Nothing happens if it is not connected.
    pub(crate) fn lose_taskmanager(&mut self, id: &TaskManagerId, reason: &str) {
        let mut events = Events::new();
        self.remove_taskmanager(id, reason, &mut events);
        self.drain(events);
    }

    /// Sends a command that is no job's; a taskmanager that cannot take it is lost.
    pub(crate) fn command(&mut self, id: &TaskManagerId, command: Command) {
        if let Err(error) = self.taskmanagers.send(id, command) {
            self.lose_taskmanager(id, &error.to_string());
        }
    }

    fn drain(&mut self, mut events: Events) {
        while let Some((job, event)) = events.pop_front() {
            let now = self.steady();
            let Some(record) = self.jobs.get_mut(job) else { continue };
            let is_tick = event == Event::Tick;
            let before = record.state();
            let effects = record.job.on(now, event);
            let after = record.state();
            if before != after {
                self.observing.on_state(job, after, self.clock.monotonic());
            }
            if before != after && !after.is_terminal() {
                let causes = record.job.causes().join(": ");
                let causes = (!causes.is_empty()).then_some(causes);
                tracing::info!(job_id = %job, state = %after, causes, "job state changed");
            }
            let is_unchanged = is_tick && effects.is_empty();
            for effect in effects {
                self.carry_out(job, effect, &mut events);
            }
            if !is_unchanged {
                self.jobs.publish(job);
            }
        }
        if std::mem::take(&mut self.are_slots_released) {
            self.wake_jobs_without_slots();
        }
    }

    fn carry_out(&mut self, job: JobId, effect: Effect, events: &mut Events) {
        match effect {
            Effect::Prepare { attempt } => self.prepare(job, attempt),
            Effect::Deploy { attempt, taskmanager } => {
                let Some(deployment) = self.deployment(job, attempt, &taskmanager) else { return };
                if self.send(&taskmanager, job, Command::Deploy(deployment), events) {
                    fail_point::reach(Point::DeploymentSent);
                    events.push_back((job, Event::Deployed { attempt, taskmanager }));
                }
            }
            Effect::AssignSplits { attempt, taskmanager, subtask, splits } => {
                tracing::info!(job_id = %job, splits = splits.len(), "assigning new splits");
                let task = TaskRef { job, attempt, subtask };
                self.send(&taskmanager, job, Command::AssignSplits { task, splits }, events);
            }
            Effect::CancelTasks { attempt, taskmanager } => {
                self.send(&taskmanager, job, Command::CancelTasks { job, attempt }, events);
            }
            Effect::Disconnect { taskmanager } => {
                let timeout = self.options.cancel_timeout;
                self.remove_taskmanager(
                    &taskmanager,
                    &format!("it did not cancel its tasks within {timeout:?}"),
                    events,
                );
            }
            Effect::ReleaseSlots => {
                self.end_coordination(job);
                if let Some(record) = self.jobs.get_mut(job) {
                    record.reserved.clear();
                }
                self.slots.release(job);
                self.are_slots_released = true;
            }
            Effect::JobEnded { state, causes } => {
                match state {
                    JobState::Failed => tracing::warn!(job_id = %job, causes = causes.join(": "), "job failed"),
                    _ => tracing::info!(job_id = %job, %state, "job ended"),
                }
                self.discovery.forget(job);
                self.give_up_adoption(job, "the job has ended");
                self.jobs.retire(job, self.clock.now());
                self.options.logs.forget_secrets(job);
                self.forget_job(job);
                let reason = format!("the job is {state}");
                self.answer_rescale(job, Err(CheckpointError::Failed(reason)));
            }
        }
    }

    /// Sends a job's command; where it cannot leave, the taskmanager is lost and the job is told so.
    fn send(&mut self, id: &TaskManagerId, job: JobId, command: Command, events: &mut Events) -> bool {
        let Err(error) = self.taskmanagers.send(id, command) else { return true };
        let reason = error.to_string();
        if !self.remove_taskmanager(id, &reason, events) {
            // It was lost before the job held its slots: nobody else has told the job.
            events.push_back((job, Event::TaskManagerLost { taskmanager: id.clone(), reason }));
        }
        false
    }

    fn remove_taskmanager(&mut self, id: &TaskManagerId, reason: &str, events: &mut Events) -> bool {
        let Some(taskmanager) = self.taskmanagers.remove(id) else { return false };
        if self.drain_deadline.is_some() || taskmanager.is_leaving {
            tracing::info!(taskmanager = %id, reason, "taskmanager left");
        } else {
            tracing::warn!(taskmanager = %id, reason, "lost taskmanager");
        }
        self.slots.remove(id);
        self.forget_reserved(id);
        self.forget_reported(id);
        for job in self.jobs.live() {
            let (taskmanager, reason) = (id.clone(), reason.to_owned());
            events.push_back((job, Event::TaskManagerLost { taskmanager, reason }));
        }
        true
    }

    fn deployment(&self, id: JobId, attempt: AttemptNumber, taskmanager: &TaskManagerId) -> Option<Deployment> {
        let record = self.jobs.get(id)?;
        let tasks = record.job.plan().tasks();
        let location = |task: &PlannedTask| TaskLocation {
            subtask: task.subtask,
            taskmanager: task.slot.taskmanager.clone(),
            // A taskmanager that was lost since the plan was made fails the job in a moment.
            exchange_address: self.taskmanagers.exchange_address(&task.slot.taskmanager).unwrap_or_default().to_owned(),
        };
        Some(Deployment {
            job: id,
            name: record.name.clone(),
            attempt,
            pipeline: Arc::clone(&record.pipeline),
            tasks: tasks.iter().filter(|task| task.slot.taskmanager == *taskmanager).cloned().collect(),
            locations: tasks.iter().map(location).collect(),
            start: Arc::clone(record.start.as_ref()?),
            checkpoint_store: self.options.checkpoint_store.clone(),
        })
    }
}
