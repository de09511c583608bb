//! What users ask of a running job's checkpoints: a savepoint, to stop with one, to go on with another parallelism.
//!
//! A savepoint is a folder of its own, with the manifest and every file that it names under the names that they have in the
//! checkpoint store, so that it can be moved and outlives the job's checkpoints.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use stream_core::checkpoint::{Event, Manifest, Request, RequestKind};
use stream_core::ids::{CheckpointId, JobId};
use stream_core::job::{self, JobState};
use stream_core::plan::slots_needed;
use stream_core::slot::{NoFreeSlot, SlotCount};
use stream_runtime::store::{ObjectStore, StoreError, Stores};
use tokio::sync::oneshot;

use crate::beside::Outcome;
use crate::checkpoint_store::{self, CheckpointStore, create_once};
use crate::handle::{CheckpointError, SavepointRecord};
use crate::service::{Service, answer};

/// The manifest's name within a savepoint's folder.
const MANIFEST: &str = "manifest";

/// The answer to whoever wants a savepoint.
pub(crate) type SavepointReply = oneshot::Sender<Result<SavepointRecord, CheckpointError>>;

/// Who waits for a checkpoint.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// For a savepoint in this store.
    Savepoint { target: String, reply: SavepointReply },
    /// For the same, and for the job's end.
    Stop { job: JobId, target: String, reply: SavepointReply },
    /// For the next attempt.
    Rescale { job: JobId, parallelism: NonZeroU32, reply: oneshot::Sender<Result<(), CheckpointError>> },
}

/// A job that was stopped and has not ended.
#[derive(Debug)]
pub(crate) struct Stopping {
    job: JobId,
    savepoint: SavepointRecord,
    reply: SavepointReply,
}

impl Service {
    /// Somebody wants a savepoint.
    pub(crate) fn on_savepoint(&mut self, text: &str, target: String, reply: SavepointReply) {
        match self.running(text) {
            Ok(_) if self.store.is_none() => answer(reply, Err(CheckpointError::NoStore)),
            Ok(job) => self.request(job, RequestKind::Savepoint, Waiter::Savepoint { target, reply }),
            Err(error) => answer(reply, Err(error)),
        }
    }

    /// Somebody wants a job to end with everything published.
    pub(crate) fn on_stop(&mut self, text: &str, is_drain: bool, target: String, reply: SavepointReply) {
        let kind = if is_drain { RequestKind::Drain } else { RequestKind::Stop };
        match self.running(text) {
            Ok(_) if self.store.is_none() && !target.is_empty() => answer(reply, Err(CheckpointError::NoStore)),
            Ok(job) => self.request(job, kind, Waiter::Stop { job, target, reply }),
            Err(error) => answer(reply, Err(error)),
        }
    }

    /// Somebody wants another parallelism.
    pub(crate) fn on_rescale(
        &mut self,
        text: &str,
        parallelism: u32,
        reply: oneshot::Sender<Result<(), CheckpointError>>,
    ) {
        let checked = self.running(text).and_then(|job| Ok((job, self.check_parallelism(job, parallelism)?)));
        match checked {
            Ok(_) if self.store.is_none() => answer(reply, Err(CheckpointError::NoStore)),
            Ok((job, parallelism)) => {
                self.request(job, RequestKind::Checkpoint, Waiter::Rescale { job, parallelism, reply });
            }
            Err(error) => answer(reply, Err(error)),
        }
    }

    /// The coordinator answers a request.
    pub(crate) fn on_answer(&mut self, job: JobId, number: u64, result: Result<CheckpointId, String>) {
        if let Some(leaver) = self.leavers.remove(&number) {
            return self.on_last_checkpoint(job, &leaver, result);
        }
        let Some(waiter) = self.waiters.remove(&number) else { return };
        let checkpoint = match result {
            Ok(checkpoint) => checkpoint,
            Err(reason) => return waiter.refuse(CheckpointError::Failed(reason)),
        };
        match waiter {
            Waiter::Rescale { job, parallelism, reply } => self.rescale(job, parallelism, reply),
            Waiter::Savepoint { ref target, .. } | Waiter::Stop { ref target, .. } => {
                let manifest = self.coordinations.get(&job).and_then(|coordination| {
                    let mut manifests = coordination.coordinator.manifests();
                    manifests.find(|manifest| manifest.checkpoint == checkpoint).cloned()
                });
                let (stores, target) = (Arc::clone(&self.stores), target.clone());
                let checkpoint_store = self.options.checkpoint_store.clone();
                let store = self.checkpoint_store(job);
                self.waiters.insert(number, waiter);
                self.beside.spawn(async move {
                    let result = match (store, checkpoint_store, manifest) {
                        (Some(store), Some(own), Some(manifest)) => {
                            copy_out(&store, stores.as_ref(), &own, &target, &manifest).await
                        }
                        (Some(_), _, _) => Err("its manifest is no longer there".to_owned()),
                        // A stop where nothing is stored.
                        (None, _, _) => Ok(String::new()),
                    };
                    Outcome::SavepointCopied { number, checkpoint, result }
                });
            }
        }
    }

