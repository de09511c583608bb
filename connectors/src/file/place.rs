//! Where a sink's file goes.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use stream_core::ids::JobId;
use stream_core::pipeline::{Changelog, SideTable};

use super::error::{Action, Error};

/// What a sink's path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// What is no regular file (`/dev/null`, a named pipe): it is written as it is.
    InPlace(PathBuf),
    /// A file that has its name only once it is whole.
    Whole(Target),
}

/// A file to be, and the job's hidden files beside it, which are the same for every attempt of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As the user named it, for messages.
    pub(super) path: PathBuf,
    /// The name it will have; where `path` is a link, what it leads to.
    pub(super) target: PathBuf,
}

/// Checks that a file could be written there, without leaving a trace; an existing one stays as it is.
///
/// # Errors
/// If its folder is missing or may not be written to, or if the path is a folder or a file that may not be replaced; and for
/// side tables, if it is no regular file, or if rows of one are changes.
pub fn check_writable(path: &str, side_tables: &[SideTable]) -> Result<(), Error> {
    if let Some(changing) = side_tables.iter().find(|table| table.changelog == Changelog::Upsert) {
        return Err(Error::OnlyAppended { table: changing.name.clone() });
    }
    match Place::of(path)? {
        Place::InPlace(_) if side_tables.is_empty() => Ok(()),
        Place::InPlace(path) => Err(Error::OneTable { path }),
        Place::Whole(target) => {
            let trial = target.hidden(&format!("{}.trial", std::process::id()));
            let created = OpenOptions::new().write(true).create(true).truncate(true).open(&trial);
            created.and_then(|_| fs::remove_file(&trial)).map_err(|error| Error::io(Action::Write, &target.path, error))
        }
    }
}

/// Checks that standard output can take the rows.
///
/// # Errors
/// If they are for several tables.
pub fn check_stdout(side_tables: &[SideTable]) -> Result<(), Error> {
    if side_tables.is_empty() { Ok(()) } else { Err(Error::OneTable { path: "standard output".into() }) }
}

impl Place {
    /// Looks at what is there.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(super) fn of(path: &str) -> Result<Self, Error> {
        if path.is_empty() {
            return Err(Error::NoPath { scheme: "csv" });
        }
        let path = PathBuf::from(path);
        let failed = |error| Error::io(Action::Write, &path, error);
        let target = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => return Err(Error::IsFolder(path)),
            Ok(metadata) if !metadata.is_file() => return Ok(Place::InPlace(path)),
            Ok(_) => {
                // Nothing is truncated by opening it; a file we may not write to must not be replaced either.
                OpenOptions::new().write(true).open(&path).map_err(failed)?;
                // A link is to lead to the new file as it led to the old one.
                fs::canonicalize(&path).map_err(failed)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.clone(),
            Err(error) => return Err(failed(error)),
        };
        let folder = folder_of(&target);
        if !folder.is_dir() {
            return Err(Error::NoFolder { folder, path });
        }
        Ok(Place::Whole(Target { path, target }))
    }
}

impl Target {
    /// The file of a side table beside it: `sessions.late_events.csv` beside `sessions.csv`.
    pub(super) fn beside(&self, table: &str) -> Target {
        let named = |path: &Path| {
            let mut name = path.file_stem().unwrap_or_default().to_os_string();
            name.push(format!(".{table}"));
            if let Some(extension) = path.extension() {
                name.push(".");
                name.push(extension);
            }
            path.with_file_name(name)
        };
        Target { path: named(&self.path), target: named(&self.target) }
    }

    /// The text so far.
    pub(super) fn part(&self, job_id: JobId) -> PathBuf {
        self.hidden(&format!("{job_id}.part"))
    }

    /// Its ledger.
    pub(super) fn ledger(&self, job_id: JobId) -> PathBuf {
        self.hidden(&format!("{job_id}.ledger"))
    }

    /// Its register, if it is an outlet's.
    pub(super) fn register(&self) -> PathBuf {
        self.hidden("register")
    }

    /// The folder of all of them.
    pub(super) fn folder(&self) -> PathBuf {
        folder_of(&self.target)
    }

    fn hidden(&self, suffix: &str) -> PathBuf {
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        self.target.with_file_name(format!(".{name}.{suffix}"))
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_check_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        check_writable(path.to_str().unwrap(), &[]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(&path, "old").unwrap();
        check_writable(path.to_str().unwrap(), &[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    #[test]
    fn side_tables_stand_beside() {
        let target = |path: &str| Target { path: path.into(), target: path.into() };
        assert_eq!(target("/a/out.csv").beside("late"), target("/a/out.late.csv"));
        assert_eq!(target("out").beside("late"), target("out.late"));
    }

    #[test]
    fn places_that_cannot_be_written_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/out.csv");
        let error = check_writable(missing.to_str().unwrap(), &[]).unwrap_err().to_string();
        assert!(error.starts_with("no folder `") && error.contains("create it"), "{error}");
        let error = check_writable(dir.path().to_str().unwrap(), &[]).unwrap_err().to_string();
        assert!(error.contains("is a folder"), "{error}");
        check_writable("/dev/null", &[]).unwrap();
        let (name, append) = ("late_events".to_owned(), Changelog::Append);
        let side = SideTable { name, columns: Vec::new(), outlet: None, changelog: append };
        let error = check_writable("/dev/null", std::slice::from_ref(&side)).unwrap_err().to_string();
        assert!(error.contains("takes the rows of one table"), "{error}");
        let changing = SideTable { changelog: Changelog::Upsert, ..side };
        let path = dir.path().join("out.csv");
        let error = check_writable(path.to_str().unwrap(), &[changing]).unwrap_err().to_string();
        assert!(error.contains("`late_events`"), "{error}");
    }
}
