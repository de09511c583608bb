//! The sweep: what older attempts left in the store and no manifest names is removed, once for each attempt.
//!
//! What that is, [`stream_core::checkpoint::orphans`] decides. It happens beside the loop, and whatever goes wrong is left to the
//! next attempt: a file too many hurts nobody.

use stream_core::checkpoint::{Manifest, orphans};
use stream_core::ids::{JobId, Token};
use stream_runtime::fail_point::{self, Point};
use tokio_util::sync::CancellationToken;

use crate::beside::Outcome;
use crate::checkpoint_store::CheckpointStore;
use crate::job_store::{JobStore, WriteError};
use crate::service::Service;

/// Removals between two looks whether it is still ours to remove anything: few seconds' worth where each is a request.
const BATCH: usize = 64;

/// One sweep.
struct Sweep {
    store: CheckpointStore,
    job_store: JobStore,
    below: Token,
    /// The manifests that the attempt's coordinator has.
    known: Vec<Manifest>,
    /// Told when the attempt is over.
    over: CancellationToken,
}

impl Service {
    /// The attempt has published an epoch of its own.
    pub(crate) fn sweep(&mut self, job: JobId, below: Token) {
        let (store, job_store) = (self.checkpoint_store(job), self.job_store.clone());
        let (Some(store), Some(job_store), Some(coordination)) = (store, job_store, self.coordinations.get_mut(&job))
        else {
            return;
        };
        let over = CancellationToken::new();
        coordination.sweep = Some(over.clone().drop_guard());
        let known = coordination.coordinator.manifests().cloned().collect();
        let sweep = Sweep { store, job_store, below, known, over };
        self.beside.spawn(async move {
            match sweep.run().await {
                Ok(0) => Outcome::Done,
                Ok(removed) => {
                    tracing::info!(job_id = %job, removed, "removed what older attempts had left");
                    Outcome::Done
                }
                Err(WriteError::Superseded(superseded)) => Outcome::Superseded(superseded),
                Err(error @ WriteError::Store(_)) => {
                    tracing::warn!(job_id = %job, %error, "what older attempts left was not removed: the next attempt tries again");
                    Outcome::Done
                }
            }
        });
    }
}

impl Sweep {
    /// How much was removed.
    async fn run(self) -> Result<usize, WriteError> {
        // Files first: whoever completes a checkpoint in between has its manifest read, and keeps its files. One that is completed
        // behind both lists is an older attempt's, which nothing can begin with, or ours, which names none of these.
        let listed = self.store.everything().await?;
        let mut manifests = self.store.every_manifest().await?;
        // A list is not of one instant: in the midst of it retention may have put a manifest of ours in another's place.
        manifests.extend(self.known.into_iter().map(Some));
        let orphans = orphans(self.below, &listed, &manifests);
        fail_point::reach(Point::SweepBegun);
        let mut removed = 0;
        for batch in orphans.chunks(BATCH) {
            // Behind the lists: a token may be given twice by a sink that was set back, so that only files from before our end are
            // certainly not our successor's. Names are used once.
            self.job_store.check_leader().await?;
            if self.over.is_cancelled() {
                break;
            }
            for orphan in batch {
                self.store.remove(orphan).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
