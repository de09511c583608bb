//! The aggregate job: web events to hits per host, and per host and referrer, in tumbling windows.
//!
//! | module | holds |
//! |---|---|
//! | [`options`] | what the user can choose, as a struct and as the JSON that travels with the pipeline |
//! | [`pipeline`] | the job's graph: source → (hash by host) → window → (gather) → sink |
//! | [`tables`] | its two results, and the tables of late events and bad records behind them |
//! | [`key`] | `(host, referrer)` as bytes, of which the host is the head |
//! | [`decoder`] | a record → keyed events |
//! | [`operator`] | keyed events and watermarks → rows of both results |
//!
//! Deliberately absent: clients of Kafka or Postgres, threads, clocks. A window's rules are `stream_core::tumbling`'s, the
//! record's are `web_intake`'s; this crate says what is counted and what a row is.
//!
//! Tested by examples beside the code, and on the web traffic against a batch computation (`tests/web_traffic.rs`).

pub mod decoder;
pub mod key;
pub mod operator;
pub mod options;
pub mod pipeline;
pub mod tables;

use stream_core::operator::{Decoder, Operator};
use stream_core::pipeline::{DecoderContext, JobDefinition, OperatorContext, OptionsError};

use crate::decoder::EventDecoder;
use crate::operator::HitsOperator;
use crate::options::Options;

/// The job type, as a taskmanager registers it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aggregate;

impl Aggregate {
    /// The name under which it is submitted.
    pub const NAME: &'static str = "aggregate";
}

impl JobDefinition for Aggregate {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn decoder(&self, options: &str, context: &DecoderContext<'_>) -> Result<Box<dyn Decoder>, OptionsError> {
        let dead_letters = tables::dead_letters(&read(options)?, context.job_id, context.source.name());
        Ok(Box::new(EventDecoder::new(dead_letters)))
    }

    fn operator(&self, options: &str, context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, OptionsError> {
        let options = read(options)?;
        if context.stage != pipeline::WINDOW_STAGE {
            return Err(OptionsError(format!("job `{}` has no stage `{}`", Self::NAME, context.stage)));
        }
        let late_events = tables::late_events(&options, context.job_id, context.source.name());
        let OperatorContext { key_groups, max_parallelism, .. } = *context;
        Ok(Box::new(HitsOperator::new(&options, late_events, key_groups, max_parallelism)))
    }
}

fn read(options: &str) -> Result<Options, OptionsError> {
    Options::from_json(options).map_err(|error| OptionsError(format!("job `{}`: {error}", Aggregate::NAME)))
}
