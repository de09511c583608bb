//! What the jobmanager tells whoever watches the cluster: a copy of its jobs for metrics, and the spans of attempts and checkpoints.
//!
//! Nothing here changes what is done. Times are taken as things happen, a handful for each attempt and checkpoint; where nobody asks,
//! they are taken all the same and lead nowhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stream_core::checkpoint;
use stream_core::ids::{AttemptNumber, CheckpointId, JobId};
use stream_core::job::JobState;
use stream_core::time::{Timestamp, millis};
use telemetry::trace::SpanRef;
use telemetry::{Histogram, Span, Spans, Spread, Telemetry};

use crate::jobs::JobRecord;
use crate::metrics::{
    CHECKPOINT_DURATION, CLUSTER, ClusterReading, JOBS, JobReading, RECORD_LATENCY, RECOVERY_DURATION, last_completed,
};
use crate::service::Service;

/// How often the copy is made: more often nobody looks.
const REFRESH: Duration = Duration::from_secs(1);

/// Epochs whose records' times are kept apart while they wait to be published; of more, the oldest are taken together.
const UNPUBLISHED_EPOCHS: usize = 64;

/// What is told.
#[derive(Debug)]
pub(crate) struct Observing {
    has_metrics: bool,
    spans: Spans,
    shown: Arc<Mutex<Shown>>,
    refreshed: Option<Duration>,
    checkpoint_duration: Histogram,
    recovery_duration: Histogram,
    record_latency: Histogram,
    jobs: BTreeMap<JobId, Times>,
}

/// The copy.
#[derive(Debug, Default)]
struct Shown {
    jobs: Vec<JobReading>,
    cluster: ClusterReading,
}

/// What is known of a job beyond its record; times are of the steady clock.
#[derive(Clone, Debug, Default)]
struct Times {
    /// When the next attempt was wanted: when a client asked for it, or when the one before ended. Until it runs.
    wanted: Option<Duration>,
    /// When the client was answered, until the first attempt runs.
    submitted: Option<Duration>,
    /// Whether there was one before.
    is_recovery: bool,
    /// When the attempt was planned.
    planned: Option<Duration>,
    /// Since when all tasks run.
    running: Option<Duration>,
    /// When every task of the pending checkpoint had acknowledged.
    acknowledged: Option<Duration>,
    /// Completed and aborted.
    checkpoints: [u64; 2],
    /// When the records were written that each epoch counts, of those that are not published.
    arrivals: BTreeMap<CheckpointId, Spread>,
}

impl Observing {
    /// Nothing yet.
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let shown = Arc::<Mutex<Shown>>::default();
        let read = |shown: &Arc<Mutex<Shown>>| Arc::clone(shown);
        let (jobs, cluster) = (read(&shown), read(&shown));
        telemetry.observe(&JOBS, move || jobs.lock().unwrap_or_else(PoisonError::into_inner).jobs.clone());
        telemetry
            .observe(&CLUSTER, move || vec![cluster.lock().unwrap_or_else(PoisonError::into_inner).cluster.clone()]);
        Observing {
            has_metrics: telemetry.has_metrics(),
            spans: telemetry.spans().clone(),
            shown,
            refreshed: None,
            checkpoint_duration: telemetry.histogram(&CHECKPOINT_DURATION),
            recovery_duration: telemetry.histogram(&RECOVERY_DURATION),
            record_latency: telemetry.histogram(&RECORD_LATENCY),
            jobs: BTreeMap::new(),
        }
    }

    /// A job was taken, which a client had asked for a while ago.
    pub(crate) fn on_submitted(&mut self, job: JobId, asked: Duration, now: Duration) {
        self.jobs.insert(job, Times { wanted: Some(asked), submitted: Some(now), ..Times::default() });
    }

    /// An attempt has its slots and is about to be deployed.
    pub(crate) fn on_planned(&mut self, job: JobId, now: Duration) {
        self.jobs.entry(job).or_default().planned = Some(now);
    }

    /// A job came into another state.
    pub(crate) fn on_state(&mut self, job: JobId, state: JobState, now: Duration) {
        let times = self.jobs.entry(job).or_default();
        match state {
            JobState::Failing | JobState::Restarting => {
                // Of several failures in a row the first; and not the submission, where the job never ran.
                if !std::mem::replace(&mut times.is_recovery, true) {
                    times.wanted = Some(now);
                }
                times.running = None;
            }
            JobState::Canceling => times.running = None,
            JobState::Failed | JobState::Canceled | JobState::Finished => {
                self.jobs.remove(&job);
            }
            JobState::Created | JobState::Running => {}
        }
    }

    /// Every task of a checkpoint has acknowledged.
    pub(crate) fn on_acknowledged(&mut self, job: JobId, now: Duration) {
        self.jobs.entry(job).or_default().acknowledged = Some(now);
    }

    /// A source's part of a checkpoint has come.
    pub(crate) fn on_arrivals(&mut self, job: JobId, checkpoint: CheckpointId, arrivals: &Spread) {
        if !self.has_metrics || arrivals.is_empty() {
            return;
        }
        let epochs = &mut self.jobs.entry(job).or_default().arrivals;
        epochs.entry(checkpoint).or_default().merge(arrivals);
        if epochs.len() > UNPUBLISHED_EPOCHS
            && let Some((_, oldest)) = epochs.pop_first()
            && let Some(mut next) = epochs.first_entry()
        {
            next.get_mut().merge(&oldest);
        }
    }

    fn on_checkpoint_ended(&mut self, job: JobId, is_completed: bool) -> Option<Duration> {
        let times = self.jobs.entry(job).or_default();
        times.checkpoints[usize::from(!is_completed)] += 1;
        times.acknowledged.take()
    }
}

