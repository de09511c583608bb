//! A server for one test.

use std::path::Path;
use std::time::Duration;

use super::{DATABASE, Durability, Error, Installation, PASSWORD, Server, USER};
use crate::deadline::Deadline;
use crate::process::{Launch, OwnedChild};
use crate::{cache, ports};

/// Starting takes 0.3 s on an idle machine; tests run on busy ones.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A Postgres on a free port that is stopped, and its moved data removed, when the value is dropped.
///
/// ```no_run
/// let dir = tempfile::tempdir()?;
/// let postgres = localcluster::postgres::Postgres::start(dir.path())?;
/// println!("{}", postgres.url()); // postgres://postgres:postgres@127.0.0.1:54321/postgres
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Postgres {
    // Dropped first: the server must be gone before its folder.
    child: OwnedChild,
    server: Server,
    launch: Launch,
    _moved: Option<Moved>,
}

impl Postgres {
    /// Makes a server in `dir` (an empty folder, or one of an earlier [`Postgres`]) without `fsync`, starts it on a free
    /// port and waits until it accepts connections. Uses the machine's Postgres, or downloads one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(dir: &Path) -> Result<Postgres, Error> {
        let installation = Installation::find_or_download(&cache::dir())?;
        Postgres::start_with(installation, dir)
    }

    /// As [`Postgres::start`], but with `fsync`, as a user has it: for measuring what a commit takes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start_durable(dir: &Path) -> Result<Postgres, Error> {
        let installation = Installation::find_or_download(&cache::dir())?;
        Postgres::start_as(installation, dir, Durability::Crash)
    }

    /// As [`Postgres::start`], with the programs of `installation`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start_with(installation: Installation, dir: &Path) -> Result<Postgres, Error> {
        Postgres::start_as(installation, dir, Durability::None)
    }

    fn start_as(installation: Installation, dir: &Path, durability: Durability) -> Result<Postgres, Error> {
        let wanted = dir.join("postgres");
        let port = ports::free().map_err(|source| Error::File {
            action: "find a free port for",
            path: wanted.clone(),
            source,
        })?;
        let server = Server::prepare(installation, &wanted, port, durability)?;
        let moved = (server.home() != wanted).then(|| Moved(server.home().to_owned()));
        let launch = server.launch(&dir.join("postgres.log"));
        let mut child = OwnedChild::start(&launch)?;
        wait_until_ready(&server, &launch, &mut child)?;
        Ok(Postgres { child, server, launch, _moved: moved })
    }

    /// The URL of its database, with user and password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{DATABASE}", self.server.port())
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// `kill -9` of the postmaster; its other processes notice and follow. [`Postgres::restart`] brings it back.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Stops it at once, as `pg_ctl stop --mode immediate` does: every connection breaks, nothing is written back, and the
    /// next start recovers from the log. [`Postgres::restart`] brings it back.
    pub fn stop_immediately(&mut self) {
        self.child.quit();
    }

    /// Stops it in an orderly way, with all its connections.
    pub fn stop(&mut self) {
        self.child.stop();
    }

    /// Starts it again on the same port and data, after [`Postgres::kill`] or [`Postgres::stop`].
    ///
    /// # Errors
    /// If it does not come back, see [`Error`].
    pub fn restart(&mut self) -> Result<(), Error> {
        if !self.child.has_ended() {
            self.child.stop();
        }
        // A killed server's children live on for a moment, and until then no other may have the data.
        let restarted = Deadline::after(START_LIMIT).wait_for(|| {
            self.child = OwnedChild::start(&self.launch)?;
            match wait_until_ready(&self.server, &self.launch, &mut self.child) {
                Err(Error::Died { last_words, .. }) if last_words.contains(ORPHANS_LIVE) => Ok(None),
                ready => ready.map(Some),
            }
        })?;
        let Launch { log, .. } = &self.launch;
        restarted.ok_or_else(|| Error::Died { log: log.clone(), last_words: self.launch.last_words() })
    }
}

/// What Postgres says of children of a server that was killed.
const ORPHANS_LIVE: &str = "pre-existing shared memory block";

fn wait_until_ready(server: &Server, launch: &Launch, child: &mut OwnedChild) -> Result<(), Error> {
    let ready = Deadline::after(START_LIMIT).wait_for(|| {
        if child.has_ended() {
            return Err(Error::Died { log: launch.log.clone(), last_words: launch.last_words() });
        }
        Ok(server.is_ready(child.pid()).then_some(()))
    })?;
    ready.ok_or_else(|| Error::NotReady {
        limit_s: START_LIMIT.as_secs(),
        log: launch.log.clone(),
        last_words: launch.last_words(),
    })
}

/// A data folder outside the test's own, removed with the value.
#[derive(Debug)]
struct Moved(std::path::PathBuf);

impl Drop for Moved {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
