//! A store in memory, for tests of whatever writes to one. Clones share their objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{ObjectStore, StoreError, StoreErrorKind, StoreFuture, Stores, Unfinished};

/// Objects in memory. As [`Stores`] it is the one store that there is, whatever the URI.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    objects: Mutex<BTreeMap<String, Bytes>>,
    unfinished: Mutex<BTreeSet<Unfinished>>,
    refuses_writes: AtomicBool,
}

impl MemoryStore {
    /// Whether writes and deletions fail from now on, as on a full disk.
    pub fn refuse_writes(&self, refuse: bool) {
        self.shared.refuses_writes.store(refuse, Ordering::SeqCst);
    }

    /// The names of all objects, in ascending order.
    pub fn names(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }

    /// Puts other bytes in place of an object's, as a bad disk does.
    pub fn replace(&self, name: &str, bytes: impl Into<Bytes>) {
        self.objects().insert(name.to_owned(), bytes.into());
    }

    /// Leaves what a writer of this object leaves that dies half-way.
    pub fn leave_unfinished(&self, object: &str) {
        let mut unfinished = self.unfinished();
        let place = unfinished.len().to_string();
        unfinished.insert(Unfinished { object: object.to_owned(), place });
    }

    fn unfinished(&self) -> MutexGuard<'_, BTreeSet<Unfinished>> {
        self.shared.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // No code can panic while it holds the lock, so what it guards is whole.
        self.shared.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        if self.shared.refuses_writes.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the store in memory refuses to write"));
        }
        Ok(())
    }
}

impl ObjectStore for MemoryStore {
    fn create<'a>(&'a self, name: &'a str, bytes: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.check_writable()?;
            let mut objects = self.objects();
            if objects.contains_key(name) {
                return Err(StoreError::new(StoreErrorKind::Exists, format!("`{name}` is there already")));
            }
            objects.insert(name.to_owned(), bytes);
            Ok(())
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        let found = self.objects().get(name).cloned();
        Box::pin(async move {
            found.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound, format!("`{name}` is not there")))
        })
    }

    fn length<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<u64>> {
        let length = self.objects().get(name).map(|bytes| bytes.len() as u64);
        Box::pin(async move { Ok(length) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<String>> {
        let names = self.objects().keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        Box::pin(async move { Ok(names) })
    }

    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.check_writable()?;
            self.objects().remove(name);
            Ok(())
        })
    }

    fn list_unfinished<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Unfinished>> {
        let below = self.unfinished().iter().filter(|rest| rest.object.starts_with(prefix)).cloned().collect();
        Box::pin(async move { Ok(below) })
    }

    fn delete_unfinished<'a>(&'a self, unfinished: &'a Unfinished) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.check_writable()?;
            self.unfinished().remove(unfinished);
            Ok(())
        })
    }
}

impl Stores for MemoryStore {
    fn open(&self, _uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
        Ok(Arc::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn objects_are_created_once_listed_in_order_and_deleted_at_leisure() {
        let store = MemoryStore::default();
        for name in ["a/2", "a/1", "ab/3", "b"] {
            store.create(name, Bytes::from(name.to_owned())).await.unwrap();
        }
        assert_eq!(store.create("a/1", Bytes::new()).await.unwrap_err().kind, StoreErrorKind::Exists);
        assert_eq!(store.read("a/1").await.unwrap(), "a/1", "the first stays");
        assert_eq!(store.list("a/").await.unwrap(), ["a/1", "a/2"]);
        assert_eq!((store.length("b").await.unwrap(), store.length("c").await.unwrap()), (Some(1), None));
        store.delete("b").await.unwrap();
        store.delete("b").await.unwrap();
        assert_eq!(store.read("b").await.unwrap_err().kind, StoreErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_store_that_refuses_writes_can_still_be_read() {
        let store = MemoryStore::default();
        store.create("a", Bytes::new()).await.unwrap();
        store.refuse_writes(true);
        assert_eq!(store.create("b", Bytes::new()).await.unwrap_err().kind, StoreErrorKind::Unavailable);
        assert_eq!(store.delete("a").await.unwrap_err().kind, StoreErrorKind::Unavailable);
        assert_eq!(store.open("memory:").unwrap().list("").await.unwrap(), ["a"]);
        store.refuse_writes(false);
        store.create("b", Bytes::new()).await.unwrap();
    }
}
