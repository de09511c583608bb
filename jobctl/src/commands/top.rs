//! `top`: looks at the cluster, waits for keys, draws.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{Context, Output};
use crate::args::Top;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::request;
use crate::screen::{Keys, Screen};
use crate::top::{Look, Next, State, Symbols, frame};
use crate::view::{Checkpoint, Cluster, Job, JobDetails};

/// How often a frame is drawn at least: for how long the jobmanager has been away is told in seconds.
const FRAME: Duration = Duration::from_secs(1);
/// How long the jobmanager may take for a look before it counts as away: a person waits.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn top(context: &Context, args: &Top) -> Result<Exit, Failure> {
    let interval = request::interval(args.interval.as_ref())?;
    if context.output == Output::Json {
        return Err(Failure::usage("`top` is for people: `jobctl describe JOB --watch --output json` is for programs"));
    }
    // Before the screen is taken, so that what is wrong from the start is told as by every other command.
    Screen::check()?;
    let client = context.connect().await?;
    let first = look(context, client.clone(), args.job.clone(), args.job.is_some()).await?;
    let cannot_listen = |error: std::io::Error| Failure::failed("cannot listen for signals", &error);
    let mut terminated = signal(SignalKind::terminate()).map_err(cannot_listen)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(cannot_listen)?;

    let mut state = State::new(Symbols::of(&context.environment), first);
    let mut screen = Screen::open()?;
    let mut keys = Keys::read()?;
    let look_after = |pause: Duration, job: Option<&str>| {
        let (client, job) = (client.clone(), job.map(str::to_owned));
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            look(context, client, job, false).await
        })
    };
    let mut looking = look_after(interval, state.chosen());
    loop {
        screen.draw(|shown| frame::draw(shown, &state, context.now()))?;
        tokio::select! {
            biased;
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
            key = keys.next() => match state.on_key(key) {
                Next::Quit => break,
                Next::Draw => {}
                Next::Look => looking = look_after(Duration::ZERO, state.chosen()),
            },
            () = tokio::time::sleep(FRAME) => {}
            look = &mut looking => {
                match look {
                    Ok(look) => state.on_look(look),
                    Err(failure) => state.on_away(context.now(), failure.message),
                }
                looking = look_after(interval, state.chosen());
            }
        }
    }
    Ok(Exit::Done)
}

/// Asks for everything that is shown. `job` may be gone, unless it `must` be there: then another is shown.
async fn look(context: &Context, mut client: Client, job: Option<String>, must: bool) -> Result<Look, Failure> {
    let asking = async {
        let mut jobs: Vec<Job> = client.list().await?.into_iter().map(Into::into).collect();
        jobs.sort_by_key(|job| Reverse(job.submitted_ms));
        let is_live = |job: &&Job| job.ended_ms.is_none();
        let latest = || jobs.iter().find(is_live).or(jobs.first()).map(|job| job.id.clone());
        let (details, checkpoints) = match job.or_else(latest) {
            None => (None, Vec::new()),
            Some(job) => match job_of(&mut client, &job).await {
                Ok((details, checkpoints)) => (Some(details), checkpoints),
                Err(failure) if failure.exit == Exit::NotFound && !must => (None, Vec::new()),
                Err(failure) => return Err(failure),
            },
        };
        let cluster = Cluster::new(context.jobmanager.clone(), client.cluster().await?);
        Ok(Look { clock: context.now(), cluster, jobs, details, checkpoints })
    };
    let in_time = tokio::time::timeout(LOOK_TIMEOUT, asking).await;
    in_time.unwrap_or_else(|_| {
        let seconds = LOOK_TIMEOUT.as_secs();
        let message = format!("the jobmanager at {} did not answer within {seconds}s", context.jobmanager);
        Err(Failure::new(Exit::NoJobManager, message))
    })
}

async fn job_of(client: &mut Client, job: &str) -> Result<(JobDetails, Vec<Checkpoint>), Failure> {
    let details = client.describe(job).await?;
    let checkpoints = client.checkpoints(job).await?;
    Ok((details.into(), checkpoints.into_iter().map(Into::into).collect()))
}
