//! The nexmark-q11 job: how many bids each bidder made in each session, which a gap of 10 seconds ends.
//!
//! Query 11 of the Nexmark benchmark (<https://github.com/nexmark/nexmark>, `queries/q11.sql`) as a job of this engine, since it is the
//! one query with session windows for which figures of other engines are published. It is not about web events, and shares nothing
//! with `job-sessionize` but what both build on: `stream_core::session` and the JSON reader.
//!
//! | module | holds |
//! |---|---|
//! | [`pipeline`] | the job's graph: source → (hash by bidder) → window → (gather) → sink |
//! | [`decoder`] | a record → a bid, keyed by its bidder |
//! | [`operator`] | keyed bids and watermarks → rows |
//!
//! Deliberately absent: options. The query has none; late bids and bad records are counted only.
//!
//! Tested against the naive answer to the query (`tests/naive.rs`).

pub mod decoder;
pub mod operator;
pub mod pipeline;

use stream_core::operator::{Decoder, Operator};
use stream_core::pipeline::{DecoderContext, JobDefinition, OperatorContext, OptionsError};

use crate::decoder::BidDecoder;
use crate::operator::SessionsOperator;

/// The job type, as a taskmanager registers it.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserSessions;

impl UserSessions {
    /// The name under which it is submitted.
    pub const NAME: &'static str = "nexmark-q11";
}

impl JobDefinition for UserSessions {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn decoder(&self, options: &str, _context: &DecoderContext<'_>) -> Result<Box<dyn Decoder>, OptionsError> {
        check(options)?;
        Ok(Box::new(BidDecoder::new()))
    }

    fn operator(&self, options: &str, context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, OptionsError> {
        check(options)?;
        if context.stage != pipeline::WINDOW_STAGE {
            return Err(OptionsError(format!("job `{}` has no stage `{}`", Self::NAME, context.stage)));
        }
        Ok(Box::new(SessionsOperator::new(context.key_groups, context.max_parallelism)))
    }
}

fn check(options: &str) -> Result<(), OptionsError> {
    match options {
        pipeline::NO_OPTIONS => Ok(()),
        _ => Err(OptionsError(format!("job `{}` has no options", UserSessions::NAME))),
    }
}
