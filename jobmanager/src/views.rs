//! What clients are shown of the cluster.

use crate::handle::{ClusterRecord, TaskManagerRecord};
use crate::service::Service;
use crate::taskmanagers::TaskManager;

impl Service {
    /// The taskmanagers, by name.
    pub(crate) fn taskmanager_records(&self) -> Vec<TaskManagerRecord> {
        let steady = self.clock.monotonic();
        let record = |taskmanager: &TaskManager| TaskManagerRecord {
            registration: taskmanager.registration.clone(),
            slots: self.slots.count_of(&taskmanager.registration.taskmanager),
            registered: taskmanager.registered,
            last_heartbeat: taskmanager.last_heartbeat,
            silent: steady.saturating_sub(taskmanager.heard),
            rss_bytes: taskmanager.rss_bytes,
        };
        self.taskmanagers.iter().map(record).collect()
    }

    /// The cluster in figures.
    pub(crate) fn cluster_record(&self) -> ClusterRecord {
        ClusterRecord {
            started: self.started,
            taskmanagers: self.taskmanagers.iter().count(),
            slots: self.slots.count(),
            live_jobs: self.jobs.live().len(),
            heartbeat_interval: self.options.heartbeat_interval,
        }
    }
}
