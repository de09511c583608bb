//! How a job runs, whatever it does.

use std::num::NonZeroU32;
use std::time::Duration;

use stream_core::key_group::MaxParallelism;
use stream_core::pipeline::Pipeline;
use web_intake::OnBadRecord;
use web_intake::dead_letters::DEAD_LETTER_EVENTS;

use super::outlet::Outlet;
use super::{Given, JobRequest, Place};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

/// Subtasks of each stage before the sink.
const DEFAULT_PARALLELISM: NonZeroU32 = NonZeroU32::MIN;
/// The shortest interval between two checkpoints that makes sense: each is a commit in the sink.
const MIN_CHECKPOINT_INTERVAL: Duration = Duration::from_millis(100);
/// How often a job in this process cuts an epoch: nothing is stored, so that a person may see results soon.
const INTERVAL_HERE: Duration = Duration::from_secs(1);

/// How a job runs.
pub(super) struct Running {
    pub(super) on_bad_record: OnBadRecord,
    /// Where bad records are kept if not in a table.
    dead_letters: Option<Outlet>,
    pub(super) parallelism: NonZeroU32,
    pub(super) max_parallelism: MaxParallelism,
    /// None: as the pipeline has it.
    checkpoint_interval: Option<Duration>,
    name: String,
}

/// What was asked for.
///
/// # Errors
/// If a value cannot be.
pub(super) fn running(args: &args::Running, environment: &Environment, place: Place) -> Result<Running, Failure> {
    let given = |flag, typed| Given::find(flag, typed, environment);
    let (on_bad_record, dead_letters) = given("--on-bad-record", &args.on_bad_record)
        .map_or(Ok((default_on_bad_record(place), None)), |given| bad_record_policy(&given, environment))?;
    let max_parallelism = match given("--max-parallelism", &args.max_parallelism) {
        None => MaxParallelism::DEFAULT,
        Some(given) => MaxParallelism::new(given.number("a number of key groups", MaxParallelism::LIMIT.into())?)
            .map_err(|error| Failure::usage(given.refused(&error)))?,
    };
    let parallelism = match given("--parallelism", &args.parallelism) {
        None => DEFAULT_PARALLELISM,
        Some(given) => parallelism(&given, max_parallelism)?,
    };
    let checkpoint_interval = match given("--checkpoint-interval", &args.checkpoint_interval) {
        Some(given) => Some(checkpoint_interval(&given)?),
        None if place == Place::Here => Some(INTERVAL_HERE),
        None => None,
    };
    let name = given("--name", &args.name).map_or(String::new(), |name| name.text);
    Ok(Running { on_bad_record, dead_letters, parallelism, max_parallelism, checkpoint_interval, name })
}

impl Running {
    /// The job with its name and its checkpoints, checked as a whole.
    ///
    /// # Errors
    /// If the pipeline cannot run.
    pub(super) fn request(self, mut pipeline: Pipeline) -> Result<JobRequest, Failure> {
        if let Some(interval) = self.checkpoint_interval {
            pipeline.checkpoints.interval = interval;
        }
        if let Some(outlet) = self.dead_letters {
            outlet.take(&mut pipeline, DEAD_LETTER_EVENTS)?;
        }
        pipeline.check().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(JobRequest { name: self.name, pipeline, warning: None })
    }
}

/// Where results go to a terminal or a file, a second file would surprise.
fn default_on_bad_record(place: Place) -> OnBadRecord {
    if place == Place::Here { OnBadRecord::Skip } else { OnBadRecord::DeadLetter }
}

fn bad_record_policy(given: &Given, environment: &Environment) -> Result<(OnBadRecord, Option<Outlet>), Failure> {
    if let Some(outlet) = Outlet::of(given, environment)? {
        return Ok((OnBadRecord::DeadLetter, Some(outlet)));
    }
    match given.text.as_str() {
        "dead-letter" => Ok((OnBadRecord::DeadLetter, None)),
        "skip" => Ok((OnBadRecord::Skip, None)),
        "fail" => Ok((OnBadRecord::Fail, None)),
        _ => Err(given.not(
            "a policy for bad records",
            "choose `dead-letter`, `topic:NAME`, `csv:PATH`, `jsonl:PATH`, `skip` or `fail`",
        )),
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
