//! The job's graph: source → (hash by ip) → locate → (gather) → sink.
//!
//! The exchange by ip is there for the look-ups: all events of an ip meet in one subtask, so that nobody else asks about it, and
//! their order is kept.

use std::num::NonZeroU32;

use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::{CheckpointSpec, Exchange, LookupSpec, Pipeline, SinkSpec, SourceSpec, Stage, StageKind};
use stream_core::row::{Column, ColumnType};

use crate::ProcessEvents;
use crate::options::Options;

/// The stage that decodes records.
pub const SOURCE_STAGE: &str = "source";
/// The stage that finds locations.
pub const LOCATE_STAGE: &str = "locate";
/// The stage that writes rows.
pub const SINK_STAGE: &str = "sink";

/// The columns of a row. `event_timestamp` is the record's `event_time`, `geodata` a JSON object.
pub fn columns() -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    vec![
        column("ip", ColumnType::Text),
        column("event_timestamp", ColumnType::Timestamp),
        column("referrer", ColumnType::Text),
        column("host", ColumnType::Text),
        column("url", ColumnType::Text),
        column("geodata", ColumnType::Text),
    ]
}

/// The job as a pipeline, ready to be submitted. The side tables of `sink` are the job's to say; without a `lookup` no location
/// is known.
pub fn pipeline(
    options: Options,
    parallelism: NonZeroU32,
    max_parallelism: MaxParallelism,
    source: SourceSpec,
    sink: SinkSpec,
    lookup: Option<LookupSpec>,
) -> Pipeline {
    let side_tables = options.on_bad_record.side_table(&sink.table).into_iter().collect();
    let stage = |name: &str, kind, input| Stage { name: name.to_owned(), kind, input };
    Pipeline {
        job: ProcessEvents::NAME.to_owned(),
        options: options.to_json(),
        parallelism,
        max_parallelism,
        source,
        sink: SinkSpec { side_tables, ..sink },
        lookup,
        stages: vec![
            stage(SOURCE_STAGE, StageKind::Source, None),
            stage(LOCATE_STAGE, StageKind::Operator, Some(Exchange::Hash)),
            stage(SINK_STAGE, StageKind::Sink, Some(Exchange::Gather)),
        ],
        checkpoints: CheckpointSpec::default(),
    }
}

#[cfg(test)]
mod tests {
    use web_intake::OnBadRecord;

    use super::*;
    use crate::testing::source;

    #[test]
    fn pipeline_is_one_that_the_data_plane_can_run_and_keeps_dead_letters_if_asked_for() {
        let sink = SinkSpec {
            uri: "stdout:".to_owned(),
            table: "web.processed_events".to_owned(),
            side_tables: Vec::new(),
            columns: columns(),
            properties: [].into(),
            secrets: [].into(),
        };
        let of = |on_bad_record| {
            let options = Options { on_bad_record, ..Options::default() };
            pipeline(options, NonZeroU32::MIN, MaxParallelism::DEFAULT, source(), sink.clone(), None)
        };
        assert_eq!(of(OnBadRecord::Skip).check(), Ok(()));
        assert_eq!(of(OnBadRecord::Skip).sink.side_tables, []);
        assert_eq!(of(OnBadRecord::DeadLetter).sink.side_tables[0].name, "web.dead_letter_events");
    }
}
