//! Between the service's types and the wire's.

use std::time::Duration;

use proto::v1;
use proto::{InvalidMessage, required};
use stream_core::checkpoint::{CheckpointState, Cost, Entry};
use stream_core::ids::{AttemptNumber, CheckpointId, JobId, TaskManagerId};
use stream_core::job::{JobState, TaskFailure, Waiting};
use stream_core::operator::QueryError;
use stream_core::pipeline::StageKind;
use stream_core::plan::{PlannedTask, slots_needed};
use stream_core::time::{Timestamp, millis};
use stream_core::watermark::Watermark;
use telemetry::Spread;

use crate::handle::TaskManagerRecord;
use crate::jobs::JobRecord;
use crate::preparation::Start;
use crate::protocol::{Command, Deployment, Registration, Report, RunningTask, TaskLocation, TaskRef};

/// Causes of one failure that are kept; a chain this long tells nothing more.
const CAUSES: usize = 16;
/// Characters of one cause that are kept.
const CAUSE_CHARS: usize = 2000;
/// The longest name of a taskmanager.
const ID_BYTES: usize = 128;
/// The most slots of one taskmanager: far above any machine's cores.
const SLOTS: u32 = 1024;

/// A registration whose parts make sense.
pub(super) fn registration(register: v1::Register) -> Result<Registration, InvalidMessage> {
    let v1::Register { taskmanager_id, slots, exchange_address, pid, running, version: _ } = register;
    let is_shown_as_written =
        |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if !is_shown_as_written(&taskmanager_id) || taskmanager_id.len() > ID_BYTES {
        return Err(InvalidMessage(format!(
            "a taskmanager's id must have 1 to {ID_BYTES} bytes without spaces or control characters: choose another `--id`"
        )));
    }
    if !(1..=SLOTS).contains(&slots) {
        return Err(InvalidMessage(format!("`{slots}` slots: choose `--slots` from 1 to {SLOTS}")));
    }
    if !is_shown_as_written(&exchange_address) {
        return Err(InvalidMessage("the exchange address is not `HOST:PORT`: check `--advertise`".to_owned()));
    }
    let running = running.into_iter().map(running_task).collect::<Result<_, _>>()?;
    Ok(Registration { taskmanager: TaskManagerId(taskmanager_id), slots, exchange_address, pid, running })
}

fn running_task(running: v1::RunningTask) -> Result<RunningTask, InvalidMessage> {
    let state = running.state().try_into()?;
    let last_barrier = running.last_barrier.map(Into::into);
    Ok(RunningTask { task: task_ref(running.task)?, slot: running.slot, state, last_barrier })
}

