//! What the program shows of jobs and clusters: the stable form of `--output json`, which the tables show too.
//!
//! Names are `snake_case`, times are milliseconds since 1970 UTC (`_ms`), states are lower-case words, and what is not known
//! is `null`. Fields may be added; none is renamed or removed without a word in the changelog.

mod audit;
mod explanation;
mod late;
mod log_line;
#[cfg(test)]
pub(crate) mod testing;

use proto::v1;
use serde::Serialize;
use stream_core::ids::CheckpointId;

pub(crate) use audit::{Audit, Check, DifferentRow, Replay};
pub(crate) use explanation::{EventTimeState, Explanation, OpenSession};
pub(crate) use late::LateReplay;
pub(crate) use log_line::LogLine;

/// `jobctl list`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) parallelism: u32,
    pub(crate) submitted_ms: i64,
    pub(crate) ended_ms: Option<i64>,
    pub(crate) records_in: u64,
    pub(crate) rows_out: u64,
    /// Why it failed, outermost first.
    pub(crate) causes: Vec<String>,
}

/// `jobctl describe`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JobDetails {
    #[serde(flatten)]
    pub(crate) job: Job,
    pub(crate) attempt: u32,
    /// How often it was restarted after a failure.
    pub(crate) restarts: u32,
    /// Why the last attempt failed, outermost first, also while the job runs again.
    pub(crate) last_failure: Vec<String>,
    /// What a restarting job waits for.
    pub(crate) waiting_for: Option<String>,
    /// Free slots that it waits for.
    pub(crate) slots_needed: Option<u32>,
    pub(crate) last_checkpoint: Option<Checkpoint>,
    /// The epoch that the sink shows.
    pub(crate) published_epoch: Option<String>,
    pub(crate) max_parallelism: u32,
    pub(crate) source: String,
    pub(crate) sink: String,
    /// The job's own, as an object.
    pub(crate) options: serde_json::Value,
    pub(crate) subtasks: Vec<Subtask>,
    pub(crate) splits: Vec<Split>,
}

/// One copy of a stage.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Subtask {
    pub(crate) stage: String,
    pub(crate) index: u32,
    pub(crate) state: &'static str,
    pub(crate) taskmanager: String,
    pub(crate) slot: u32,
    pub(crate) key_groups: Option<KeyGroups>,
    pub(crate) splits: Vec<String>,
    pub(crate) records_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) records_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bad: u64,
    pub(crate) late: u64,
    pub(crate) open_windows: u64,
    pub(crate) open_events: u64,
    pub(crate) fired_events: u64,
    /// Events given out without what was to be looked up.
    pub(crate) unanswered: u64,
    pub(crate) unpublished_bytes: u64,
    /// Why the sink cannot publish just now.
    pub(crate) trouble: Option<String>,
    /// Whether a source pauses because the sink is behind.
    pub(crate) is_paused: bool,
    pub(crate) watermark_ms: Option<i64>,
    pub(crate) busy_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) backpressured_ms: u64,
}

/// The key groups `start..end`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct KeyGroups {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A partition or file, and how far it has been read.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Split {
    pub(crate) id: String,
    /// The subtask that reads it: `source[0]`.
    pub(crate) subtask: String,
    pub(crate) position: u64,
    pub(crate) end: Option<u64>,
    /// What is left to `end`.
    pub(crate) lag: Option<u64>,
    pub(crate) watermark_ms: Option<i64>,
    /// For how long it has been at its end without a record, while it could be read.
    pub(crate) silent_ms: u64,
    /// `active`, `held` (ahead of the others), `idle` or `finished`.
    pub(crate) state: &'static str,
}

/// `jobctl taskmanagers`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskManager {
    pub(crate) id: String,
    pub(crate) exchange_address: String,
    pub(crate) slots: u32,
    pub(crate) free_slots: u32,
    pub(crate) registered_ms: i64,
    pub(crate) last_heartbeat_ms: i64,
    pub(crate) rss_bytes: u64,
    pub(crate) pid: u32,
}

/// `jobctl cluster`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cluster {
    pub(crate) jobmanager: String,
    pub(crate) version: String,
    pub(crate) started_ms: i64,
    pub(crate) taskmanagers: u32,
    pub(crate) slots: u32,
    pub(crate) free_slots: u32,
    pub(crate) running_jobs: u32,
    pub(crate) rss_bytes: u64,
    pub(crate) pid: u32,
}

