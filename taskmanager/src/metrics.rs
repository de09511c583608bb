//! All metrics of a taskmanager: of each task, of each partition that it reads, of what it publishes. See `docs/metrics.md`.
//!
//! They are read off the counters that each subtask keeps for the heartbeat, when somebody asks; only histograms are recorded as
//! things happen, once an epoch.

use stream_core::ids::JobId;
use stream_core::pipeline::StageKind;
use stream_core::source_splits::SplitProgress;
use stream_core::time::Timestamp;
use stream_core::watermark::Watermark;
use telemetry::{Family, Kind, Metric, Read, Reading, Recorded, Section, Unit, number};

use crate::counters::Snapshot;

/// A task at one moment.
#[derive(Debug)]
pub(crate) struct Task {
    /// Whose.
    pub(crate) job_id: JobId,
    /// As users call the job.
    pub(crate) job_name: String,
    /// Its stage.
    pub(crate) name: String,
    /// Which of the stage's subtasks.
    pub(crate) index: u32,
    /// What it does.
    pub(crate) kind: StageKind,
    /// What it counted.
    pub(crate) counters: Snapshot,
    /// What waits in its input gate; a source has none.
    pub(crate) queue_bytes: Option<u64>,
    /// When it was looked at, by the wall clock.
    pub(crate) now: Timestamp,
}

/// A partition at one moment.
#[derive(Debug)]
pub(crate) struct Partition {
    /// The source that reads it.
    pub(crate) source: [String; 4],
    /// How far it was read.
    pub(crate) progress: SplitProgress,
    /// How far its watermark is behind its latest event.
    pub(crate) watermark_delay_ms: i64,
    /// When it was looked at, by the wall clock.
    pub(crate) now: Timestamp,
}

const TASK: &[&str] = &["job.id", "job.name", "task.name", "subtask.index"];
const PARTITION: &[&str] = &["job.id", "job.name", "task.name", "subtask.index", "partition"];

