//! A job's graph as data: what a job describes, a client submits and the jobmanager plans.
//!
//! A pipeline is a chain of stages with an exchange between each two of them. Source, sink and look-ups are named by URI and
//! settings; which client library serves them is the connectors' business, what the job's options mean is the job's.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{JobId, SplitId, StageIndex, SubtaskId, TableIndex};
use crate::key_group::{KeyGroupRange, MaxParallelism};
use crate::operator::{Decoder, Operator};
use crate::outlet::OutletSpec;
use crate::row::Column;
use crate::secret::{Redaction, Secret};
use crate::table::Schemas;
use crate::time::EventTime;

/// A job, ready to be submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// The registered job, for instance `sessionize`.
    pub job: String,
    /// The job's options as JSON, opaque to everybody else.
    pub options: String,
    /// Subtasks of each stage that is not gathered into one.
    pub parallelism: NonZeroU32,
    /// Key groups of the job's keyed state.
    pub max_parallelism: MaxParallelism,
    /// Where records come from.
    pub source: SourceSpec,
    /// Where rows go.
    pub sink: SinkSpec,
    /// Where operators look keys up; `None` where there is nothing to look up.
    #[serde(default)]
    pub lookup: Option<LookupSpec>,
    /// The stages, from the source on; the first has no input.
    pub stages: Vec<Stage>,
    /// When checkpoints are taken.
    pub checkpoints: CheckpointSpec,
}

/// When a job's checkpoints are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointSpec {
    /// From one trigger to the next; the next one waits for the one before it.
    pub interval: Duration,
    /// After which one that is not complete is given up.
    pub timeout: Duration,
}

impl Default for CheckpointSpec {
    /// Every 10 seconds; given up after 10 minutes, as in Flink.
    fn default() -> Self {
        CheckpointSpec { interval: Duration::from_secs(10), timeout: Duration::from_secs(600) }
    }
}

/// A stage of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name, for instance `window`.
    pub name: String,
    /// What runs in it.
    pub kind: StageKind,
    /// How the stage before hands its output on to this one; `None` for the first.
    pub input: Option<Exchange>,
}

/// What runs in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// Reads splits and decodes records.
    Source,
    /// Runs an operator over the events of a key group range.
    Operator,
    /// Writes result rows.
    Sink,
}

/// How output travels from one stage to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// Events, each to the subtask that owns its key group.
    Hash,
    /// Rows, all to the one subtask of the next stage.
    Gather,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// `kafka://HOST:PORT[,…]/TOPIC`, `file:PATH` or `stdin:`; without user and password.
    pub uri: String,
    /// Where to begin.
    pub from: StartPosition,
    /// Whether to stop at what was the end at submit.
    pub is_bounded: bool,
    /// How far the watermark stays behind the latest event time, for each split.
    pub watermark_delay: Duration,
    /// How long a split may deliver nothing before it no longer holds the watermark back; zero for never, as in Flink.
    pub idle_timeout: Duration,
    /// How far the clock carries event time on while every split is idle, so that sessions end; zero: not at all, as in Flink.
    #[serde(default)]
    pub close_when_idle: Duration,
    /// How far an event may be ahead of the wall clock before it counts as bad; zero for any distance, as in Flink.
    #[serde(default)]
    pub max_future: Duration,
    /// How far, in event time, a split may be ahead of the slowest before it is not read for a while; zero for any distance, as
    /// in Flink.
    #[serde(default)]
    pub max_drift: Duration,
    /// Settings of the connector, for instance `group.id`.
    pub properties: BTreeMap<String, String>,
    /// Settings that must never be shown, for instance `sasl.password`.
    pub secrets: BTreeMap<String, Secret>,
}

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSpec {
    /// `postgres://HOST:PORT/DATABASE`, `csv:PATH`, `jsonl:PATH`, or `stdout:`; without user and password.
    pub uri: String,
    /// The table of the result, where the sink has tables.
    pub table: String,
    /// The columns of the result's rows.
    pub columns: Vec<Column>,
    /// Tables beside it, whose rows become visible in the same instant, unless they have an outlet.
    #[serde(default)]
    pub side_tables: Vec<SideTable>,
    /// Settings of the connector, for instance `user`.
    pub properties: BTreeMap<String, String>,
    /// Settings that must never be shown, for instance `password`.
    pub secrets: BTreeMap<String, Secret>,
}

