//! `describe --watch`: a job as it changes, until it ends.

use std::time::Duration;

use stream_runtime::retry::Backoff;

use super::{Context, Output};
use crate::args::Describe;
use crate::client::{Client, Watch};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::JobDetails;
use crate::{render, request, terminal};

/// How soon a jobmanager that went away is asked again.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const MAX_RETRY: Duration = Duration::from_secs(2);

pub(super) async fn describe(context: &Context, args: &Describe) -> Result<Exit, Failure> {
    let interval = request::interval(args.interval.as_ref())?;
    let mut client = context.connect().await?;
    // By its id from here on: another job may be given the name.
    let job: JobDetails = client.describe(&args.job.job).await?.into();
    let job = job.job.id;
    let mut shown = Shown::default();
    let mut watch = client.watch(&job, interval).await?;
    loop {
        match watch.next().await {
            Ok(Some(details)) => {
                if !shown.show(context, details.into())? {
                    return Ok(Exit::Done);
                }
            }
            Ok(None) => break,
            Err(failure) if is_away(&failure) => {
                watch = wait_for_jobmanager(&mut client, &job, interval, &failure).await?;
            }
            Err(failure) => return Err(failure),
        }
    }
    shown.end(context)?;
    Ok(Exit::Done)
}

/// A jobmanager that is away or stops is expected back: another adopts its jobs.
fn is_away(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::NoJobManager | Exit::Unreachable)
}

/// Asks until it answers, or does not know the job any more.
async fn wait_for_jobmanager(
    client: &mut Client,
    job: &str,
    interval: Duration,
    why: &Failure,
) -> Result<Watch, Failure> {
    eprintln!("{}: trying again", why.message);
    let mut backoff = Backoff::new(FIRST_RETRY, MAX_RETRY);
    loop {
        tokio::time::sleep(backoff.next_wait()).await;
        match client.watch(job, interval).await {
            Err(failure) if is_away(&failure) => {}
            answer => return answer,
        }
    }
}

/// What was shown last, and how.
#[derive(Default)]
struct Shown {
    last: Option<JobDetails>,
    /// The line of JSON that was printed last.
    line: String,
    is_on_screen: bool,
}

impl Shown {
    /// Whether anybody reads on.
    fn show(&mut self, context: &Context, details: JobDetails) -> Result<bool, Failure> {
        let is_read = match context.output {
            Output::Json => self.show_line(&details)?,
            Output::Text => self.show_text(&render::details(&details, context.now()))?,
        };
        self.last = Some(details);
        Ok(is_read)
    }

    fn show_line(&mut self, details: &JobDetails) -> Result<bool, Failure> {
        let line = serde_json::to_string(details).expect("views hold texts and numbers only") + "\n";
        if line == self.line {
            return Ok(true);
        }
        self.line = line;
        write(&self.line)
    }

    fn show_text(&mut self, text: &str) -> Result<bool, Failure> {
        let Some(size) = terminal::size() else {
            // As in a log: each state with an empty line behind it.
            return write(&format!("{text}\n"));
        };
        let is_first = !std::mem::replace(&mut self.is_on_screen, true);
        write(&terminal::redrawn(text, size, is_first))
    }

    /// What did not fit on the screen is shown whole in the end.
    fn end(self, context: &Context) -> Result<(), Failure> {
        match self.last {
            Some(last) if self.is_on_screen => {
                write(&format!("{}{}", terminal::CLEAR, render::details(&last, context.now()))).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Whether anybody reads on.
fn write(text: &str) -> Result<bool, Failure> {
    terminal::write(text).map_err(|error| Failure::output(&error))
}
