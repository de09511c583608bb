//! From a signal to an orderly end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second signal ended at once.
pub const FORCED_EXIT_CODE: i32 = 130;

/// Cancels `token` on the first SIGTERM or SIGINT and ends the process on the second. Await it beside the service; it
/// returns only if the process cannot listen for signals.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub async fn cancel_on_signal(token: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if token.is_cancelled() {
            tracing::warn!("second signal: exiting at once");
            std::process::exit(FORCED_EXIT_CODE);
        }
        tracing::info!("shutting down; a second signal exits at once");
        token.cancel();
    }
}
