//! A process that lives as long as a value: for tests.

use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Identity, Launch, SpawnError, StopSignal};

/// A throw-away process gets this long to end by itself; its data is thrown away too, so there is no hurry to be polite.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A child process that is stopped, and waited for, when the value is dropped.
#[derive(Debug)]
pub struct OwnedChild {
    child: Child,
    stop_signal: StopSignal,
}

impl OwnedChild {
    /// Starts the process.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(launch: &Launch) -> Result<OwnedChild, SpawnError> {
        Ok(OwnedChild { child: launch.spawn()?, stop_signal: launch.stop_signal })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Stops it and waits for its end.
    pub fn stop(&mut self) {
        if let Some(identity) = Identity::of(self.child.id()) {
            let _ = identity.stop(self.stop_signal, STOP_LIMIT);
        }
        let _ = self.child.wait();
    }

    /// `kill -9`, and waits for its end: what tests of recovery do to a process.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGSTOP: it stands still, its connections open, until [`OwnedChild::resume`]; to others it is a zombie.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on where it stood still.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, without waiting for what comes of it.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// SIGQUIT, and waits for its end: Postgres' immediate shutdown.
    pub fn quit(&mut self) {
        self.signal(Signal::QUIT);
        let _ = self.child.wait();
    }

    fn signal(&mut self, signal: Signal) {
        // Once it was waited for, its pid may be a stranger's.
        if self.has_ended() {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.stop();
        }
    }
}
