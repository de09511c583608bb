//! Finding programs on the `PATH`, and running one to its end.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a program that was run to its end did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("`{program}` could not be started; is it installed and executable?")]
    NotStarted {
        /// As it was called.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended with a failure.
    #[error("`{program}` failed ({status}): {said}")]
    Failed {
        /// As it was called.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The last lines it wrote.
        said: String,
    },
}

/// The first file called `name` in a folder of the `PATH`.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    find_in(std::env::split_paths(&path), name)
}

fn find_in(folders: impl Iterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    folders.map(|folder| folder.join(name)).find(|file| is_executable(file))
}

/// Whether `file` is a file that someone may execute.
#[must_use]
pub fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs `command` to its end and returns what it wrote to both outputs.
///
/// # Errors
/// If it could not be started, or ended with a failure; the error carries its last lines.
pub fn run(command: &mut Command) -> Result<String, Error> {
    let program = name_of(command.get_program());
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|source| Error::NotStarted { program: program.clone(), source })?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(Error::Failed { program, status: output.status, said: last_lines(&said, 8) });
    }
    Ok(said)
}

/// The last `count` lines of `text` that are not blank.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn name_of(program: &OsStr) -> String {
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shell_is_found_and_nonsense_is_not() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-anywhere").is_none());
    }

    #[test]
    fn a_failure_carries_the_last_words() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo bad news >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed (exit status: 3): out\nbad news");
    }

    #[test]
    fn last_lines_skips_blank_ones() {
        assert_eq!(last_lines("a\n\nb\nc\n\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }
}
