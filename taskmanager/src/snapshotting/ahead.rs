//! Files of state that are read and decompressed ahead of the thread that puts their records into an operator.
//!
//! One after the other, a chain of many small files would take as many answers of the store, and one core would decompress what several
//! could.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use stream_core::checkpoint::FileRef;
use stream_core::key_group::KeyGroupRange;
use stream_core::snapshot::Section;
use stream_runtime::store::{StoreError, StoreErrorKind};
use stream_runtime::stored;

use super::JobFiles;

/// Files under way for one subtask: what a store that answers within tens of milliseconds, or a few cores, can be busy with.
const FILES: usize = 8;

type Answer = Result<Vec<Section>, StoreError>;

impl JobFiles {
    /// The sections of each file that belong to `key_groups`, in the order of the files; an error for one that cannot be read, or is
    /// not what was written. To be used on a plain thread.
    pub(super) fn read_states<'a>(
        &'a self,
        files: impl Iterator<Item = &'a FileRef> + 'a,
        key_groups: KeyGroupRange,
    ) -> impl Iterator<Item = Answer> + 'a {
        let (mut files, mut under_way) = (files, VecDeque::new());
        std::iter::from_fn(move || {
            while under_way.len() < FILES
                && let Some(file) = files.next()
            {
                under_way.push_back((file, self.begin_reading(file.clone(), key_groups)));
            }
            under_way.pop_front().map(|(file, answer)| answer.recv().unwrap_or_else(|_| Err(not_read(&file.name))))
        })
    }

    fn begin_reading(&self, file: FileRef, key_groups: KeyGroupRange) -> Receiver<Answer> {
        let (sender, answer) = sync_channel(1);
        let (store, name) = (Arc::clone(&self.store), self.full_name(&file.name));
        let read = async move {
            let answer = match store.read(&name).await {
                Ok(bytes) => {
                    let decode = move || stored::decode_state(&file, &bytes, key_groups).map(|state| state.sections);
                    tokio::task::spawn_blocking(decode).await.unwrap_or_else(|_| Err(not_read(&name)))
                }
                Err(error) => Err(error),
            };
            // Nobody waits for it where another file could not be read.
            drop(sender.send(answer));
        };
        self.snapshotting.tasks.spawn_on(read, &self.snapshotting.runtime);
        answer
    }
}

/// Its task was dropped, or panicked.
pub(super) fn not_read(name: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, format!("`{name}` was not read: shutting down"))
}