impl Service {
    /// Every task of an attempt runs.
    pub(crate) fn observe_running(&mut self, job: JobId, attempt: AttemptNumber) {
        let (now, steady) = (self.clock.now(), self.clock.monotonic());
        let Some(record) = self.jobs.get(job) else { return };
        let times = self.observing.jobs.entry(job).or_default();
        times.running = Some(steady);
        let (submitted, planned) = (times.submitted.take(), times.planned.take());
        let is_recovery = std::mem::take(&mut times.is_recovery);
        // Nobody here saw how an attempt began that was taken over from another jobmanager.
        let Some(wanted) = times.wanted.take() else { return };
        let took = steady.saturating_sub(wanted);
        let preparing_ms = planned.map(|planned| millis(planned.saturating_sub(submitted.unwrap_or(wanted))));
        tracing::info!(job_id = %job, %attempt, took_ms = millis(took), preparing_ms, "all tasks run");
        if is_recovery {
            self.observing.recovery_duration.record(took.as_secs_f64(), &[("job.name", &record.name)]);
        }
        let root = SpanRef::of_attempt(job, attempt);
        let identified = |span: Span| span.with("job.id", job).with("job.name", &record.name).with("attempt", attempt);
        let spans = &self.observing.spans;
        spans.tell(|| identified(Span::root(root, if is_recovery { "recovery" } else { "start" }, now, took)));
        let ago = |moment: Duration| Timestamp(now.0.saturating_sub(millis(steady.saturating_sub(moment))));
        if let Some(submitted) = submitted {
            let (ended, took) = (ago(submitted), submitted.saturating_sub(wanted));
            spans.tell(|| identified(Span::child(root, root.child("submit"), "submit", ended, took)));
        }
        if let Some(planned) = planned {
            let deploying = steady.saturating_sub(planned);
            let prepared = ago(planned);
            let preparing = planned.saturating_sub(submitted.unwrap_or(wanted));
            spans.tell(|| identified(Span::child(root, root.child("prepare"), "prepare", prepared, preparing)));
            spans.tell(|| identified(Span::child(root, root.child("deploy"), "deploy", now, deploying)));
        }
    }

    /// A checkpoint is complete.
    pub(crate) fn observe_completed(&mut self, job: JobId, checkpoint: CheckpointId) {
        let acknowledged = self.observing.on_checkpoint_ended(job, true);
        let (Some(record), Some(took)) = (self.jobs.get(job), self.duration_of(job, checkpoint)) else { return };
        self.observing.checkpoint_duration.record(took.as_secs_f64(), &[("job.name", &record.name)]);
        let storing = acknowledged.map(|at| self.clock.monotonic().saturating_sub(at));
        self.tell_checkpoint(record, checkpoint, took, storing, None);
    }