/// Of each task.
pub(crate) const TASKS: Family<Task> = Family {
    title: "Tasks",
    about: "Of each subtask, by the taskmanager that runs it. Counters begin at 0 with each attempt.",
    attributes: TASK,
    values: |task| task.identity().to_vec(),
    metrics: &[
        Reading {
            metric: Metric {
                name: "gapwise.task.records.in",
                kind: Kind::Counter,
                unit: Unit::Things("{record}"),
                meaning: "Source: records read. Operator: events received. Sink: rows received.",
                flink: "numRecordsIn",
            },
            read: Read::One(|task| Some(number(task.counters.records_in))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.input",
                kind: Kind::Counter,
                unit: Unit::Bytes,
                meaning: "The bytes of these records.",
                flink: "numBytesIn",
            },
            read: Read::One(|task| Some(number(task.counters.bytes_in))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.records.out",
                kind: Kind::Counter,
                unit: Unit::Things("{record}"),
                meaning: "Source: events sent. Operator: rows fired. Sink: rows published.",
                flink: "numRecordsOut",
            },
            read: Read::One(|task| Some(number(task.counters.records_out))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.output",
                kind: Kind::Counter,
                unit: Unit::Bytes,
                meaning: "The bytes of these.",
                flink: "numBytesOut",
            },
            read: Read::One(|task| Some(number(task.counters.bytes_out))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.time",
                kind: Kind::Counter,
                unit: Unit::Seconds,
                meaning: "Time spent at work (busy), waiting for input (idle), waiting for output to be taken (backpressured); its rate is the share of each.",
                flink: "busyTimeMsPerSecond, idleTimeMsPerSecond, backPressuredTimeMsPerSecond",
            },
            read: Read::Each("state", |task| {
                let Snapshot { busy, idle, backpressured, .. } = &task.counters;
                let states = [("busy", busy), ("idle", idle), ("backpressured", backpressured)];
                states.map(|(state, time)| (state, time.as_secs_f64())).to_vec()
            }),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.watermark",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "The watermark, since 1970; absent before the first and behind the end of event time.",
                flink: "currentOutputWatermark",
            },
            read: Read::One(|task| task.watermark().map(|watermark| seconds(watermark.0))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.watermark.lag",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "How far the watermark is behind the clock.",
                flink: "watermarkLag",
            },
            read: Read::One(|task| task.watermark().map(|watermark| behind(task.now, watermark.0))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.queue",
                kind: Kind::Gauge,
                unit: Unit::Bytes,
                meaning: "What waits in the exchange in front of the task; bounded by `--channel-bytes` times the upstream subtasks.",
                flink: "inputQueueSize",
            },
            read: Read::One(|task| task.queue_bytes.map(number)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.bad_records",
                kind: Kind::Counter,
                unit: Unit::Things("{record}"),
                meaning: "Source: records that could not be read: dead letters, where the job keeps them.",
                flink: "numRecordsInErrors",
            },
            read: Read::One(|task| of(task, StageKind::Source, task.counters.bad)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.paused",
                kind: Kind::Gauge,
                unit: Unit::Flag,
                meaning: "Source: 1 while it was told to stop reading, because the sink is behind.",
                flink: "",
            },
            read: Read::One(|task| of(task, StageKind::Source, u64::from(task.counters.is_paused))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.late_events",
                kind: Kind::Counter,
                unit: Unit::Things("{event}"),
                meaning: "Operator: events that came too late for their window.",
                flink: "numLateRecordsDropped",
            },
            read: Read::One(|task| of(task, StageKind::Operator, task.counters.operator.late)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.fired_events",
                kind: Kind::Counter,
                unit: Unit::Things("{event}"),
                meaning: "Operator: events in windows that have fired.",
                flink: "",
            },
            read: Read::One(|task| of(task, StageKind::Operator, task.counters.operator.fired_events)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.unanswered_events",
                kind: Kind::Counter,
                unit: Unit::Things("{event}"),
                meaning: "Operator: events given out without what was to be looked up, because nobody could tell.",
                flink: "",
            },
            read: Read::One(|task| of(task, StageKind::Operator, task.counters.operator.unanswered)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.open_windows",
                kind: Kind::Gauge,
                unit: Unit::Things("{window}"),
                meaning: "Operator: open sessions; other windows in state, or keys being looked up, in jobs that have these.",
                flink: "",
            },
            read: Read::One(|task| of(task, StageKind::Operator, task.counters.operator.open)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.open_events",
                kind: Kind::Gauge,
                unit: Unit::Things("{event}"),
                meaning: "Operator: events in windows that have not fired, or that wait for an answer.",
                flink: "",
            },
            read: Read::One(|task| of(task, StageKind::Operator, task.counters.operator.open_events)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.state",
                kind: Kind::Gauge,
                unit: Unit::Bytes,
                meaning: "Operator: what its state takes in the checkpoint store, at its last checkpoint.",
                flink: "lastCheckpointFullSize",
            },
            read: Read::One(|task| of(task, StageKind::Operator, task.counters.state_bytes)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.unpublished",
                kind: Kind::Gauge,
                unit: Unit::Bytes,
                meaning: "Sink: rows that are gathered or sealed, and not published yet.",
                flink: "pendingCommittables",
            },
            read: Read::One(|task| of(task, StageKind::Sink, task.counters.unpublished_bytes)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.publish_failures",
                kind: Kind::Counter,
                unit: Unit::Things("{try}"),
                meaning: "Sink: tries to publish that failed, each of which is followed by another.",
                flink: "numRecordsSendErrors",
            },
            read: Read::One(|task| of(task, StageKind::Sink, task.counters.publish_failures)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.task.publish_stuck",
                kind: Kind::Gauge,
                unit: Unit::Flag,
                meaning: "Sink: 1 while it cannot publish; `jobctl describe` says why.",
                flink: "",
            },
            read: Read::One(|task| of(task, StageKind::Sink, u64::from(!task.counters.trouble.is_empty()))),
        },
    ],
};

