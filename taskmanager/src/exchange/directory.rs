//! Where a stream that arrives finds the gate it is meant for.
//!
//! The jobmanager deploys an attempt to its taskmanagers one after the other, so a stream may arrive before its gate
//! is there: it waits, for a bounded time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use stream_core::ids::{AttemptNumber, JobId, SubtaskId};
use stream_core::table::Schemas;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exchange::error::Peer;
use crate::exchange::gate::Gate;

/// How long a stream waits for its gate. Deploying takes milliseconds; what takes longer has gone wrong.
pub(crate) const DEPLOY_WAIT: Duration = Duration::from_secs(10);

/// A channel between two subtasks of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChannelKey {
    /// Of which job.
    pub(crate) job_id: JobId,
    /// Of which try.
    pub(crate) attempt: AttemptNumber,
    /// The upstream subtask.
    pub(crate) from: SubtaskId,
    /// The downstream subtask.
    pub(crate) to: SubtaskId,
}

/// The receiving end of a channel from another process.
#[derive(Clone, Debug)]
pub(crate) struct Inlet {
    /// The downstream subtask's gate.
    pub(crate) gate: Arc<Gate>,
    /// The channel of that gate.
    pub(crate) channel: usize,
    /// What may come.
    pub(crate) payload: Payload,
    /// Who sends it.
    pub(crate) upstream: Peer,
    /// Canceled once the attempt is over here.
    pub(crate) stop: CancellationToken,
}

/// What a channel carries beside control messages: rows of these tables always, since any stage may make some.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// Whether keyed events come, too.
    pub(crate) has_events: bool,
    /// The columns of the sink's tables.
    pub(crate) schemas: Arc<Schemas>,
}

/// There is no gate for a stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFound {
    /// Not in time.
    #[error("the downstream subtask is not deployed here")]
    NotDeployed,
    /// The stream belongs to an attempt that has been replaced.
    #[error("attempt {0} of the job has replaced this one here")]
    Replaced(AttemptNumber),
}

/// The receiving ends of all attempts that run here.
#[derive(Debug)]
pub(crate) struct Directory {
    inlets: Mutex<BTreeMap<ChannelKey, Inlet>>,
    changed: watch::Sender<()>,
    deploy_wait: Duration,
}

impl Directory {
    /// An empty one, in which a stream waits for its gate up to `deploy_wait`.
    pub(crate) fn new(deploy_wait: Duration) -> Self {
        Directory { inlets: Mutex::default(), changed: watch::Sender::new(()), deploy_wait }
    }

    /// Adds the receiving ends of an attempt.
    pub(crate) fn add(&self, inlets: impl IntoIterator<Item = (ChannelKey, Inlet)>) {
        self.lock().extend(inlets);
        self.changed.send_replace(());
    }

    /// Takes out those of an attempt that is over.
    pub(crate) fn remove(&self, job_id: JobId, attempt: AttemptNumber) {
        self.lock().retain(|key, _| (key.job_id, key.attempt) != (job_id, attempt));
    }

    /// The receiving end of a channel, waiting for it to be deployed.
    ///
    /// # Errors
    /// If it is not deployed in time, or never will be.
    pub(crate) async fn find(&self, key: ChannelKey) -> Result<Inlet, NotFound> {
        let mut changed = self.changed.subscribe();
        let found = async {
            loop {
                if let Some(found) = self.look_up(key) {
                    return found;
                }
                // The sender lives as long as this directory.
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(self.deploy_wait, found).await.unwrap_or(Err(NotFound::NotDeployed))
    }

    fn look_up(&self, key: ChannelKey) -> Option<Result<Inlet, NotFound>> {
        let inlets = self.lock();
        if let Some(inlet) = inlets.get(&key) {
            return Some(Ok(inlet.clone()));
        }
        let newest = inlets.keys().filter(|other| other.job_id == key.job_id).map(|other| other.attempt).max();
        newest.filter(|&newest| newest > key.attempt).map(|newest| Err(NotFound::Replaced(newest)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelKey, Inlet>> {
        self.inlets.lock().expect("no code panics while it holds the directory")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stream_core::ids::{StageIndex, SubtaskIndex};

    use super::*;

    fn key(attempt: u32) -> ChannelKey {
        let subtask = |stage| SubtaskId { stage: StageIndex(stage), index: SubtaskIndex(0) };
        ChannelKey { job_id: JobId(1), attempt: AttemptNumber(attempt), from: subtask(0), to: subtask(1) }
    }

    fn inlet() -> Inlet {
        Inlet {
            gate: Arc::new(Gate::new(1, 64)),
            channel: 0,
            payload: Payload { has_events: true, schemas: Arc::default() },
            upstream: Peer { subtask: "source[0]".to_owned(), taskmanager: "tm".to_owned() },
            stop: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn stream_waits_for_its_deployment() {
        let directory = Directory::new(DEPLOY_WAIT);
        let (found, ()) = tokio::join!(directory.find(key(1)), async { directory.add([(key(1), inlet())]) });
        found.unwrap();
    }

    #[tokio::test]
    async fn stream_of_an_attempt_that_is_not_there_is_refused_in_the_end() {
        let directory = Directory::new(Duration::from_millis(1));
        directory.add([(key(1), inlet())]);
        directory.remove(JobId(1), AttemptNumber(1));
        assert_eq!(directory.find(key(1)).await.unwrap_err(), NotFound::NotDeployed);
    }

    #[tokio::test]
    async fn stream_of_a_replaced_attempt_is_refused_at_once() {
        let directory = Directory::new(DEPLOY_WAIT);
        directory.add([(key(2), inlet())]);
        assert_eq!(directory.find(key(1)).await.unwrap_err(), NotFound::Replaced(AttemptNumber(2)));
    }
}
