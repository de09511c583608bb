//! Between wire messages and `stream-core`'s types.

use std::num::NonZeroU32;
use std::time::Duration;

use stream_core::ids::{SplitId, StageIndex, SubtaskId, SubtaskIndex};
use stream_core::job::{JobState, TaskState};
use stream_core::key_group::{KeyGroupRange, MaxParallelism};
use stream_core::outlet::OutletSpec;
use stream_core::pipeline::{
    Changelog, CheckpointSpec, Exchange, LookupSpec, Pipeline, SideTable, SinkSpec, SourceSpec, Split, Stage,
    StageKind, StartPosition,
};
use stream_core::row::{Column, ColumnType};
use stream_core::secret::Secret;
use stream_core::time::{EventTime, millis};

use crate::v1;

/// A message that lacks something or holds what cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid message: {0}")]
pub struct InvalidMessage(pub String);

/// A field that must be there.
///
/// # Errors
/// If it is not.
pub fn required<T>(field: Option<T>, name: &str) -> Result<T, InvalidMessage> {
    field.ok_or_else(|| InvalidMessage(format!("`{name}` is missing")))
}

fn unspecified(name: &str) -> InvalidMessage {
    InvalidMessage(format!("`{name}` is unspecified"))
}

impl From<InvalidMessage> for tonic::Status {
    fn from(error: InvalidMessage) -> Self {
        tonic::Status::invalid_argument(error.to_string())
    }
}

impl From<&Pipeline> for v1::Pipeline {
    fn from(pipeline: &Pipeline) -> Self {
        v1::Pipeline {
            job: pipeline.job.clone(),
            options: pipeline.options.clone(),
            parallelism: pipeline.parallelism.get(),
            max_parallelism: pipeline.max_parallelism.get().into(),
            source: Some((&pipeline.source).into()),
            sink: Some((&pipeline.sink).into()),
            lookup: pipeline.lookup.as_ref().map(Into::into),
            stages: pipeline.stages.iter().map(Into::into).collect(),
            checkpoints: Some(v1::CheckpointSpec {
                interval_ms: millis(pipeline.checkpoints.interval).unsigned_abs(),
                timeout_ms: millis(pipeline.checkpoints.timeout).unsigned_abs(),
            }),
        }
    }
}

impl TryFrom<v1::Pipeline> for Pipeline {
    type Error = InvalidMessage;

    fn try_from(pipeline: v1::Pipeline) -> Result<Self, Self::Error> {
        Ok(Pipeline {
            job: pipeline.job,
            options: pipeline.options,
            parallelism: NonZeroU32::new(pipeline.parallelism)
                .ok_or_else(|| InvalidMessage("`parallelism` must be at least 1".to_owned()))?,
            max_parallelism: MaxParallelism::new(pipeline.max_parallelism.into())
                .map_err(|error| InvalidMessage(error.to_string()))?,
            source: required(pipeline.source, "pipeline.source")?.try_into()?,
            sink: required(pipeline.sink, "pipeline.sink")?.try_into()?,
            lookup: pipeline.lookup.map(Into::into),
            stages: pipeline.stages.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            checkpoints: required(pipeline.checkpoints, "pipeline.checkpoints").map(|spec| CheckpointSpec {
                interval: Duration::from_millis(spec.interval_ms),
                timeout: Duration::from_millis(spec.timeout_ms),
            })?,
        })
    }
}

impl From<&Stage> for v1::Stage {
    fn from(stage: &Stage) -> Self {
        let kind = match stage.kind {
            StageKind::Source => v1::StageKind::Source,
            StageKind::Operator => v1::StageKind::Operator,
            StageKind::Sink => v1::StageKind::Sink,
        };
        let input = match stage.input {
            None => v1::Exchange::Unspecified,
            Some(Exchange::Hash) => v1::Exchange::Hash,
            Some(Exchange::Gather) => v1::Exchange::Gather,
        };
        v1::Stage { name: stage.name.clone(), kind: kind.into(), input: input.into() }
    }
}

impl TryFrom<v1::Stage> for Stage {
    type Error = InvalidMessage;

    fn try_from(stage: v1::Stage) -> Result<Self, Self::Error> {
        let kind = match stage.kind() {
            v1::StageKind::Unspecified => return Err(unspecified("stage.kind")),
            v1::StageKind::Source => StageKind::Source,
            v1::StageKind::Operator => StageKind::Operator,
            v1::StageKind::Sink => StageKind::Sink,
        };
        let input = match stage.input() {
            v1::Exchange::Unspecified => None,
            v1::Exchange::Hash => Some(Exchange::Hash),
            v1::Exchange::Gather => Some(Exchange::Gather),
        };
        Ok(Stage { name: stage.name, kind, input })
    }
}

