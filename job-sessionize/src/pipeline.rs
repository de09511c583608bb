//! The job's graph: source → (hash) → window → (gather) → sink.

use std::num::NonZeroU32;

use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::{Exchange, Pipeline, SinkSpec, SourceSpec, Stage, StageKind};
use stream_core::row::{Column, ColumnType};

use crate::Sessionize;
use crate::options::Options;
use crate::side_tables::side_tables;

/// The stage that decodes records.
pub const SOURCE_STAGE: &str = "source";
/// The stage that holds the sessions.
pub const WINDOW_STAGE: &str = "window";
/// The stage that writes rows.
pub const SINK_STAGE: &str = "sink";

/// The columns of a row. `event_hour` is the session's start, to the millisecond: the name is the homework's, and nothing
/// is rounded.
pub fn columns() -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    vec![
        column("event_hour", ColumnType::Timestamp),
        column("ip", ColumnType::Text),
        column("host", ColumnType::Text),
        column("num_hits", ColumnType::BigInt),
    ]
}

/// The same, and behind them the time of the last event if the options ask for it.
pub fn columns_of(options: Options) -> Vec<Column> {
    let last = Column { name: "last_event".to_owned(), column_type: ColumnType::Timestamp };
    columns().into_iter().chain(options.has_last_event.then_some(last)).collect()
}

/// The job as a pipeline, ready to be submitted. The side tables of `sink` are the job's to say, but for the one of open sessions, if the
/// options ask for one ([`crate::open_table::table`]).
pub fn pipeline(
    options: Options,
    parallelism: NonZeroU32,
    max_parallelism: MaxParallelism,
    source: SourceSpec,
    sink: SinkSpec,
) -> Pipeline {
    let own = side_tables(options, &sink.table);
    let sink = SinkSpec { side_tables: own.into_iter().chain(sink.side_tables).collect(), ..sink };
    let stage = |name: &str, kind, input| Stage { name: name.to_owned(), kind, input };
    Pipeline {
        job: Sessionize::NAME.to_owned(),
        options: options.to_json(),
        parallelism,
        max_parallelism,
        source,
        sink,
        lookup: None,
        stages: vec![
            stage(SOURCE_STAGE, StageKind::Source, None),
            stage(WINDOW_STAGE, StageKind::Operator, Some(Exchange::Hash)),
            stage(SINK_STAGE, StageKind::Sink, Some(Exchange::Gather)),
        ],
        checkpoints: stream_core::pipeline::CheckpointSpec::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::DEFAULT_TABLE;
    use crate::testing::source;

    #[test]
    fn pipeline_is_one_that_the_data_plane_can_run() {
        let sink = SinkSpec {
            uri: "stdout:".to_owned(),
            table: DEFAULT_TABLE.to_owned(),
            side_tables: Vec::new(),
            columns: columns(),
            properties: [].into(),
            secrets: [].into(),
        };
        let pipeline = pipeline(Options::default(), NonZeroU32::MIN, MaxParallelism::DEFAULT, source(), sink);
        assert_eq!(pipeline.check(), Ok(()));
        let names: Vec<&str> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["source", "window", "sink"]);
    }
}
