//! Ctrl-C: the processes of a cluster are in groups of their own, and must be stopped by us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

/// Whether Ctrl-C was pressed.
#[derive(Debug)]
pub struct Interrupted {
    flag: Arc<AtomicBool>,
    _listener: JoinSet<()>,
}

impl Interrupted {
    /// Listens from now on, on the runtime that this is called in.
    pub fn listen() -> Interrupted {
        let flag = Arc::new(AtomicBool::new(false));
        let mut listener = JoinSet::new();
        let its_flag = Arc::clone(&flag);
        listener.spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                its_flag.store(true, Ordering::Relaxed);
            }
        });
        Interrupted { flag, _listener: listener }
    }

    /// Whether it was.
    pub fn is_so(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// # Errors
    /// If it was.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.is_so(), "interrupted");
        Ok(())
    }
}