/// A table beside the result, for instance of late events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideTable {
    /// Its name, as [`SinkSpec::table`] is written.
    pub name: String,
    /// The columns of its rows.
    pub columns: Vec<Column>,
    /// Where its rows go if it is no table of the sink; they are there no later than the sink's.
    #[serde(default)]
    pub outlet: Option<OutletSpec>,
    /// What a row does to it.
    #[serde(default, skip_serializing_if = "Changelog::is_append")]
    pub changelog: Changelog,
}

/// What rows do to a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changelog {
    /// Each stays.
    #[default]
    Append,
    /// Each is a change of what the table shows. The first column is the key of a row, a `BIGINT`, and the second whose it is, a text:
    ///
    /// * With both it takes the place of the row that has its key.
    /// * With a key only, there is no such row from then on.
    /// * With an owner only, the owner has no rows but those that the same epoch puts.
    ///
    /// Of an epoch's rows with one key the last counts. So the changes of two epochs are those of one, in their order.
    Upsert,
}

impl Changelog {
    /// Whether it is [`Changelog::Append`].
    pub fn is_append(&self) -> bool {
        *self == Changelog::Append
    }
}

/// Where operators look keys up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupSpec {
    /// `mmdb:PATH`, or `ip2location:URL`.
    pub uri: String,
    /// Settings, for instance `timeout`.
    pub properties: BTreeMap<String, String>,
    /// Settings that must never be shown, for instance `key`.
    pub secrets: BTreeMap<String, Secret>,
}

impl SourceSpec {
    /// What people call it: a topic, the path of files.
    pub fn name(&self) -> &str {
        match self.uri.split_once(':') {
            Some(("kafka", rest)) => rest.rsplit_once('/').map_or(rest, |(_, topic)| topic),
            Some(("file", path)) => path,
            _ => &self.uri,
        }
    }
}

impl SinkSpec {
    /// The columns of every table, by its index.
    pub fn schemas(&self) -> Schemas {
        let side = self.side_tables.iter().map(|table| table.columns.clone());
        Schemas::new(std::iter::once(self.columns.clone()).chain(side))
    }

    /// The side tables that are not in the sink, by their index.
    pub fn outlets(&self) -> impl Iterator<Item = (TableIndex, &SideTable, &OutletSpec)> {
        let side = (1..).map(TableIndex).zip(&self.side_tables);
        side.filter_map(|(index, table)| Some((index, table, table.outlet.as_ref()?)))
    }
}

/// Where a source begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartPosition {
    /// The first record there is.
    Earliest,
    /// The next record to come.
    Latest,
    /// The group's committed offset; the earliest where there is none.
    Committed,
    /// The first record with at least this time, by the broker's word.
    At(EventTime),
}

/// A unit of input with its bounds, resolved once at submit so that a restart reads the very same records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Split {
    /// Its name: `TOPIC/PARTITION`, or a file's path.
    pub id: SplitId,
    /// The first offset to read.
    pub start: u64,
    /// The offset to stop before; `None` for a split without end.
    pub end: Option<u64>,
}

