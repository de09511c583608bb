//! The settings of a taskmanager.

use std::sync::Arc;
use std::time::Duration;

use stream_core::ids::TaskManagerId;
use stream_runtime::hostname;
use stream_runtime::memory::HugePages;
use stream_runtime::recent_logs::RecentLogs;
use stream_runtime::shutdown;

/// What a user can turn. The parts (clock, connectors, listener) come beside it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The jobmanager, `HOST:PORT`.
    pub jobmanager: String,
    /// The name to register with; a taskmanager that comes back with the same name takes the old one's place.
    pub id: TaskManagerId,
    /// How many slots to offer.
    pub slots: u32,
    /// Where other taskmanagers reach this one's exchange, `HOST:PORT`.
    pub advertised_exchange: String,
    /// The bytes that may be in flight between two subtasks. Memory in flight is at most this times the number of pairs.
    pub channel_bytes: usize,
    /// How long an event may wait at its source for others to travel with.
    pub linger: Duration,
    /// How long tasks go on without a jobmanager. After it they are canceled: what they do is likely done by others by then,
    /// and what they sealed cannot be published without one.
    pub orphan_timeout: Duration,
    /// How long a taskmanager that is told to stop goes on with its tasks until its jobs have a last checkpoint.
    pub leave_timeout: Duration,
    /// One record of so many is followed from its source to its commit, where spans are exported.
    pub trace_sample: Option<u64>,
    /// How long canceled tasks may take to end before shutting down is given up.
    pub shutdown_timeout: Duration,
    /// What this process logs about its jobs, which the jobmanager is told; none unless set.
    pub logs: Arc<RecentLogs>,
    /// Allowed once there is much to hold, if they are held back until then.
    pub huge_pages: HugePages,
}

impl Options {
    /// [`Options::channel_bytes`] unless set: four full batches, so that both ends always have one in hand.
    pub const DEFAULT_CHANNEL_BYTES: usize = 1 << 20;
    /// [`Options::linger`] unless set: too short to be noticed, long enough that live traffic travels in batches.
    pub const DEFAULT_LINGER: Duration = Duration::from_millis(5);
    /// [`Options::orphan_timeout`] unless set: longer than a jobmanager takes to be started again by hand.
    pub const DEFAULT_ORPHAN_TIMEOUT: Duration = Duration::from_secs(300);
    /// [`Options::leave_timeout`] unless set.
    pub const DEFAULT_LEAVE_TIMEOUT: Duration = shutdown::LEAVE_TIMEOUT;
    /// [`Options::shutdown_timeout`] unless set.
    pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = shutdown::WORK_TIMEOUT;
    /// Bytes of log lines kept of each job: a few thousand lines, of which a quiet job logs a dozen an hour.
    pub const LOG_BYTES: usize = 256 << 10;

    /// The defaults, for a taskmanager of this process with `slots` slots.
    pub fn new(jobmanager: impl Into<String>, slots: u32, advertised_exchange: impl Into<String>) -> Self {
        Options {
            jobmanager: jobmanager.into(),
            id: default_id(),
            slots,
            advertised_exchange: advertised_exchange.into(),
            channel_bytes: Self::DEFAULT_CHANNEL_BYTES,
            linger: Self::DEFAULT_LINGER,
            orphan_timeout: Self::DEFAULT_ORPHAN_TIMEOUT,
            leave_timeout: Self::DEFAULT_LEAVE_TIMEOUT,
            trace_sample: None,
            shutdown_timeout: Self::DEFAULT_SHUTDOWN_TIMEOUT,
            logs: Arc::default(),
            huge_pages: HugePages::default(),
        }
    }
}

/// `HOSTNAME-PID`: different for each process of a cluster, and readable in `ps`.
pub fn default_id() -> TaskManagerId {
    let hostname = hostname().unwrap_or_else(|| "taskmanager".to_owned());
    TaskManagerId(format!("{hostname}-{}", std::process::id()))
}
