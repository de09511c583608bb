//! From a deployment to a subtask: opens its source, sink or look-ups, makes its decoder or operator, restores what a checkpoint
//! holds. Runs on the task's own thread, where connectors and stores may block.

use std::num::NonZeroU32;
use std::sync::Arc;

use stream_core::checkpoint::Chain;
use stream_core::collector::Collector;
use stream_core::ids::SubtaskId;
use stream_core::pipeline::{DecoderContext, JobDefinition, OperatorContext, StageKind};
use stream_core::time::millis;
use stream_core::watermark::Watermark;
use stream_core::watermark_alignment::Alignment;
use stream_runtime::connector::Grant;
use stream_runtime::lookup::{Answers, Lookup, NoLookup};

use crate::attempt::Environment;
use crate::counters::Counters;
use crate::deployment::{Deployment, TaskDeployment};
use crate::exchange::gate::Gate;
use crate::exchange::outputs::Outputs;
use crate::snapshotting::{self, JobFiles};
use crate::subtask::committer::{Committer, CommitterParts};
use crate::subtask::emit::Emitter;
use crate::subtask::event::Teller;
use crate::subtask::mail::Mailbox;
use crate::subtask::operator::{OperatorParts, OperatorSubtask, SnapshotParts};
use crate::subtask::source::{SourceParts, SourceSubtask};
use crate::subtask::{Subtask, TaskError};
use stream_core::source_splits::{Idleness, SourceSplits};

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
    /// Where it is told what else to do.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Where it tells of itself.
    pub(crate) teller: Teller,
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
        let context = DecoderContext { job_id: self.deployment.job_id, source: &pipeline.source };
        let decoder = self.definition.decoder(&pipeline.options, &context)?;
        let idleness = Idleness { timeout: pipeline.source.idle_timeout, advance: pipeline.source.close_when_idle };
        let mut splits = SourceSplits::new(millis(pipeline.source.watermark_delay), idleness)
            .aligned(Alignment::new(pipeline.source.max_drift));
        // Alone, there is nobody to keep in step with.
        let is_alone = pipeline.parallelism.get() == 1 || pipeline.source.max_drift.is_zero();
        if !is_alone {
            splits.alignment().set_elsewhere(Watermark::NONE);
        }
        let unread = splits.restore(self.deployment.splits(self.subtask));
        let reader = self.environment.connectors.open_source(&pipeline.source, &unread)?;
        let is_bounded = pipeline.source.is_bounded;
        Ok(Box::new(SourceSubtask::new(SourceParts {
            reader,
            decoder,
            splits,
            trace_sample: self.environment.trace_sample,
            mailbox: Arc::clone(&self.mailbox),
            teller: self.teller.clone(),
            is_bounded,
            max_future: pipeline.source.max_future,
            is_alone,
            linger: self.environment.linger,
            clock: Arc::clone(&self.environment.clock),
            counters: Arc::clone(&self.counters),
            emitter: self.emitter(),
        })))
    }

    fn operator(self, gate: Arc<Gate>) -> Result<Box<dyn Subtask>, TaskError> {
        let pipeline = &self.deployment.pipeline;
        let key_groups = self.task().key_groups.expect("a checked deployment has key groups for every operator");
        let context = OperatorContext {
            job_id: self.deployment.job_id,
            source: &pipeline.source,
            stage: &pipeline.stages[self.subtask.stage.0 as usize].name,
            subtask: self.subtask,
            key_groups,
            max_parallelism: pipeline.max_parallelism,
            is_from_savepoint: self.deployment.restore.is_savepoint,
        };
        let mut operator = self.definition.operator(&pipeline.options, &context)?;
        let files = self.files()?;
        let states = self.deployment.states(self.subtask.stage);
        let watermarks = match &files {
            Some(files) => {
                let splits = &self.deployment.restore.splits;
                let clock = self.environment.clock.as_ref();
                snapshotting::restore(operator.as_mut(), key_groups, &states, splits, files, clock)?
            }
            None => None,
        };
        // A savepoint's files are its owner's, who may remove them: nothing goes on from those.
        let chain = match self.deployment.restore.is_savepoint {
            true => Chain::default(),
            false => Chain::restored(&states, key_groups),
        };
        let lookup: Box<dyn Lookup> = match &pipeline.lookup {
            Some(spec) => {
                let subtasks =
                    NonZeroU32::new(pipeline.stage_parallelism(self.subtask.stage)).unwrap_or(NonZeroU32::MIN);
                let answers: Arc<dyn Answers> = Arc::<Mailbox>::clone(&self.mailbox);
                self.environment.connectors.open_lookup(spec, subtasks, answers)?
            }
            None => Box::new(NoLookup),
        };
        let snapshots = SnapshotParts {
            subtask: self.subtask,
            key_groups,
            files,
            chain,
            mailbox: Arc::clone(&self.mailbox),
            teller: self.teller.clone(),
            clock: Arc::clone(&self.environment.clock),
            counters: Arc::clone(&self.counters),
        };
        Ok(Box::new(OperatorSubtask::new(OperatorParts {
            gate,
            inputs: self.inputs(),
            operator,
            lookup,
            watermarks: watermarks.unwrap_or_default(),
            snapshots,
            counters: Arc::clone(&self.counters),
            emitter: self.emitter(),
        })))
    }

    fn sink(self, gate: Arc<Gate>) -> Result<Box<dyn Subtask>, TaskError> {
        let Deployment { job_id, token, nonce, last_epoch, .. } = *self.deployment;
        let (connectors, sink) = (Arc::clone(&self.environment.connectors), self.deployment.pipeline.sink.clone());
        let schemas = sink.schemas();
        let open = move || Ok(connectors.open_publisher(&sink, Grant { job_id, token, nonce })?);
        let committer = Committer::start(CommitterParts {
            name: self.deployment.name(self.subtask),
            gate,
            inputs: self.inputs(),
            open: Box::new(open),
            schemas,
            files: self.files()?,
            token,
            last_epoch,
            pending: self.deployment.restore.pending.clone(),
            clock: Arc::clone(&self.environment.clock),
            recorders: self.environment.recorders.of_job(&self.deployment.job_name),
            mailbox: self.mailbox,
            teller: self.teller,
            counters: self.counters,
        })?;
        Ok(Box::new(committer))
    }

    fn files(&self) -> Result<Option<JobFiles>, TaskError> {
        Ok(self.environment.snapshotting.open(&self.deployment.checkpoint_store, self.deployment.job_id)?)
    }

    fn emitter(self) -> Emitter {
        let targets = u32::try_from(self.deployment.downstream(self.subtask).len()).unwrap_or(u32::MAX);
        let collector = Collector::new(self.deployment.pipeline.max_parallelism, targets);
        Emitter::new(self.subtask.index, collector, self.outputs, self.counters)
    }

    fn task(&self) -> &TaskDeployment {
        &self.deployment.tasks[&self.subtask]
    }

    fn inputs(&self) -> usize {
        self.deployment.upstream(self.subtask).len()
    }
}
