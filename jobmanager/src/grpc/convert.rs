//! Between the service's types and the wire's.

use proto::v1;
use proto::{InvalidMessage, required};
use stream_core::ids::{AttemptNumber, JobId, TaskManagerId};
use stream_core::pipeline::StageKind;
use stream_core::plan::PlannedTask;

use crate::handle::TaskManagerRecord;
use crate::jobs::JobRecord;
use crate::protocol::{Command, Deployment, Registration, Report, TaskLocation, TaskRef};

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
    let v1::Register { taskmanager_id, slots, exchange_address, pid, version: _ } = register;
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
    Ok(Registration { taskmanager: TaskManagerId(taskmanager_id), slots, exchange_address, pid })
}

/// What a taskmanager told; `None` for messages that nothing is done about yet.
pub(super) fn report(message: v1::TaskManagerMessage) -> Result<Option<Report>, InvalidMessage> {
    use v1::task_manager_message::Message;
    match required(message.message, "message")? {
        Message::Register(_) => Err(InvalidMessage("a taskmanager registers once, first".to_owned())),
        Message::Heartbeat(heartbeat) => {
            let task = |report: v1::TaskReport| Ok((task_ref(report.task)?, report.counters.unwrap_or_default()));
            let tasks = heartbeat.tasks.into_iter().map(task).collect::<Result<_, InvalidMessage>>()?;
            Ok(Some(Report::Heartbeat { rss_bytes: heartbeat.rss_bytes, tasks }))
        }
        Message::TaskStateChange(change) => {
            let state = change.state().try_into()?;
            let shortened = |cause: String| cause.chars().take(CAUSE_CHARS).collect();
            let causes = change.causes.into_iter().take(CAUSES).map(shortened).collect();
            let task = task_ref(change.task)?;
            Ok(Some(Report::TaskStateChanged { task, state, causes, counters: change.counters }))
        }
        // Nobody triggers checkpoints yet.
        Message::CheckpointAck(_) | Message::CheckpointDecline(_) => Ok(None),
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
            Command::Registered { heartbeat_interval } => Message::Registered(v1::Registered {
                heartbeat_interval_ms: heartbeat_interval.as_millis().try_into().unwrap_or(u64::MAX),
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
        }
    }
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(id: &str, slots: u32, exchange_address: &str) -> v1::Register {
        let (taskmanager_id, exchange_address) = (id.to_owned(), exchange_address.to_owned());
        v1::Register { version: String::new(), taskmanager_id, slots, exchange_address, pid: 1 }
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