/// What a taskmanager told.
pub(super) fn report(message: v1::TaskManagerMessage) -> Result<Report, InvalidMessage> {
    use v1::task_manager_message::Message;
    match required(message.message, "message")? {
        Message::Register(_) => Err(InvalidMessage("a taskmanager registers once, first".to_owned())),
        Message::Heartbeat(heartbeat) => {
            let task = |report: v1::TaskReport| Ok((task_ref(report.task)?, report.counters.unwrap_or_default()));
            let tasks = heartbeat.tasks.into_iter().map(task).collect::<Result<_, InvalidMessage>>()?;
            Ok(Report::Heartbeat { rss_bytes: heartbeat.rss_bytes, tasks })
        }
        Message::TaskStateChange(change) => {
            let state = change.state().try_into()?;
            let shortened = |cause: String| cause.chars().take(CAUSE_CHARS).collect();
            let causes = change.causes.into_iter().take(CAUSES).map(shortened).collect();
            let failure = TaskFailure { causes, is_final: change.is_final };
            let task = task_ref(change.task)?;
            Ok(Report::TaskStateChanged { task, state, failure, counters: change.counters })
        }
        Message::CheckpointAck(ack) => {
            let cost = Cost {
                written_bytes: ack.written_bytes,
                pause: Duration::from_micros(ack.pause_us),
                alignment: Duration::from_micros(ack.alignment_us),
            };
            let snapshot = required(ack.snapshot, "checkpoint_ack.snapshot")?.try_into()?;
            let checkpoint = CheckpointId(ack.checkpoint_id);
            let mut arrivals = Spread::default();
            ack.arrivals.iter().for_each(|arrived| arrivals.add(Timestamp(arrived.at_ms), arrived.records));
            Ok(Report::Acknowledged { task: task_ref(ack.task)?, checkpoint, snapshot, cost, arrivals })
        }
        Message::CheckpointDecline(decline) => Ok(Report::Declined {
            task: task_ref(decline.task)?,
            checkpoint: CheckpointId(decline.checkpoint_id),
            reason: decline.reason.chars().take(CAUSE_CHARS).collect(),
        }),
        Message::EpochPublished(published) => {
            Ok(Report::Published { task: task_ref(published.task)?, epoch: CheckpointId(published.epoch) })
        }
        Message::SourcePace(pace) => {
            Ok(Report::Pace { task: task_ref(pace.task)?, slowest: Watermark(pace.slowest_ms) })
        }
        Message::QueryAnswer(answer) => {
            let result = match required(answer.answer, "query_answer.answer")? {
                v1::query_answer::Answer::Found(found) => Ok(found),
                v1::query_answer::Answer::Refused(reason) => Err(QueryError(reason)),
            };
            Ok(Report::Answered { task: task_ref(answer.task)?, query: answer.query_id, result })
        }
        Message::JobLogs(logs) => Ok(Report::Logs {
            job: logs.job_id.parse().map_err(|error| InvalidMessage(format!("{error}")))?,
            lines: logs.lines.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            missed: logs.missed,
        }),
        Message::SourceDrained(drained) => Ok(Report::Drained { task: task_ref(drained.task)? }),
        Message::Leaving(v1::Leaving {}) => Ok(Report::Leaving),
    }
}

fn task_ref(task: Option<v1::TaskRef>) -> Result<TaskRef, InvalidMessage> {
    let task = required(task, "task")?;
    let job: JobId = task.job_id.parse().map_err(|error| InvalidMessage(format!("{error}")))?;
    let subtask = required(task.subtask, "task.subtask")?.into();
    Ok(TaskRef { job, attempt: AttemptNumber(task.attempt), subtask })
}

impl From<TaskRef> for v1::TaskRef {
    fn from(task: TaskRef) -> Self {
        v1::TaskRef { job_id: task.job.to_string(), attempt: task.attempt.0, subtask: Some(task.subtask.into()) }
    }
}

impl From<Command> for v1::JobManagerMessage {
    fn from(command: Command) -> Self {
        use v1::job_manager_message::Message;
        let message = match command {
            Command::Registered { heartbeat_interval, started } => Message::Registered(v1::Registered {
                heartbeat_interval_ms: heartbeat_interval.as_millis().try_into().unwrap_or(u64::MAX),
                started_ms: started.0,
            }),
            Command::AcknowledgeHeartbeat => Message::HeartbeatAck(v1::HeartbeatAck {}),
            Command::Deploy(deployment) => Message::Deploy(deployment.into()),
            Command::CancelTasks { job, attempt } => {
                Message::CancelTasks(v1::CancelTasks { job_id: job.to_string(), attempt: attempt.0 })
            }
            Command::AssignSplits { task, splits } => Message::AssignSplits(v1::AssignSplits {
                task: Some(task.into()),
                splits: splits.iter().map(Into::into).collect(),
            }),
            Command::TriggerCheckpoint { job, attempt, barrier } => Message::TriggerCheckpoint(v1::TriggerCheckpoint {
                job_id: job.to_string(),
                attempt: attempt.0,
                barrier: Some(barrier.into()),
            }),
            Command::CompleteCheckpoint { job, attempt, checkpoint, prev, accounts, cut } => {
                Message::CompleteCheckpoint(v1::CompleteCheckpoint {
                    job_id: job.to_string(),
                    attempt: attempt.0,
                    checkpoint_id: checkpoint.0,
                    prev: prev.0,
                    accounts: Some(accounts.into()),
                    cut: cut.as_ref().map(Into::into),
                })
            }
            Command::AbortCheckpoint { job, attempt, checkpoint } => Message::AbortCheckpoint(v1::AbortCheckpoint {
                job_id: job.to_string(),
                attempt: attempt.0,
                checkpoint_id: checkpoint.0,
            }),
            Command::PauseSources { job, attempt, is_paused } => {
                Message::PauseSources(v1::PauseSources { job_id: job.to_string(), attempt: attempt.0, is_paused })
            }
            Command::AlignSource { task, slowest } => {
                Message::AlignSource(v1::AlignSource { task: Some(task.into()), slowest_ms: slowest.0 })
            }
            Command::QueryState { job, attempt, number, query } => Message::QueryState(v1::QueryState {
                job_id: job.to_string(),
                attempt: attempt.0,
                query_id: number,
                query,
            }),
            Command::DrainSources { job, attempt } => {
                Message::DrainSources(v1::DrainSources { job_id: job.to_string(), attempt: attempt.0 })
            }
            Command::Release => Message::Release(v1::Release {}),
        };
        v1::JobManagerMessage { message: Some(message) }
    }
}

