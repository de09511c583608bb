//! Where checkpoints and jobs are kept, chosen by the scheme of a URI: a folder or a bucket of S3.
//!
//! Not here: what the objects mean. Tests: what is special to a kind, beside the code; the contract of the port, which all
//! kinds keep, in `e2e/tests/services/store_contract.rs`.

mod folder;
mod name;
#[cfg(feature = "s3")]
mod s3;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use folder::Folder;
use stream_runtime::store::{ObjectStore, StoreError, StoreErrorKind, Stores};

/// Every kind of store that this build has.
#[derive(Clone, Default)]
pub struct RealStores {
    /// Settings and credentials, by the names that they have in the environment.
    #[cfg_attr(not(feature = "s3"), allow(dead_code, reason = "a folder needs none"))]
    variables: Arc<BTreeMap<String, String>>,
}

impl RealStores {
    /// With the `AWS_…` variables of the process, as they are now.
    #[must_use]
    pub fn from_env() -> Self {
        let text =
            std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        RealStores::with_variables(text)
    }

    /// With these in place of the process's variables. Those that are empty, or do not begin with `AWS_`, count as not set.
    pub fn with_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let used = |(name, value): &(String, String)| name.starts_with("AWS_") && !value.is_empty();
        RealStores { variables: Arc::new(variables.into_iter().filter(used).collect()) }
    }
}

impl fmt::Debug for RealStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values are secrets.
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Stores for RealStores {
    fn open(&self, uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
        #[cfg(feature = "s3")]
        if let Some(rest) = uri.strip_prefix("s3://") {
            let address = s3::Address::parse(rest, &self.variables)?;
            return Ok(Arc::new(s3::S3::open(address, &self.variables)?));
        }
        Ok(Arc::new(Folder::open(folder_of(uri)?)?))
    }
}

/// The folder that a URI names.
fn folder_of(uri: &str) -> Result<PathBuf, StoreError> {
    let invalid = |message: String| Err(StoreError::new(StoreErrorKind::Invalid, message));
    let path = match uri.split_once("://") {
        None => uri,
        Some(("file", path)) if path.starts_with('/') => path,
        Some(("file", _)) => return invalid(format!("`{uri}` names no folder of this machine; write `file:///DIR`")),
        // No word of the rest, which may carry a secret.
        Some((scheme, _)) => {
            let supported = "write `file:///DIR`, a path, or `s3://BUCKET/PREFIX` if this build has S3";
            return invalid(format!("no store for `{scheme}://`: {supported}"));
        }
    };
    if path.is_empty() {
        return invalid("the store's URI is empty; write `file:///DIR`, a path or `s3://BUCKET/PREFIX`".to_owned());
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;

    fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> StoreErrorKind {
        result.unwrap_err().kind
    }

    #[test]
    fn a_uri_is_a_folder_or_a_clear_error() {
        assert_eq!(folder_of("file:///var/gapwise").unwrap(), PathBuf::from("/var/gapwise"));
        assert_eq!(folder_of("checkpoints/a").unwrap(), PathBuf::from("checkpoints/a"));
        for uri in ["", "file://host/dir", "gs://bucket/prefix", "s3://key:hunter2@bucket", "hdfs://key:hunter2@bucket"]
        {
            let error = RealStores::default().open(uri).err().unwrap();
            assert_eq!(error.kind, StoreErrorKind::Invalid);
            assert!(!error.message.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_object_is_written_once_whole_and_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/store");
        let store = RealStores::default().open(&format!("file://{}", root.display())).unwrap();
        assert_eq!(kind(store.read("jobs/a").await), StoreErrorKind::NotFound);
        assert_eq!(store.length("jobs/a").await.unwrap(), None);
        store.create("jobs/a", Bytes::from_static(b"one")).await.unwrap();
        assert_eq!(kind(store.create("jobs/a", Bytes::from_static(b"two")).await), StoreErrorKind::Exists);
        assert_eq!(store.read("jobs/a").await.unwrap(), "one");
        assert_eq!(store.length("jobs/a").await.unwrap(), Some(3));
        store.delete("jobs/a").await.unwrap();
        store.delete("jobs/a").await.unwrap();
        assert_eq!(store.length("jobs/a").await.unwrap(), None);
        store.create("jobs/a", Bytes::new()).await.unwrap();
        assert_eq!(store.read("jobs/a").await.unwrap(), "", "a name may be used again once it was deleted");
    }

    #[tokio::test]
    async fn a_list_is_in_order_and_only_of_what_is_below() {
        let dir = tempfile::tempdir().unwrap();
        let store = RealStores::default().open(dir.path().to_str().unwrap()).unwrap();
        for name in ["b/2", "a-b/1", "a/z", "a/b/c", "a/b.d", "a/10", "ab"] {
            store.create(name, Bytes::new()).await.unwrap();
        }
        // What a process that died left behind is no object.
        std::fs::write(dir.path().join(".unfinished/x"), "half").unwrap();
        assert_eq!(store.list("a/").await.unwrap(), ["a/10", "a/b.d", "a/b/c", "a/z"]);
        assert_eq!(store.list("").await.unwrap().len(), 7);
        assert_eq!(store.list("none/").await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn of_many_writers_of_one_name_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let store = RealStores::default().open(dir.path().to_str().unwrap()).unwrap();
        let writes = (0..16).map(|writer: u8| {
            let store = Arc::clone(&store);
            async move { store.create("a/leader", Bytes::from(vec![writer; 1000])).await }
        });
        let mut writers = tokio::task::JoinSet::new();
        writes.for_each(|write| drop(writers.spawn(write)));
        let written = writers.join_all().await.into_iter().filter(Result::is_ok).count();
        let content = store.read("a/leader").await.unwrap();
        assert_eq!((written, content.len()), (1, 1000));
        assert!(content.iter().all(|&byte| byte == content[0]));
    }

    #[tokio::test]
    async fn a_name_that_would_leave_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = RealStores::default().open(dir.path().to_str().unwrap()).unwrap();
        for name in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "A", "a b", "a\0"] {
            assert_eq!(kind(store.create(name, Bytes::new()).await), StoreErrorKind::Invalid, "{name:?}");
            assert_eq!(kind(store.read(name).await), StoreErrorKind::Invalid, "{name:?}");
        }
        assert_eq!(kind(store.list("../").await), StoreErrorKind::Invalid);
        assert_eq!(kind(store.list("a").await), StoreErrorKind::Invalid, "a prefix ends at a `/`");
    }
}
