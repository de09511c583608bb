//! Commands about a job's checkpoints, and those that end or change a job by one.

use std::num::NonZeroU32;

use super::Context;
use crate::args::{Savepoint, Stop};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::{Checkpoint, SavepointTaken};
use crate::{render, terminal};

pub(super) async fn list(context: &Context, job: &str) -> Result<Exit, Failure> {
    let checkpoints: Vec<Checkpoint> =
        context.connect().await?.checkpoints(job).await?.into_iter().map(Into::into).collect();
    context.show(&checkpoints, |checkpoints| render::checkpoints(checkpoints))?;
    Ok(Exit::Done)
}

pub(super) async fn savepoint(context: &Context, args: &Savepoint) -> Result<Exit, Failure> {
    let target = args.target.as_deref().unwrap_or_default();
    let taken = context.connect().await?.savepoint(&args.job.job, target).await?;
    let taken = SavepointTaken::new(taken.checkpoint_id, taken.folder);
    context
        .show(&taken, |taken| format!("savepoint {} in {}\n", taken.checkpoint, terminal::harmless(&taken.folder)))?;
    Ok(Exit::Done)
}

pub(super) async fn stop(context: &Context, args: &Stop) -> Result<Exit, Failure> {
    let target = args.savepoint.as_deref().unwrap_or_default();
    let stopped = context.connect().await?.stop(&args.job.job, args.drain, target).await?;
    let taken = SavepointTaken::new(stopped.checkpoint_id, stopped.folder);
    context.show(&taken, |taken| {
        let folder = terminal::harmless(&taken.folder);
        let job = terminal::harmless(&args.job.job);
        format!("stopped `{job}` with savepoint {} in {folder}\n`jobctl submit … --from-savepoint {folder}` goes on from it\n", taken.checkpoint)
    })?;
    Ok(Exit::Done)
}

pub(super) async fn rescale(context: &Context, job: &str, parallelism: NonZeroU32) -> Result<Exit, Failure> {
    context.connect().await?.rescale(job, parallelism.get()).await?;
    let said = terminal::harmless(job);
    context.show(&serde_json::json!({ "job": job, "parallelism": parallelism }), |_| {
        format!("`{said}` goes on with parallelism {parallelism}: `jobctl describe {said}` shows how\n")
    })?;
    Ok(Exit::Done)
}
