//! One process of a cluster that a test kills, halts and starts again.

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

    /// Whether it has ended, by itself or otherwise.
    pub fn has_ended(&mut self) -> bool {
        self.child.has_ended()
    }

    /// The most memory of it that was ever in RAM since it was started, in bytes; `None` once it has ended.
    pub fn peak_resident_bytes(&self) -> Option<u64> {
        Identity::of(self.child.pid())?.peak_resident_bytes()
    }

    /// `kill -9`. [`Member::restart`] starts it again.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Asks it to end, and waits for that.
    pub fn stop(&mut self) {
        self.child.stop();
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
}
