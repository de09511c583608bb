//! The jobmanager's settings: numbers that a user turns, apart from the parts (a clock, connectors) that it is given.

use std::time::Duration;

use stream_core::job::{RestartStrategy, Settings};
use stream_runtime::duration;

/// The settings of one jobmanager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// How long jobs may take to be canceled when the jobmanager stops.
    pub drain_timeout: Duration,
    /// How patient each job is.
    pub job: Settings,
}

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
            drain_timeout: Duration::from_secs(5),
            job: Settings {
                deploy_timeout: Duration::from_secs(10),
                cancel_timeout: Duration::from_secs(10),
                restart: RestartStrategy::Never,
            },
        }
    }
}

impl Options {
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
