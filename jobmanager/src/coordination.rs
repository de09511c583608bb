//! Carries out what the coordinator of a running attempt decides, and tells it what came of it.
//!
//! When a checkpoint is triggered, complete or given up is decided in [`stream_core::checkpoint`]; when sources pause because
//! the sink is behind, here.

use std::collections::BTreeSet;
use std::sync::Arc;

use stream_core::checkpoint::{self, Adopted, CheckpointState, Coordinator, Effect, Event, Manifest};
use stream_core::ids::{AttemptNumber, JobId, SubtaskId, TaskManagerId};
use stream_core::job::{self, JobState, TaskState};
use stream_core::pipeline::{Split, StageKind};
use stream_core::time::millis;
use stream_runtime::connector::cause_chain;
use stream_runtime::fail_point::{self, Point};
use tokio_util::sync::DropGuard;

use crate::beside::Outcome;
use crate::job_store::WriteError;
use crate::preparation::Start;
use crate::protocol::{Command, SubtaskCounters};
use crate::service::Service;

/// The checkpoints of a running attempt.
#[derive(Debug)]
pub(crate) struct Coordination {
    /// Decides.
    pub(crate) coordinator: Coordinator,
    attempt: AttemptNumber,
    /// Checkpoints of earlier attempts, the latest first.
    earlier: Vec<checkpoint::Entry>,
    /// Of an attempt that ran before this jobmanager.
    adopted: Option<Adopted>,
    /// Whether every task of the attempt has come to run.
    pub(crate) is_running: bool,
    are_sources_paused: bool,
    /// Ends the sweep, if one is under way, with the attempt.
    pub(crate) sweep: Option<DropGuard>,
}

/// Checkpoints of a job that are shown.
const CHECKPOINTS_SHOWN: usize = 64;

impl Service {
    /// A job's attempt is planned, or was adopted: its checkpoints begin once all its tasks run.
    pub(crate) fn begin_coordination(
        &mut self,
        job: JobId,
        start: &Start,
        stored: Vec<Manifest>,
        adopted: Option<Adopted>,
    ) {
        let now = self.steady();
        let Some(record) = self.jobs.get(job) else { return };
        let of_kind = |kind: StageKind| -> Vec<SubtaskId> {
            let tasks = record.job.plan().tasks().iter().filter(|task| task.kind == kind);
            tasks.map(|task| task.subtask).collect()
        };
        // A plan has one committer; without tasks there is nothing to coordinate.
        let Some(&sink) = of_kind(StageKind::Sink).first() else { return };
        let spec = record.pipeline.checkpoints;
        let settings =
            checkpoint::Settings { interval: spec.interval, timeout: spec.timeout, retention: self.options.retention };
        let attempt = checkpoint::Attempt {
            job_id: job,
            attempt: record.job.attempt(),
            token: start.token,
            nonce: start.nonce,
            parallelism: record.pipeline.parallelism.get(),
            max_parallelism: record.pipeline.max_parallelism,
            sources: of_kind(StageKind::Source),
            operators: of_kind(StageKind::Operator),
            sink,
            last_epoch: start.last_epoch,
            pending: start.pending.clone(),
            base: start.accounts(),
            splits: start.restored.as_ref().map(|manifest| manifest.splits.clone()).unwrap_or_default(),
            stored,
            last_sequence: adopted.map_or(0, |adopted| adopted.last_sequence),
            wall_offset_ms: self.clock.now().0.saturating_sub(millis(self.clock.monotonic())),
        };
        let coordination = Coordination {
            earlier: earlier(&record.checkpoints, &attempt),
            attempt: attempt.attempt,
            coordinator: Coordinator::new(settings, attempt, now),
            adopted,
            is_running: false,
            are_sources_paused: false,
            sweep: None,
        };
        self.coordinations.insert(job, coordination);
        self.show_checkpoints(job);
    }

    /// The attempt is over.
    pub(crate) fn end_coordination(&mut self, job: JobId) {
        let reason = "the job's attempt ended before the checkpoint was complete".to_owned();
        self.coordinate(job, Event::Ended { reason });
        self.coordinations.remove(&job);
        self.paces.remove(&job);
    }

    /// Tells the coordinator of a job's attempt what happened and carries out all that follows from it.
    pub(crate) fn coordinate(&mut self, job: JobId, event: Event) {
        let now = self.steady();
        let Some(coordination) = self.coordinations.get_mut(&job) else { return };
        let is_tick = event == Event::Tick;
        let effects = coordination.coordinator.on(now, event);
        if is_tick && effects.is_empty() {
            return;
        }
        for effect in effects {
            self.carry_out_checkpoint(job, effect);
        }
        self.show_checkpoints(job);
    }