impl From<&SourceSpec> for v1::SourceSpec {
    fn from(source: &SourceSpec) -> Self {
        v1::SourceSpec {
            uri: source.uri.clone(),
            from: Some(source.from.into()),
            is_bounded: source.is_bounded,
            watermark_delay_ms: millis(source.watermark_delay).unsigned_abs(),
            idle_timeout_ms: millis(source.idle_timeout).unsigned_abs(),
            max_future_ms: millis(source.max_future).unsigned_abs(),
            max_drift_ms: millis(source.max_drift).unsigned_abs(),
            close_when_idle_ms: millis(source.close_when_idle).unsigned_abs(),
            properties: source.properties.clone().into_iter().collect(),
            secrets: exposed(&source.secrets),
        }
    }
}

impl TryFrom<v1::SourceSpec> for SourceSpec {
    type Error = InvalidMessage;

    fn try_from(source: v1::SourceSpec) -> Result<Self, Self::Error> {
        Ok(SourceSpec {
            uri: source.uri,
            from: required(source.from, "source.from")?.try_into()?,
            is_bounded: source.is_bounded,
            watermark_delay: Duration::from_millis(source.watermark_delay_ms),
            idle_timeout: Duration::from_millis(source.idle_timeout_ms),
            max_future: Duration::from_millis(source.max_future_ms),
            max_drift: Duration::from_millis(source.max_drift_ms),
            close_when_idle: Duration::from_millis(source.close_when_idle_ms),
            properties: source.properties.into_iter().collect(),
            secrets: hidden(source.secrets),
        })
    }
}

impl From<&SinkSpec> for v1::SinkSpec {
    fn from(sink: &SinkSpec) -> Self {
        v1::SinkSpec {
            uri: sink.uri.clone(),
            table: sink.table.clone(),
            columns: sink.columns.iter().map(Into::into).collect(),
            properties: sink.properties.clone().into_iter().collect(),
            secrets: exposed(&sink.secrets),
            side_tables: sink.side_tables.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::SinkSpec> for SinkSpec {
    type Error = InvalidMessage;

    fn try_from(sink: v1::SinkSpec) -> Result<Self, Self::Error> {
        Ok(SinkSpec {
            uri: sink.uri,
            table: sink.table,
            columns: sink.columns.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            side_tables: sink.side_tables.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            properties: sink.properties.into_iter().collect(),
            secrets: hidden(sink.secrets),
        })
    }
}

impl From<&LookupSpec> for v1::LookupSpec {
    fn from(lookup: &LookupSpec) -> Self {
        v1::LookupSpec {
            uri: lookup.uri.clone(),
            properties: lookup.properties.clone().into_iter().collect(),
            secrets: exposed(&lookup.secrets),
        }
    }
}

impl From<v1::LookupSpec> for LookupSpec {
    fn from(lookup: v1::LookupSpec) -> Self {
        LookupSpec {
            uri: lookup.uri,
            properties: lookup.properties.into_iter().collect(),
            secrets: hidden(lookup.secrets),
        }
    }
}

impl From<&SideTable> for v1::SideTable {
    fn from(table: &SideTable) -> Self {
        v1::SideTable {
            name: table.name.clone(),
            columns: table.columns.iter().map(Into::into).collect(),
            outlet: table.outlet.as_ref().map(Into::into),
            is_upsert: table.changelog == Changelog::Upsert,
        }
    }
}

impl TryFrom<v1::SideTable> for SideTable {
    type Error = InvalidMessage;

    fn try_from(table: v1::SideTable) -> Result<Self, Self::Error> {
        let columns = table.columns.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let changelog = if table.is_upsert { Changelog::Upsert } else { Changelog::Append };
        Ok(SideTable { name: table.name, columns, outlet: table.outlet.map(Into::into), changelog })
    }
}

impl From<&OutletSpec> for v1::OutletSpec {
    fn from(outlet: &OutletSpec) -> Self {
        v1::OutletSpec {
            uri: outlet.uri.clone(),
            properties: outlet.properties.clone().into_iter().collect(),
            secrets: exposed(&outlet.secrets),
        }
    }
}

impl From<v1::OutletSpec> for OutletSpec {
    fn from(outlet: v1::OutletSpec) -> Self {
        OutletSpec {
            uri: outlet.uri,
            properties: outlet.properties.into_iter().collect(),
            secrets: hidden(outlet.secrets),
        }
    }
}

impl std::fmt::Debug for v1::SourceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSpec").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for v1::SinkSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkSpec").field("uri", &self.uri).field("table", &self.table).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for v1::OutletSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutletSpec").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for v1::LookupSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookupSpec").field("uri", &self.uri).finish_non_exhaustive()
    }
}

