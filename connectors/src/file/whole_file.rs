//! A file that has its name only once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Action, Error};

/// Written under a temporary name in the same folder, and renamed by [`WholeFile::finish`]; dropped before, it leaves
/// nothing behind. What is no regular file (`/dev/null`, a named pipe) is written as it is.
#[derive(Debug)]
pub(super) struct WholeFile {
    file: File,
    /// As the user named it, for messages.
    path: PathBuf,
    /// The temporary and the final name; `None` if the file is written in place or was renamed.
    names: Option<Names>,
}

#[derive(Debug)]
struct Names {
    temporary: PathBuf,
    target: PathBuf,
}

/// Checks that a file could be written there, without leaving a trace; an existing one stays as it is.
///
/// # Errors
/// If its folder is missing or may not be written to, or if the path is a folder or a file that may not be replaced.
pub fn check_writable(path: &str) -> Result<(), Error> {
    WholeFile::create(path).map(drop)
}

impl WholeFile {
    /// Creates the file under its temporary name.
    pub(super) fn create(path: &str) -> Result<Self, Error> {
        if path.is_empty() {
            return Err(Error::NoPath { scheme: "csv" });
        }
        let path = PathBuf::from(path);
        let failed = |error| Error::io(Action::Write, &path, error);
        let existing = match fs::metadata(&path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let target = match &existing {
            Some(metadata) if metadata.is_dir() => return Err(Error::IsFolder(path)),
            // Nothing is truncated by opening it; a file we may not write to must not be replaced either.
            Some(metadata) => {
                let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
                if !metadata.is_file() {
                    return Ok(WholeFile { file, path, names: None });
                }
                // A link is to lead to the new file as it led to the old one.
                fs::canonicalize(&path).map_err(failed)?
            }
            None => path.clone(),
        };
        let folder = folder_of(&target);
        if !folder.is_dir() {
            return Err(Error::NoFolder { folder, path });
        }
        let temporary = temporary_name(&target);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(failed)?;
        Ok(WholeFile { file, path, names: Some(Names { temporary, target }) })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| Error::io(Action::Write, &self.path, error))
    }

    /// Makes the content durable, then gives it its name.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let Some(names) = &self.names else { return Ok(()) };
        let renamed = self.file.sync_all().and_then(|()| fs::rename(&names.temporary, &names.target));
        renamed.map_err(|error| Error::io(Action::Write, &self.path, error))?;
        let folder = folder_of(&names.target);
        self.names = None;
        // The name too is on disk only once its folder is.
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::io(Action::Write, &folder, error))
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(names) = &self.names
            && let Err(error) = fs::remove_file(&names.temporary)
        {
            tracing::warn!(path = %names.temporary.display(), %error, "cannot remove an unfinished file");
        }
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// A name beside `target` that no other writer uses: of this process by the number, of this machine by the process id.
fn temporary_name(target: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    target.with_file_name(format!(".{name}.{}-{number}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn listed(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_name_appears_with_the_whole_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        fs::write(&path, "old").unwrap();
        let mut file = WholeFile::create(path.to_str().unwrap()).unwrap();
        file.write(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(listed(dir.path()), ["out.csv"]);
    }

    #[test]
    fn an_unfinished_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let mut file = WholeFile::create(path.to_str().unwrap()).unwrap();
        file.write(b"half").unwrap();
        assert_eq!(listed(dir.path()).len(), 1);
        drop(file);
        check_writable(path.to_str().unwrap()).unwrap();
        assert_eq!(listed(dir.path()), [""; 0]);
    }

    #[test]
    fn a_link_goes_on_leading_to_the_result() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.csv"), dir.path().join("link.csv"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut file = WholeFile::create(link.to_str().unwrap()).unwrap();
        file.write(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn places_that_cannot_be_written_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/out.csv");
        let error = check_writable(missing.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("no folder `") && error.contains("create it"), "{error}");
        let error = check_writable(dir.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("is a folder"), "{error}");
        check_writable("/dev/null").unwrap();
    }
}
