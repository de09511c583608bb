//! What the program needs, made of what the user typed and of the environment.
//!
//! For each option: what was typed, else the variable `GAPWISE_…`, else the variable of the job's Flink version, else a
//! default. A wrong value is told with the name under which it came in.

mod audit;
mod given;
mod sink;
mod source;
mod uri;

use std::num::NonZeroU32;
use std::time::Duration;

use job_sessionize::options::{self, OnBadRecord, OnLate, Options};
use job_sessionize::pipeline;
use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::Pipeline;

use crate::args::Sessionize;
use crate::environment::Environment;
use crate::failure::Failure;
pub(crate) use audit::{AuditRequest, audit, rows_before};
pub(crate) use given::Given;

/// The shortest interval between two checkpoints that makes sense: each is a commit in the sink.
const MIN_CHECKPOINT_INTERVAL: Duration = Duration::from_millis(100);
/// How often a job in this process cuts an epoch: nothing is stored, so that a person may see results soon.
const INTERVAL_HERE: Duration = Duration::from_secs(1);

/// A job as it is handed to a jobmanager.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JobRequest {
    /// Empty: the jobmanager names it after its type.
    pub(crate) name: String,
    pub(crate) pipeline: Pipeline,
}

/// Where a job is to run, which decides what its source and sink can be and what they are by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On taskmanagers, which have neither our standard input nor our standard output.
    Cluster,
    /// In this process.
    Here,
}

/// The job that `args` and `environment` ask for.
///
/// # Errors
/// If a value cannot be; source and sink are not reached here.
pub(crate) fn sessionize(args: &Sessionize, environment: &Environment, place: Place) -> Result<JobRequest, Failure> {
    let given = |flag, typed| Given::find(flag, typed, environment);
    let gap = given("--gap", &args.gap);
    let duration = |given: Option<Given>, default| given.map_or(Ok(default), |given| given.duration());
    let lateness = duration(given("--allowed-lateness", &args.allowed_lateness), Duration::ZERO)?;
    let options = Options::new(duration(gap.clone(), options::DEFAULT_GAP)?, lateness)
        .map_err(|error| Failure::usage(gap.map_or(error.to_string(), |gap| gap.refused(&error))))?;
    let on_late = given("--on-late", &args.on_late).map_or(Ok(default_on_late(place)), |given| late_policy(&given))?;
    let on_bad_record = given("--on-bad-record", &args.on_bad_record)
        .map_or(Ok(default_on_bad_record(place)), |given| bad_record_policy(&given))?;
    let options = options.with_policies(on_late, on_bad_record);
    let watermark_delay =
        duration(given("--watermark-delay", &args.watermark_delay), options::DEFAULT_WATERMARK_DELAY)?;
    let idle_timeout = duration(given("--idle-timeout", &args.idle_timeout), options::DEFAULT_IDLE_TIMEOUT)?;
    let max_future = duration(given("--max-future", &args.max_future), options::DEFAULT_MAX_FUTURE)?;
    let close_when_idle = match given("--close-when-idle", &args.close_when_idle) {
        Some(given) if given.switch()? && idle_timeout.is_zero() => {
            return Err(Failure::usage(given.refused(&"no partition is ever idle: choose an --idle-timeout above 0")));
        }
        // Then the last session of the last event has ended.
        Some(given) if given.switch()? => {
            Duration::from_millis(options.windows().gap_ms.unsigned_abs()) + watermark_delay
        }
        _ => Duration::ZERO,
    };

    let max_parallelism = match given("--max-parallelism", &args.max_parallelism) {
        None => MaxParallelism::DEFAULT,
        Some(given) => MaxParallelism::new(given.number("a number of key groups", MaxParallelism::LIMIT.into())?)
            .map_err(|error| Failure::usage(given.refused(&error)))?,
    };
    let parallelism = match given("--parallelism", &args.parallelism) {
        None => options::DEFAULT_PARALLELISM,
        Some(given) => parallelism(&given, max_parallelism)?,
    };

    let watermarks = source::Watermarks { watermark_delay, idle_timeout, max_future, close_when_idle };
    let source = source::spec(args, environment, place, watermarks)?;
    let sink = sink::spec(args, environment, place)?;
    let name = given("--name", &args.name).map_or(String::new(), |name| name.text);
    let mut pipeline = pipeline::pipeline(options, parallelism, max_parallelism, source, sink);
    pipeline.checkpoints.interval = match given("--checkpoint-interval", &args.checkpoint_interval) {
        Some(given) => checkpoint_interval(&given)?,
        None if place == Place::Here => INTERVAL_HERE,
        None => pipeline.checkpoints.interval,
    };
    pipeline.check().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(JobRequest { name, pipeline })
}

/// Where results go to a terminal or a file, a second file would surprise.
fn default_on_late(place: Place) -> OnLate {
    if place == Place::Here { OnLate::Drop } else { OnLate::DeadLetterTable }
}

fn default_on_bad_record(place: Place) -> OnBadRecord {
    if place == Place::Here { OnBadRecord::Skip } else { OnBadRecord::DeadLetter }
}

fn late_policy(given: &Given) -> Result<OnLate, Failure> {
    match given.text.as_str() {
        "dead-letter-table" => Ok(OnLate::DeadLetterTable),
        "drop" => Ok(OnLate::Drop),
        "fail" => Ok(OnLate::Fail),
        _ => Err(given.not("a policy for late events", "choose `dead-letter-table`, `drop` or `fail`")),
    }
}

fn bad_record_policy(given: &Given) -> Result<OnBadRecord, Failure> {
    match given.text.as_str() {
        "dead-letter" => Ok(OnBadRecord::DeadLetter),
        "skip" => Ok(OnBadRecord::Skip),
        "fail" => Ok(OnBadRecord::Fail),
        _ => Err(given.not("a policy for bad records", "choose `dead-letter`, `skip` or `fail`")),
    }
}

fn checkpoint_interval(given: &Given) -> Result<Duration, Failure> {
    let interval = given.duration()?;
    if interval < MIN_CHECKPOINT_INTERVAL {
        return Err(given.not("a checkpoint interval", "choose at least `100ms`"));
    }
    Ok(interval)
}

/// The parallelism of `jobctl rescale`, of which only the job knows the maximum.
///
/// # Errors
/// If it is no number, or 0.
pub(crate) fn new_parallelism(text: &str) -> Result<NonZeroU32, Failure> {
    let given = Given { text: text.to_owned(), name: "--parallelism".to_owned() };
    let max = u64::from(MaxParallelism::LIMIT);
    let number = given.number("a number of subtasks", max)?;
    u32::try_from(number)
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| given.not("a number of subtasks", &format!("choose from 1 to {max}")))
}

fn parallelism(given: &Given, max_parallelism: MaxParallelism) -> Result<NonZeroU32, Failure> {
    let max = u64::from(max_parallelism.get());
    let number = given.number("a number of subtasks", max)?;
    // Above the maximum it is the pipeline that refuses, which knows the rule.
    u32::try_from(number)
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| given.not("a number of subtasks", &format!("choose from 1 to {max}")))
}

#[cfg(test)]
mod tests;