    /// How many tasks have still to acknowledge the checkpoint that is on its way, if one is.
    pub(crate) fn missing_acknowledgements(&self, job: JobId) -> Option<usize> {
        self.coordinations.get(&job)?.coordinator.missing_acknowledgements()
    }

    fn show_checkpoints(&mut self, job: JobId) {
        if let (Some(coordination), Some(record)) = (self.coordinations.get(&job), self.jobs.get_mut(job)) {
            let history = coordination.coordinator.history().chain(&coordination.earlier);
            record.checkpoints = history.take(CHECKPOINTS_SHOWN).cloned().collect();
            record.published = coordination.coordinator.published();
            self.jobs.publish(job);
        }
    }

    /// Nobody knows whether the sources of an adopted attempt pause: they do not.
    pub(crate) fn resume_sources(&mut self, job: JobId) {
        let Some(attempt) = self.coordinations.get(&job).map(|coordination| coordination.attempt) else { return };
        self.command_all(job, Some(StageKind::Source), &Command::PauseSources { job, attempt, is_paused: false });
    }

    /// Tells the coordinator as soon as every task runs.
    pub(crate) fn notice_running(&mut self, job: JobId) {
        let Some(coordination) = self.coordinations.get_mut(&job).filter(|coordination| !coordination.is_running)
        else {
            return;
        };
        let Some(record) = self.jobs.get(job).filter(|record| record.state() == JobState::Running) else { return };
        let runs = |subtask| record.job.task_state(subtask) == Some(TaskState::Running);
        if record.job.plan().tasks().iter().all(|task| runs(task.subtask)) {
            coordination.is_running = true;
            let attempt = coordination.attempt;
            let event = match coordination.adopted {
                Some(Adopted { under_way, .. }) => Event::Adopted { under_way },
                None => Event::Running,
            };
            self.observe_running(job, attempt);
            self.coordinate(job, event);
        }
    }

    /// A manifest is stored, or is not.
    pub(crate) fn on_manifest_stored(
        &mut self,
        job: JobId,
        attempt: AttemptNumber,
        checkpoint: stream_core::ids::CheckpointId,
        result: Result<(), String>,
    ) {
        if self.coordinations.get(&job).is_none_or(|coordination| coordination.attempt != attempt) {
            return;
        }
        match result {
            Ok(()) => {
                fail_point::reach(Point::ManifestStored);
                self.coordinate(job, Event::Stored { checkpoint });
                self.observe_completed(job, checkpoint);
                if self.coordinations.get(&job).is_some_and(|it| it.coordinator.is_progress(checkpoint)) {
                    self.apply(job, job::Event::Progressed { attempt });
                }
            }
            Err(reason) => self.coordinate(job, Event::NotStored { checkpoint, reason }),
        }
    }

    /// Sources stop reading while more than the budget waits to be published, and go on once half of it is left.
    pub(crate) fn pause_sources_if_behind(&mut self, job: JobId) {
        let budget = self.options.unpublished_budget_bytes();
        let Some(record) = self.jobs.get(job) else { return };
        let sinks = record.job.plan().tasks().iter().filter(|task| task.kind == StageKind::Sink);
        let counters = sinks.filter_map(|task| record.counters.get(&task.subtask));
        let unpublished: u64 = counters.map(|counters: &SubtaskCounters| counters.unpublished_bytes).sum();
        let Some(coordination) = self.coordinations.get_mut(&job) else { return };
        let is_paused = if coordination.are_sources_paused { unpublished > budget / 2 } else { unpublished > budget };
        if is_paused == coordination.are_sources_paused {
            return;
        }
        coordination.are_sources_paused = is_paused;
        let attempt = coordination.attempt;
        tracing::info!(job_id = %job, unpublished_bytes = unpublished, is_paused, "the sink is behind, or has caught up");
        self.command_all(job, Some(StageKind::Source), &Command::PauseSources { job, attempt, is_paused });
    }

