//! Clusters and taskmanagers as text.

use stream_core::time::Timestamp;

use super::Side::{Left, Right};
use super::{fields, mebibytes, span, table};
use crate::view::{Cluster, TaskManager};

/// `jobctl taskmanagers`.
pub(crate) fn taskmanagers(taskmanagers: &[TaskManager], now: Timestamp) -> String {
    if taskmanagers.is_empty() {
        return "no taskmanagers: start one with `taskmanager --jobmanager HOST:PORT`\n".to_owned();
    }
    let columns = [
        ("TASKMANAGER", Left),
        ("EXCHANGE", Left),
        ("SLOTS", Right),
        ("FREE", Right),
        ("UP", Right),
        ("HEARD OF", Right),
        ("MEMORY MIB", Right),
        ("PID", Right),
    ];
    table(
        columns,
        taskmanagers.iter().map(|taskmanager| {
            [
                taskmanager.id.clone(),
                taskmanager.exchange_address.clone(),
                taskmanager.slots.to_string(),
                taskmanager.free_slots.to_string(),
                span(taskmanager.registered_ms, now.0),
                format!("{} ago", span(taskmanager.last_heartbeat_ms, now.0)),
                mebibytes(taskmanager.rss_bytes),
                taskmanager.pid.to_string(),
            ]
        }),
    )
}

/// `jobctl cluster`.
pub(crate) fn cluster(cluster: &Cluster, now: Timestamp) -> String {
    fields([
        ("Jobmanager", format!("{}, pid {}", cluster.jobmanager, cluster.pid)),
        ("Version", cluster.version.clone()),
        ("Up", span(cluster.started_ms, now.0)),
        ("Memory", format!("{} MiB", mebibytes(cluster.rss_bytes))),
        ("Taskmanagers", cluster.taskmanagers.to_string()),
        ("Slots", format!("{} free of {}", cluster.free_slots, cluster.slots)),
        ("Jobs", format!("{} running", cluster.running_jobs)),
    ])
}
