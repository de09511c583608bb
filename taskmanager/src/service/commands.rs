//! What the jobmanager wants: deployments are checked and started, the rest becomes letters to tasks. A command for an attempt
//! that does not run here changes nothing.

use stream_core::job::TaskState;
use stream_runtime::connector::cause_chain;

use super::Service;
use crate::attempt::Attempt;
use crate::deployment::Deployment;
use crate::refusal::Refusal;
use crate::report::{Command, TaskRef};
use crate::slot::Holder;
use crate::subtask::mail::Letter;

impl Service {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Deploy(deployment) => self.deploy(*deployment),
            Command::Undeployable { tasks, causes } => {
                for task in tasks {
                    self.report_failure(task, causes.clone());
                }
            }
            Command::Cancel(holder) => {
                tracing::info!(job_id = %holder.job_id, attempt = %holder.attempt, "canceling");
                if let Some(attempt) = self.attempt(holder) {
                    attempt.cancel();
                }
            }
            Command::AssignSplits { task, splits } => {
                let holder = Holder { job_id: task.job_id, attempt: task.attempt };
                if let Some(attempt) = self.attempt(holder) {
                    attempt.write_to(task.subtask, Letter::Splits(splits));
                }
            }
            Command::Trigger(holder, barrier) => {
                if let Some(attempt) = self.attempt(holder) {
                    attempt.trigger(barrier);
                }
            }
            Command::Complete { holder, checkpoint, prev, accounts, cut } => {
                if let Some(attempt) = self.attempt(holder) {
                    attempt.write_to_all(|| Letter::Completed { checkpoint, prev, accounts, cut: cut.clone() });
                }
            }
            Command::Abort(holder, checkpoint) => {
                if let Some(attempt) = self.attempt(holder) {
                    attempt.write_to_all(|| Letter::Aborted(checkpoint));
                }
            }
            Command::Pause(holder, is_paused) => {
                if let Some(attempt) = self.attempt(holder) {
                    attempt.write_to_sources(|| Letter::Pause(is_paused));
                }
            }
            Command::Pace(task, slowest) => {
                let holder = Holder { job_id: task.job_id, attempt: task.attempt };
                if let Some(attempt) = self.attempt(holder) {
                    attempt.write_to(task.subtask, Letter::Pace(slowest));
                }
            }
            Command::Query { holder, number, query } => {
                if let Some(attempt) = self.attempt(holder) {
                    attempt.write_to_all(|| Letter::Query { number, query: query.clone() });
                }
            }
            Command::Release => self.is_released = self.leaving_until.is_some(),
            Command::Drain(holder) => {
                if let Some(attempt) = self.attempt(holder) {
                    attempt.write_to_sources(|| Letter::Drain);
                }
            }
        }
    }

    /// An attempt that runs here; nothing for one that is unknown, whose messages change nothing.
    fn attempt(&mut self, holder: Holder) -> Option<&mut Attempt> {
        self.attempts.get_mut(&(holder.job_id, holder.attempt))
    }

    fn deploy(&mut self, deployment: Deployment) {
        let (job_id, attempt) = (deployment.job_id, deployment.attempt);
        if self.attempts.contains_key(&(job_id, attempt)) {
            // Refusing would report tasks as failed that run.
            return tracing::warn!(%job_id, %attempt, "passed over a deployment of what runs already");
        }
        let task_refs = deployment.tasks.keys().map(|&subtask| TaskRef { job_id, attempt, subtask });
        let task_refs: Vec<TaskRef> = task_refs.collect();
        let names = deployment.tasks.keys().map(|&subtask| deployment.name(subtask)).collect::<Vec<_>>().join(" ");
        self.options.logs.hide(job_id, deployment.pipeline.redaction());
        match self.try_deploy(deployment) {
            Ok(()) => {
                tracing::info!(%job_id, %attempt, tasks = names, "deployed");
                for task in task_refs {
                    self.report_state(task, TaskState::Initializing);
                }
            }
            Err(refusal) => {
                let causes = cause_chain(&refusal);
                tracing::warn!(%job_id, %attempt, tasks = names, reason = causes.join(": "), "refused a deployment");
                self.forget_secrets_of(job_id);
                for task in task_refs {
                    self.report_failure(task, causes.clone());
                }
            }
        }
    }

    fn try_deploy(&mut self, deployment: Deployment) -> Result<(), Refusal> {
        deployment.check()?;
        let name = &deployment.pipeline.job;
        let definition = self
            .jobs
            .find(name)
            .ok_or_else(|| Refusal::UnknownJob { job: name.clone(), known: self.jobs.names().join("`, `") })?;
        let holder = Holder { job_id: deployment.job_id, attempt: deployment.attempt };
        let slots: Vec<u32> = deployment.tasks.values().map(|task| task.slot).collect();
        self.slots.take(&slots, holder)?;
        if !deployment.restore.operators.is_empty() {
            // State is about to come in at once. All other state grows: heartbeats look at how large it is.
            self.options.huge_pages.allow();
        }
        match Attempt::start(deployment, definition, &self.environment) {
            Ok(attempt) => {
                self.attempts.insert((holder.job_id, holder.attempt), attempt);
                Ok(())
            }
            Err(error) => {
                self.environment.directory.remove(holder.job_id, holder.attempt);
                self.slots.release(holder);
                Err(Refusal::Thread(error))
            }
        }
    }
}
