//! `run`: a job on a cluster that lives in this process, for as long as the job does.
//!
//! It is the cluster of every other day, a jobmanager and a taskmanager on the loopback interface: what works here works
//! there, and nothing is implemented twice. The first Ctrl-C cancels the job, a second ends the process at once.

mod embedded;

use std::time::Duration;

use proto::v1;
use stream_runtime::clock::{Clock as _, SystemClock};
use stream_runtime::memory::HugePages;
use stream_runtime::shutdown::cancel_on_signal;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::outcome::{self, Accounts};
use super::progress::Progress;
use crate::client::{Client, Watch};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::JobRequest;
use embedded::Embedded;

/// How often the progress bar moves.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// How long threads that the runtime cannot interrupt may go on after the end: one that reads standard input may wait for
/// ever.
const RUNTIME_TIMEOUT: Duration = Duration::from_millis(100);

pub(in crate::commands) fn run(context: &Context, request: JobRequest) -> Result<Exit, Failure> {
    // It ends before they would have paid for being zeroed, however much it holds.
    HugePages::hold_back();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start the cluster", &error))?;
    let result = runtime.block_on(run_embedded(context.clock, request));
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    result
}

async fn run_embedded(clock: SystemClock, request: JobRequest) -> Result<Exit, Failure> {
    let started = clock.monotonic();
    let interrupted = CancellationToken::new();
    let slots = request.pipeline.parallelism;
    let mut embedded = Embedded::start(slots, clock).await?;
    let job = follow(&mut embedded, &request, &interrupted, clock);
    let last = tokio::select! {
        biased;
        signals = cancel_on_signal(interrupted.clone()) => {
            // It returns only if signals cannot be listened for.
            return Err(signals.err().map_or_else(
                || Failure::new(Exit::Failed, "stopped listening for signals"),
                |error| Failure::failed("cannot listen for signals", &error),
            ));
        }
        last = job => last,
    };
    embedded.stop().await;
    let last = last?;
    let exit = outcome::exit(&last)?;
    let how = if exit == Exit::Canceled { "canceled: " } else { "" };
    let took = clock.monotonic().saturating_sub(started);
    eprintln!("{how}{}", Accounts::of(&last).summary(took));
    Ok(exit)
}

/// Submits the job and follows it to its end; cancels it once `interrupted`.
async fn follow(
    embedded: &mut Embedded,
    request: &JobRequest,
    interrupted: &CancellationToken,
    clock: SystemClock,
) -> Result<v1::JobDetails, Failure> {
    let mut client = embedded.client().await?;
    let job_id = client.submit(&request.name, &request.pipeline, None).await?;
    let mut watch = client.watch(&job_id, WATCH_INTERVAL).await?;
    let progress = Progress::begin(clock);
    let last = tokio::select! {
        biased;
        failure = embedded.failed() => Err(failure),
        last = to_its_end(&mut client, &mut watch, &job_id, interrupted, &progress) => last,
    };
    progress.end();
    last
}

async fn to_its_end(
    client: &mut Client,
    watch: &mut Watch,
    job_id: &str,
    interrupted: &CancellationToken,
    progress: &Progress,
) -> Result<v1::JobDetails, Failure> {
    let mut last = v1::JobDetails::default();
    let mut is_canceled = false;
    loop {
        tokio::select! {
            biased;
            () = interrupted.cancelled(), if !is_canceled => {
                is_canceled = true;
                // The job may have ended by itself meanwhile; the watch tells.
                let _ = client.cancel(job_id).await;
            }
            details = watch.next() => match details? {
                Some(details) => {
                    progress.show(&Accounts::of(&details));
                    last = details;
                }
                None => return Ok(last),
            }
        }
    }
}
