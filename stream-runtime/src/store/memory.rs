//! A store in memory, for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{ObjectStore, StoreError, StoreErrorKind, StoreFuture, Stores};

/// A store that lives as long as its owners; a clone is the same store. As [`Stores`] it is what every URI means.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    is_full: Arc<AtomicBool>,
}

impl MemoryStore {
    /// Whether every write fails from now on, as one to a full disk does.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// The names of everything stored.
    pub fn names(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }

    /// Replaces an object, as damage does.
    pub fn overwrite(&self, name: &str, bytes: impl Into<Bytes>) {
        self.objects().insert(name.to_owned(), bytes.into());
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StoreError::new(
                StoreErrorKind::Unavailable,
                format!("cannot write `{name}`: the store is full"),
            ));
        }
        let mut objects = self.objects();
        if objects.contains_key(name) {
            return Err(StoreError::new(StoreErrorKind::Exists, format!("`{name}` is there already")));
        }
        objects.insert(name.to_owned(), bytes);
        Ok(())
    }
}

impl ObjectStore for MemoryStore {
    fn create<'a>(&'a self, name: &'a str, bytes: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(self.insert(name, bytes)))
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        let found = self.objects().get(name).cloned();
        let missing = || StoreError::new(StoreErrorKind::NotFound, format!("`{name}` is not there"));
        Box::pin(std::future::ready(found.ok_or_else(missing)))
    }

    fn length<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<u64>> {
        let length = self.objects().get(name).map(|bytes| bytes.len() as u64);
        Box::pin(std::future::ready(Ok(length)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<String>> {
        let names = self.objects().keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        Box::pin(std::future::ready(Ok(names)))
    }

    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        self.objects().remove(name);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Stores for MemoryStore {
    fn open(&self, _uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
        Ok(Arc::new(self.clone()))
    }
}