    /// An epoch, and with it those before it, is visible.
    pub(crate) fn observe_published(&mut self, job: JobId, epoch: CheckpointId) {
        let now = self.clock.now();
        let (Some(record), Some(times)) = (self.jobs.get(job), self.observing.jobs.get_mut(&job)) else { return };
        while let Some(first) = times.arrivals.first_entry().filter(|first| *first.key() <= epoch) {
            first.remove().record(&self.observing.record_latency, now, &[("job.name", &record.name)]);
        }
    }

    /// A checkpoint was given up.
    pub(crate) fn observe_aborted(&mut self, job: JobId, checkpoint: CheckpointId, reason: &str) {
        self.observing.on_checkpoint_ended(job, false);
        let (Some(record), Some(took)) = (self.jobs.get(job), self.duration_of(job, checkpoint)) else { return };
        self.tell_checkpoint(record, checkpoint, took, None, Some(reason));
    }

    /// Makes the copy anew, if anybody asks for it and it is old.
    pub(crate) fn refresh_shown(&mut self) {
        let steady = self.clock.monotonic();
        let is_fresh = self.observing.refreshed.is_some_and(|refreshed| steady.saturating_sub(refreshed) < REFRESH);
        if is_fresh || !self.observing.has_metrics {
            return;
        }
        self.observing.refreshed = Some(steady);
        let now = self.clock.now();
        let live = self.jobs.live().into_iter().filter_map(|job| self.jobs.get(job));
        let jobs = live.map(|record| self.reading(record, now, steady)).collect();
        let slots = self.slots.count();
        let cluster = ClusterReading {
            taskmanagers: self.taskmanagers.iter().count() as u64,
            slots: [u64::from(slots.total - slots.free), u64::from(slots.free)],
        };
        *self.observing.shown.lock().unwrap_or_else(PoisonError::into_inner) = Shown { jobs, cluster };
    }

    fn reading(&self, record: &JobRecord, now: Timestamp, steady: Duration) -> JobReading {
        let times = self.observing.jobs.get(&record.id);
        let coordinator = self.coordinations.get(&record.id).map(|coordination| &coordination.coordinator);
        let last = last_completed(&record.checkpoints).cloned();
        let since = last.as_ref().map_or(record.submitted, |last| last.triggered);
        let tasks = record.job.plan().tasks().iter();
        JobReading {
            id: record.id.to_string(),
            name: record.name.clone(),
            state: record.state(),
            tasks: tasks.filter_map(|task| record.job.task_state(task.subtask)).collect(),
            restarts: record.job.restarts(),
            running_for: times.and_then(|times| times.running).map(|running| steady.saturating_sub(running)),
            checkpoints: times.map(|times| times.checkpoints).unwrap_or_default(),
            last,
            checkpoint_age: passed(since, now),
            is_checkpointing: coordinator.is_some_and(|coordinator| coordinator.pending().is_some()),
            published: record.published,
            unpublished: coordinator.map_or(0, |coordinator| coordinator.unpublished().len() as u64),
        }
    }

    /// From a checkpoint's trigger to its end, or until now.
    fn duration_of(&self, job: JobId, checkpoint: CheckpointId) -> Option<Duration> {
        let mut history = self.coordinations.get(&job)?.coordinator.history();
        let entry: &checkpoint::Entry = history.find(|entry| entry.checkpoint == checkpoint)?;
        Some(passed(entry.triggered, entry.ended.unwrap_or_else(|| self.clock.now())))
    }

    fn tell_checkpoint(
        &self,
        record: &JobRecord,
        checkpoint: CheckpointId,
        took: Duration,
        storing: Option<Duration>,
        failure: Option<&str>,
    ) {
        let (now, root) = (self.clock.now(), SpanRef::of_checkpoint(record.id, checkpoint));
        let identified = |span: Span| {
            let span = span.with("job.id", record.id).with("job.name", &record.name);
            span.with("attempt", record.job.attempt()).with("checkpoint", checkpoint)
        };
        let spans = &self.observing.spans;
        spans.tell(|| Span {
            failure: failure.map(str::to_owned),
            links: vec![SpanRef::of_attempt(record.id, record.job.attempt())],
            ..identified(Span::root(root, "checkpoint", now, took))
        });
        if let Some(storing) = storing {
            let place = root.child("store manifest");
            spans.tell(|| identified(Span::child(root, place, "store manifest", now, storing)));
        }
    }
}

/// From one moment to a later one.
fn passed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}