    fn carry_out_checkpoint(&mut self, job: JobId, effect: Effect) {
        let Some(attempt) = self.coordinations.get(&job).map(|coordination| coordination.attempt) else { return };
        match effect {
            Effect::Trigger(barrier) => {
                fail_point::reach(Point::CheckpointTriggered);
                let command = Command::TriggerCheckpoint { job, attempt, barrier };
                self.command_all(job, Some(StageKind::Source), &command);
            }
            Effect::Drain => {
                self.command_all(job, Some(StageKind::Source), &Command::DrainSources { job, attempt });
            }
            Effect::Store(manifest) => {
                fail_point::reach(Point::AllAcknowledged);
                self.observing.on_acknowledged(job, self.clock.monotonic());
                self.store_manifest(job, attempt, *manifest);
            }
            Effect::Complete { checkpoint, prev, accounts, cut } => {
                tracing::debug!(job_id = %job, %checkpoint, "checkpoint completed");
                self.command_all(
                    job,
                    None,
                    &Command::CompleteCheckpoint { job, attempt, checkpoint, prev, accounts, cut },
                );
            }
            Effect::Abort { checkpoint, reason } => {
                tracing::warn!(job_id = %job, %checkpoint, reason, "checkpoint aborted");
                self.observe_aborted(job, checkpoint, &reason);
                self.command_all(job, None, &Command::AbortCheckpoint { job, attempt, checkpoint });
            }
            Effect::CommitPositions(positions) => self.commit_positions(job, positions),
            Effect::Discard { checkpoints, files } => {
                let (Some(store), Some(job_store)) = (self.checkpoint_store(job), self.job_store.clone()) else {
                    return;
                };
                self.beside.spawn(async move {
                    let result = match job_store.check_leader().await {
                        Ok(()) => store.discard(&checkpoints, &files).await.map_err(WriteError::from),
                        Err(error) => Err(error),
                    };
                    match result {
                        Ok(()) => Outcome::Done,
                        Err(WriteError::Superseded(superseded)) => Outcome::Superseded(superseded),
                        Err(error @ WriteError::Store(_)) => {
                            tracing::warn!(job_id = %job, %error, "old checkpoints were not removed");
                            Outcome::Done
                        }
                    }
                });
            }
            Effect::Sweep { below } => self.sweep(job, below),
            Effect::Answer { number, result } => self.on_answer(job, number, result),
        }
    }

    fn store_manifest(&mut self, job: JobId, attempt: AttemptNumber, manifest: Manifest) {
        let checkpoint = manifest.checkpoint;
        let store = self.checkpoint_store(job);
        self.beside.spawn(async move {
            let result = match store {
                Some(store) => store.store(&manifest).await.map_err(|error| error.to_string()),
                // Nothing is to outlive the jobmanager: that it is whole is enough.
                None => Ok(()),
            };
            Outcome::ManifestStored { job, attempt, checkpoint, result }
        });
    }

    fn commit_positions(&mut self, job: JobId, positions: Vec<Split>) {
        let Some(record) = self.jobs.get(job) else { return };
        let (connectors, pipeline) = (Arc::clone(&self.connectors), Arc::clone(&record.pipeline));
        let timeout = self.options.connector_timeout;
        self.beside.spawn(async move {
            let committing = connectors.commit_positions(&pipeline.source, &positions);
            match tokio::time::timeout(timeout, committing).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let reason = crate::redaction::redact(cause_chain(&error).join(": "), &pipeline);
                    tracing::debug!(job_id = %job, reason, "the source did not take the positions");
                }
                Err(_) => tracing::debug!(job_id = %job, "the source did not answer to the positions"),
            }
            Outcome::Done
        });
    }

    /// Sends a command to every taskmanager that runs tasks of this kind, or of any.
    pub(crate) fn command_all(&mut self, job: JobId, kind: Option<StageKind>, command: &Command) {
        let Some(record) = self.jobs.get(job) else { return };
        let tasks = record.job.plan().tasks().iter().filter(|task| kind.is_none_or(|kind| task.kind == kind));
        let taskmanagers: BTreeSet<TaskManagerId> = tasks.map(|task| task.slot.taskmanager.clone()).collect();
        for taskmanager in taskmanagers {
            self.command(&taskmanager, command.clone());
        }
    }
}

/// The checkpoints of earlier attempts, the latest first: as they were shown, or, where a jobmanager begins, as they are
/// stored.
fn earlier(shown: &[checkpoint::Entry], attempt: &checkpoint::Attempt) -> Vec<checkpoint::Entry> {
    let is_published = |checkpoint| checkpoint <= attempt.last_epoch;
    if shown.is_empty() {
        let entry = |manifest: &Manifest| checkpoint::Entry {
            checkpoint: manifest.checkpoint,
            state: CheckpointState::Completed,
            triggered: manifest.triggered,
            ended: Some(manifest.completed),
            is_savepoint: manifest.is_savepoint,
            cost: checkpoint::Cost::default(),
            total_bytes: manifest.file_refs().map(|file| file.bytes).sum(),
            reason: None,
            accounts: Some(manifest.accounts),
            is_published: is_published(manifest.checkpoint),
        };
        return attempt.stored.iter().rev().map(entry).collect();
    }
    let entry = |entry: &checkpoint::Entry| {
        let mut entry = entry.clone();
        match entry.state {
            CheckpointState::Pending => {
                entry.state = CheckpointState::Aborted;
                entry.reason = Some("the attempt ended before it was complete".to_owned());
            }
            CheckpointState::Completed => entry.is_published = is_published(entry.checkpoint),
            CheckpointState::Aborted => {}
        }
        entry
    };
    shown.iter().map(entry).collect()
}