    /// A savepoint lies in its folder, or does not.
    pub(crate) fn on_savepoint_copied(
        &mut self,
        number: u64,
        checkpoint: CheckpointId,
        result: Result<String, String>,
    ) {
        let Some(waiter) = self.waiters.remove(&number) else { return };
        let savepoint = match result {
            Ok(folder) => SavepointRecord { checkpoint, folder },
            Err(reason) => {
                let reason = format!("checkpoint {checkpoint} is complete, but could not be copied: {reason}");
                return waiter.refuse(CheckpointError::Failed(reason));
            }
        };
        match waiter {
            Waiter::Savepoint { reply, .. } => answer(reply, Ok(savepoint)),
            Waiter::Stop { job, reply, .. } if self.jobs.get(job).is_some_and(|record| record.is_live()) => {
                self.stopping.push(Stopping { job, savepoint, reply });
            }
            Waiter::Stop { reply, .. } => answer(reply, Ok(savepoint)),
            Waiter::Rescale { .. } => {}
        }
    }

    /// A job has ended: those who stopped it are told.
    pub(crate) fn answer_stops(&mut self, job: JobId) {
        let (ended, waiting) = std::mem::take(&mut self.stopping).into_iter().partition(|stop| stop.job == job);
        self.stopping = waiting;
        let ended: Vec<Stopping> = ended;
        for Stopping { savepoint, reply, .. } in ended {
            answer(reply, Ok(savepoint));
        }
    }

    /// The attempt with the new parallelism is planned, or will not be.
    pub(crate) fn answer_rescale(&mut self, job: JobId, result: Result<(), CheckpointError>) {
        if let Some(reply) = self.rescaling.remove(&job) {
            answer(reply, result);
        }
    }

    fn rescale(&mut self, job: JobId, parallelism: NonZeroU32, reply: oneshot::Sender<Result<(), CheckpointError>>) {
        let Some(record) = self.jobs.get_mut(job).filter(|record| record.state() == JobState::Running) else {
            return answer(reply, Err(CheckpointError::Failed("the job does not run any more".to_owned())));
        };
        Arc::make_mut(&mut record.pipeline).parallelism = parallelism;
        tracing::info!(job_id = %job, parallelism, "rescaling");
        self.rescaling.insert(job, reply);
        self.apply(job, job::Event::RestartRequested);
    }

    fn running(&self, text: &str) -> Result<JobId, CheckpointError> {
        let id = self.jobs.find(text)?;
        let state = self.jobs.get(id).expect("it was just found").state();
        let is_coordinated = self.coordinations.contains_key(&id);
        if state == JobState::Running && is_coordinated {
            Ok(id)
        } else {
            Err(CheckpointError::NotRunning { id, state })
        }
    }

    fn check_parallelism(&self, job: JobId, parallelism: u32) -> Result<NonZeroU32, CheckpointError> {
        let record = self.jobs.get(job).expect("it was just found");
        let max = record.pipeline.max_parallelism.get();
        let wanted = NonZeroU32::new(parallelism).filter(|wanted| wanted.get() <= u32::from(max));
        let wanted = wanted.ok_or(CheckpointError::Parallelism { parallelism, max })?;
        let mut pipeline = record.pipeline.as_ref().clone();
        pipeline.parallelism = wanted;
        let (needed, held) = (slots_needed(&pipeline), slots_needed(&record.pipeline));
        let SlotCount { total, free } = self.slots.count();
        if free + held < needed {
            return Err(NoFreeSlot { needed, count: SlotCount { total, free: free + held } }.into());
        }
        Ok(wanted)
    }

    fn request(&mut self, job: JobId, kind: RequestKind, waiter: Waiter) {
        self.requests += 1;
        let number = self.requests;
        self.waiters.insert(number, waiter);
        self.coordinate(job, Event::Requested(Request { number, kind }));
    }
}

impl Waiter {
    fn refuse(self, error: CheckpointError) {
        match self {
            Waiter::Savepoint { reply, .. } | Waiter::Stop { reply, .. } => answer(reply, Err(error)),
            Waiter::Rescale { reply, .. } => answer(reply, Err(error)),
        }
    }
}

/// Copies a checkpoint into a folder of its own; the folder.
async fn copy_out(
    store: &CheckpointStore,
    stores: &dyn Stores,
    own: &str,
    target: &str,
    manifest: &Manifest,
) -> Result<String, String> {
    let parent =
        if target.is_empty() { format!("{}/savepoints", own.trim_end_matches('/')) } else { target.to_owned() };
    let folder = format!("{}/{}-{}", parent.trim_end_matches('/'), manifest.job_id, manifest.checkpoint);
    let copied = async {
        let savepoint = stores.open(&folder)?;
        for file in manifest.file_refs() {
            let bytes = store.read_file(file).await?;
            create_once(savepoint.as_ref(), &file.name, bytes).await?;
        }
        // Last: a folder with a manifest is whole.
        create_once(savepoint.as_ref(), MANIFEST, checkpoint_store::encode(manifest)).await
    };
    copied.await.map(|()| folder).map_err(|error: StoreError| error.to_string())
}

/// Reads a savepoint's manifest.
///
/// # Errors
/// If the folder is not a savepoint's.
pub(crate) async fn open(stores: &dyn Stores, folder: &str) -> Result<(Arc<dyn ObjectStore>, Manifest), StoreError> {
    let savepoint = stores.open(folder)?;
    let bytes = savepoint.read(MANIFEST).await?;
    let manifest = checkpoint_store::decode(MANIFEST, &bytes)?;
    Ok((savepoint, manifest))
}

/// Copies a savepoint's files and its manifest into the checkpoint store, where the tasks read them.
///
/// # Errors
/// If one cannot be read or written.
pub(crate) async fn copy_in(
    savepoint: &dyn ObjectStore,
    store: &CheckpointStore,
    manifest: &Manifest,
) -> Result<(), StoreError> {
    for file in manifest.file_refs() {
        let bytes: Bytes = savepoint.read(&file.name).await?;
        store.write_file(file, bytes).await?;
    }
    store.store(manifest).await
}