impl Pipeline {
    /// Every secret, by whatever name.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let of_outlets = self.sink.outlets().flat_map(|(_, _, outlet)| outlet.secrets.values());
        let of_lookup = self.lookup.iter().flat_map(|lookup| lookup.secrets.values());
        self.source.secrets.values().chain(self.sink.secrets.values()).chain(of_outlets).chain(of_lookup)
    }

    /// What takes its secrets out of messages.
    pub fn redaction(&self) -> Redaction {
        let Pipeline { source, sink, lookup, .. } = self;
        let values = |properties: &BTreeMap<String, String>| properties.values().cloned().collect::<Vec<_>>();
        let mut shown = vec![self.job.clone(), source.uri.clone(), sink.uri.clone(), sink.table.clone()];
        shown.extend(values(&source.properties).into_iter().chain(values(&sink.properties)));
        shown.extend(sink.side_tables.iter().map(|table| table.name.clone()));
        let outlets = sink.outlets().map(|(_, _, outlet)| (&outlet.uri, &outlet.properties));
        for (uri, properties) in outlets.chain(lookup.iter().map(|lookup| (&lookup.uri, &lookup.properties))) {
            shown.push(uri.clone());
            shown.extend(values(properties));
        }
        Redaction::new(self.secrets(), |secret| shown.iter().any(|text| text.contains(secret)))
    }

    /// Takes every secret out.
    pub fn clear_secrets(&mut self) {
        self.source.secrets.clear();
        self.sink.secrets.clear();
        for outlet in self.sink.side_tables.iter_mut().filter_map(|table| table.outlet.as_mut()) {
            outlet.secrets.clear();
        }
        if let Some(lookup) = &mut self.lookup {
            lookup.secrets.clear();
        }
    }

    /// The subtasks of a stage: one where rows are gathered, the job's parallelism elsewhere.
    pub fn stage_parallelism(&self, stage: StageIndex) -> u32 {
        match self.stages[stage.0 as usize].input {
            Some(Exchange::Gather) => 1,
            Some(Exchange::Hash) | None => self.parallelism.get(),
        }
    }

    /// Checks what every part of the system relies on.
    ///
    /// # Errors
    /// If the stages do not form a chain from one source to one sink, or the parallelism exceeds the key groups.
    pub fn check(&self) -> Result<(), PipelineError> {
        let parallelism = self.parallelism.get();
        if parallelism > u32::from(self.max_parallelism.get()) {
            return Err(PipelineError::Parallelism { parallelism, max: self.max_parallelism.get() });
        }
        let [first, .., last] = self.stages.as_slice() else {
            return Err(PipelineError::Shape("at least a source and a sink"));
        };
        let begins_at_source = first.kind == StageKind::Source && first.input.is_none();
        let ends_at_sink = last.kind == StageKind::Sink && last.input == Some(Exchange::Gather);
        let between = &self.stages[1..self.stages.len() - 1];
        let keyed_between = between.iter().all(|s| s.kind == StageKind::Operator && s.input == Some(Exchange::Hash));
        if !begins_at_source {
            return Err(PipelineError::Shape("a source first"));
        }
        if !ends_at_sink {
            return Err(PipelineError::Shape("a sink last, with its input gathered"));
        }
        if !keyed_between {
            return Err(PipelineError::Shape("operators with hashed input between source and sink"));
        }
        Ok(())
    }
}

/// A pipeline that cannot run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// More subtasks than key groups to share among them.
    #[error("parallelism {parallelism} is above max parallelism {max}: choose `--parallelism` from 1 to {max}")]
    Parallelism {
        /// Asked for.
        parallelism: u32,
        /// The number of key groups.
        max: u16,
    },
    /// Stages in another order than the data plane can run.
    #[error("a pipeline needs {0}")]
    Shape(&'static str),
}

/// A job type: what a crate such as `job-sessionize` registers.
pub trait JobDefinition: Send + Sync {
    /// The name under which it is submitted.
    fn name(&self) -> &'static str;

    /// A decoder for one source subtask.
    ///
    /// # Errors
    /// If the options are not this job's.
    fn decoder(&self, options: &str, context: &DecoderContext<'_>) -> Result<Box<dyn Decoder>, OptionsError>;

    /// An operator for one subtask of an operator stage.
    ///
    /// # Errors
    /// If the options are not this job's, or the job has no such stage.
    fn operator(&self, options: &str, context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, OptionsError>;
}

/// Where a decoder runs.
#[derive(Clone, Copy, Debug)]
pub struct DecoderContext<'a> {
    /// The job.
    pub job_id: JobId,
    /// What it reads from.
    pub source: &'a SourceSpec,
}

/// Where an operator runs.
#[derive(Clone, Copy, Debug)]
pub struct OperatorContext<'a> {
    /// The job.
    pub job_id: JobId,
    /// What the job reads from.
    pub source: &'a SourceSpec,
    /// Its stage's name.
    pub stage: &'a str,
    /// Which subtask it is.
    pub subtask: SubtaskId,
    /// The key groups that it owns.
    pub key_groups: KeyGroupRange,
    /// The key groups there are.
    pub max_parallelism: MaxParallelism,
    /// Whether it is restored from a savepoint: what the sink shows may then be of another time, or of a job with other options. From any
    /// other checkpoint the sink shows just what it did there.
    pub is_from_savepoint: bool,
}

/// Options that a job does not understand.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionsError(pub String);
