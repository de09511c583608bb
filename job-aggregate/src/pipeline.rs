//! The job's graph: source → (hash by host) → window → (gather) → sink.

use std::num::NonZeroU32;

use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::{Exchange, Pipeline, SinkSpec, SourceSpec, Stage, StageKind};

use crate::Aggregate;
use crate::options::Options;
use crate::tables::side_tables;

/// The stage that decodes records.
pub const SOURCE_STAGE: &str = "source";
/// The stage that holds the counts.
pub const WINDOW_STAGE: &str = "window";
/// The stage that writes rows.
pub const SINK_STAGE: &str = "sink";

/// The job as a pipeline, ready to be submitted. The side tables of `sink` are the job's to say.
pub fn pipeline(
    options: Options,
    parallelism: NonZeroU32,
    max_parallelism: MaxParallelism,
    source: SourceSpec,
    sink: SinkSpec,
) -> Pipeline {
    let sink = SinkSpec { side_tables: side_tables(&options, &sink.table), ..sink };
    let stage = |name: &str, kind, input| Stage { name: name.to_owned(), kind, input };
    Pipeline {
        job: Aggregate::NAME.to_owned(),
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