/// A row of `jobctl checkpoints`, and the last one in `jobctl describe`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Checkpoint {
    /// Token and sequence number: `3.17`.
    pub(crate) id: String,
    /// `pending`, `completed` or `aborted`.
    pub(crate) state: &'static str,
    pub(crate) is_savepoint: bool,
    pub(crate) is_published: bool,
    pub(crate) triggered_ms: i64,
    pub(crate) ended_ms: Option<i64>,
    /// Written for it, and held by it altogether.
    pub(crate) written_bytes: u64,
    pub(crate) total_bytes: u64,
    /// The longest that a task stood still for it, and the longest wait for a barrier.
    pub(crate) pause_us: u64,
    pub(crate) alignment_us: u64,
    /// Why it was aborted.
    pub(crate) reason: Option<String>,
    pub(crate) accounts: Option<Accounts>,
}

/// What was read up to a checkpoint, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Accounts {
    pub(crate) read: u64,
    pub(crate) bad: u64,
    pub(crate) late: u64,
    pub(crate) in_sessions: u64,
    pub(crate) open: u64,
}

/// `jobctl savepoint` and `jobctl stop`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SavepointTaken {
    pub(crate) checkpoint: String,
    pub(crate) folder: String,
}

/// `jobctl submit`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Submitted {
    pub(crate) job_id: String,
}

impl From<v1::JobSummary> for Job {
    fn from(summary: v1::JobSummary) -> Self {
        Job {
            state: job_state(summary.state()),
            id: summary.job_id,
            name: summary.name,
            parallelism: summary.parallelism,
            submitted_ms: summary.submitted_ms,
            ended_ms: summary.ended_ms,
            records_in: summary.records_in,
            rows_out: summary.rows_out,
            causes: summary.causes,
        }
    }
}

impl From<v1::JobDetails> for JobDetails {
    fn from(details: v1::JobDetails) -> Self {
        let splits = details.tasks.iter().flat_map(splits).collect();
        JobDetails {
            job: details.summary.unwrap_or_default().into(),
            attempt: details.attempt,
            restarts: details.restarts,
            last_failure: details.last_failure,
            waiting_for: (!details.waiting_for.is_empty()).then_some(details.waiting_for),
            slots_needed: (details.slots_needed > 0).then_some(details.slots_needed),
            last_checkpoint: details.last_checkpoint.map(Into::into),
            published_epoch: (details.published_epoch > 0).then(|| checkpoint_id(details.published_epoch)),
            max_parallelism: details.max_parallelism,
            source: details.source_uri,
            sink: details.sink_uri,
            // Options that are no JSON are some other job's own business, and are shown as the text they are.
            options: serde_json::from_str(&details.options).unwrap_or(details.options.into()),
            subtasks: details.tasks.into_iter().map(Into::into).collect(),
            splits,
        }
    }
}

impl From<v1::TaskDetails> for Subtask {
    fn from(task: v1::TaskDetails) -> Self {
        let state = task_state(task.state());
        let counters = task.counters.unwrap_or_default();
        Subtask {
            stage: task.stage_name,
            index: task.subtask.unwrap_or_default().index,
            state,
            taskmanager: task.taskmanager_id,
            slot: task.slot,
            key_groups: task.key_groups.map(|range| KeyGroups { start: range.start, end: range.end }),
            splits: task.splits,
            records_in: counters.records_in,
            bytes_in: counters.bytes_in,
            records_out: counters.records_out,
            bytes_out: counters.bytes_out,
            bad: counters.bad,
            late: counters.late,
            open_windows: counters.open_windows,
            open_events: counters.open_events,
            fired_events: counters.fired_events,
            unanswered: counters.unanswered,
            unpublished_bytes: counters.unpublished_bytes,
            trouble: (!counters.trouble.is_empty()).then_some(counters.trouble),
            is_paused: counters.is_paused,
            watermark_ms: counters.watermark_ms,
            busy_ms: counters.busy_ms,
            idle_ms: counters.idle_ms,
            backpressured_ms: counters.backpressured_ms,
        }
    }
}

