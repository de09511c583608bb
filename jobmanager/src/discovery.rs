//! Asks the sources of jobs without end for new splits from time to time, beside the service's loop.
//!
//! A split that appears later is read from its earliest record, wherever the job began: nothing of it was there before.
//! A source that does not answer is asked again at the next turn; meanwhile the job reads what it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stream_core::ids::JobId;
use stream_core::pipeline::{SourceSpec, Split, StartPosition};
use stream_runtime::connector::{Connectors, cause_chain};
use tokio::task::{AbortHandle, JoinSet};

/// The sources that are asked.
pub(crate) struct Discovery {
    connectors: Arc<dyn Connectors>,
    interval: Duration,
    timeout: Duration,
    sources: BTreeMap<JobId, Watched>,
    /// The questions under way: at most one for each job.
    asking: JoinSet<(JobId, Result<Vec<Split>, String>)>,
}

struct Watched {
    source: Arc<SourceSpec>,
    /// When to ask next, on the steady clock.
    due: Duration,
    under_way: Option<AbortHandle>,
    /// A source that fails is told of once, not at every turn.
    is_failing: bool,
}

impl Discovery {
    /// Asks nobody yet. An `interval` of zero: never.
    pub(crate) fn new(connectors: Arc<dyn Connectors>, interval: Duration, timeout: Duration) -> Self {
        Discovery { connectors, interval, timeout, sources: BTreeMap::new(), asking: JoinSet::new() }
    }

    /// From now on asks the source of this job.
    pub(crate) fn watch(&mut self, job: JobId, source: &SourceSpec, steady: Duration) {
        if self.interval.is_zero() {
            return;
        }
        let source = Arc::new(SourceSpec { from: StartPosition::Earliest, ..source.clone() });
        let due = steady + self.interval;
        self.sources.insert(job, Watched { source, due, under_way: None, is_failing: false });
    }

    /// The job has ended.
    pub(crate) fn forget(&mut self, job: JobId) {
        if let Some(question) = self.sources.remove(&job).and_then(|watched| watched.under_way) {
            question.abort();
        }
    }

    /// Asks those whose turn has come.
    pub(crate) fn start_due(&mut self, steady: Duration) {
        for (&job, watched) in &mut self.sources {
            let is_under_way = watched.under_way.as_ref().is_some_and(|question| !question.is_finished());
            if watched.due > steady || is_under_way {
                continue;
            }
            watched.due = steady + self.interval;
            let (connectors, source, timeout) =
                (Arc::clone(&self.connectors), Arc::clone(&watched.source), self.timeout);
            let question = async move {
                match tokio::time::timeout(timeout, connectors.discover(&source)).await {
                    Ok(found) => (job, found.map_err(|error| cause_chain(&error).join(": "))),
                    Err(_) => (job, Err(format!("no answer within {timeout:?}"))),
                }
            };
            watched.under_way = Some(self.asking.spawn(question));
        }
    }

    /// Waits for the next answer with splits: all that the source has, known or new.
    ///
    /// # Cancel safety
    /// Dropping it loses no answer.
    pub(crate) async fn next(&mut self) -> (JobId, Vec<Split>) {
        loop {
            let Some(answer) = self.asking.join_next().await else { return std::future::pending().await };
            // A question that was aborted belongs to a job that has ended; one that panicked is asked again in its turn.
            let Ok((job, found)) = answer else { continue };
            let Some(watched) = self.sources.get_mut(&job) else { continue };
            match found {
                Ok(splits) => {
                    watched.is_failing = false;
                    return (job, splits);
                }
                Err(reason) if !watched.is_failing => {
                    watched.is_failing = true;
                    tracing::warn!(job_id = %job, source = watched.source.uri, reason, "cannot look for new splits");
                }
                Err(_) => {}
            }
        }
    }
}
