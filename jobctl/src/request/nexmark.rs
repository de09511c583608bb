//! `nexmark-q11`.

use job_nexmark::UserSessions;
use job_nexmark::pipeline::{self, DEFAULT_TABLE, GAP, WATERMARK_DELAY};
use job_sessionize::options::DEFAULT_IDLE_TIMEOUT;
use web_intake::OnBadRecord;

use super::running::running;
use super::source::Times;
use super::{Given, JobArgs, JobRequest, Place, sink, source};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

impl JobArgs for args::NexmarkQ11 {
    fn request(&self, environment: &Environment, place: Place) -> Result<JobRequest, Failure> {
        let running = running(&self.running, environment, place)?;
        if let Some(given) = Given::find("--on-bad-record", &self.running.on_bad_record, environment)
            && running.on_bad_record != OnBadRecord::Skip
        {
            return Err(given.not("what this job can do with a bad record", "it counts them: choose `skip`"));
        }
        if Given::find("--source", &self.source.source, environment).is_none() {
            return Err(Failure::usage("no source: pass `--source nexmark:events=10000000`"));
        }
        let times = Times {
            watermark_delay: WATERMARK_DELAY,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            // One subtask that runs ahead of another would hold more sessions than there are at any time.
            max_drift: GAP,
            ..Times::default()
        };
        let source = source::spec(&self.source, environment, place, UserSessions::NAME, times)?;
        let table = Given::find("--table", &self.table, environment);
        let table = table.map_or(DEFAULT_TABLE.to_owned(), |given| given.text);
        let sink = sink::spec(&self.sink, environment, place, table, pipeline::columns())?;
        let pipeline = pipeline::pipeline(running.parallelism, running.max_parallelism, source, sink);
        running.request(pipeline)
    }
}
