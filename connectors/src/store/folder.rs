//! A store in a folder, of this machine or mounted from another.
//!
//! An object is written under a hidden name, made durable, and then linked to its own name, which fails if that is taken:
//! so it appears whole or not at all, and of several writers one wins.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use stream_runtime::fail_point::{self, Point};
use stream_runtime::store::{ObjectStore, StoreError, StoreErrorKind, StoreFuture, Unfinished};
use stream_runtime::stored::names::kind;

use super::name::{UNFINISHED, check_prefix, object_of, object_path, prefix_path, unfinished_name};

/// How often a writer makes the object's folder again, should somebody remove it in between.
const LINK_TRIES: u32 = 3;

/// A folder as a store. Cheap to clone; what blocks runs where blocking is allowed, so its futures need a tokio runtime.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: Arc<Path>,
}

impl Folder {
    /// Makes the folder if it is missing.
    ///
    /// # Errors
    /// If it cannot be made, or is none.
    pub(super) fn open(root: PathBuf) -> Result<Self, StoreError> {
        let unfinished = root.join(UNFINISHED);
        fs::create_dir_all(&unfinished).map_err(|error| failed("make the folder", &unfinished, &error))?;
        // The folder of the process may change; the store is to stay where it is.
        let root = root.canonicalize().map_err(|error| failed("find", &root, &error))?;
        Ok(Folder { root: root.into() })
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let root = Arc::clone(&self.root);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || work(&root)).await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => {
                        Err(StoreError::new(StoreErrorKind::Unavailable, "the store is closed: the process ends"))
                    }
                },
            }
        })
    }
}

impl ObjectStore for Folder {
    fn create<'a>(&'a self, name: &'a str, bytes: Bytes) -> StoreFuture<'a, ()> {
        let name = name.to_owned();
        self.run(move |root| create(root, &name, &bytes))
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        let name = name.to_owned();
        self.run(move |root| {
            let path = object_path(root, &name)?;
            fs::read(&path).map(Bytes::from).map_err(|error| failed("read", &path, &error))
        })
    }

    fn length<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<u64>> {
        let name = name.to_owned();
        self.run(move |root| {
            let path = object_path(root, &name)?;
            match fs::metadata(&path) {
                Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("look at", &path, &error)),
            }
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<String>> {
        let prefix = prefix.to_owned();
        self.run(move |root| {
            let mut names = Vec::new();
            add_names(&prefix_path(root, &prefix)?, &prefix, &mut names)?;
            names.sort_unstable();
            Ok(names)
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        let name = name.to_owned();
        self.run(move |root| {
            let path = object_path(root, &name)?;
            let was_there = remove(&path)?;
            if was_there { sync_folder(parent(root, &path)) } else { Ok(()) }
        })
    }

    fn list_unfinished<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Unfinished>> {
        let prefix = prefix.to_owned();
        self.run(move |root| {
            check_prefix(&prefix)?;
            let mut places = Vec::new();
            add_names(&root.join(UNFINISHED), "", &mut places)?;
            let rest = |place: String| object_of(&place).map(|object| Unfinished { object, place });
            let mut below: Vec<Unfinished> = places.into_iter().filter_map(rest).collect();
            below.retain(|rest| rest.object.starts_with(&prefix));
            below.sort_unstable();
            Ok(below)
        })
    }

    fn delete_unfinished<'a>(&'a self, unfinished: &'a Unfinished) -> StoreFuture<'a, ()> {
        let place = unfinished.place.clone();
        // Should it come back with a crash, it is no worse than before.
        self.run(move |root| remove(&root.join(UNFINISHED).join(place)).map(drop))
    }
}

/// Whether it was there.
fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("delete", path, &error)),
    }
}

fn create(root: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let (path, kind) = (&object_path(root, name)?, kind(name));
    let unfinished = root.join(UNFINISHED).join(unfinished_name(name));
    let written = write_durably(&unfinished, kind, bytes).and_then(|()| {
        fail_point::reach_as(Point::ObjectWritten, kind);
        link(root, &unfinished, path)
    });
    if let Err(error) = fs::remove_file(&unfinished) {
        tracing::debug!(path = %unfinished.display(), %error, "cannot remove an unfinished object");
    }
    written?;
    sync_folder(parent(root, path))?;
    fail_point::reach_as(Point::ObjectStored, kind);
    Ok(())
}

fn write_durably(path: &Path, kind: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(half)?;
        fail_point::reach_as(Point::ObjectHalfWritten, kind);
        file.write_all(rest)?;
        file.sync_all()
    });
    written.map_err(|error| failed("write", path, &error))
}

fn link(root: &Path, unfinished: &Path, path: &Path) -> Result<(), StoreError> {
    for _ in 0..LINK_TRIES {
        make_folder(root, parent(root, path))?;
        match fs::hard_link(unfinished, path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("create", path, &error)),
        }
    }
    Err(failed("create", path, &io::ErrorKind::NotFound.into()))
}

/// Makes a folder below the root, each new one durably in the one above it.
fn make_folder(root: &Path, folder: &Path) -> Result<(), StoreError> {
    if folder == root || folder.is_dir() {
        return Ok(());
    }
    let above = parent(root, folder);
    make_folder(root, above)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(above),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(failed("make the folder", folder, &error)),
    }
}

fn add_names(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), StoreError> {
    let read = |error: io::Error| failed("list", folder, &error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(read(error)),
    };
    for entry in entries {
        let entry = entry.map_err(read)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        if entry.file_type().map_err(read)?.is_dir() {
            add_names(&entry.path(), &format!("{prefix}{name}/"), names)?;
        } else {
            names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// A name is on disk only once its folder is.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed("write", folder, &error))
}

fn parent<'a>(root: &'a Path, path: &'a Path) -> &'a Path {
    path.parent().unwrap_or(root)
}

fn failed(action: &str, path: &Path, error: &io::Error) -> StoreError {
    let path = path.display();
    let (kind, message) = match error.kind() {
        io::ErrorKind::AlreadyExists => (StoreErrorKind::Exists, format!("`{path}` is there already")),
        io::ErrorKind::NotFound => (StoreErrorKind::NotFound, format!("no object `{path}`")),
        io::ErrorKind::NotADirectory => {
            (StoreErrorKind::Invalid, format!("cannot {action} `{path}`: a file is where a folder is needed"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let what_to_do = "change its permissions, or choose another folder";
            (StoreErrorKind::Unavailable, format!("not allowed to {action} `{path}`; {what_to_do}"))
        }
        _ => (StoreErrorKind::Unavailable, format!("cannot {action} `{path}`: {error}")),
    };
    StoreError::new(kind, message)
}
