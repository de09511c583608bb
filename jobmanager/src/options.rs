//! The jobmanager's settings: numbers that a user turns, apart from the parts (a clock, connectors) that it is given.

use std::sync::Arc;
use std::time::Duration;

use stream_core::job::{ExponentialDelay, RestartStrategy, Settings};
use stream_runtime::duration;
use stream_runtime::recent_logs::RecentLogs;
use stream_runtime::shutdown;

/// The settings of one jobmanager.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often taskmanagers are told to send a heartbeat.
    pub heartbeat_interval: Duration,
    /// After how long without one a taskmanager counts as lost; longer than the interval.
    pub heartbeat_timeout: Duration,
    /// How often the source of a job without end is asked for new splits; zero for never.
    pub discovery_interval: Duration,
    /// How long a source or a sink may take to answer at submit.
    pub connector_timeout: Duration,
    /// The least time between two messages of a watch stream, where the client names none.
    pub watch_interval: Duration,
    /// How long jobs may take to be canceled, or to have a last checkpoint, when the jobmanager stops.
    pub drain_timeout: Duration,
    /// Where checkpoints and jobs are stored: a folder, `file:///DIR` or `s3://BUCKET/PREFIX`. `None`: nothing is stored, jobs
    /// end with the jobmanager, and a failure is final.
    pub checkpoint_store: Option<String>,
    /// How long a checkpoint is kept after a newer one was published.
    pub retention: Duration,
    /// What follows a failure, where checkpoints are stored.
    pub restart: RestartStrategy,
    /// Bytes of rows that may wait to be published before the sources of a job pause; `None` for 1 GiB, or for 256 MiB
    /// where nothing is stored and they wait in memory.
    pub unpublished_budget: Option<u64>,
    /// How long a new jobmanager waits for the tasks of its jobs to be reported before it starts them anew.
    pub adoption_timeout: Duration,
    /// How long a deployed task may take until it says that it initializes.
    pub deploy_timeout: Duration,
    /// How long a taskmanager may take to confirm that its tasks are canceled.
    pub cancel_timeout: Duration,
    /// What all processes of the cluster log about its jobs; none unless set.
    pub logs: Arc<RecentLogs>,
}

/// What may wait in the checkpoint store.
const STORED_BUDGET_BYTES: u64 = 1 << 30;
/// What may wait in the committer's memory.
const MEMORY_BUDGET_BYTES: u64 = 256 << 20;

/// Settings that contradict each other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Heartbeats would follow each other without pause.
    #[error("the heartbeat interval must be at least `1ms`")]
    NoHeartbeatInterval,
    /// Every taskmanager would be lost before its first heartbeat.
    #[error(
        "the heartbeat timeout `{}` must be longer than the heartbeat interval `{}`",
        duration::show(*.timeout),
        duration::show(*.interval)
    )]
    HeartbeatTimeout {
        /// As set.
        timeout: Duration,
        /// As set.
        interval: Duration,
    },
}

impl Default for Options {
    fn default() -> Self {
        Options {
            heartbeat_interval: Duration::from_millis(500),
            heartbeat_timeout: Duration::from_secs(3),
            discovery_interval: Duration::from_secs(30),
            connector_timeout: Duration::from_secs(10),
            watch_interval: Duration::from_millis(200),
            drain_timeout: shutdown::WORK_TIMEOUT,
            checkpoint_store: None,
            retention: Duration::from_secs(600),
            restart: RestartStrategy::ExponentialDelay(ExponentialDelay::default()),
            unpublished_budget: None,
            adoption_timeout: Duration::from_secs(10),
            deploy_timeout: Duration::from_secs(10),
            cancel_timeout: Duration::from_secs(10),
            logs: Arc::default(),
        }
    }
}

impl Options {
    /// Bytes of log lines kept of each job, of all processes together.
    pub const LOG_BYTES: usize = 1 << 20;

    /// How patient each job is, and what it does about failures: without a store there is nothing to begin anew with.
    pub(crate) fn job(&self) -> Settings {
        let restart = if self.checkpoint_store.is_some() { self.restart } else { RestartStrategy::Never };
        Settings { deploy_timeout: self.deploy_timeout, cancel_timeout: self.cancel_timeout, restart }
    }

    /// Bytes that may wait to be published.
    pub(crate) fn unpublished_budget_bytes(&self) -> u64 {
        let default = if self.checkpoint_store.is_some() { STORED_BUDGET_BYTES } else { MEMORY_BUDGET_BYTES };
        self.unpublished_budget.unwrap_or(default)
    }

    /// Checks the settings as a whole.
    ///
    /// # Errors
    /// If they contradict each other.
    pub fn check(&self) -> Result<(), OptionsError> {
        let (timeout, interval) = (self.heartbeat_timeout, self.heartbeat_interval);
        if interval < Duration::from_millis(1) {
            return Err(OptionsError::NoHeartbeatInterval);
        }
        if timeout <= interval {
            return Err(OptionsError::HeartbeatTimeout { timeout, interval });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_agree_with_each_other() {
        assert_eq!(Options::default().check(), Ok(()));
    }

    #[test]
    fn contradictions_are_named() {
        let options = Options { heartbeat_timeout: Duration::from_millis(500), ..Options::default() };
        assert_eq!(
            options.check().expect_err("no longer than the interval").to_string(),
            "the heartbeat timeout `500ms` must be longer than the heartbeat interval `500ms`"
        );
        let options = Options { heartbeat_interval: Duration::ZERO, ..Options::default() };
        assert_eq!(options.check(), Err(OptionsError::NoHeartbeatInterval));
    }
}
