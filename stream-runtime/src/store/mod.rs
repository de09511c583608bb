//! The port to where checkpoints and jobs are kept: a flat store of immutable objects, and records that are replaced under
//! a condition.
//!
//! Names are paths of `[a-z0-9._-]` parts between `/`, relative to the store's root.

mod memory;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
pub use memory::MemoryStore;

/// A future of the store: boxed, so that the port stays usable as `dyn`.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store of objects, on a disk or in a bucket. Every write is durable when it returns.
pub trait ObjectStore: Send + Sync {
    /// Writes an object that is not there yet; it appears whole or not at all.
    ///
    /// # Errors
    /// [`StoreErrorKind::Exists`] if it is there, which after a lost answer may have been this very call.
    fn create<'a>(&'a self, name: &'a str, bytes: Bytes) -> StoreFuture<'a, ()>;

    /// Reads an object whole.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] if it is not there.
    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes>;

    /// The length of an object in bytes; `None` if it is not there.
    ///
    /// # Errors
    /// If the store does not answer.
    fn length<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<u64>>;

    /// The names of all objects below `prefix`, which ends at a `/`, in ascending order.
    ///
    /// # Errors
    /// If the store does not answer.
    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<String>>;

    /// Removes an object. One that is not there is no error.
    ///
    /// # Errors
    /// If the store does not answer.
    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()>;

    /// What is left of objects below `prefix` that never got their names, in ascending order of those: their writers died, or are
    /// at it still. Nothing where a write leaves nothing behind.
    ///
    /// # Errors
    /// If the store does not answer.
    fn list_unfinished<'a>(&'a self, _prefix: &'a str) -> StoreFuture<'a, Vec<Unfinished>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Removes such a rest; one that is not there is no error. A writer that is at it still fails.
    ///
    /// # Errors
    /// If the store does not answer.
    fn delete_unfinished<'a>(&'a self, _unfinished: &'a Unfinished) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Looks whether the store keeps what [`ObjectStore::create`] promises, where that is another's doing. Asked once, before
    /// anything is trusted to it.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if it never will, and as all others.
    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// What is left of an object that never got its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfinished {
    /// The name that it was to have.
    pub object: String,
    /// Where it lies, in the store's own terms.
    pub place: String,
}

/// Opens stores by their URI.
pub trait Stores: Send + Sync {
    /// The store at `file:///DIR`, a plain path, or `s3://BUCKET/PREFIX`. Credentials come from the environment.
    ///
    /// # Errors
    /// If there is no such kind of store, or its folder cannot be made.
    fn open(&self, uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError>;
}

/// The store failed. The message says what, where and what to do, in one line without a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What a caller can do about it.
    pub kind: StoreErrorKind,
    /// For the user.
    pub message: String,
}

/// What a caller can do about a failure of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The object is there already.
    Exists,
    /// The object is not there.
    NotFound,
    /// The object is there, but its bytes are not what was written.
    Damaged,
    /// The URI or the name is not one.
    Invalid,
    /// It cannot be reached, or is full; a later try may succeed.
    Unavailable,
}

impl StoreError {
    /// A failure.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        StoreError { kind, message: message.into() }
    }
}
