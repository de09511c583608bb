//! From a deployment to a subtask: opens its source or sink, makes its decoder or operator. Runs on the task's own thread,
//! where a connector may block.

use std::sync::Arc;

use stream_core::collector::Collector;
use stream_core::ids::SubtaskId;
use stream_core::key_group::KeyGroupRange;
use stream_core::pipeline::{JobDefinition, OperatorContext, StageKind};
use stream_core::time::millis;

use crate::attempt::Environment;
use crate::counters::Counters;
use crate::deployment::{Deployment, TaskDeployment};
use crate::exchange::gate::Gate;
use crate::exchange::outputs::Outputs;
use crate::subtask::emit::Emitter;
use crate::subtask::operator::OperatorSubtask;
use crate::subtask::sink::SinkSubtask;
use crate::subtask::source::{Assignments, SourceParts, SourceSubtask};
use crate::subtask::source_splits::SourceSplits;
use crate::subtask::{Subtask, TaskError};

/// All that a subtask is made from.
pub(crate) struct Blueprint {
    /// Which one.
    pub(crate) subtask: SubtaskId,
    /// What it is part of.
    pub(crate) deployment: Arc<Deployment>,
    /// The job's code.
    pub(crate) definition: Arc<dyn JobDefinition>,
    /// Where its input comes from; a source has none.
    pub(crate) gate: Option<Arc<Gate>>,
    /// Where its output goes.
    pub(crate) outputs: Outputs,
    /// Where a source's further splits come from.
    pub(crate) assignments: Arc<Assignments>,
    /// What it counts.
    pub(crate) counters: Arc<Counters>,
    /// What it runs with.
    pub(crate) environment: Environment,
}

impl Blueprint {
    /// Opens and makes everything.
    ///
    /// # Errors
    /// If the source or sink cannot be opened, or the job does not take its options.
    pub(crate) fn build(self) -> Result<Box<dyn Subtask>, TaskError> {
        match (self.deployment.kind(self.subtask), self.gate.clone()) {
            (StageKind::Source, _) => self.source(),
            (StageKind::Operator, Some(gate)) => self.operator(gate),
            (StageKind::Sink, Some(gate)) => self.sink(gate),
            (StageKind::Operator | StageKind::Sink, None) => {
                unreachable!("a checked pipeline has an input for every stage but the first")
            }
        }
    }

    fn source(self) -> Result<Box<dyn Subtask>, TaskError> {
        let pipeline = &self.deployment.pipeline;
        let splits = &self.task().splits;
        let decoder = self.definition.decoder(&pipeline.options)?;
        let reader = self.environment.connectors.open_source(&pipeline.source, splits)?;
        let mut source_splits =
            SourceSplits::new(millis(pipeline.source.watermark_delay), pipeline.source.idle_timeout);
        source_splits.add(splits);
        let is_bounded = pipeline.source.is_bounded;
        Ok(Box::new(SourceSubtask::new(SourceParts {
            reader,
            decoder,
            splits: source_splits,
            assignments: Arc::clone(&self.assignments),
            is_bounded,
            linger: self.environment.linger,
            clock: Arc::clone(&self.environment.clock),
            counters: Arc::clone(&self.counters),
            emitter: self.emitter(),
        })))
    }

    fn operator(self, gate: Arc<Gate>) -> Result<Box<dyn Subtask>, TaskError> {
        let pipeline = &self.deployment.pipeline;
        let context = OperatorContext {
            job_id: self.deployment.job_id,
            stage: &pipeline.stages[self.subtask.stage.0 as usize].name,
            subtask: self.subtask,
            key_groups: self.key_groups(),
            max_parallelism: pipeline.max_parallelism,
        };
        let operator = self.definition.operator(&pipeline.options, &context)?;
        let (inputs, counters) = (self.inputs(), Arc::clone(&self.counters));
        Ok(Box::new(OperatorSubtask::new(gate, inputs, operator, self.emitter(), counters)))
    }

    fn sink(self, gate: Arc<Gate>) -> Result<Box<dyn Subtask>, TaskError> {
        let writer = self.environment.connectors.open_sink(&self.deployment.pipeline.sink)?;
        let clock = Arc::clone(&self.environment.clock);
        Ok(Box::new(SinkSubtask::new(gate, self.inputs(), writer, clock, self.counters)))
    }

    fn emitter(self) -> Emitter {
        let targets = u32::try_from(self.deployment.downstream(self.subtask).len()).unwrap_or(u32::MAX);
        let collector = Collector::new(self.deployment.pipeline.max_parallelism, targets);
        Emitter::new(collector, self.outputs, self.counters)
    }

    fn task(&self) -> &TaskDeployment {
        &self.deployment.tasks[&self.subtask]
    }

    fn key_groups(&self) -> KeyGroupRange {
        self.task().key_groups.expect("a checked deployment has key groups for every operator")
    }

    fn inputs(&self) -> usize {
        self.deployment.upstream(self.subtask).len()
    }
}
