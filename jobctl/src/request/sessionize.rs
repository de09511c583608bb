//! `sessionize`.

use std::time::Duration;

use job_sessionize::options::{self, OnLate, Options};
use job_sessionize::{Sessionize, pipeline};

use super::running::running;
use super::{Given, JobArgs, JobRequest, Place, sink, source};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

impl JobArgs for args::Sessionize {
    fn request(&self, environment: &Environment, place: Place) -> Result<JobRequest, Failure> {
        let given = |flag, typed| Given::find(flag, typed, environment);
        let gap = given("--gap", &self.gap);
        let duration = |given: Option<Given>, default| given.map_or(Ok(default), |given| given.duration());
        let lateness = duration(given("--allowed-lateness", &self.allowed_lateness), Duration::ZERO)?;
        let options = Options::new(duration(gap.clone(), options::DEFAULT_GAP)?, lateness)
            .map_err(|error| Failure::usage(gap.map_or(error.to_string(), |gap| gap.refused(&error))))?;
        let on_late =
            given("--on-late", &self.on_late).map_or(Ok(default_on_late(place)), |given| late_policy(&given))?;
        let running = running(&self.running, environment, place)?;
        let options = options.with_policies(on_late, running.on_bad_record);
        let watermark_delay =
            duration(given("--watermark-delay", &self.watermark_delay), options::DEFAULT_WATERMARK_DELAY)?;
        let idle_timeout = duration(given("--idle-timeout", &self.idle_timeout), options::DEFAULT_IDLE_TIMEOUT)?;
        let max_future = duration(given("--max-future", &self.max_future), options::DEFAULT_MAX_FUTURE)?;
        let close_when_idle = match given("--close-when-idle", &self.close_when_idle) {
            Some(given) if given.switch()? && idle_timeout.is_zero() => {
                return Err(Failure::usage(
                    given.refused(&"no partition is ever idle: choose an --idle-timeout above 0"),
                ));
            }
            // Then the last session of the last event has ended.
            Some(given) if given.switch()? => {
                Duration::from_millis(options.windows().gap_ms.unsigned_abs()) + watermark_delay
            }
            _ => Duration::ZERO,
        };

        let times = source::Times { watermark_delay, idle_timeout, max_future, close_when_idle };
        let source = source::spec(&self.source, environment, place, Sessionize::NAME, times)?;
        let table = given("--table", &self.table).map_or(options::DEFAULT_TABLE.to_owned(), |given| given.text);
        let sink = sink::spec(&self.sink, environment, place, table, pipeline::columns())?;
        let (parallelism, max_parallelism) = (running.parallelism, running.max_parallelism);
        running.request(pipeline::pipeline(options, parallelism, max_parallelism, source, sink))
    }
}

/// Where results go to a terminal or a file, a second file would surprise.
fn default_on_late(place: Place) -> OnLate {
    if place == Place::Here { OnLate::Drop } else { OnLate::DeadLetterTable }
}

fn late_policy(given: &Given) -> Result<OnLate, Failure> {
    match given.text.as_str() {
        "dead-letter-table" => Ok(OnLate::DeadLetterTable),
        "drop" => Ok(OnLate::Drop),
        "fail" => Ok(OnLate::Fail),
        _ => Err(given.not("a policy for late events", "choose `dead-letter-table`, `drop` or `fail`")),
    }
}
