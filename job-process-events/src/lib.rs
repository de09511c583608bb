//! The process_events job: each web event, with the location of its ip, as one row.
//!
//! | module | holds |
//! |---|---|
//! | [`options`] | what the user can choose, as a struct and as the JSON that travels with the pipeline |
//! | [`pipeline`] | the job's graph: source → (hash by ip) → locate → (gather) → sink, and its columns |
//! | [`record`] | an event's fields as bytes, the ip first |
//! | [`decoder`] | a Kafka record → keyed events |
//! | [`operator`] | keyed events and answers → rows |
//! | [`cache`] | what is known of the ips that came by last |
//! | [`waiting`] | the events whose ip is being looked up: the job's keyed state |
//!
//! Deliberately absent: clients of Kafka, Postgres or a service of locations, threads, clocks. Who knows locations, and how
//! often a question may be put, is behind the port `Lookup`; `docs/design/0004-look-ups.md` has the whole.
//!
//! Tested by examples beside the code, and against a plain list by properties (`operator`).

pub mod cache;
pub mod decoder;
pub mod operator;
pub mod options;
pub mod pipeline;
pub mod record;
#[cfg(test)]
mod testing;
pub mod waiting;

use stream_core::ids::TableIndex;
use stream_core::operator::{Decoder, Operator};
use stream_core::pipeline::{DecoderContext, JobDefinition, OperatorContext, OptionsError};
use web_intake::DeadLetters;

use crate::decoder::EventDecoder;
use crate::operator::LocateOperator;
use crate::options::Options;

/// The job type, as a taskmanager registers it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEvents;

impl ProcessEvents {
    /// The name under which it is submitted.
    pub const NAME: &'static str = "process_events";
}

impl JobDefinition for ProcessEvents {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn decoder(&self, options: &str, context: &DecoderContext<'_>) -> Result<Box<dyn Decoder>, OptionsError> {
        let policy = read(options)?.on_bad_record;
        let dead_letters = DeadLetters::new(policy, TableIndex(1), context.job_id, context.source.name());
        Ok(Box::new(EventDecoder::new(dead_letters)))
    }

    fn operator(&self, options: &str, context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, OptionsError> {
        let options = read(options)?;
        if context.stage != pipeline::LOCATE_STAGE {
            return Err(OptionsError(format!("job `{}` has no stage `{}`", Self::NAME, context.stage)));
        }
        Ok(Box::new(LocateOperator::new(options.cached_ips, context.max_parallelism)))
    }
}

fn read(options: &str) -> Result<Options, OptionsError> {
    Options::from_json(options).map_err(|error| OptionsError(format!("job `{}`: {error}", ProcessEvents::NAME)))
}

#[cfg(test)]
mod tests {
    use stream_core::ids::{JobId, StageIndex, SubtaskId, SubtaskIndex};
    use stream_core::key_group::{KeyGroupRange, MaxParallelism};

    use super::*;
    use crate::testing::source;

    #[test]
    fn job_is_built_from_its_own_options_and_stage_only() {
        let max_parallelism = MaxParallelism::DEFAULT;
        let operator = |options: &str, stage| {
            let context = OperatorContext {
                job_id: JobId(1),
                source: &source(),
                stage,
                subtask: SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) },
                key_groups: KeyGroupRange::of_subtask(max_parallelism, 1, SubtaskIndex(0)),
                max_parallelism,
                is_from_savepoint: false,
            };
            ProcessEvents.operator(options, &context).map(drop)
        };
        let options = Options::default().to_json();
        assert_eq!(operator(&options, "locate"), Ok(()));
        assert!(ProcessEvents.decoder(&options, &DecoderContext { job_id: JobId(1), source: &source() }).is_ok());
        assert_eq!(
            operator(&options, "window"),
            Err(OptionsError("job `process_events` has no stage `window`".to_owned()))
        );
        assert!(operator(r#"{"gap_ms":1}"#, "locate").is_err());
    }
}
