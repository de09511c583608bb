//! Small files that are there whole or not at all, and the lock on the data directory.
//!
//! Record batches are not kept here, see [`crate::log`].

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A file or directory that could not be used.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of ours does not parse.
    #[error("`{}` is damaged; move it away to start without it", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// Another process holds the data directory.
    #[error("data directory `{}` is in use by another devbroker; stop that one or pass another `--dir`", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// Adds to an I/O result what was tried on which path.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError::Io { action, path: path.to_owned(), source })
    }
}

/// Replaces `path` by `value` as JSON: a reader, or a restart after a crash, finds the old or the new one.
pub(crate) fn write_json(path: &Path, value: &impl Serialize, fsync: bool) -> Result<(), DiskError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(io::Error::from).at("encode", path)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).at("create", &temporary)?;
    file.write_all(&bytes).at("write", &temporary)?;
    if fsync {
        file.sync_all().at("sync", &temporary)?;
    }
    fs::rename(&temporary, path).at("replace", path)
}

/// Reads what [`write_json`] wrote; `None` if it never did.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DiskError> {
    match fs::read(path) {
        Ok(bytes) => {
            let value = serde_json::from_slice(&bytes);
            value.map(Some).map_err(|source| DiskError::Damaged { path: path.to_owned(), source })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at("read", path),
    }
}

/// Makes `dir` ours until the returned file is dropped; the operating system lets go of it if we are killed.
pub(crate) fn lock(dir: &Path) -> Result<File, DiskError> {
    fs::create_dir_all(dir).at("create", dir)?;
    let path = dir.join("lock");
    let file = File::create(&path).at("create", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DiskError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(e)) => Err(e).at("lock", &path),
    }
}
