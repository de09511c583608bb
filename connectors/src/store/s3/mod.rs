//! A store in a bucket of S3, or of a server that speaks its protocol.
//!
//! An object is created by one put under the condition that its name is free, so it appears whole or not at all, and of
//! several writers one wins. That is all the fencing that the port needs: nothing is ever written over. S3 is consistent: what
//! was written is read and listed from then on.
//!
//! [`address`] has where it is and how to get in, [`large`] what is too long for one request, [`failure`] what to say.

mod address;
mod failure;
mod large;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt, PutMode, PutPayload};
use stream_runtime::store::{ObjectStore, StoreError, StoreErrorKind, StoreFuture, Unfinished};

use super::name::{UNFINISHED, check_name, check_prefix, object_of, unused_name};
pub(super) use address::{Address, Variables};
use failure::Context;

/// Where a start looks whether the server keeps its promises. No name of an object begins with a full stop.
const PROBES: &str = ".probe";

/// How often a put is tried again that the server turned away because of another one which then came to nothing.
const CONFLICT_TRIES: u32 = 3;

/// A bucket, or what is below a prefix of it, as a store. Cheap to clone; its futures need a tokio runtime.
#[derive(Clone, Debug)]
pub(super) struct S3 {
    client: AmazonS3,
    /// The same with more patience, for what the server does by itself for as long as an object is large.
    patient: AmazonS3,
    address: Arc<Address>,
}

impl S3 {
    /// Without a look at the server.
    ///
    /// # Errors
    /// If the settings contradict each other.
    pub(super) fn open(address: Address, variables: &Variables) -> Result<Self, StoreError> {
        let (client, patient) = address.clients(variables)?;
        Ok(S3 { client, patient, address: Arc::new(address) })
    }

    fn key(&self, name: &str) -> Path {
        // The parts of a name need no escape.
        self.address.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    fn failed(&self, action: &'static str, key: &Path, error: &Error) -> StoreError {
        Context { action, address: &self.address, key }.error(error)
    }

    async fn create_at(&self, key: &Path, bytes: Bytes) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let created = if large::is_large(&bytes) {
                large::create(self, key, &bytes).await
            } else {
                self.client.put_opts(key, PutPayload::from(bytes.clone()), PutMode::Create.into()).await.map(drop)
            };
            match created {
                Ok(()) => return Ok(()),
                // The server says the same of a name that is taken and of a put that ran into another one. The second may
                // come to nothing.
                Err(Error::AlreadyExists { .. }) if tries < CONFLICT_TRIES && self.length_at(key).await?.is_none() => {}
                Err(error) => return Err(self.failed("create", key, &error)),
            }
        }
    }

    async fn read_at(&self, key: &Path) -> Result<Bytes, StoreError> {
        large::read(&self.client, key).await.map_err(|error| self.failed("read", key, &error))
    }

    async fn length_at(&self, key: &Path) -> Result<Option<u64>, StoreError> {
        let not_there = match self.client.head(key).await {
            Ok(meta) => return Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => self.client.get(key).await,
            Err(error) => return Err(self.failed("look at", key, &error)),
        };
        // Only the answer to a read says whether the object or its whole bucket is missing.
        match not_there.map_err(|error| self.failed("look at", key, &error)) {
            Ok(found) => Ok(Some(found.meta.size)),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete_at(&self, key: &Path) -> Result<(), StoreError> {
        match self.client.delete(key).await.map_err(|error| self.failed("delete", key, &error)) {
            Err(error) if error.kind != StoreErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What a key below the root is called there.
    fn name<'a>(&self, key: &'a Path) -> Option<&'a str> {
        let root = self.address.prefix.as_ref();
        let skipped = if root.is_empty() { 0 } else { root.len() + 1 };
        key.as_ref().get(skipped..)
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<Path>, StoreError> {
        let folder = self.key(prefix);
        let listed = self.client.list(Some(&folder)).map_ok(|meta| meta.location);
        listed.try_collect().await.map_err(|error| self.failed("list", &folder, &error))
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let keys = self.keys(prefix).await?;
        let names = keys.iter().filter_map(|key| self.name(key));
        // What others keep beside ours, or we ourselves out of sight, is no object.
        let mut names: Vec<String> = names.filter(|name| check_name(name).is_ok()).map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, StoreError> {
        let keys = self.keys(UNFINISHED).await?;
        let rest = |key: &Path| {
            let object = object_of(key.filename()?).filter(|object| object.starts_with(prefix))?;
            Some(Unfinished { object, place: key.as_ref().to_owned() })
        };
        let mut unfinished: Vec<Unfinished> = keys.iter().filter_map(rest).collect();
        unfinished.sort_unstable();
        Ok(unfinished)
    }

    /// Creates an object twice, in one request and as large ones are: a server must refuse both.
    async fn probe(&self) -> Result<(), StoreError> {
        let (key, other) = (self.probe_key(), self.probe_key());
        let written = Bytes::from_static(b"first");
        for (key, bytes) in [(&key, written.clone()), (&other, Bytes::from_static(b"second"))] {
            match self.create_at(key, bytes).await {
                // Nobody else has this name: the answer to this very request was lost, and it was sent again.
                Err(error) if error.kind != StoreErrorKind::Exists => return Err(error),
                _ => {}
            }
        }
        let again = self.create_at(&key, Bytes::from_static(b"third")).await;
        let copied = self.patient.copy_if_not_exists(&other, &key).await;
        let copied = copied.map_err(|error| self.failed("create", &key, &error));
        let read = self.read_at(&key).await?;
        self.delete_at(&key).await?;
        self.delete_at(&other).await?;
        for second in [again, copied] {
            match second {
                Err(error) if error.kind == StoreErrorKind::Exists && read == written => {}
                Err(error) if error.kind != StoreErrorKind::Exists => return Err(error),
                _ => return Err(self.writes_over()),
            }
        }
        Ok(())
    }

    fn probe_key(&self) -> Path {
        self.key(&format!("{PROBES}/{}", unused_name()))
    }

    fn writes_over(&self) -> StoreError {
        let message = format!(
            "{} at {} writes over an object though told not to (`If-None-Match: *`), so two jobmanagers could undo each other's \
             work; use a server with conditional puts, as AWS has them",
            self.address,
            self.address.server()
        );
        StoreError::new(StoreErrorKind::Invalid, message)
    }
}

impl ObjectStore for S3 {
    fn create<'a>(&'a self, name: &'a str, bytes: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            check_name(name)?;
            self.create_at(&self.key(name), bytes).await
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            check_name(name)?;
            self.read_at(&self.key(name)).await
        })
    }

    fn length<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<u64>> {
        Box::pin(async move {
            check_name(name)?;
            self.length_at(&self.key(name)).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<String>> {
        Box::pin(async move {
            check_prefix(prefix)?;
            self.names(prefix).await
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            check_name(name)?;
            self.delete_at(&self.key(name)).await
        })
    }

    fn list_unfinished<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Unfinished>> {
        Box::pin(async move {
            check_prefix(prefix)?;
            self.unfinished(prefix).await
        })
    }

    fn delete_unfinished<'a>(&'a self, unfinished: &'a Unfinished) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.delete_at(&Path::from(unfinished.place.as_str())).await })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.probe())
    }
}
