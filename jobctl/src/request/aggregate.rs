//! `aggregate`.

use job_aggregate::options::{self, Options};
use job_aggregate::{Aggregate, pipeline, tables};

use super::event_time::event_time;
use super::running::running;
use super::{Given, JobArgs, JobRequest, Place, sink, source};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

impl JobArgs for args::Aggregate {
    fn request(&self, environment: &Environment, place: Place) -> Result<JobRequest, Failure> {
        let window = Given::find("--window", &self.window, environment);
        let size = window.as_ref().map_or(Ok(options::DEFAULT_WINDOW), Given::duration)?;
        let event_time = event_time(&self.event_time, environment, place)?;
        let options = Options::new(size, event_time.allowed_lateness)
            .map_err(|error| Failure::usage(window.map_or(error.to_string(), |window| window.refused(&error))))?;
        let running = running(&self.running, environment, place)?;
        let options = options.with_policies(event_time.on_late, running.on_bad_record);
        let times = event_time.times(options.window());
        let source = source::spec(&self.source, environment, place, Aggregate::NAME, times)?;
        let table = Given::find("--table", &self.table, environment);
        let table = table.map_or(options::DEFAULT_TABLE.to_owned(), |given| given.text);
        let sink = sink::spec(&self.sink, environment, place, table, tables::columns())?;
        let (parallelism, max_parallelism) = (running.parallelism, running.max_parallelism);
        let mut pipeline = pipeline::pipeline(options, parallelism, max_parallelism, source, sink);
        event_time.keep_late_events(&mut pipeline)?;
        running.request(pipeline)
    }
}
