//! From a path to files: one, several between commas, or a pattern.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use stream_core::ids::SplitId;
use stream_core::pipeline::Split;

use super::error::{Action, Error};

/// The name of standard input among splits.
pub(super) const STDIN: &str = "stdin";

/// The files that `paths` names, as splits in the order of their names; each can be opened.
///
/// Several paths stand between commas; `*` and `?` stand for any characters and any one character within a name, but not
/// for a leading full stop. A path that exists as it is written is taken as it is written.
///
/// # Errors
/// If one is missing, is a folder, or cannot be read.
pub fn splits(paths: &str) -> Result<Vec<Split>, Error> {
    let mut files = BTreeSet::new();
    if Path::new(paths).exists() {
        files.insert(PathBuf::from(paths));
    } else {
        for path in paths.split(',') {
            add_files(path, &mut files)?;
        }
    }
    files.into_iter().map(|path| readable(&path).map(|()| split(&path.to_string_lossy()))).collect()
}

/// Standard input as a split.
pub fn stdin_split() -> Split {
    split(STDIN)
}

fn split(id: &str) -> Split {
    Split { id: SplitId(id.to_owned()), start: 0, end: None }
}

fn add_files(path: &str, files: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    if path.is_empty() {
        return Err(Error::NoPath { scheme: "file" });
    }
    if !path.contains(['*', '?']) || Path::new(path).exists() {
        files.insert(PathBuf::from(path));
        return Ok(());
    }
    let mut found = vec![PathBuf::new()];
    for component in Path::new(path).components() {
        let name = component.as_os_str().to_string_lossy();
        found = if name.contains(['*', '?']) {
            found.iter().map(|folder| entries(folder, &name)).collect::<Result<Vec<_>, _>>()?.concat()
        } else {
            found.into_iter().map(|folder| folder.join(component)).filter(|path| path.exists()).collect()
        };
    }
    found.retain(|path| !path.is_dir());
    if found.is_empty() {
        return Err(Error::NoMatch(path.to_owned()));
    }
    files.extend(found);
    Ok(())
}

/// The entries of `folder` whose names fit `pattern`.
fn entries(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names = match fs::read_dir(listed) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>(),
        // A file where the pattern needs a folder merely does not match.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let names = names.map_err(|error| Error::io(Action::Read, listed, error))?;
    let fits = |name: &str| name.starts_with('.') == pattern.starts_with('.') && matches(pattern, name);
    Ok(names.iter().filter(|name| fits(&name.to_string_lossy())).map(|name| folder.join(name)).collect())
}

/// Whether `name` fits a pattern of `*`, `?` and plain characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return name.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    if first == '*' {
        let mut tails = name.char_indices().map(|(at, _)| at).chain([name.len()]);
        return tails.any(|at| matches(rest, &name[at..]));
    }
    let mut name = name.chars();
    name.next().is_some_and(|next| first == '?' || next == first) && matches(rest, name.as_str())
}

fn readable(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::io(Action::Read, path, error))?;
    if metadata.is_dir() {
        return Err(Error::IsFolder(path.to_path_buf()));
    }
    // Opening a named pipe would wait for its writer.
    if metadata.is_file() {
        File::open(path).map_err(|error| Error::io(Action::Read, path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path, paths: &str) -> Result<Vec<String>, String> {
        let prefix = format!("{}/", folder.display());
        let paths = paths.split(',').map(|path| format!("{prefix}{path}")).collect::<Vec<_>>().join(",");
        let splits = splits(&paths).map_err(|error| error.to_string().replace(&prefix, ""))?;
        Ok(splits.into_iter().map(|split| split.id.0.replace(&prefix, "")).collect())
    }

    #[test]
    fn patterns_and_lists_name_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("day/1")).unwrap();
        for name in ["b.jsonl", "a.jsonl", "a.txt", ".c.jsonl", "x*y", "day/1/z.jsonl"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |paths| names(dir.path(), paths);
        assert_eq!(names("*.jsonl").unwrap(), ["a.jsonl", "b.jsonl"]);
        assert_eq!(names("b.jsonl,a.txt,b.jsonl").unwrap(), ["a.txt", "b.jsonl"]);
        assert_eq!(names("d*/?/*.jsonl").unwrap(), ["day/1/z.jsonl"]);
        assert_eq!(names("x*y").unwrap(), ["x*y"], "a name that exists is no pattern");
    }

    #[test]
    fn what_is_not_a_readable_file_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let names = |paths| names(dir.path(), paths).unwrap_err();
        assert_eq!(names("no.jsonl"), "no file `no.jsonl`; check the path");
        assert_eq!(names("*.jsonl"), "no file matches `*.jsonl`; check the folder and the pattern");
        assert!(names("").contains("is a folder"), "{}", names(""));
        assert_eq!(splits("").unwrap_err().to_string(), "the URI names no file; write `file:PATH`");
    }

    #[test]
    fn wildcards_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("?", "é", true),
            ("?", "", false),
            ("*.jsonl", "x.jsonl.gz", false),
            ("*a*a*", "banana", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
