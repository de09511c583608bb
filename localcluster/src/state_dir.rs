//! The folder with everything a local cluster leaves on disk: `run/NAME.json`, `log/NAME.log`, `data/NAME/`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::{Identity, STOP_LIMIT, StopSignal};

/// The parts of the folder, all of them ours to delete.
const PARTS: [&str; 3] = ["run", "log", "data"];

/// A process that was started, so that a later call can know it again, show it and stop it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The component: `kafka`, `taskmanager-1`.
    pub name: String,
    /// Which process it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// What it is, where there is a choice: `devbroker`, `apache kafka 4.1.1`.
    pub what: String,
    /// Its port on 127.0.0.1; a taskmanager takes any.
    pub port: Option<u16>,
    /// Where its output goes.
    pub log: PathBuf,
    /// What asks it to stop.
    pub stop_signal: StopSignal,
    /// How long it may take to end then.
    #[serde(default = "default_stop_limit")]
    pub stop_limit: Duration,
}

/// Something in the state folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`; check its owner and the free space, or choose another folder by GAPWISE_LOCAL_DIR", .path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The folder; nothing in it need exist yet.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

/// Held while a cluster is changed; released when dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

/// Of a record that an older version left behind.
fn default_stop_limit() -> Duration {
    STOP_LIMIT
}

impl Record {
    /// Where it listens, for people.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.map_or_else(|| "any port".to_owned(), |port| format!("127.0.0.1:{port}"))
    }
}

impl StateDir {
    /// The folder `root`.
    #[must_use]
    pub fn new(root: &Path) -> StateDir {
        StateDir { root: std::path::absolute(root).unwrap_or_else(|_| root.to_owned()) }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the component's output goes.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// Where the component keeps its data.
    #[must_use]
    pub fn data(&self, name: &str) -> PathBuf {
        self.root.join("data").join(name)
    }

    /// Makes the parts of the folder.
    ///
    /// # Errors
    /// If one cannot be made.
    pub fn create(&self) -> Result<(), Error> {
        for part in PARTS.map(|part| self.root.join(part)) {
            fs::create_dir_all(&part).map_err(failed("make", &part))?;
        }
        Ok(())
    }

    /// Waits for the right to change the cluster, so that two calls of `up` do not start it twice.
    ///
    /// # Errors
    /// If the lock file cannot be made.
    pub fn lock(&self) -> Result<Lock, Error> {
        self.create()?;
        let path = self.root.join("run/lock");
        let file = File::create(&path).map_err(failed("make", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(Lock(file))
    }

    /// Remembers a process.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let path = self.record_path(&record.name);
        let text = serde_json::to_string_pretty(record).expect("a record is plain data");
        let partial = path.with_extension("partial");
        fs::write(&partial, text).map_err(failed("write", &partial))?;
        fs::rename(&partial, &path).map_err(failed("write", &path))
    }

    /// The process that was started as `name`, running or not.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Record> {
        read_record(&self.record_path(name))
    }

    /// The process that was started as `name`, if it still runs.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<Record> {
        self.read(name).filter(|record| record.identity.is_alive())
    }

    /// Forgets a process.
    pub fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.record_path(name));
    }

    /// All processes that were started, in the order in which they are started.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let Ok(entries) = self.root.join("run").read_dir() else { return Vec::new() };
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let json = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let mut records: Vec<Record> = json.filter_map(|path| read_record(&path)).collect();
        records.sort_by_key(|record| (rank(&record.name), record.name.len(), record.name.clone()));
        records
    }

    /// Removes what we made, and the folder itself if nothing else is in it.
    ///
    /// # Errors
    /// If a part cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        for part in PARTS.map(|part| self.root.join(part)) {
            match fs::remove_dir_all(&part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &part)(error)),
                _ => {}
            }
        }
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    fn record_path(&self, name: &str) -> PathBuf {
        self.root.join("run").join(format!("{name}.json"))
    }
}

/// What others need is started first and stopped last.
fn rank(name: &str) -> usize {
    const FIRST: [&str; 6] = ["kafka", "postgres", "prometheus", "collector", "grafana", "jobmanager"];
    FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len())
}

fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error { action, path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(name: &str) -> Record {
        Record {
            name: name.to_owned(),
            identity: Identity { pid: 1, start_ticks: 2 },
            what: "a test".to_owned(),
            port: Some(1),
            log: PathBuf::from("/log"),
            stop_signal: StopSignal::Terminate,
            stop_limit: STOP_LIMIT,
        }
    }

    #[test]
    fn records_come_back_in_the_order_of_starting() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        state.create().unwrap();
        let names = ["kafka", "postgres", "prometheus", "collector", "jobmanager", "taskmanager-2", "taskmanager-10"];
        for name in names.iter().rev() {
            state.write(&record(name)).unwrap();
        }
        assert_eq!(state.records().iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(state.read("postgres"), Some(record("postgres")));
        state.forget("postgres");
        assert_eq!(state.read("postgres"), None);
    }

    #[test]
    fn a_torn_record_is_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        state.create().unwrap();
        fs::write(state.record_path("kafka"), "{\"name\":").unwrap();
        assert_eq!(state.read("kafka"), None);
        assert!(state.records().is_empty());
    }

    #[test]
    fn removing_spares_what_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        state.create().unwrap();
        fs::write(dir.path().join("precious"), "").unwrap();
        state.remove().unwrap();
        assert!(dir.path().join("precious").exists());
        assert!(!dir.path().join("run").exists());
    }
}
