//! Ctrl-C and SIGTERM: the processes of a cluster are in groups of their own, and must be stopped by us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Whether Ctrl-C was pressed, or SIGTERM came.
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
            let terminated = async {
                match signal(SignalKind::terminate()) {
                    Ok(mut terminate) => terminate.recv().await.is_some(),
                    Err(_) => std::future::pending().await,
                }
            };
            let is_so = tokio::select! {
                pressed = tokio::signal::ctrl_c() => pressed.is_ok(),
                terminated = terminated => terminated,
            };
            if is_so {
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
