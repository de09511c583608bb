//! STUB: until the ledger branch has its MemoryStore.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use stream_runtime::store::{ObjectStore, StoreError, StoreErrorKind, StoreFuture};

#[derive(Clone, Default)]
pub(crate) struct MemoryStore(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl ObjectStore for MemoryStore {
    fn create<'a>(&'a self, name: &'a str, bytes: Bytes) -> StoreFuture<'a, ()> {
        let old = self.0.lock().unwrap().insert(name.to_owned(), bytes);
        assert!(old.is_none(), "{name} twice");
        Box::pin(async { Ok(()) })
    }
    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        let found = self.0.lock().unwrap().get(name).cloned();
        Box::pin(async move { found.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound, name)) })
    }
    fn length<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<u64>> {
        let length = self.0.lock().unwrap().get(name).map(|bytes| bytes.len() as u64);
        Box::pin(async move { Ok(length) })
    }
    fn list<'a>(&'a self, _prefix: &'a str) -> StoreFuture<'a, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn delete<'a>(&'a self, _name: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
