//! How a process is started: program, arguments, environment, log, user.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::user::User;

/// What asks a process to end in an orderly way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopSignal {
    /// SIGTERM, for everyone but Postgres.
    Terminate,
    /// SIGINT, Postgres' fast shutdown; on SIGTERM it would wait for its clients to leave.
    Interrupt,
}

/// [`Launch::stop_limit`] of what is not ours: longer than a broker, a database or Grafana needs to close what it has open.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A process that can be started, any number of times.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The file to execute.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables set on top of the environment we have, or taken out of it (`None`).
    pub env: BTreeMap<String, Option<String>>,
    /// Where it runs; here if `None`.
    pub current_dir: Option<PathBuf>,
    /// Both its outputs are appended to this file.
    pub log: PathBuf,
    /// Whom it runs as, if not as us.
    pub run_as: Option<User>,
    /// What stops it.
    pub stop_signal: StopSignal,
    /// How long it may take to end when it is asked to; whatever takes longer hangs.
    pub stop_limit: Duration,
}

/// A process that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Its log cannot be written.
    #[error("the log `{}` cannot be written; check the folder's owner and the free space", .path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program cannot be executed.
    #[error("`{}` could not be started; is it built and executable?", .program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Launch {
    /// A launch with no arguments that stops on SIGTERM.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Launch {
        Launch {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            current_dir: None,
            log: log.into(),
            run_as: None,
            stop_signal: StopSignal::Terminate,
            stop_limit: STOP_LIMIT,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Launch {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts the process in a process group of its own, so that Ctrl-C in our terminal does not reach it.
    ///
    /// # Errors
    /// If the log cannot be opened or the program not be executed.
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let log = self.open_log()?;
        let also_log = log.try_clone().map_err(|source| SpawnError::Log { path: self.log.clone(), source })?;
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null()).stdout(log).stderr(also_log).process_group(0);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        if let Some(user) = &self.run_as {
            command.uid(user.uid).gid(user.gid);
        }
        command.spawn().map_err(|source| SpawnError::Program { program: self.program.clone(), source })
    }

    /// The last lines of the log, for the message about a process that died.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        crate::program::last_lines(&String::from_utf8_lossy(&log), 10)
    }

    fn open_log(&self) -> Result<File, SpawnError> {
        let failed = |source| SpawnError::Log { path: self.log.clone(), source };
        if let Some(folder) = self.log.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)
    }
}
