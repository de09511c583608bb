//! A store in memory that fails, or waits, when a test says so.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use stream_core::ids::JobId;
use stream_runtime::store::{ObjectStore, StoreError, StoreErrorKind, StoreFuture, Stores};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::snapshotting::{JobFiles, Snapshotting};

/// A store, and the runtime that it is used on.
#[derive(Clone)]
pub(crate) struct TestStore {
    pub(crate) objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// How many writes will fail.
    pub(crate) failures: Arc<Mutex<u32>>,
    /// While it is true, writes wait.
    pub(crate) is_shut: watch::Sender<bool>,
    runtime: Arc<tokio::runtime::Runtime>,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        TestStore {
            objects: Arc::default(),
            failures: Arc::default(),
            is_shut: watch::Sender::new(false),
            runtime: Arc::new(runtime),
        }
    }

    /// The files of some job in it.
    pub(crate) fn files(&self) -> JobFiles {
        let snapshotting = Snapshotting::new(Arc::new(self.clone()), self.runtime.handle().clone(), TaskTracker::new());
        snapshotting.open("memory:", JobId(1)).unwrap().unwrap()
    }
}

impl Stores for TestStore {
    fn open(&self, _uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
        Ok(Arc::new(self.clone()))
    }
}

impl ObjectStore for TestStore {
    fn create<'a>(&'a self, name: &'a str, bytes: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.is_shut.subscribe().wait_for(|is_shut| !is_shut).await.unwrap();
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(StoreError::new(StoreErrorKind::Unavailable, "the store is full"));
            }
            self.objects.lock().unwrap().insert(name.to_owned(), bytes);
            Ok(())
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        let found = self.objects.lock().unwrap().get(name).cloned();
        Box::pin(async move { found.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound, name)) })
    }

    fn length<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<u64>> {
        let length = self.objects.lock().unwrap().get(name).map(|bytes| bytes.len() as u64);
        Box::pin(async move { Ok(length) })
    }

    fn list<'a>(&'a self, _prefix: &'a str) -> StoreFuture<'a, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn delete<'a>(&'a self, _name: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