impl From<Deployment> for v1::Deploy {
    fn from(deployment: Deployment) -> Self {
        let task = |task: PlannedTask| v1::TaskDeployment {
            subtask: Some(task.subtask.into()),
            slot: task.slot.index,
            key_groups: task.key_groups.map(Into::into),
            splits: task.splits.iter().map(Into::into).collect(),
        };
        let location = |location: TaskLocation| v1::TaskLocation {
            subtask: Some(location.subtask.into()),
            taskmanager_id: location.taskmanager.0,
            exchange_address: location.exchange_address,
        };
        v1::Deploy {
            job_id: deployment.job.to_string(),
            attempt: deployment.attempt.0,
            pipeline: Some(deployment.pipeline.as_ref().into()),
            tasks: deployment.tasks.into_iter().map(task).collect(),
            locations: deployment.locations.into_iter().map(location).collect(),
            token: deployment.start.token.0,
            nonce: proto::nonce_bytes(deployment.start.nonce),
            checkpoint_store: deployment.checkpoint_store.unwrap_or_default(),
            restore: restore(&deployment.start),
            last_epoch: deployment.start.last_epoch.0,
            job_name: deployment.name,
        }
    }
}

fn restore(start: &Start) -> Option<v1::Restore> {
    let manifest = start.restored.as_ref()?;
    Some(v1::Restore {
        checkpoint_id: manifest.checkpoint.0,
        splits: manifest.splits.iter().map(Into::into).collect(),
        operators: manifest.operators.iter().map(Into::into).collect(),
        pending: start.pending.iter().map(Into::into).collect(),
        is_savepoint: manifest.is_savepoint,
    })
}

/// A job in one line.
pub(super) fn summary(record: &JobRecord) -> v1::JobSummary {
    let counted = |kind: StageKind, counter: fn(&v1::SubtaskCounters) -> u64| -> u64 {
        let tasks = record.job.plan().tasks().iter().filter(|task| task.kind == kind);
        tasks.filter_map(|task| record.counters.get(&task.subtask)).map(counter).sum()
    };
    v1::JobSummary {
        job_id: record.id.to_string(),
        name: record.name.clone(),
        state: v1::JobState::from(record.state()).into(),
        submitted_ms: record.submitted.0,
        ended_ms: record.ended.map(|ended| ended.0),
        parallelism: record.pipeline.parallelism.get(),
        records_in: counted(StageKind::Source, |counters| counters.records_in),
        rows_out: counted(StageKind::Sink, |counters| counters.records_out),
        causes: record.job.causes().to_vec(),
    }
}

