//! From a signal to an orderly end, and how long that may take.
//!
//! The steps of an end follow each other, each with a limit of its own. Whoever kills what does not end derives its patience from the
//! same limits ([`of_jobmanager`], [`of_taskmanager`]): `localcluster down`, and the grace periods of `docker-compose.yml` and
//! `deploy/kubernetes`, which a test of the taskmanager compares.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second signal ended at once.
pub const FORCED_EXIT_CODE: i32 = 130;

/// How long a taskmanager that is told to stop goes on until its jobs have a last checkpoint, unless set.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a taskmanager's canceled tasks may take to end, and a jobmanager's last checkpoints.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take to end its connections, and then what it began for them.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long spans, metrics and log records may take to leave, together.
pub const TELEMETRY_TIMEOUT: Duration = Duration::from_secs(6);

/// What a busy machine may take beside: none of the limits counts a thread's end, or memory that is given back.
const SLACK: Duration = Duration::from_secs(2);

/// The longest that a jobmanager takes to end.
#[must_use]
pub const fn of_jobmanager() -> Duration {
    WORK_TIMEOUT
        .saturating_add(SERVER_TIMEOUT)
        .saturating_add(SERVER_TIMEOUT)
        .saturating_add(TELEMETRY_TIMEOUT)
        .saturating_add(SLACK)
}

/// The longest that a taskmanager takes to end that may wait for `leave_timeout` before.
#[must_use]
pub const fn of_taskmanager(leave_timeout: Duration) -> Duration {
    leave_timeout.saturating_add(of_jobmanager())
}

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
