//! A job's manifests and files in the checkpoint store.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use stream_core::checkpoint::{FileRef, Listed, ListedKind, Manifest};
use stream_core::ids::{CheckpointId, JobId, Token};
use stream_runtime::fail_point::{self, Point};
use stream_runtime::store::{ObjectStore, StoreError, StoreErrorKind, Unfinished};
use stream_runtime::stored::{self, names};

/// The checkpoint store, seen by one job.
#[derive(Clone)]
pub(crate) struct CheckpointStore {
    store: Arc<dyn ObjectStore>,
    job: JobId,
}

/// The manifests that are stored.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Those that are whole, oldest first.
    pub(crate) whole: Vec<Manifest>,
    /// Why each of the others does not do, for the user.
    pub(crate) left_out: Vec<String>,
}

impl Listing {
    /// Leaves those out that name one of these files.
    pub(crate) fn without(mut self, damaged: &BTreeSet<String>) -> Self {
        self.whole.retain(|manifest| {
            let Some(file) = manifest.file_refs().find(|file| damaged.contains(&file.name)) else { return true };
            self.left_out.push(format!("checkpoint {}: its file `{}` is damaged", manifest.checkpoint, file.name));
            false
        });
        self
    }
}

impl CheckpointStore {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, job: JobId) -> Self {
        CheckpointStore { store, job }
    }

    /// The highest token that any stored checkpoint of the job carries.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn highest_token(&self) -> Result<Token, StoreError> {
        let highest = self.ids().await?.into_iter().map(CheckpointId::token).max();
        Ok(highest.unwrap_or_default())
    }

    /// Reads every manifest, and looks whether the files that it names are there with their lengths.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn manifests(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        // Manifests share most of their files.
        let mut seen: BTreeSet<FileRef> = BTreeSet::new();
        for id in self.ids().await? {
            let manifest = match self.manifest(id).await {
                Ok(manifest) => manifest,
                Err(error) if error.kind == StoreErrorKind::Unavailable => return Err(error),
                Err(error) => {
                    listing.left_out.push(format!("checkpoint {id} cannot be read: {error}"));
                    continue;
                }
            };
            match self.missing(&manifest, &mut seen).await? {
                None => listing.whole.push(manifest),
                Some(file) => listing.left_out.push(format!("checkpoint {id} lacks its file `{file}`")),
            }
        }
        Ok(listing)
    }

    /// Stores a manifest: from its return on the checkpoint exists. One that is there already, byte for byte, was stored by
    /// this very call, whose answer was lost.
    ///
    /// # Errors
    /// If it is not stored, or nobody knows.
    pub(crate) async fn store(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let name = names::manifest(self.job, manifest.checkpoint);
        create_once(self.store.as_ref(), &name, encode(manifest)).await
    }

    /// Removes manifests first, then files: never is there a manifest whose files are gone.
    ///
    /// # Errors
    /// If the store does not answer; files that are left are named by no manifest, and the next attempt sweeps them away.
    pub(crate) async fn discard(&self, checkpoints: &[CheckpointId], files: &[String]) -> Result<(), StoreError> {
        for &checkpoint in checkpoints {
            self.store.delete(&names::manifest(self.job, checkpoint)).await?;
            fail_point::reach(Point::DiscardBegun);
        }
        for file in files {
            self.store.delete(&names::in_job(self.job, file)).await?;
        }
        Ok(())
    }

    /// Whatever the store holds of the job, whole or not.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn everything(&self) -> Result<Vec<Listed>, StoreError> {
        let folder = names::in_job(self.job, "");
        let listed = |object: &str, place: &str, kind| {
            let name = object.strip_prefix(&folder).unwrap_or(object).to_owned();
            Listed { token: names::token_of(&name), name, place: place.to_owned(), kind }
        };
        let kind = |name: &str| match names::checkpoint_of(name) {
            Some(_) => ListedKind::Manifest,
            None => ListedKind::File,
        };
        let unfinished = self.store.list_unfinished(&folder).await?;
        let objects = self.store.list(&folder).await?;
        let rests = unfinished.iter().map(|rest| listed(&rest.object, &rest.place, ListedKind::Unfinished));
        Ok(rests.chain(objects.iter().map(|name| listed(name, name, kind(name)))).collect())
    }

    /// Every manifest that is there, whether its files are or not; `None` for one that cannot be read.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn every_manifest(&self) -> Result<Vec<Option<Manifest>>, StoreError> {
        let mut manifests = Vec::new();
        for id in self.ids().await? {
            match self.manifest(id).await {
                Ok(manifest) => manifests.push(Some(manifest)),
                // Removed since it was listed: nobody can begin with it any more.
                Err(error) if error.kind == StoreErrorKind::NotFound => {}
                Err(error) if error.kind == StoreErrorKind::Unavailable => return Err(error),
                Err(error) => {
                    tracing::warn!(job_id = %self.job, checkpoint = %id, %error, "a manifest cannot be read");
                    manifests.push(None);
                }
            }
        }
        Ok(manifests)
    }

    /// Removes what [`CheckpointStore::everything`] listed.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn remove(&self, listed: &Listed) -> Result<(), StoreError> {
        match listed.kind {
            ListedKind::File | ListedKind::Manifest => self.store.delete(&listed.place).await,
            ListedKind::Unfinished => {
                let object = names::in_job(self.job, &listed.name);
                self.store.delete_unfinished(&Unfinished { object, place: listed.place.clone() }).await
            }
        }
    }

    /// Reads a file that a manifest names.
    ///
    /// # Errors
    /// If it is not there, or the store does not answer.
    pub(crate) async fn read_file(&self, file: &FileRef) -> Result<Bytes, StoreError> {
        self.store.read(&names::in_job(self.job, &file.name)).await
    }

    /// Writes a file that a manifest names, unless it is there.
    ///
    /// # Errors
    /// If it is not written, or other bytes are there.
    pub(crate) async fn write_file(&self, file: &FileRef, bytes: Bytes) -> Result<(), StoreError> {
        create_once(self.store.as_ref(), &names::in_job(self.job, &file.name), bytes).await
    }

    async fn ids(&self) -> Result<Vec<CheckpointId>, StoreError> {
        let names = self.store.list(&names::manifests(self.job)).await?;
        let mut ids: Vec<CheckpointId> = names.iter().filter_map(|name| names::checkpoint_of(name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    async fn manifest(&self, id: CheckpointId) -> Result<Manifest, StoreError> {
        let name = names::manifest(self.job, id);
        let bytes = self.store.read(&name).await?;
        decode(&name, &bytes)
    }

    async fn missing(&self, manifest: &Manifest, seen: &mut BTreeSet<FileRef>) -> Result<Option<String>, StoreError> {
        for file in manifest.file_refs() {
            if seen.contains(file) {
                continue;
            }
            if self.store.length(&names::in_job(self.job, &file.name)).await? != Some(file.bytes) {
                return Ok(Some(file.name.clone()));
            }
            seen.insert(file.clone());
        }
        Ok(None)
    }
}

/// A manifest as a file.
pub(crate) fn encode(manifest: &Manifest) -> Bytes {
    stored::encode_manifest(manifest).into()
}

/// Reads a manifest.
///
/// # Errors
/// If the bytes are anything else.
pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Manifest, StoreError> {
    stored::decode_manifest(name, bytes)
}

/// Creates an object; one that is there with the same bytes is as good.
///
/// # Errors
/// If it is not there, or has other bytes.
pub(crate) async fn create_once(store: &dyn ObjectStore, name: &str, bytes: Bytes) -> Result<(), StoreError> {
    match store.create(name, bytes.clone()).await {
        Err(error) if error.kind == StoreErrorKind::Exists && store.read(name).await? == bytes => Ok(()),
        outcome => outcome,
    }
}
