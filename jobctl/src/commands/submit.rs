//! `submit`: hands a job to the cluster, and waits for it if asked to.

use std::time::Duration;

use stream_core::pipeline::Pipeline;
use stream_runtime::clock::Clock as _;

use super::outcome::{self, Accounts};
use super::progress::Progress;
use super::{Context, Output};
use crate::client::FromSavepoint;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::JobRequest;
use crate::view::Submitted;

/// How often a person who waits sees something new.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn submit(
    context: &Context,
    request: JobRequest,
    savepoint: Option<FromSavepoint>,
    wait: bool,
) -> Result<Exit, Failure> {
    let JobRequest { name, pipeline, .. } = request;
    let mut client = context.connect().await?;
    let started = context.clock.monotonic();
    let job_id = client.submit(&name, &pipeline, savepoint.as_ref()).await?;
    context.show(&Submitted { job_id: job_id.clone() }, |_| said(&name, &job_id, &pipeline))?;
    if !wait {
        return Ok(Exit::Done);
    }
    let mut watch = client.watch(&job_id, WATCH_INTERVAL).await?;
    let progress = Progress::begin(context.clock);
    let mut last = None;
    while let Some(details) = watch.next().await? {
        progress.show(&Accounts::of(&details));
        last = Some(details);
    }
    progress.end();
    let last = last.unwrap_or_default();
    let exit = outcome::exit(&last)?;
    if context.output == Output::Text {
        let took = context.clock.monotonic().saturating_sub(started);
        eprintln!("{}", Accounts::of(&last).summary(took));
    }
    Ok(exit)
}

fn said(name: &str, job_id: &str, pipeline: &Pipeline) -> String {
    let name = if name.is_empty() { &pipeline.job } else { name };
    let Pipeline { source, sink, .. } = pipeline;
    format!(
        "submitted `{name}` as {job_id}: {} to {}\n`jobctl describe {name}` shows how it runs\n",
        source.uri, sink.uri
    )
}