/// Of each partition.
pub(crate) const PARTITIONS: Family<Partition> = Family {
    title: "Partitions",
    about: "Of each partition of a topic, or file, by the taskmanager that reads it.",
    attributes: PARTITION,
    values: |partition| partition.source.iter().cloned().chain([partition.progress.split.0.clone()]).collect(),
    metrics: &[
        Reading {
            metric: Metric {
                name: "gapwise.partition.position",
                kind: Kind::Gauge,
                unit: Unit::Things("{record}"),
                meaning: "The next offset to be read.",
                flink: "KafkaSourceReader.topic.partition.currentOffset",
            },
            read: Read::One(|partition| Some(number(partition.progress.position))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.partition.end",
                kind: Kind::Gauge,
                unit: Unit::Things("{record}"),
                meaning: "The partition's end as last known.",
                flink: "",
            },
            read: Read::One(|partition| partition.progress.known_end.map(number)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.partition.lag.records",
                kind: Kind::Gauge,
                unit: Unit::Things("{record}"),
                meaning: "Records between the two.",
                flink: "pendingRecords, records-lag",
            },
            read: Read::One(|partition| partition.lag().map(number)),
        },
        Reading {
            metric: Metric {
                name: "gapwise.partition.lag.time",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "How far the latest event read is behind the clock, while there are records to be read; 0 where all are read.",
                flink: "currentFetchEventTimeLag",
            },
            read: Read::One(Partition::lag_seconds),
        },
        Reading {
            metric: Metric {
                name: "gapwise.partition.watermark",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "The partition's own watermark, since 1970.",
                flink: "currentInputWatermark",
            },
            read: Read::One(|partition| partition.watermark().map(|watermark| seconds(watermark.0))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.partition.watermark.lag",
                kind: Kind::Gauge,
                unit: Unit::Seconds,
                meaning: "How far that is behind the clock.",
                flink: "watermarkLag",
            },
            read: Read::One(|partition| partition.watermark().map(|watermark| behind(partition.now, watermark.0))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.partition.idle",
                kind: Kind::Gauge,
                unit: Unit::Flag,
                meaning: "1 while the partition is silent and left out of the watermark.",
                flink: "sourceIdleTime",
            },
            read: Read::One(|partition| Some(flag(partition.progress.is_idle))),
        },
        Reading {
            metric: Metric {
                name: "gapwise.partition.held",
                kind: Kind::Gauge,
                unit: Unit::Flag,
                meaning: "1 while the partition is not read, because it is ahead of the others.",
                flink: "",
            },
            read: Read::One(|partition| Some(flag(partition.progress.is_held))),
        },
    ],
};

/// From an epoch's turn to its commit.
pub(crate) const PUBLISH_DURATION: Recorded = Recorded {
    metric: Metric {
        name: "gapwise.publish.duration",
        kind: Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
        unit: Unit::Seconds,
        meaning: "From an epoch's turn to its commit, all tries included.",
        flink: "",
    },
    attributes: &["job.name"],
};

/// The rows of an epoch.
pub(crate) const PUBLISH_ROWS: Recorded = Recorded {
    metric: Metric {
        name: "gapwise.publish.rows",
        kind: Kind::Histogram(&[0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7]),
        unit: Unit::Things("{row}"),
        meaning: "Rows of an epoch that was published, of all its tables.",
        flink: "",
    },
    attributes: &["job.name"],
};

/// From a session's closing to its commit.
pub(crate) const ROW_LATENCY: Recorded = Recorded {
    metric: Metric {
        name: "gapwise.row.latency",
        kind: Kind::Histogram(LATENCY_SECONDS),
        unit: Unit::Seconds,
        meaning: "From the instant in event time at which a session closed to the commit that shows its row; 256 rows of each epoch stand for all.",
        flink: "",
    },
    attributes: &["job.name"],
};

/// From tens of milliseconds, where checkpoints come every second, to hours, where a backlog is read.
const LATENCY_SECONDS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0,
];

/// All of them, for the documentation.
pub fn catalog() -> Vec<Section> {
    vec![
        Section::of_family(&TASKS),
        Section::of_family(&PARTITIONS),
        Section::of_recorded(
            "Publishing",
            "Of the committer of each job, by the taskmanager that runs it.",
            &[PUBLISH_DURATION, PUBLISH_ROWS, ROW_LATENCY],
        ),
    ]
}

impl Task {
    /// The values of [`TASK`].
    pub(crate) fn identity(&self) -> [String; 4] {
        [self.job_id.to_string(), self.job_name.clone(), self.name.clone(), self.index.to_string()]
    }

    fn watermark(&self) -> Option<Watermark> {
        self.counters.watermark.filter(|&watermark| watermark < Watermark::END)
    }
}

impl Partition {
    fn lag(&self) -> Option<u64> {
        Some(self.progress.known_end?.saturating_sub(self.progress.position))
    }

    fn watermark(&self) -> Option<Watermark> {
        self.progress.watermark.filter(|&watermark| watermark < Watermark::END)
    }

    fn lag_seconds(&self) -> Option<f64> {
        match self.lag()? {
            0 => Some(0.0),
            _ => Some(behind(self.now, self.watermark()?.0.saturating_add(self.watermark_delay_ms)).max(0.0)),
        }
    }
}

/// What only one kind of task has.
fn of(task: &Task, kind: StageKind, value: u64) -> Option<f64> {
    (task.kind == kind).then(|| number(value))
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into 53 bits for 285,000 years")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn behind(now: Timestamp, ms: i64) -> f64 {
    seconds(now.0.saturating_sub(ms))
}
