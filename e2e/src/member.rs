//! One process of a cluster that a test kills, halts and starts again.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use localcluster::process::{Identity, Launch, OwnedChild};

/// A jobmanager or taskmanager; stopped when dropped.
#[derive(Debug)]
pub struct Member {
    child: OwnedChild,
    launch: Launch,
}

impl Member {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(launch: Launch) -> Result<Member> {
        Ok(Member { child: OwnedChild::start(&launch)?, launch })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether it has ended, by itself or otherwise.
    pub fn has_ended(&mut self) -> bool {
        self.child.has_ended()
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.exit_status()
    }

    /// Whether SIGKILL ended it.
    pub fn was_killed(&mut self) -> bool {
        const SIGKILL: i32 = 9;
        self.exit_status().is_some_and(|status| status.signal() == Some(SIGKILL))
    }

    /// Whether it stands still since a SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        Identity::of(self.child.pid()).is_some_and(|identity| identity.is_stopped())
    }

    /// What it, and those before it at its place, have logged.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.launch.log)?)
    }

    /// The most memory of it that was ever in RAM since it was started, in bytes; `None` once it has ended.
    pub fn peak_resident_bytes(&self) -> Option<u64> {
        Identity::of(self.child.pid())?.peak_resident_bytes()
    }

    /// The CPU time that it took since it was started; `None` once it has ended.
    pub fn cpu_time(&self) -> Option<Duration> {
        Identity::of(self.child.pid())?.cpu_time()
    }

    /// `kill -9`. [`Member::restart`] starts it again.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Asks it to end, and waits for that.
    pub fn stop(&mut self) {
        self.child.stop();
    }

    /// SIGTERM, without waiting for what comes of it.
    pub fn terminate(&mut self) {
        self.child.terminate();
    }

    /// SIGSTOP: a zombie until [`Member::resume`].
    pub fn pause(&mut self) {
        self.child.pause();
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.child.resume();
    }

    /// Starts it again with the same arguments, stopping it first if it runs. It is not waited for: its own log goes on.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        if !self.child.has_ended() {
            self.child.stop();
        }
        self.child = OwnedChild::start(&self.launch)?;
        Ok(())
    }

    /// As [`Member::restart`], with variables in its environment this once.
    ///
    /// # Errors
    /// As [`Member::restart`].
    pub fn restart_with(&mut self, env: &[(&str, &str)]) -> Result<()> {
        let plain = self.launch.clone();
        let set = |&(name, value): &(&str, &str)| (name.to_owned(), Some(value.to_owned()));
        self.launch.env.extend(env.iter().map(set));
        let restarted = self.restart();
        self.launch = plain;
        restarted
    }
}
