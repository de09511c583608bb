//! Commands that ask the jobmanager one thing.

use std::cmp::Reverse;

use super::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::{Cluster, Job, JobDetails, TaskManager};
use crate::{render, terminal};

pub(super) async fn list(context: &Context) -> Result<Exit, Failure> {
    let mut jobs: Vec<Job> = context.connect().await?.list().await?.into_iter().map(Into::into).collect();
    jobs.sort_by_key(|job| Reverse(job.submitted_ms));
    context.show(&jobs, |jobs| render::jobs(jobs, context.now()))?;
    Ok(Exit::Done)
}

pub(super) async fn describe(context: &Context, job: &str) -> Result<Exit, Failure> {
    let details: JobDetails = context.connect().await?.describe(job).await?.into();
    context.show(&details, |details| render::details(details, context.now()))?;
    Ok(Exit::Done)
}

pub(super) async fn cancel(context: &Context, job: &str) -> Result<Exit, Failure> {
    context.connect().await?.cancel(job).await?;
    // Canceling goes on; whoever wants to see its end asks.
    let said = terminal::harmless(job);
    context.show(&serde_json::json!({ "job": job, "state": "canceling" }), |_| {
        format!("canceling `{said}`: `jobctl describe {said}` shows when it has stopped\n")
    })?;
    Ok(Exit::Done)
}

pub(super) async fn taskmanagers(context: &Context) -> Result<Exit, Failure> {
    let answer = context.connect().await?.taskmanagers().await?;
    let taskmanagers: Vec<TaskManager> = answer.into_iter().map(Into::into).collect();
    context.show(&taskmanagers, |taskmanagers| render::taskmanagers(taskmanagers, context.now()))?;
    Ok(Exit::Done)
}

pub(super) async fn cluster(context: &Context) -> Result<Exit, Failure> {
    let info = context.connect().await?.cluster().await?;
    let cluster = Cluster::new(context.jobmanager.clone(), info);
    context.show(&cluster, |cluster| render::cluster(cluster, context.now()))?;
    Ok(Exit::Done)
}
