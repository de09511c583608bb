//! `sessionize`.

use std::time::Duration;

use job_sessionize::options::{self, InvalidOptions, Options};
use job_sessionize::{Sessionize, open_table, pipeline};
use stream_core::pipeline::{SideTable, SinkSpec};

use super::event_time::event_time;
use super::running::running;
use super::{Given, JobArgs, JobRequest, Place, sink, source};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

impl JobArgs for args::Sessionize {
    fn request(&self, environment: &Environment, place: Place) -> Result<JobRequest, Failure> {
        let given_gap = Given::find("--gap", &self.gap, environment);
        let gap = given_gap.as_ref().map_or(Ok(options::DEFAULT_GAP), Given::duration)?;
        let event_time = event_time(&self.event_time, environment, place)?;
        let options = Options::new(gap, event_time.allowed_lateness)
            .map_err(|error| Failure::usage(given_gap.map_or(error.to_string(), |given| given.refused(&error))))?;
        let options = self.with_limits(options, environment)?;
        let running = running(&self.running, environment, place)?;
        let has_last_event =
            Given::find("--last-event", &self.last_event, environment).map_or(Ok(false), |given| given.switch())?;
        let options = options.with_policies(event_time.on_late, running.on_bad_record).with_last_event(has_last_event);
        let open_table = Given::find("--open-sessions-table", &self.open_sessions_table, environment);
        let options = options.with_open_table(open_table.is_some());
        let times = event_time.times(Duration::from_millis(options.windows().gap_ms.unsigned_abs()));
        let source = source::spec(&self.source, environment, place, Sessionize::NAME, times)?;
        let table = Given::find("--table", &self.table, environment);
        let table = table.map_or(options::DEFAULT_TABLE.to_owned(), |given| given.text);
        let mut sink = sink::spec(&self.sink, environment, place, table, pipeline::columns_of(options))?;
        let open_table = open_table.map(|given| open_table_of(&given, &sink)).transpose()?;
        sink.side_tables.extend(open_table);
        let (parallelism, max_parallelism) = (running.parallelism, running.max_parallelism);
        let mut pipeline = pipeline::pipeline(options, parallelism, max_parallelism, source, sink);
        event_time.keep_late_events(&mut pipeline)?;
        running.request(pipeline)
    }
}

/// The table of open sessions.
///
/// # Errors
/// If the sink can have none.
fn open_table_of(given: &Given, sink: &SinkSpec) -> Result<SideTable, Failure> {
    if !sink.uri.starts_with("postgres:") {
        let refusal = "only Postgres keeps a table whose rows change: leave it out, or choose another --sink";
        return Err(Failure::usage(given.refused(&refusal)));
    }
    Ok(open_table::table(&sink.table, &given.text))
}

impl args::Sessionize {
    /// The options with the limits that were asked for.
    ///
    /// # Errors
    /// If one cannot be.
    fn with_limits(&self, options: Options, environment: &Environment) -> Result<Options, Failure> {
        let max_session = Given::find("--max-session", &self.max_session, environment);
        let max_hits = Given::find("--max-hits", &self.max_hits, environment);
        let longest = max_session.as_ref().map(Given::duration).transpose()?;
        let most = max_hits.as_ref().map(|given| given.number("a number of events", u64::MAX)).transpose()?;
        options.with_limits(longest, most).map_err(|error| {
            let given = match error {
                InvalidOptions::FewHits => max_hits,
                _ => max_session.or(max_hits),
            };
            Failure::usage(given.map_or(error.to_string(), |given| given.refused(&error)))
        })
    }
}