fn splits(task: &v1::TaskDetails) -> impl Iterator<Item = Split> + '_ {
    let subtask = format!("{}[{}]", task.stage_name, task.subtask.unwrap_or_default().index);
    let progress = task.counters.iter().flat_map(|counters| &counters.splits);
    progress.map(move |split| Split {
        id: split.split.clone(),
        subtask: subtask.clone(),
        position: split.position,
        end: split.end,
        lag: split.end.map(|end| end.saturating_sub(split.position)),
        watermark_ms: split.watermark_ms,
        silent_ms: split.silent_ms,
        state: match split {
            v1::SplitProgress { is_finished: true, .. } => "finished",
            v1::SplitProgress { is_idle: true, .. } => "idle",
            v1::SplitProgress { is_held: true, .. } => "held",
            _ => "active",
        },
    })
}

impl From<v1::TaskManagerDetails> for TaskManager {
    fn from(details: v1::TaskManagerDetails) -> Self {
        TaskManager {
            id: details.id,
            exchange_address: details.exchange_address,
            slots: details.slots,
            free_slots: details.free_slots,
            registered_ms: details.registered_ms,
            last_heartbeat_ms: details.last_heartbeat_ms,
            rss_bytes: details.rss_bytes,
            pid: details.pid,
        }
    }
}

impl Cluster {
    pub(crate) fn new(jobmanager: String, info: v1::ClusterInfo) -> Self {
        Cluster {
            jobmanager,
            version: info.version,
            started_ms: info.started_ms,
            taskmanagers: info.taskmanagers,
            slots: info.slots,
            free_slots: info.free_slots,
            running_jobs: info.running_jobs,
            rss_bytes: info.rss_bytes,
            pid: info.pid,
        }
    }
}

impl From<v1::CheckpointSummary> for Checkpoint {
    fn from(summary: v1::CheckpointSummary) -> Self {
        Checkpoint {
            id: checkpoint_id(summary.checkpoint_id),
            state: match summary.state() {
                v1::CheckpointState::Unspecified => "unknown",
                v1::CheckpointState::Pending => "pending",
                v1::CheckpointState::Completed => "completed",
                v1::CheckpointState::Aborted => "aborted",
            },
            is_savepoint: summary.is_savepoint,
            is_published: summary.is_published,
            triggered_ms: summary.triggered_ms,
            ended_ms: summary.ended_ms,
            written_bytes: summary.written_bytes,
            total_bytes: summary.total_bytes,
            pause_us: summary.pause_us,
            alignment_us: summary.alignment_us,
            reason: (!summary.reason.is_empty()).then_some(summary.reason),
            accounts: summary.accounts.map(Into::into),
        }
    }
}

impl From<v1::Accounts> for Accounts {
    fn from(accounts: v1::Accounts) -> Self {
        let v1::Accounts { read, bad, late, in_sessions, open } = accounts;
        Accounts { read, bad, late, in_sessions, open }
    }
}

impl SavepointTaken {
    pub(crate) fn new(checkpoint: u64, folder: String) -> Self {
        SavepointTaken { checkpoint: checkpoint_id(checkpoint), folder }
    }
}

fn checkpoint_id(id: u64) -> String {
    CheckpointId(id).to_string()
}

/// A job's state as a word.
pub(crate) fn job_state(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Unspecified => "unknown",
        v1::JobState::Created => "created",
        v1::JobState::Running => "running",
        v1::JobState::Failing => "failing",
        v1::JobState::Failed => "failed",
        v1::JobState::Canceling => "canceling",
        v1::JobState::Canceled => "canceled",
        v1::JobState::Finished => "finished",
        v1::JobState::Restarting => "restarting",
    }
}

fn task_state(state: v1::TaskState) -> &'static str {
    match state {
        v1::TaskState::Unspecified => "unknown",
        v1::TaskState::Created => "created",
        v1::TaskState::Scheduled => "scheduled",
        v1::TaskState::Deploying => "deploying",
        v1::TaskState::Initializing => "initializing",
        v1::TaskState::Running => "running",
        v1::TaskState::Finished => "finished",
        v1::TaskState::Canceling => "canceling",
        v1::TaskState::Canceled => "canceled",
        v1::TaskState::Failed => "failed",
    }
}
