//! What the program needs, made of what the user typed and of the environment.
//!
//! For each option: what was typed, else the variable `GAPWISE_…`, else the variable of the job's Flink version, else a
//! default. A wrong value is told with the name under which it came in. Each job type has a file here and one in `args`.

mod aggregate;
mod audit;
mod event_time;
mod given;
mod late;
mod nexmark;
mod outlet;
mod process_events;
mod running;
mod sessionize;
mod sink;
mod source;
mod uri;
mod watching;

use job_sessionize::open_sessions::MAX_TOP;
use stream_core::pipeline::Pipeline;

use crate::environment::Environment;
use crate::failure::Failure;
pub(crate) use audit::{AuditRequest, audit, rows_before};
pub(crate) use given::Given;
pub(crate) use late::{LateReplayRequest, late_replay};
pub(crate) use running::new_parallelism;
pub(crate) use uri::shown;
pub(crate) use watching::{LogsRequest, interval, logs};

/// A job as it is handed to a jobmanager.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JobRequest {
    /// Empty: the jobmanager names it after its type.
    pub(crate) name: String,
    pub(crate) pipeline: Pipeline,
    /// What the user should know before it runs.
    pub(crate) warning: Option<String>,
}

/// Where a job is to run, which decides what its source and sink can be and what they are by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On taskmanagers, which have neither our standard input nor our standard output.
    Cluster,
    /// In this process.
    Here,
}

/// The arguments of a job type.
pub(crate) trait JobArgs {
    /// The job that they and `environment` ask for.
    ///
    /// # Errors
    /// If a value cannot be; source and sink are not reached here.
    fn request(&self, environment: &Environment, place: Place) -> Result<JobRequest, Failure>;
}

/// How many sessions `jobctl sessions` shows.
///
/// # Errors
/// If it is no number, 0, or more than a job tells at once.
pub(crate) fn top(text: &str) -> Result<usize, Failure> {
    let given = Given { text: text.to_owned(), name: "--top".to_owned() };
    let number = given.number("a number of sessions", MAX_TOP as u64)?;
    let number = usize::try_from(number).ok().filter(|number| (1..=MAX_TOP).contains(number));
    number.ok_or_else(|| given.not("a number of sessions", &format!("choose from 1 to {MAX_TOP}")))
}

#[cfg(test)]
mod tests;
