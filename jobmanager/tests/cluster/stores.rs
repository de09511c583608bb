//! Stores in memory, one for each URI, that write down what is done to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use stream_core::checkpoint::Manifest;
use stream_core::ids::{CheckpointId, JobId};
use stream_runtime::store::MemoryStore;
use stream_runtime::store::{ObjectStore, StoreError, StoreFuture, Stores, Unfinished};
use stream_runtime::stored::{self, names};

use crate::jobmanager::within;

/// What was done, in order, by stores and connectors alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The store of the tests' jobmanagers.
pub(crate) const STORE: &str = "file:///checkpoints";

/// Stores by URI.
#[derive(Default)]
pub(crate) struct FakeStores {
    pub(crate) log: Log,
    by_uri: Mutex<BTreeMap<String, MemoryStore>>,
}

impl FakeStores {
    pub(crate) fn at(&self, uri: &str) -> MemoryStore {
        self.by_uri.lock().unwrap().entry(uri.to_owned()).or_default().clone()
    }

    /// Waits until this was done.
    pub(crate) async fn wait_for(&self, line: &str) {
        within(async {
            while !self.log.lines().iter().any(|done| done == line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// A stored manifest.
    pub(crate) async fn manifest(&self, job: &str, checkpoint: CheckpointId) -> Manifest {
        let name = names::manifest(job.parse::<JobId>().unwrap(), checkpoint);
        let bytes = self.at(STORE).read(&name).await.unwrap();
        stored::decode_manifest(&name, &bytes).unwrap()
    }
}

impl Stores for FakeStores {
    fn open(&self, uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
        Ok(Arc::new(Recorder { log: self.log.clone(), store: self.at(uri) }))
    }
}

struct Recorder {
    log: Log,
    store: MemoryStore,
}

impl ObjectStore for Recorder {
    fn create<'a>(&'a self, name: &'a str, bytes: Bytes) -> StoreFuture<'a, ()> {
        self.log.write(format!("create {name}"));
        self.store.create(name, bytes)
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        self.log.write(format!("read {name}"));
        self.store.read(name)
    }

    fn length<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<u64>> {
        self.store.length(name)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<String>> {
        self.log.write(format!("list {prefix}"));
        self.store.list(prefix)
    }

    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        self.log.write(format!("delete {name}"));
        self.store.delete(name)
    }

    fn list_unfinished<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Unfinished>> {
        self.store.list_unfinished(prefix)
    }

    fn delete_unfinished<'a>(&'a self, unfinished: &'a Unfinished) -> StoreFuture<'a, ()> {
        self.log.write(format!("delete unfinished {}", unfinished.object));
        self.store.delete_unfinished(unfinished)
    }
}
