//! `explain` and `sessions`: why a job shows no results, and which sessions are open.

use std::time::Duration;

use job_sessionize::open_sessions::{self, OpenSessionsQuery};
use stream_core::pipeline::Pipeline;

use super::Context;
use crate::args::{Explain, Sessions};
use crate::client::Client;
use crate::diagnosis::{self, Facts};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::{EventTimeState, Explanation, JobDetails, OpenSession};
use crate::{render, request};

/// Between two looks at the job: several heartbeats, so that what a subtask did in between says something.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// Open sessions shown beside an explanation; `sessions` shows more.
const EXPLAINED: usize = 20;

pub(super) async fn explain(context: &Context, args: &Explain) -> Result<Exit, Failure> {
    let mut client = context.connect().await?;
    let (_, pipeline) = client.pipeline(&args.job.job).await?;
    let before: JobDetails = client.describe(&args.job.job).await?.into();
    tokio::time::sleep(BETWEEN_LOOKS).await;
    let now: JobDetails = client.describe(&args.job.job).await?.into();
    let cluster = client.cluster().await?;
    let silences: Vec<(String, Duration)> =
        client.taskmanagers().await?.into_iter().map(|it| (it.id, Duration::from_millis(it.silent_ms))).collect();
    let clock = context.now();
    let facts = Facts {
        before: &before,
        now: &now,
        source: &pipeline.source,
        free_slots: cluster.free_slots,
        silences: &silences,
        heartbeat_interval: Duration::from_millis(cluster.heartbeat_interval_ms),
        clock,
    };
    let findings = diagnosis::diagnose(&facts);
    let is_session_wanted = args.key.ip.is_some() || args.key.host.is_some();
    let sessions = if is_session_wanted && now.job.state == "running" {
        let query = OpenSessionsQuery { ip: args.key.ip.clone(), host: args.key.host.clone(), top: EXPLAINED };
        Some(open_sessions(&mut client, &args.job.job, &pipeline, &query).await?)
    } else {
        None
    };
    let watermark_ms = now.subtasks.iter().filter(|subtask| subtask.key_groups.is_some()).map(|s| s.watermark_ms).min();
    let watermark_ms = watermark_ms.flatten();
    let holder = diagnosis::holder(&now.splits);
    let event_time = EventTimeState {
        watermark_ms,
        behind_clock_ms: watermark_ms.map(|watermark| clock.0.saturating_sub(watermark)),
        held_by: holder.map(|split| split.id.clone()),
        silent_ms: holder.map(|split| split.silent_ms),
    };
    let JobDetails { job, .. } = now;
    let explanation = Explanation { job: job.id, name: job.name, state: job.state, event_time, findings, sessions };
    context.show(&explanation, render::explanation)?;
    Ok(Exit::Done)
}

pub(super) async fn sessions(context: &Context, args: &Sessions) -> Result<Exit, Failure> {
    let top = request::top(&args.top)?;
    let mut client = context.connect().await?;
    let (_, pipeline) = client.pipeline(&args.job.job).await?;
    let query = OpenSessionsQuery { ip: args.key.ip.clone(), host: args.key.host.clone(), top };
    let sessions = open_sessions(&mut client, &args.job.job, &pipeline, &query).await?;
    context.show(&sessions, |sessions| render::open_sessions(sessions))?;
    Ok(Exit::Done)
}

async fn open_sessions(
    client: &mut Client,
    job: &str,
    pipeline: &Pipeline,
    query: &OpenSessionsQuery,
) -> Result<Vec<OpenSession>, Failure> {
    if pipeline.job != job_sessionize::Sessionize::NAME {
        let message = format!("job `{job}` is a `{}`, which has no sessions: leave out --ip and --host", pipeline.job);
        return Err(Failure::usage(message));
    }
    let answers = client.query_state(job, &query.to_json()).await?;
    let sessions = open_sessions::merge(answers, query.top)
        .map_err(|error| Failure::failed("the taskmanagers' answers cannot be read", &error))?;
    Ok(sessions.into_iter().map(Into::into).collect())
}
