//! All metrics of a jobmanager: of each job, of its checkpoints, of the cluster. See `docs/metrics.md`.
//!
//! The loop that owns the jobs leaves a copy of what is shown here once a second, if anybody may ask.

use std::time::Duration;

use stream_core::checkpoint::{self, CheckpointState};
use stream_core::ids::CheckpointId;
use stream_core::job::{JobState, TaskState};
use stream_core::time::Timestamp;
use telemetry::{Family, Kind, Metric, Read, Reading, Recorded, Section, Unit, number};

/// A job at one moment.
#[derive(Clone, Debug)]
pub(crate) struct JobReading {
    /// Its id.
    pub(crate) id: String,
    /// As users call it.
    pub(crate) name: String,
    /// Its state.
    pub(crate) state: JobState,
    /// The states of its tasks.
    pub(crate) tasks: Vec<TaskState>,
    /// How often it was restarted.
    pub(crate) restarts: u32,
    /// Since when all its tasks run, if they do.
    pub(crate) running_for: Option<Duration>,
    /// Checkpoints so far: completed, aborted.
    pub(crate) checkpoints: [u64; 2],
    /// The last completed one.
    pub(crate) last: Option<checkpoint::Entry>,
    /// Since the last completed one was triggered, or the job was submitted.
    pub(crate) checkpoint_age: Duration,
    /// Whether one is under way.
    pub(crate) is_checkpointing: bool,
    /// The epoch that the sink shows.
    pub(crate) published: CheckpointId,
    /// Completed epochs that it does not show yet.
    pub(crate) unpublished: u64,
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterReading {
    /// Registered taskmanagers.
    pub(crate) taskmanagers: u64,
    /// Slots: used, free.
    pub(crate) slots: [u64; 2],
}

const JOB: &[&str] = &["job.id", "job.name"];

/// Of each job.
pub(crate) const JOBS: Family<JobReading> = Family {
    title: "Jobs",
    about: "Of each job that has not ended, by the jobmanager.",
    attributes: JOB,
    values: |job| vec![job.id.clone(), job.name.clone()],
    metrics: &[
        Reading {
            metric: Metric {
                name: "gapwise.job.state",
                kind: Kind::Gauge,
                unit: Unit::Flag,
                meaning: "1 for the state that the job is in, 0 for the others: created, running, failing, restarting, canceling.",
                flink: "numRunningJobs, runningState",
            },
            read: Read::Each("state", |job| {
                STATES.map(|(state, name)| (name, f64::from(u8::from(job.state == state)))).to_vec()
            }),
        },
        Reading {
            metric: Metric {
                name: "gapwise.job.uptime",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "For how long all tasks of the attempt have been running; absent while they are not.",
                flink: "uptime, runningTime",
            },
            read: Read::One(|job| job.running_for.map(|time| time.as_secs_f64())),
        },
        Reading {
            metric: Metric {
                name: "gapwise.job.restarts",
                kind: Kind::Counter,
                unit: Unit::Things("{restart}"),
                meaning: "How often the job was restarted, after a failure or on request.",
                flink: "numRestarts, fullRestarts",
            },
            read: Read::One(|job| Some(f64::from(job.restarts))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.job.tasks",
                kind: Kind::Gauge,
                unit: Unit::Things("{task}"),
                meaning: "Its tasks: running, coming up (pending), or ended.",
                flink: "",
            },
            read: Read::Each("state", |job| {
                let count =
                    |is: fn(&TaskState) -> bool| number(job.tasks.iter().filter(|state| is(state)).count() as u64);
                let running = count(|state| *state == TaskState::Running);
                let ended = count(|state| state.is_terminal());
                vec![
                    ("running", running),
                    ("ended", ended),
                    ("pending", number(job.tasks.len() as u64) - running - ended),
                ]
            }),
        },
        Reading {
            metric: Metric {
                name: "gapwise.checkpoint.count",
                kind: Kind::Counter,
                unit: Unit::Things("{checkpoint}"),
                meaning: "Checkpoints so far, completed and aborted, since the jobmanager knows the job.",
                flink: "numberOfCompletedCheckpoints, numberOfFailedCheckpoints",
            },
            read: Read::Each("outcome", |job| {
                let [completed, aborted] = job.checkpoints;
                vec![("completed", number(completed)), ("aborted", number(aborted))]
            }),
        },
        Reading {
            metric: Metric {
                name: "gapwise.checkpoint.in_progress",
                kind: Kind::Gauge,
                unit: Unit::Flag,
                meaning: "1 while a checkpoint is under way.",
                flink: "numberOfInProgressCheckpoints",
            },
            read: Read::One(|job| Some(f64::from(u8::from(job.is_checkpointing)))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.checkpoint.age",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "Since the last completed checkpoint was triggered, or, before the first, since the job was submitted: what a failure now would have to be read again.",
                flink: "",
            },
            read: Read::One(|job| Some(job.checkpoint_age.as_secs_f64())),
        },
        Reading {
            metric: Metric {
                name: "gapwise.checkpoint.last.duration",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "From trigger to stored manifest, of the last completed checkpoint.",
                flink: "lastCheckpointDuration",
            },
            read: Read::One(|job| {
                let last = job.last.as_ref()?;
                Some(between(last.triggered, last.ended?))
            }),
        },
        Reading {
            metric: Metric {
                name: "gapwise.checkpoint.last.size",
                kind: Kind::Gauge,
                unit: Unit::Bytes,
                meaning: "All files that the last completed checkpoint names, those of earlier ones included.",
                flink: "lastCheckpointFullSize",
            },
            read: Read::One(|job| Some(number(job.last.as_ref()?.total_bytes))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.checkpoint.last.written",
                kind: Kind::Gauge,
                unit: Unit::Bytes,
                meaning: "What was written for it.",
                flink: "lastCheckpointSize",
            },
            read: Read::One(|job| Some(number(job.last.as_ref()?.cost.written_bytes))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.checkpoint.last.pause",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "The longest at a stretch that a task stood still for its snapshot.",
                flink: "",
            },
            read: Read::One(|job| Some(job.last.as_ref()?.cost.pause.as_secs_f64())),
        },
        Reading {
            metric: Metric {
                name: "gapwise.checkpoint.last.alignment",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "The longest that a task waited from its first barrier to its last.",
                flink: "checkpointAlignmentTime",
            },
            read: Read::One(|job| Some(job.last.as_ref()?.cost.alignment.as_secs_f64())),
        },
        Reading {
            metric: Metric {
                name: "gapwise.ledger.token",
                kind: Kind::Gauge,
                unit: Unit::Things("{token}"),
                meaning: "The token of the attempt that published last: it grows with each attempt.",
                flink: "",
            },
            read: Read::One(|job| Some(f64::from(job.published.token().0))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.ledger.epoch",
                kind: Kind::Gauge,
                unit: Unit::Things("{epoch}"),
                meaning: "The number, within that attempt, of the epoch that the sink shows.",
                flink: "",
            },
            read: Read::One(|job| Some(f64::from(job.published.sequence()))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.ledger.behind",
                kind: Kind::Gauge,
                unit: Unit::Things("{epoch}"),
                meaning: "Completed epochs that the sink does not show yet.",
                flink: "",
            },
            read: Read::One(|job| Some(number(job.unpublished))),
        },
    ],
};

/// Of the cluster.
pub(crate) const CLUSTER: Family<ClusterReading> = Family {
    title: "Cluster",
    about: "Of the cluster, by the jobmanager.",
    attributes: &[],
    values: |_| Vec::new(),
    metrics: &[
        Reading {
            metric: Metric {
                name: "gapwise.cluster.taskmanagers",
                kind: Kind::Gauge,
                unit: Unit::Things("{taskmanager}"),
                meaning: "Registered taskmanagers.",
                flink: "numRegisteredTaskManagers",
            },
            read: Read::One(|cluster| Some(number(cluster.taskmanagers))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.cluster.slots",
                kind: Kind::Gauge,
                unit: Unit::Things("{slot}"),
                meaning: "Slots of all taskmanagers, used and free.",
                flink: "taskSlotsTotal, taskSlotsAvailable",
            },
            read: Read::Each("state", |cluster| {
                let [used, free] = cluster.slots;
                vec![("used", number(used)), ("free", number(free))]
            }),
        },
    ],
};

/// From trigger to stored manifest.
pub(crate) const CHECKPOINT_DURATION: Recorded = Recorded {
    metric: Metric {
        name: "gapwise.checkpoint.duration",
        kind: Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
        unit: Unit::Seconds,
        meaning: "From the trigger of a checkpoint to its stored manifest, of those that completed.",
        flink: "lastCheckpointDuration",
    },
    attributes: &["job.name"],
};

/// From a failure to all tasks running again.
pub(crate) const RECOVERY_DURATION: Recorded = Recorded {
    metric: Metric {
        name: "gapwise.recovery.duration",
        kind: Kind::Histogram(&[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0]),
        unit: Unit::Seconds,
        meaning: "From the failure of an attempt to the moment at which all tasks of the next run.",
        flink: "restartingTime, downtime",
    },
    attributes: &["job.name"],
};

/// From a record to the commit that counts it.
pub(crate) const RECORD_LATENCY: Recorded = Recorded {
    metric: Metric {
        name: "gapwise.record.latency",
        kind: Kind::Histogram(&[
            0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0,
            86400.0,
        ]),
        unit: Unit::Seconds,
        meaning: "From a record's time in Kafka to the commit of the epoch that counts it; 256 records of each epoch stand for all.",
        flink: "currentEmitEventTimeLag",
    },
    attributes: &["job.name"],
};

/// All of them, for the documentation.
pub fn catalog() -> Vec<Section> {
    vec![
        Section::of_family(&JOBS),
        Section::of_recorded(
            "Checkpoints and recovery",
            "Of each job, by the jobmanager.",
            &[CHECKPOINT_DURATION, RECOVERY_DURATION, RECORD_LATENCY],
        ),
        Section::of_family(&CLUSTER),
    ]
}

/// The states of a job that has not ended.
const STATES: [(JobState, &str); 5] = [
    (JobState::Created, "created"),
    (JobState::Running, "running"),
    (JobState::Failing, "failing"),
    (JobState::Restarting, "restarting"),
    (JobState::Canceling, "canceling"),
];

/// The last completed one.
pub(crate) fn last_completed(checkpoints: &[checkpoint::Entry]) -> Option<&checkpoint::Entry> {
    checkpoints.iter().find(|entry| entry.state == CheckpointState::Completed)
}

/// Seconds from one moment to a later one.
fn between(from: Timestamp, to: Timestamp) -> f64 {
    Duration::from_millis(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0)).as_secs_f64()
}