fn exposed<M: FromIterator<(String, String)>>(secrets: &std::collections::BTreeMap<String, Secret>) -> M {
    secrets.iter().map(|(name, secret)| (name.clone(), secret.expose().to_owned())).collect()
}

fn hidden(secrets: impl IntoIterator<Item = (String, String)>) -> std::collections::BTreeMap<String, Secret> {
    secrets.into_iter().map(|(name, secret)| (name, Secret::new(secret))).collect()
}

impl From<&Column> for v1::Column {
    fn from(column: &Column) -> Self {
        let column_type = match column.column_type {
            ColumnType::Timestamp => v1::ColumnType::Timestamp,
            ColumnType::Text => v1::ColumnType::Text,
            ColumnType::BigInt => v1::ColumnType::Bigint,
            ColumnType::Bytes => v1::ColumnType::Bytes,
        };
        v1::Column { name: column.name.clone(), r#type: column_type.into() }
    }
}

impl TryFrom<v1::Column> for Column {
    type Error = InvalidMessage;

    fn try_from(column: v1::Column) -> Result<Self, Self::Error> {
        let column_type = match column.r#type() {
            v1::ColumnType::Unspecified => return Err(unspecified("column.type")),
            v1::ColumnType::Timestamp => ColumnType::Timestamp,
            v1::ColumnType::Text => ColumnType::Text,
            v1::ColumnType::Bigint => ColumnType::BigInt,
            v1::ColumnType::Bytes => ColumnType::Bytes,
        };
        Ok(Column { name: column.name, column_type })
    }
}

impl From<StartPosition> for v1::StartPosition {
    fn from(position: StartPosition) -> Self {
        use v1::start_position::Position;
        let position = match position {
            StartPosition::Earliest => Position::Earliest(v1::Unit {}),
            StartPosition::Latest => Position::Latest(v1::Unit {}),
            StartPosition::Committed => Position::Committed(v1::Unit {}),
            StartPosition::At(time) => Position::AtMs(time.0),
        };
        v1::StartPosition { position: Some(position) }
    }
}

impl TryFrom<v1::StartPosition> for StartPosition {
    type Error = InvalidMessage;

    fn try_from(position: v1::StartPosition) -> Result<Self, Self::Error> {
        use v1::start_position::Position;
        Ok(match required(position.position, "from.position")? {
            Position::Earliest(_) => StartPosition::Earliest,
            Position::Latest(_) => StartPosition::Latest,
            Position::Committed(_) => StartPosition::Committed,
            Position::AtMs(ms) => StartPosition::At(EventTime(ms)),
        })
    }
}

impl From<&Split> for v1::Split {
    fn from(split: &Split) -> Self {
        v1::Split { id: split.id.0.clone(), start: split.start, end: split.end }
    }
}

impl From<v1::Split> for Split {
    fn from(split: v1::Split) -> Self {
        Split { id: SplitId(split.id), start: split.start, end: split.end }
    }
}

impl From<SubtaskId> for v1::SubtaskId {
    fn from(subtask: SubtaskId) -> Self {
        v1::SubtaskId { stage: subtask.stage.0, index: subtask.index.0 }
    }
}

impl From<v1::SubtaskId> for SubtaskId {
    fn from(subtask: v1::SubtaskId) -> Self {
        SubtaskId { stage: StageIndex(subtask.stage), index: SubtaskIndex(subtask.index) }
    }
}

impl From<KeyGroupRange> for v1::KeyGroupRange {
    fn from(range: KeyGroupRange) -> Self {
        v1::KeyGroupRange { start: range.start.into(), end: range.end.into() }
    }
}

impl TryFrom<v1::KeyGroupRange> for KeyGroupRange {
    type Error = InvalidMessage;

    fn try_from(range: v1::KeyGroupRange) -> Result<Self, Self::Error> {
        match (u16::try_from(range.start), u16::try_from(range.end)) {
            (Ok(start), Ok(end)) if start <= end => Ok(KeyGroupRange { start, end }),
            _ => Err(InvalidMessage(format!("key groups {}..{} are no range", range.start, range.end))),
        }
    }
}

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Created => v1::JobState::Created,
            JobState::Running => v1::JobState::Running,
            JobState::Failing => v1::JobState::Failing,
            JobState::Failed => v1::JobState::Failed,
            JobState::Canceling => v1::JobState::Canceling,
            JobState::Canceled => v1::JobState::Canceled,
            JobState::Finished => v1::JobState::Finished,
            JobState::Restarting => v1::JobState::Restarting,
        }
    }
}