/// A job with all its tasks. Of the source and the sink only the URIs are shown: settings may hold what is nobody's
/// business.
pub(super) fn details(record: &JobRecord) -> v1::JobDetails {
    let task = |task: &PlannedTask| v1::TaskDetails {
        subtask: Some(task.subtask.into()),
        stage_name: task.stage_name.clone(),
        state: record.job.task_state(task.subtask).map_or(v1::TaskState::Unspecified, Into::into).into(),
        taskmanager_id: task.slot.taskmanager.0.clone(),
        slot: task.slot.index,
        key_groups: task.key_groups.map(Into::into),
        splits: task.splits.iter().map(|split| split.id.0.clone()).collect(),
        counters: Some(record.counters.get(&task.subtask).cloned().unwrap_or_default()),
    };
    v1::JobDetails {
        summary: Some(summary(record)),
        attempt: record.job.attempt().0,
        max_parallelism: record.pipeline.max_parallelism.get().into(),
        source_uri: record.pipeline.source.uri.clone(),
        sink_uri: record.pipeline.sink.uri.clone(),
        options: record.pipeline.options.clone(),
        tasks: record.job.plan().tasks().iter().map(task).collect(),
        restarts: record.job.restarts(),
        last_failure: record.job.last_failure().to_vec(),
        waiting_for: waiting_for(record),
        slots_needed: if is_without_slots(record) { slots_needed(&record.pipeline) } else { 0 },
        last_checkpoint: record
            .checkpoints
            .iter()
            .find(|entry| entry.state == CheckpointState::Completed)
            .map(checkpoint),
        published_epoch: record.published.0,
    }
}

fn waiting_for(record: &JobRecord) -> String {
    if record.state() != JobState::Restarting {
        return String::new();
    }
    match record.job.waiting() {
        None => "its tasks to end, or to be reported".to_owned(),
        Some(Waiting::Preparation) => "its sink and its checkpoints".to_owned(),
        Some(Waiting::Pause { .. }) => "the pause after its failure".to_owned(),
        Some(Waiting::Slots) => format!("{} free slots", slots_needed(&record.pipeline)),
    }
}

fn is_without_slots(record: &JobRecord) -> bool {
    record.state() == JobState::Restarting && matches!(record.job.waiting(), Some(Waiting::Slots))
}

/// A checkpoint in one line.
pub(super) fn checkpoint(entry: &Entry) -> v1::CheckpointSummary {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let state = match entry.state {
        CheckpointState::Pending => v1::CheckpointState::Pending,
        CheckpointState::Completed => v1::CheckpointState::Completed,
        CheckpointState::Aborted => v1::CheckpointState::Aborted,
    };
    v1::CheckpointSummary {
        checkpoint_id: entry.checkpoint.0,
        state: state.into(),
        triggered_ms: entry.triggered.0,
        ended_ms: entry.ended.map(|ended| ended.0),
        is_savepoint: entry.is_savepoint,
        written_bytes: entry.cost.written_bytes,
        total_bytes: entry.total_bytes,
        pause_us: micros(entry.cost.pause),
        alignment_us: micros(entry.cost.alignment),
        reason: entry.reason.clone().unwrap_or_default(),
        accounts: entry.accounts.map(Into::into),
        is_published: entry.is_published,
    }
}

/// A taskmanager in one line.
pub(super) fn taskmanager(record: TaskManagerRecord) -> v1::TaskManagerDetails {
    v1::TaskManagerDetails {
        id: record.registration.taskmanager.0,
        exchange_address: record.registration.exchange_address,
        slots: record.slots.total,
        free_slots: record.slots.free,
        registered_ms: record.registered.0,
        last_heartbeat_ms: record.last_heartbeat.0,
        rss_bytes: record.rss_bytes,
        pid: record.registration.pid,
        silent_ms: millis(record.silent).unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(id: &str, slots: u32, exchange_address: &str) -> v1::Register {
        let (taskmanager_id, exchange_address) = (id.to_owned(), exchange_address.to_owned());
        v1::Register { taskmanager_id, slots, exchange_address, pid: 1, ..Default::default() }
    }

    #[test]
    fn odd_registrations_are_refused() {
        assert!(registration(register("tm-1", 4, "127.0.0.1:1")).is_ok());
        let long = "x".repeat(ID_BYTES + 1);
        for (id, slots, address) in [
            ("", 1, "a:1"),
            ("a\nb", 1, "a:1"),
            (&long, 1, "a:1"),
            ("a", 0, "a:1"),
            ("a", SLOTS + 1, "a:1"),
            ("a", 1, ""),
        ] {
            assert!(registration(register(id, slots, address)).is_err(), "{id} {slots} {address}");
        }
    }

    #[test]
    fn message_that_says_nothing_is_refused() {
        assert!(report(v1::TaskManagerMessage { message: None }).is_err());
    }
}
