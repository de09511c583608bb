//! The tasks that run here, for whoever asks about metrics: their counters and gates, which they share with their threads.
//!
//! Reading takes a short lock and copies numbers; it never waits for a task, and a task never for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use stream_core::ids::{AttemptNumber, JobId, SubtaskIndex};
use stream_core::pipeline::StageKind;
use stream_core::time::{Timestamp, millis};

use crate::counters::Counters;
use crate::deployment::Deployment;
use crate::exchange::gate::Gate;
use crate::metrics::{Partition, Task};
use crate::slot::Holder;

/// The tasks of all attempts here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed(Arc<Mutex<ByAttempt>>);

type ByAttempt = BTreeMap<(JobId, AttemptNumber), Vec<ObservedTask>>;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct ObservedTask {
    job_name: String,
    stage: String,
    index: SubtaskIndex,
    kind: StageKind,
    watermark_delay_ms: i64,
    counters: Arc<Counters>,
    gate: Option<Arc<Gate>>,
}

impl ObservedTask {
    /// A task of a deployment.
    pub(crate) fn new(
        deployment: &Deployment,
        subtask: stream_core::ids::SubtaskId,
        counters: Arc<Counters>,
        gate: Option<Arc<Gate>>,
    ) -> Self {
        let stage = &deployment.pipeline.stages[subtask.stage.0 as usize];
        ObservedTask {
            job_name: deployment.job_name.clone(),
            stage: stage.name.clone(),
            index: subtask.index,
            kind: stage.kind,
            watermark_delay_ms: millis(deployment.pipeline.source.watermark_delay),
            counters,
            gate,
        }
    }

    fn at(&self, job_id: JobId, now: Timestamp) -> Task {
        Task {
            job_id,
            job_name: self.job_name.clone(),
            name: self.stage.clone(),
            index: self.index.0,
            kind: self.kind,
            counters: self.counters.snapshot(),
            queue_bytes: self.gate.as_ref().map(|gate| gate.queued_bytes() as u64),
            now,
        }
    }
}

impl Observed {
    /// An attempt's tasks begin.
    pub(crate) fn add(&self, holder: Holder, tasks: Vec<ObservedTask>) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.insert((holder.job_id, holder.attempt), tasks);
    }

    /// An attempt's tasks have ended.
    pub(crate) fn remove(&self, holder: Holder) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(holder.job_id, holder.attempt));
    }

    /// Every task of the newest attempt of each job: what is still being canceled of an older one would be told under the same name.
    pub(crate) fn tasks(&self, now: Timestamp) -> Vec<Task> {
        self.newest()
            .into_iter()
            .flat_map(|(job, tasks)| tasks.into_iter().map(move |task| task.at(job, now)))
            .collect()
    }

    /// Every partition that they read.
    pub(crate) fn partitions(&self, now: Timestamp) -> Vec<Partition> {
        let mut partitions = Vec::new();
        for (job, tasks) in self.newest() {
            for observed in tasks.into_iter().filter(|task| task.kind == StageKind::Source) {
                let (delay, task) = (observed.watermark_delay_ms, observed.at(job, now));
                let source = task.identity();
                partitions.extend(task.counters.splits.into_iter().map(|progress| Partition {
                    source: source.clone(),
                    progress,
                    watermark_delay_ms: delay,
                    now,
                }));
            }
        }
        partitions
    }

    fn newest(&self) -> BTreeMap<JobId, Vec<ObservedTask>> {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In the order of attempts: the newest comes last and stays.
        attempts.iter().map(|(&(job, _), tasks)| (job, tasks.clone())).collect()
    }
}
