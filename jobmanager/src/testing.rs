//! A pipeline for unit tests.

use std::num::NonZeroU32;
use std::time::Duration;

use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::{Exchange, Pipeline, SinkSpec, SourceSpec, Stage, StageKind, StartPosition};

/// source → window (hashed) → sink (gathered).
pub(crate) fn pipeline(parallelism: u32) -> Pipeline {
    let stage = |name: &str, kind, input| Stage { name: name.to_owned(), kind, input };
    Pipeline {
        job: "toy".to_owned(),
        options: "{}".to_owned(),
        parallelism: NonZeroU32::new(parallelism).expect("not zero"),
        max_parallelism: MaxParallelism::DEFAULT,
        source: SourceSpec {
            uri: "memory:events".to_owned(),
            from: StartPosition::Earliest,
            is_bounded: false,
            watermark_delay: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            close_when_idle: Duration::ZERO,
            max_future: Duration::ZERO,
            max_drift: Duration::ZERO,
            properties: [].into(),
            secrets: [].into(),
        },
        sink: SinkSpec {
            uri: "memory:rows".to_owned(),
            table: String::new(),
            side_tables: Vec::new(),
            columns: Vec::new(),
            properties: [].into(),
            secrets: [].into(),
        },
        lookup: None,
        stages: vec![
            stage("source", StageKind::Source, None),
            stage("window", StageKind::Operator, Some(Exchange::Hash)),
            stage("sink", StageKind::Sink, Some(Exchange::Gather)),
        ],
        checkpoints: stream_core::pipeline::CheckpointSpec::default(),
    }
}
