//! The ends of the logs, and what is added to them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::Error;
use crate::deadline;
use crate::program::last_lines;
use crate::state_dir::StateDir;

/// Enough to see what a process did last.
const LINES: usize = 40;

/// A person reads along: five looks a second are at once.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The last lines of the log of `name`, or of every log under a heading each.
///
/// # Errors
/// If there is no such log, or it cannot be read.
pub fn logs(state: &StateDir, name: Option<&str>) -> Result<String, Error> {
    let mut text = String::new();
    for log in choose(state, name)? {
        let bytes = fs::read(&log).map_err(|source| Error::Log { path: log.clone(), source })?;
        text += &format!("==> {} <==\n{}\n", log.display(), last_lines(&String::from_utf8_lossy(&bytes), LINES));
    }
    Ok(text)
}

/// Writes to `out` what is added to the log of `name`, or to any log, until the process is interrupted.
///
/// # Errors
/// If there is no such log, or it cannot be read, or `out` is gone.
pub fn follow(state: &StateDir, name: Option<&str>, out: &mut impl Write) -> Result<std::convert::Infallible, Error> {
    let mut tails = choose(state, name)?.into_iter().map(Tail::at_the_end).collect::<Result<Vec<_>, _>>()?;
    loop {
        for tail in &mut tails {
            tail.copy_new(out)?;
        }
        deadline::pause(LOOK_AGAIN_AFTER);
    }
}

fn choose(state: &StateDir, name: Option<&str>) -> Result<Vec<PathBuf>, Error> {
    let folder = state.root().join("log");
    let entries = folder.read_dir().into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut all: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    all.sort();
    let Some(name) = name else { return Ok(all) };
    let known: Vec<String> =
        all.iter().filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    match known.iter().position(|known| known == name) {
        Some(at) => Ok(vec![all.swap_remove(at)]),
        None if known.is_empty() => {
            Err(Error::NoLog { name: name.to_owned(), known: "nothing yet (run `make up`)".to_owned() })
        }
        None => Err(Error::NoLog { name: name.to_owned(), known: known.join(", ") }),
    }
}

struct Tail {
    path: PathBuf,
    file: File,
}

impl Tail {
    fn at_the_end(path: PathBuf) -> Result<Tail, Error> {
        let opened = File::open(&path).and_then(|mut file| {
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        });
        match opened {
            Ok(file) => Ok(Tail { path, file }),
            Err(source) => Err(Error::Log { path, source }),
        }
    }

    fn copy_new(&mut self, out: &mut impl Write) -> Result<(), Error> {
        self.try_copy_new(out).map_err(|source| Error::Log { path: self.path.clone(), source })
    }

    fn try_copy_new(&mut self, out: &mut impl Write) -> io::Result<()> {
        let mut new = Vec::new();
        self.file.read_to_end(&mut new)?;
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for line in new.split_inclusive(|byte| *byte == b'\n') {
            out.write_all(format!("{stem:<14} ").as_bytes())?;
            out.write_all(line)?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_log_is_chosen_by_name_and_an_unknown_name_lists_what_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        state.create().unwrap();
        let none = logs(&state, Some("kafka")).unwrap_err();
        assert_eq!(none.to_string(), "there is no log of `kafka`; there are logs of: nothing yet (run `make up`)");
        fs::write(state.log("kafka"), "one\ntwo\n").unwrap();
        fs::write(state.log("postgres"), "three\n").unwrap();
        assert!(logs(&state, Some("kafka")).unwrap().ends_with("<==\none\ntwo\n"));
        assert_eq!(logs(&state, None).unwrap().matches("==>").count(), 2);
        let unknown = logs(&state, Some("zookeeper")).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no log of `zookeeper`; there are logs of: kafka, postgres");
    }

    #[test]
    fn a_tail_shows_only_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kafka.log");
        fs::write(&path, "old\n").unwrap();
        let mut tail = Tail::at_the_end(path.clone()).unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"new\n").unwrap();
        let mut out = Vec::new();
        tail.copy_new(&mut out).unwrap();
        tail.copy_new(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "kafka          new\n");
    }
}
