//! The job's graph: source → (hash by bidder) → window → (gather) → sink.

use std::num::NonZeroU32;
use std::time::Duration;

use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::{CheckpointSpec, Exchange, Pipeline, SinkSpec, SourceSpec, Stage, StageKind};
use stream_core::row::{Column, ColumnType};

use crate::UserSessions;

/// The stage that decodes records.
pub const SOURCE_STAGE: &str = "source";
/// The stage that holds the sessions.
pub const WINDOW_STAGE: &str = "window";
/// The stage that writes rows.
pub const SINK_STAGE: &str = "sink";
/// The job's options as they travel.
pub(crate) const NO_OPTIONS: &str = "{}";

/// The inactivity that ends a session.
pub const GAP: Duration = Duration::from_secs(10);
/// How far the watermark stays behind the latest bid: as the benchmark's tables declare it.
pub const WATERMARK_DELAY: Duration = Duration::from_secs(4);
/// The table that the rows go to.
pub const DEFAULT_TABLE: &str = "nexmark_q11";

/// The columns of a row, as the query names them.
pub fn columns() -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    vec![
        column("bidder", ColumnType::BigInt),
        column("bid_count", ColumnType::BigInt),
        column("starttime", ColumnType::Timestamp),
        column("endtime", ColumnType::Timestamp),
    ]
}

/// The job as a pipeline, ready to be submitted.
pub fn pipeline(
    parallelism: NonZeroU32,
    max_parallelism: MaxParallelism,
    source: SourceSpec,
    sink: SinkSpec,
) -> Pipeline {
    let stage = |name: &str, kind, input| Stage { name: name.to_owned(), kind, input };
    Pipeline {
        job: UserSessions::NAME.to_owned(),
        options: NO_OPTIONS.to_owned(),
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
        checkpoints: CheckpointSpec::default(),
    }
}
