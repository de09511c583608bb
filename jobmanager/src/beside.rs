//! What waits for a store, a source or a sink does so beside the service's loop; the loop is told what came of it.

use std::future::Future;

use stream_core::checkpoint::Manifest;
use stream_core::ids::{AttemptNumber, CheckpointId, JobId};
use tokio::task::JoinSet;

use crate::job_store::{Superseded, WriteError};
use crate::preparation::{NotPrepared, Prepared};
use crate::records::Then;

/// What came of something that was done beside the loop.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An attempt can begin, or cannot.
    Prepared {
        /// The job.
        job: JobId,
        /// Its attempt.
        attempt: AttemptNumber,
        /// What it begins with.
        result: Result<Box<Prepared>, NotPrepared>,
    },
    /// A manifest is durable, or is not, or nobody knows.
    ManifestStored {
        /// The job.
        job: JobId,
        /// Whose attempt it was.
        attempt: AttemptNumber,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why it is not.
        result: Result<(), String>,
    },
    /// A savepoint was copied to its folder.
    SavepointCopied {
        /// The request that wanted it.
        number: u64,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// The folder.
        result: Result<String, String>,
    },
    /// A job's record is stored, or is not.
    JobStored {
        /// Whose.
        job: JobId,
        /// What waits for it.
        then: Then,
        /// Why it is not.
        result: Result<(), WriteError>,
    },
    /// The manifests of a job that may be adopted.
    AdoptionListed {
        /// The job.
        job: JobId,
        /// Those that are whole, oldest first.
        result: Result<Vec<Manifest>, String>,
    },
    /// Another jobmanager has taken the store over, and what was to be done is its business.
    Superseded(Superseded),
    /// Nobody waits for it.
    Done,
}

/// What is under way. Dropping it gives everything up.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    under_way: JoinSet<Outcome>,
}

impl Beside {
    /// Begins something. How much is under way is bounded by the jobs: a preparation, a manifest, a sweep and few
    /// removals each.
    pub(crate) fn spawn(&mut self, work: impl Future<Output = Outcome> + Send + 'static) {
        self.under_way.spawn(work);
    }

    /// Waits for the next outcome.
    ///
    /// # Cancel safety
    /// Dropping it loses no outcome.
    pub(crate) async fn next(&mut self) -> Outcome {
        loop {
            match self.under_way.join_next().await {
                None => return std::future::pending().await,
                Some(Ok(outcome)) => return outcome,
                Some(Err(error)) => tracing::error!(%error, "a piece of work ended without an outcome"),
            }
        }
    }
}
