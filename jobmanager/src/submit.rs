//! What happens to a job before the service sees it: its source, its sink and its look-ups are asked, outside the service's loop, so that
//! a slow Kafka holds up nobody but the one who submits.

use std::sync::Arc;
use std::time::Duration;

use stream_core::ids::JobId;
use stream_core::pipeline::{Pipeline, PipelineError};
use stream_core::pipeline::{SourceSpec, Split, StartPosition};
use stream_core::plan::slots_needed;
use stream_core::slot::NoFreeSlot;
use stream_runtime::clock::Clock;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, Connectors, PortFuture, cause_chain};
use stream_runtime::store::{ObjectStore, StoreError, Stores};

use crate::checkpoint_store::CheckpointStore;
use crate::handle::{AcceptError, Handle, ShuttingDown, Submission};
use crate::preparation::Savepoint;
use crate::redaction::{has_credentials, redact};
use crate::savepoints;

/// Checks jobs and hands them to the service.
#[derive(Clone)]
pub(crate) struct Submitter {
    handle: Handle,
    connectors: Arc<dyn Connectors>,
    stores: Arc<dyn Stores>,
    store: Option<Arc<dyn ObjectStore>>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

/// A savepoint that a job is to begin with.
#[derive(Clone, Debug)]
pub(crate) struct FromSavepoint {
    /// Its folder.
    pub(crate) folder: String,
    /// Whether it may be older than what is published.
    pub(crate) accept_duplicates: bool,
}

/// A job that was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    /// The name is not one.
    #[error("`{0}` is not a job name: write 1 to 63 of `a-z`, `0-9`, `-` and `_`, beginning with a letter or a digit")]
    Name(String),
    /// The pipeline cannot run.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A URI would show a password to everybody who describes the job.
    #[error("the {0}'s URI holds a user or a password: pass them as settings of their own")]
    CredentialsInUri(&'static str),
    /// The source, the sink or the look-up refused; the message is for the user.
    #[error("{message}")]
    Connector {
        /// What can be done about it.
        kind: ConnectorErrorKind,
        /// The connector's own words and their causes, without secrets.
        message: String,
    },
    /// The source, the sink or the look-up did not answer.
    #[error("the {part} `{uri}` did not answer within {timeout:?}: check that the jobmanager's machine can reach it")]
    Timeout {
        /// `source`, `sink`, `outlet` or `look-up`.
        part: &'static str,
        /// Which.
        uri: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The savepoint cannot be read, or its files not be copied.
    #[error("savepoint `{folder}`: {error}")]
    Savepoint {
        /// Which.
        folder: String,
        /// Why.
        error: StoreError,
    },
    /// The savepoint is of a job with other key groups.
    #[error("the savepoint has {savepoint} key groups, the job {job}: submit it with `--max-parallelism {savepoint}`")]
    MaxParallelism {
        /// The savepoint's.
        savepoint: u16,
        /// The job's.
        job: u16,
    },
    /// There is nowhere to copy the savepoint to.
    #[error("the jobmanager stores no checkpoints, which a savepoint needs: start it with `--checkpoint-dir`")]
    NoStore,
    /// Too few slots are free.
    #[error(transparent)]
    NoFreeSlot(#[from] NoFreeSlot),
    /// The service did not take it.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// The jobmanager stops.
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

impl Submitter {
    /// Gives connectors `timeout` for each answer.
    pub(crate) fn new(
        handle: Handle,
        connectors: Arc<dyn Connectors>,
        stores: Arc<dyn Stores>,
        store: Option<Arc<dyn ObjectStore>>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        Submitter { handle, connectors, stores, store, clock, timeout }
    }

    /// Checks everything that can be checked, then has the job deployed. An empty name: the job's own.
    ///
    /// # Errors
    /// With what is wrong and what to do. Nothing was deployed then; a missing table may have been created.
    ///
    /// # Cancel safety
    /// Dropping it before the service took the job submits nothing.
    pub(crate) async fn submit(
        &self,
        name: String,
        pipeline: Pipeline,
        from: Option<FromSavepoint>,
    ) -> Result<JobId, SubmitError> {
        let asked = self.clock.monotonic();
        let name = if name.is_empty() { pipeline.job.clone() } else { name };
        check_name(&name)?;
        pipeline.check()?;
        let lookup = pipeline.lookup.as_ref();
        let uris = [("source", &pipeline.source.uri), ("sink", &pipeline.sink.uri)];
        let outlets = pipeline.sink.outlets().map(|(_, _, outlet)| ("outlet", &outlet.uri));
        let others = outlets.chain(lookup.map(|lookup| ("look-up", &lookup.uri)));
        for (part, uri) in uris.into_iter().chain(others) {
            if has_credentials(uri) {
                return Err(SubmitError::CredentialsInUri(part));
            }
        }
        let opened = match &from {
            Some(from) => Some(self.open(from, &pipeline).await?),
            None => None,
        };
        // Asked again when the job is taken; but a user without a slot should not wait for Kafka to hear so.
        self.handle.check_free(slots_needed(&pipeline)).await??;
        let splits = self.discover(&pipeline, opened.is_some()).await?;
        let checking = self.connectors.check_sink(&pipeline.sink);
        self.ask("sink", &pipeline.sink.uri, checking, &pipeline).await?;
        for (_, _, outlet) in pipeline.sink.outlets() {
            self.ask("outlet", &outlet.uri, self.connectors.check_outlet(outlet), &pipeline).await?;
        }
        if let Some(lookup) = lookup {
            self.ask("look-up", &lookup.uri, self.connectors.check_lookup(lookup), &pipeline).await?;
        }
        let savepoint = match opened {
            Some((folder, savepoint)) => Some(self.copy_in(folder.as_ref(), savepoint, from).await?),
            None => None,
        };
        Ok(self.handle.submit(Submission { name, pipeline, splits, savepoint, asked }).await?)
    }

    /// The splits that the source has. Beside a savepoint only those count that it does not know: they came later, and all of
    /// each is new.
    async fn discover(&self, pipeline: &Pipeline, has_savepoint: bool) -> Result<Vec<Split>, SubmitError> {
        let mut source: SourceSpec = pipeline.source.clone();
        if has_savepoint {
            source.from = StartPosition::Earliest;
        }
        let discovering = self.connectors.discover(&source);
        self.ask("source", &pipeline.source.uri, discovering, pipeline).await
    }

    async fn open(
        &self,
        from: &FromSavepoint,
        pipeline: &Pipeline,
    ) -> Result<(Arc<dyn ObjectStore>, Savepoint), SubmitError> {
        let unreadable = |error| SubmitError::Savepoint { folder: from.folder.clone(), error };
        let (folder, manifest) = savepoints::open(self.stores.as_ref(), &from.folder).await.map_err(unreadable)?;
        let (savepoint, job) = (manifest.max_parallelism.get(), pipeline.max_parallelism.get());
        if savepoint != job {
            return Err(SubmitError::MaxParallelism { savepoint, job });
        }
        self.handle.check_not_live(manifest.job_id).await?;
        Ok((folder, Savepoint { manifest, accept_duplicates: from.accept_duplicates, since: None }))
    }

    async fn copy_in(
        &self,
        folder: &dyn ObjectStore,
        savepoint: Savepoint,
        from: Option<FromSavepoint>,
    ) -> Result<Savepoint, SubmitError> {
        let store = self.store.clone().ok_or(SubmitError::NoStore)?;
        let store = CheckpointStore::new(store, savepoint.manifest.job_id);
        let copied = savepoints::copy_in(folder, &store, &savepoint.manifest).await;
        let folder = from.map(|from| from.folder).unwrap_or_default();
        copied.map_err(|error| SubmitError::Savepoint { folder, error })?;
        Ok(savepoint)
    }

    async fn ask<T>(
        &self,
        part: &'static str,
        uri: &str,
        answer: PortFuture<'_, T>,
        pipeline: &Pipeline,
    ) -> Result<T, SubmitError> {
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer.map_err(|error| refusal(&error, pipeline)),
            Err(_) => Err(SubmitError::Timeout { part, uri: uri.to_owned(), timeout }),
        }
    }
}

fn refusal(error: &ConnectorError, pipeline: &Pipeline) -> SubmitError {
    let message = redact(cause_chain(error).join(": "), pipeline);
    SubmitError::Connector { kind: error.kind, message }
}

fn check_name(name: &str) -> Result<(), SubmitError> {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let begins_well = name.bytes().next().is_some_and(is_word);
    let goes_on_well = name.bytes().all(|b| is_word(b) || b == b'-' || b == b'_');
    if begins_well && goes_on_well && name.len() <= 63 { Ok(()) } else { Err(SubmitError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["sessionize", "a", "0-1_2", &"x".repeat(63)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "_a", "A", "a b", "a.b", "é", "a\n", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
