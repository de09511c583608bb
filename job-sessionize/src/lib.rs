//! The sessionize job: web events to sessions of `(ip, host)` that end after a gap of inactivity.
//!
//! | module | holds |
//! |---|---|
//! | [`options`] | what the user can choose, as a struct and as the JSON that travels with the pipeline |
//! | [`pipeline`] | the job's graph: source → (hash) → window → (gather) → sink, and its columns |
//! | [`key`] | `(ip, host)` as bytes |
//! | [`decoder`] | a record → keyed events |
//! | [`side_tables`] | what becomes of late events and bad records |
//! | [`operator`] | keyed events and watermarks → rows of closed sessions |
//! | [`open_sessions`] | questions about the sessions that are open |
//! | [`open_table`] | the table that shows them at each checkpoint |
//! | [`late_replay`] | late events put into the sessions of a table that they belong to |
//! | [`replay`] | the sessions of a log, computed once more in another way, and compared with a table |
//!
//! Deliberately absent: clients of Kafka or Postgres, threads, clocks. A session's rules are `stream_core::session`'s, the
//! record's are `web_intake`'s; this crate says which fields are the key and what a row is.
//!
//! Tested by examples beside the code and, in `tests/conformance`, against recorded answers of Flink 2.2.

pub mod decoder;
pub mod key;
pub mod late_replay;
pub mod open_sessions;
pub mod open_table;
pub mod operator;
pub mod options;
pub mod pipeline;
pub mod replay;
pub mod side_tables;
#[cfg(test)]
mod testing;

use stream_core::operator::{Decoder, Operator};
use stream_core::pipeline::{DecoderContext, JobDefinition, OperatorContext, OptionsError};

use crate::decoder::EventDecoder;
use crate::open_table::OpenTable;
use crate::operator::SessionOperator;
use crate::options::Options;

/// The job type, as a taskmanager registers it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sessionize;

impl Sessionize {
    /// The name under which it is submitted.
    pub const NAME: &'static str = "sessionize";
}

impl JobDefinition for Sessionize {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn decoder(&self, options: &str, context: &DecoderContext<'_>) -> Result<Box<dyn Decoder>, OptionsError> {
        let options = read(options)?;
        let dead_letters = side_tables::dead_letters(options, context.job_id, context.source.name());
        Ok(Box::new(EventDecoder::keeping(dead_letters).putting_together(options.puts_together_within_ms())))
    }

    fn operator(&self, options: &str, context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, OptionsError> {
        let options = read(options)?;
        if context.stage != pipeline::WINDOW_STAGE {
            return Err(OptionsError(format!("job `{}` has no stage `{}`", Self::NAME, context.stage)));
        }
        let late_events = side_tables::late_events(options, context.job_id, context.source.name());
        let OperatorContext { job_id, key_groups, max_parallelism, is_from_savepoint, .. } = *context;
        let operator = SessionOperator::new(options.windows(), options.form(), key_groups, max_parallelism);
        let operator = operator.keeping(late_events).with_last_event(options.has_last_event);
        Ok(Box::new(match options.has_open_table {
            true => operator.showing_open(OpenTable::new(side_tables::open_table(options), job_id, is_from_savepoint)),
            false => operator,
        }))
    }
}

fn read(options: &str) -> Result<Options, OptionsError> {
    Options::from_json(options).map_err(|error| OptionsError(format!("job `{}`: {error}", Sessionize::NAME)))
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{JobId, StageIndex, SubtaskId, SubtaskIndex};
    use stream_core::key_group::{KeyGroupRange, MaxParallelism};

    use super::*;
    use crate::testing::source;

    fn operator(options: &str, stage: &str) -> Result<(), OptionsError> {
        let max_parallelism = MaxParallelism::DEFAULT;
        let context = OperatorContext {
            job_id: JobId(1),
            source: &source(),
            stage,
            subtask: SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) },
            key_groups: KeyGroupRange::of_subtask(max_parallelism, 1, SubtaskIndex(0)),
            max_parallelism,
            is_from_savepoint: false,
        };
        Sessionize.operator(options, &context).map(drop)
    }

    #[test]
    fn job_is_built_from_its_own_options_and_stage_only() {
        let options = Options::default().to_json();
        assert_eq!(operator(&options, "window"), Ok(()));
        let context = DecoderContext { job_id: JobId(1), source: &source() };
        assert!(Sessionize.decoder(&options, &context).is_ok());
        assert_eq!(operator(&options, "join"), Err(OptionsError("job `sessionize` has no stage `join`".to_owned())));
        let refused = operator("{\"gap_ms\":0,\"allowed_lateness_ms\":0}", "window").map_err(|error| error.to_string());
        assert_eq!(refused, Err("job `sessionize`: the gap is 0: choose at least `1ms`".to_owned()));
    }
}