impl From<TaskState> for v1::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Created => v1::TaskState::Created,
            TaskState::Scheduled => v1::TaskState::Scheduled,
            TaskState::Deploying => v1::TaskState::Deploying,
            TaskState::Initializing => v1::TaskState::Initializing,
            TaskState::Running => v1::TaskState::Running,
            TaskState::Canceling => v1::TaskState::Canceling,
            TaskState::Finished => v1::TaskState::Finished,
            TaskState::Canceled => v1::TaskState::Canceled,
            TaskState::Failed => v1::TaskState::Failed,
        }
    }
}

impl TryFrom<v1::TaskState> for TaskState {
    type Error = InvalidMessage;

    fn try_from(state: v1::TaskState) -> Result<Self, Self::Error> {
        Ok(match state {
            v1::TaskState::Unspecified => return Err(unspecified("task.state")),
            v1::TaskState::Created => TaskState::Created,
            v1::TaskState::Scheduled => TaskState::Scheduled,
            v1::TaskState::Deploying => TaskState::Deploying,
            v1::TaskState::Initializing => TaskState::Initializing,
            v1::TaskState::Running => TaskState::Running,
            v1::TaskState::Canceling => TaskState::Canceling,
            v1::TaskState::Finished => TaskState::Finished,
            v1::TaskState::Canceled => TaskState::Canceled,
            v1::TaskState::Failed => TaskState::Failed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline() -> Pipeline {
        let stage = |name: &str, kind, input| Stage { name: name.to_owned(), kind, input };
        Pipeline {
            job: "sessionize".to_owned(),
            options: "{}".to_owned(),
            parallelism: NonZeroU32::new(3).expect("not zero"),
            max_parallelism: MaxParallelism::DEFAULT,
            source: SourceSpec {
                uri: "kafka://127.0.0.1:9092/events".to_owned(),
                from: StartPosition::At(EventTime(-5)),
                is_bounded: true,
                watermark_delay: Duration::from_secs(15),
                idle_timeout: Duration::ZERO,
                close_when_idle: Duration::ZERO,
                max_future: Duration::ZERO,
                max_drift: Duration::ZERO,
                properties: [("group.id".to_owned(), "g".to_owned())].into(),
                secrets: [("sasl.password".to_owned(), Secret::new("hunter2"))].into(),
            },
            sink: SinkSpec {
                uri: "postgres://127.0.0.1:5432/postgres".to_owned(),
                table: "t".to_owned(),
                columns: vec![Column { name: "n".to_owned(), column_type: ColumnType::BigInt }],
                side_tables: vec![SideTable {
                    name: "late".to_owned(),
                    columns: vec![Column { name: "raw".to_owned(), column_type: ColumnType::Bytes }],
                    outlet: Some(OutletSpec {
                        uri: "kafka://127.0.0.1:9092/late".to_owned(),
                        properties: [("client.id".to_owned(), "c".to_owned())].into(),
                        secrets: [("sasl.password".to_owned(), Secret::new("hunter4"))].into(),
                    }),
                    changelog: Changelog::Upsert,
                }],
                properties: [].into(),
                secrets: [].into(),
            },
            lookup: Some(LookupSpec {
                uri: "ip2location:https://127.0.0.1/".to_owned(),
                properties: [("rate".to_owned(), "20".to_owned())].into(),
                secrets: [("key".to_owned(), Secret::new("hunter3"))].into(),
            }),
            stages: vec![
                stage("source", StageKind::Source, None),
                stage("window", StageKind::Operator, Some(Exchange::Hash)),
                stage("sink", StageKind::Sink, Some(Exchange::Gather)),
            ],
            checkpoints: CheckpointSpec { interval: Duration::from_millis(200), timeout: Duration::from_secs(1) },
        }
    }

    #[test]
    fn pipeline_survives_the_wire() {
        let wire = v1::Pipeline::from(&pipeline());
        assert_eq!(Pipeline::try_from(wire), Ok(pipeline()));
    }

    #[test]
    fn debug_output_of_a_wire_message_hides_secrets() {
        let shown = format!("{:?}", v1::Pipeline::from(&pipeline()));
        assert!(shown.contains("127.0.0.1:9092") && !shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let wire = v1::Pipeline { source: None, ..(&pipeline()).into() };
        assert_eq!(Pipeline::try_from(wire), Err(InvalidMessage("`pipeline.source` is missing".to_owned())));
        let wire = v1::Pipeline { parallelism: 0, ..(&pipeline()).into() };
        assert_eq!(Pipeline::try_from(wire), Err(InvalidMessage("`parallelism` must be at least 1".to_owned())));
    }
}
