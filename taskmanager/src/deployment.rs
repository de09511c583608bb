//! What the jobmanager asks this taskmanager to run.

use std::collections::BTreeMap;

use stream_core::checkpoint::{OperatorSnapshot, SealedEpoch, SplitSnapshot};
use stream_core::ids::{
    AttemptNumber, CheckpointId, JobId, Nonce, StageIndex, SubtaskId, SubtaskIndex, TaskManagerId, Token,
};
use stream_core::key_group::KeyGroupRange;
use stream_core::pipeline::{Pipeline, PipelineError, Split, StageKind};
use stream_core::watermark::Watermark;

/// The subtasks of one attempt that this taskmanager is to run.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    /// The job.
    pub(crate) job_id: JobId,
    /// As users call it.
    pub(crate) job_name: String,
    /// Its try.
    pub(crate) attempt: AttemptNumber,
    /// The job's graph.
    pub(crate) pipeline: Pipeline,
    /// What runs here.
    pub(crate) tasks: BTreeMap<SubtaskId, TaskDeployment>,
    /// Where every subtask of the attempt runs.
    pub(crate) locations: BTreeMap<SubtaskId, Location>,
    /// The attempt's right to publish.
    pub(crate) token: Token,
    /// The same.
    pub(crate) nonce: Nonce,
    /// The checkpoint store's URI; empty without one: then nothing is snapshotted.
    pub(crate) checkpoint_store: String,
    /// What the attempt begins with; nothing for one without a checkpoint.
    pub(crate) restore: Restore,
    /// The epoch that the sink published last.
    pub(crate) last_epoch: CheckpointId,
}

/// The checkpoint that an attempt begins with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restore {
    /// Every split that was known.
    pub(crate) splits: Vec<SplitSnapshot>,
    /// The state of every operator subtask.
    pub(crate) operators: Vec<OperatorSnapshot>,
    /// The epochs that are to be published first, oldest first.
    pub(crate) pending: Vec<SealedEpoch>,
    /// Whether it is a savepoint.
    pub(crate) is_savepoint: bool,
}

/// One subtask to be run here.
#[derive(Clone, Debug)]
pub(crate) struct TaskDeployment {
    /// The slot it takes.
    pub(crate) slot: u32,
    /// Operators: the key groups it owns.
    pub(crate) key_groups: Option<KeyGroupRange>,
    /// Sources: the splits it reads.
    pub(crate) splits: Vec<Split>,
}

/// Where a subtask runs.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    /// The taskmanager.
    pub(crate) taskmanager: TaskManagerId,
    /// Its exchange, `HOST:PORT`.
    pub(crate) exchange_address: String,
}

/// A deployment that cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeploymentError {
    /// The graph is not one.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A subtask that the graph does not have.
    #[error("the pipeline has no subtask {0:?}")]
    NoSuchSubtask(SubtaskId),
    /// A neighbour's place is not told.
    #[error("it is not said where {0} runs")]
    NoLocation(String),
    /// An operator without state of its own.
    #[error("it is not said which key groups {0} owns")]
    NoKeyGroups(String),
}

impl Deployment {
    /// Checks what wiring and building rely on.
    ///
    /// # Errors
    /// If the graph, the tasks and the locations do not fit each other.
    pub(crate) fn check(&self) -> Result<(), DeploymentError> {
        self.pipeline.check()?;
        for (&subtask, task) in &self.tasks {
            let is_known = self.stages().any(|stage| stage == subtask.stage)
                && subtask.index.0 < self.pipeline.stage_parallelism(subtask.stage);
            if !is_known {
                return Err(DeploymentError::NoSuchSubtask(subtask));
            }
            if self.kind(subtask) == StageKind::Operator && task.key_groups.is_none() {
                return Err(DeploymentError::NoKeyGroups(self.name(subtask)));
            }
        }
        let everywhere = self.stages().flat_map(|stage| self.subtasks(stage));
        let mut missing = everywhere.filter(|subtask| !self.locations.contains_key(subtask));
        missing.next().map_or(Ok(()), |subtask| Err(DeploymentError::NoLocation(self.name(subtask))))
    }

    /// What a subtask is called, for instance `window[1]`.
    pub(crate) fn name(&self, subtask: SubtaskId) -> String {
        let stage = self.pipeline.stages.get(subtask.stage.0 as usize);
        format!("{}[{}]", stage.map_or("?", |stage| &stage.name), subtask.index)
    }

    /// The splits of a source subtask, as far as they were read. Behind a drain, where every window was closed, each begins
    /// anew.
    pub(crate) fn splits(&self, subtask: SubtaskId) -> Vec<SplitSnapshot> {
        let is_drained = self.restore.operators.iter().any(|state| state.watermark == Watermark::END);
        let as_restored = |split: &Split| {
            let mut restored = self.restore.splits.iter().filter(|restored| restored.split.id == split.id);
            let Some(mut restored) = restored.next().cloned() else { return SplitSnapshot::unread(split.clone()) };
            if is_drained && !restored.begun.is_empty() {
                restored.begun.push(restored.split.start);
            }
            restored
        };
        self.tasks[&subtask].splits.iter().map(as_restored).collect()
    }

    /// The state that the subtasks of a stage had.
    pub(crate) fn states(&self, stage: StageIndex) -> Vec<OperatorSnapshot> {
        self.restore.operators.iter().filter(|state| state.subtask.stage == stage).cloned().collect()
    }

    /// What runs in a subtask's stage.
    pub(crate) fn kind(&self, subtask: SubtaskId) -> StageKind {
        self.pipeline.stages[subtask.stage.0 as usize].kind
    }

    /// The subtasks whose output a subtask takes, in the order of its gate's channels.
    pub(crate) fn upstream(&self, subtask: SubtaskId) -> Vec<SubtaskId> {
        let stage = subtask.stage.0.checked_sub(1).map(StageIndex);
        stage.into_iter().flat_map(|stage| self.subtasks(stage)).collect()
    }

    /// The subtasks that take a subtask's output, in the order of its senders.
    pub(crate) fn downstream(&self, subtask: SubtaskId) -> Vec<SubtaskId> {
        let stage = self.stages().find(|stage| stage.0 == subtask.stage.0 + 1);
        stage.into_iter().flat_map(|stage| self.subtasks(stage)).collect()
    }

    fn stages(&self) -> impl Iterator<Item = StageIndex> {
        (0_u32..).take(self.pipeline.stages.len()).map(StageIndex)
    }

    fn subtasks(&self, stage: StageIndex) -> impl Iterator<Item = SubtaskId> + use<> {
        (0..self.pipeline.stage_parallelism(stage)).map(move |index| SubtaskId { stage, index: SubtaskIndex(index) })
    }
}
