//! Files of the checkpoint store: written in the background, read back by the thread that needs them.
//!
//! Encoding and storing take as long as the store does and never hold up a task: they run on tokio's threads, tracked, within
//! a bound of bytes, and answer into the task's mailbox. What the bytes of a file mean is `stream_runtime::stored`'s
//! business, what belongs into a snapshot the subtask's.

mod ahead;
mod blocks;
mod restoring;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use stream_core::checkpoint::FileRef;
use stream_core::ids::{CheckpointId, JobId, SubtaskId, Token};
use stream_core::row::RowBatch;
use stream_core::snapshot::KeyedSnapshot;
use stream_core::table::Schemas;
use stream_runtime::store::{ObjectStore, StoreError, StoreErrorKind, Stores};
use stream_runtime::stored::{self, names};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::subtask::mail::{Letter, Mailbox};

use ahead::not_read;
use blocks::Blocks;
pub(crate) use restoring::restore;

/// KiB of files that may be encoded, or on their way to the store, at once in this process; a larger file goes alone.
const UPLOAD_KIB: u32 = 256 << 10;

/// The checkpoint stores, and the threads and the memory for using them.
#[derive(Clone)]
pub(crate) struct Snapshotting {
    stores: Arc<dyn Stores>,
    runtime: Handle,
    tasks: TaskTracker,
    room: Arc<Semaphore>,
    blocks: Arc<Blocks>,
}

/// The files of one job.
#[derive(Clone)]
pub(crate) struct JobFiles {
    job_id: JobId,
    store: Arc<dyn ObjectStore>,
    snapshotting: Snapshotting,
}

impl Snapshotting {
    /// With tasks on `runtime`, tracked by `tasks`.
    pub(crate) fn new(stores: Arc<dyn Stores>, runtime: Handle, tasks: TaskTracker) -> Self {
        Snapshotting {
            stores,
            runtime,
            tasks,
            room: Arc::new(Semaphore::new(UPLOAD_KIB as usize)),
            blocks: Arc::default(),
        }
    }

    /// A job's files in the store at `uri`; nothing where the URI is empty.
    ///
    /// # Errors
    /// If there is no such store.
    pub(crate) fn open(&self, uri: &str, job_id: JobId) -> Result<Option<JobFiles>, StoreError> {
        if uri.is_empty() {
            return Ok(None);
        }
        let store = self.stores.open(uri)?;
        Ok(Some(JobFiles { job_id, store, snapshotting: self.clone() }))
    }
}

impl JobFiles {
    /// Stores an operator's state at a checkpoint; answers with [`Letter::Stored`].
    pub(crate) fn store_state(
        &self,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        snapshot: KeyedSnapshot,
        ticket: u64,
        mailbox: Arc<Mailbox>,
    ) {
        let bytes = snapshot.sections.iter().map(|section| section.bytes.len()).sum();
        let name = names::state(checkpoint, subtask);
        let pool = Arc::clone(&self.snapshotting.blocks);
        let encode = move || {
            let file = stored::encode_state(&snapshot);
            pool.give_back(snapshot.sections.into_iter().map(|section| section.bytes));
            file
        };
        self.store(name, bytes, encode, ticket, mailbox);
    }

    /// Prepares memory for a snapshot; answers with [`Letter::Blocks`].
    pub(crate) fn prepare_blocks(&self, checkpoint: CheckpointId, count: usize, mailbox: Arc<Mailbox>) {
        let pool = Arc::clone(&self.snapshotting.blocks);
        let prepare = move || mailbox.put(Letter::Blocks { checkpoint, blocks: pool.take(count) });
        self.snapshotting.tasks.spawn_blocking_on(prepare, &self.snapshotting.runtime);
    }

    /// Takes back memory that was not needed, in the background: freeing much of it takes long.
    pub(crate) fn give_back_blocks(&self, blocks: Vec<Vec<u8>>) {
        if !blocks.is_empty() {
            let pool = Arc::clone(&self.snapshotting.blocks);
            let give_back = move || pool.give_back(blocks.into_iter());
            self.snapshotting.tasks.spawn_blocking_on(give_back, &self.snapshotting.runtime);
        }
    }

    /// Stores rows that an attempt gathered since epoch `after`; answers with [`Letter::Stored`].
    pub(crate) fn store_rows(
        &self,
        token: Token,
        after: CheckpointId,
        rows: Arc<RowBatch>,
        ticket: u64,
        mailbox: Arc<Mailbox>,
    ) {
        let name = names::rows(token, after, ticket);
        self.store(name, rows.as_bytes().len(), move || stored::encode_rows(&rows), ticket, mailbox);
    }

    /// Reads rows back. To be called on a plain thread.
    ///
    /// # Errors
    /// If the file cannot be read, or is not what was written.
    pub(crate) fn read_rows(&self, file: &FileRef, schemas: &Schemas) -> Result<RowBatch, StoreError> {
        stored::decode_rows(file, &self.read(file)?, schemas)
    }

    /// The bytes of a file. To be called on a plain thread, even one that drives a future of its own: hence no `block_on`.
    fn read(&self, file: &FileRef) -> Result<Bytes, StoreError> {
        let (sender, receiver) = sync_channel(1);
        let (store, name) = (Arc::clone(&self.store), self.full_name(&file.name));
        let read = async move { drop(sender.send(store.read(&name).await)) };
        self.snapshotting.tasks.spawn_on(read, &self.snapshotting.runtime);
        receiver.recv().unwrap_or_else(|_| Err(not_read(&file.name)))
    }

    fn store(
        &self,
        name: String,
        bytes: usize,
        encode: impl FnOnce() -> Vec<u8> + Send + 'static,
        ticket: u64,
        mailbox: Arc<Mailbox>,
    ) {
        let files = self.clone();
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, UPLOAD_KIB);
        let upload = async move {
            let room = Arc::clone(&files.snapshotting.room);
            let _room = room.acquire_many(kib).await.expect("the semaphore is never closed");
            let encoded = tokio::task::spawn_blocking(encode).await;
            let result = match encoded {
                Ok(bytes) => files.create(name, bytes.into()).await,
                Err(_) => Err(StoreError::new(StoreErrorKind::Invalid, format!("encoding `{name}` panicked"))),
            };
            mailbox.put(Letter::Stored { ticket, result });
        };
        self.snapshotting.tasks.spawn_on(upload, &self.snapshotting.runtime);
    }

    async fn create(&self, name: String, bytes: Bytes) -> Result<FileRef, StoreError> {
        let file = stored::file_ref(name, &bytes);
        let full_name = self.full_name(&file.name);
        match self.store.create(&full_name, bytes.clone()).await {
            // An earlier try of this very call came through, and its answer was lost.
            Err(error) if error.kind == StoreErrorKind::Exists => {
                let is_it = self.store.read(&full_name).await? == bytes;
                is_it.then_some(()).ok_or(error)?;
            }
            created => created?,
        }
        Ok(file)
    }

    fn full_name(&self, name: &str) -> String {
        names::in_job(self.job_id, name)
    }
}
