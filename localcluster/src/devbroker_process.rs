//! Our small development broker as a process of its own: how it is started, and one that lives as long as a value.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::process::{Launch, OwnedChild, SpawnError};
use crate::{kafka_probe, ports};

/// It is ready within milliseconds; this is for a machine that is busy compiling.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How the broker is started on `port` of 127.0.0.1 with its data in `dir`.
#[must_use]
pub fn launch(binary: &Path, port: u16, dir: &Path, log: &Path) -> Launch {
    launch_at(binary, Ipv4Addr::LOCALHOST, port, dir, log)
}

fn launch_at(binary: &Path, listen: Ipv4Addr, port: u16, dir: &Path, log: &Path) -> Launch {
    Launch::new(binary, log).args(["--listen".to_owned(), format!("{listen}:{port}"), "--dir".to_owned()]).args([dir])
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine has no free port.
    #[error("no free port for the development broker")]
    NoPort(#[source] std::io::Error),
    /// The program cannot be started.
    #[error("the development broker could not be started")]
    Spawn(#[from] SpawnError),
    /// It ended, or does not answer.
    #[error("the development broker is not ready; the last lines of `{}`:\n{last_words}", .log.display())]
    NotReady {
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        last_words: String,
    },
}

/// A broker on a free port that is stopped when the value is dropped. Its data stays in the folder it was given.
#[derive(Debug)]
pub struct Devbroker {
    child: OwnedChild,
    launch: Launch,
    host: Ipv4Addr,
    port: u16,
}

impl Devbroker {
    /// Starts the program `binary` with its data in `dir` and waits until it answers.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(binary: &Path, dir: &Path) -> Result<Devbroker, Error> {
        Devbroker::start_at(binary, dir, Ipv4Addr::LOCALHOST)
    }

    /// As [`Devbroker::start`], where clients connect to another address of this machine.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start_at(binary: &Path, dir: &Path, host: Ipv4Addr) -> Result<Devbroker, Error> {
        let port = ports::free().map_err(Error::NoPort)?;
        // On every address, since it is also asked on this machine whether it is ready.
        let listen = if host == Ipv4Addr::LOCALHOST { host } else { Ipv4Addr::UNSPECIFIED };
        let launch = launch_at(binary, listen, port, &dir.join("devbroker"), &dir.join("devbroker.log"))
            .args(["--advertise".to_owned(), format!("{host}:{port}")]);
        let mut broker = Devbroker { child: OwnedChild::start(&launch)?, launch, host, port };
        broker.wait_until_ready()?;
        Ok(broker)
    }

    /// Where clients connect.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// `kill -9`. [`Devbroker::restart`] brings it back with its data.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Stops it if it runs, and starts it again on the same port and data.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn restart(&mut self) -> Result<(), Error> {
        if !self.child.has_ended() {
            self.child.stop();
        }
        self.child = OwnedChild::start(&self.launch)?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let (child, port) = (&mut self.child, self.port);
        let ready = Deadline::after(START_LIMIT).wait_until(|| child.has_ended() || kafka_probe::is_ready(port));
        if ready && !self.child.has_ended() {
            return Ok(());
        }
        Err(Error::NotReady { log: self.launch.log.clone(), last_words: self.launch.last_words() })
    }
}
