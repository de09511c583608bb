//! Between the control messages and our own types.

use std::collections::BTreeMap;

use proto::v1::{job_manager_message, task_manager_message};
use proto::{InvalidMessage, required, v1};
use stream_core::ids::{AttemptNumber, JobId, SubtaskId, TaskManagerId};
use stream_core::pipeline::Pipeline;
use stream_runtime::connector::cause_chain;

use crate::counters::{Snapshot, SplitProgress};
use crate::deployment::{Deployment, Location, TaskDeployment};
use crate::options::Options;
use crate::report::{Command, Report, TaskRef};

/// The first message of a connection.
pub(crate) fn registration(options: &Options) -> v1::TaskManagerMessage {
    message(task_manager_message::Message::Register(v1::Register {
        version: proto::VERSION.to_owned(),
        taskmanager_id: options.id.0.clone(),
        slots: options.slots,
        exchange_address: options.advertised_exchange.clone(),
        pid: std::process::id(),
    }))
}

/// A report as it goes over the wire.
pub(crate) fn report(report: Report) -> v1::TaskManagerMessage {
    message(match report {
        Report::StateChange { task, state, causes, counters } => {
            task_manager_message::Message::TaskStateChange(v1::TaskStateChange {
                task: Some(task_ref(task)),
                state: v1::TaskState::from(state).into(),
                causes,
                counters: counters.map(counters_message),
            })
        }
        Report::Heartbeat { tasks, rss_bytes } => {
            let tasks = tasks.into_iter().map(|(task, counters)| v1::TaskReport {
                task: Some(task_ref(task)),
                counters: Some(counters_message(counters)),
            });
            task_manager_message::Message::Heartbeat(v1::Heartbeat { tasks: tasks.collect(), rss_bytes })
        }
    })
}

/// What a message of the jobmanager wants; nothing for one that needs no answer.
///
/// # Errors
/// If it cannot be understood.
pub(crate) fn command(message: v1::JobManagerMessage) -> Result<Option<Command>, InvalidMessage> {
    use job_manager_message::Message;
    Ok(match required(message.message, "message")? {
        Message::Deploy(deploy) => Some(deployment(deploy)),
        Message::CancelTasks(cancel) => {
            Some(Command::Cancel { job_id: job_id(&cancel.job_id)?, attempt: AttemptNumber(cancel.attempt) })
        }
        Message::AssignSplits(assign) => {
            let task = read_task_ref(required(assign.task, "assign_splits.task")?)?;
            Some(Command::AssignSplits { task, splits: assign.splits.into_iter().map(Into::into).collect() })
        }
        // Checkpoints come with the next step; a second registration means nothing; an ack needs no answer.
        Message::TriggerCheckpoint(_) | Message::Registered(_) | Message::HeartbeatAck(_) => None,
    })
}

/// A deployment that cannot be read still names tasks that somebody waits for.
fn deployment(deploy: v1::Deploy) -> Command {
    let tasks = deploy.tasks.iter().filter_map(|task| {
        let (job_id, subtask) = (job_id(&deploy.job_id).ok()?, task.subtask?.into());
        Some(TaskRef { job_id, attempt: AttemptNumber(deploy.attempt), subtask })
    });
    let tasks = tasks.collect();
    match read_deployment(deploy) {
        Ok(deployment) => Command::Deploy(Box::new(deployment)),
        Err(error) => Command::Undeployable { tasks, causes: cause_chain(&error) },
    }
}

fn read_deployment(deploy: v1::Deploy) -> Result<Deployment, InvalidMessage> {
    let tasks = deploy.tasks.into_iter().map(|task| {
        let subtask: SubtaskId = required(task.subtask, "task.subtask")?.into();
        let deployment = TaskDeployment {
            slot: task.slot,
            key_groups: task.key_groups.map(TryInto::try_into).transpose()?,
            splits: task.splits.into_iter().map(Into::into).collect(),
        };
        Ok((subtask, deployment))
    });
    let locations = deploy.locations.into_iter().map(|location| {
        let subtask: SubtaskId = required(location.subtask, "location.subtask")?.into();
        let taskmanager = TaskManagerId(location.taskmanager_id);
        Ok((subtask, Location { taskmanager, exchange_address: location.exchange_address }))
    });
    Ok(Deployment {
        job_id: job_id(&deploy.job_id)?,
        attempt: AttemptNumber(deploy.attempt),
        pipeline: Pipeline::try_from(required(deploy.pipeline, "deploy.pipeline")?)?,
        tasks: tasks.collect::<Result<BTreeMap<_, _>, InvalidMessage>>()?,
        locations: locations.collect::<Result<BTreeMap<_, _>, InvalidMessage>>()?,
    })
}

fn message(message: task_manager_message::Message) -> v1::TaskManagerMessage {
    v1::TaskManagerMessage { message: Some(message) }
}

fn job_id(text: &str) -> Result<JobId, InvalidMessage> {
    text.parse().map_err(|error| InvalidMessage(format!("{error}")))
}

fn task_ref(task: TaskRef) -> v1::TaskRef {
    v1::TaskRef { job_id: task.job_id.to_string(), attempt: task.attempt.0, subtask: Some(task.subtask.into()) }
}

fn read_task_ref(task: v1::TaskRef) -> Result<TaskRef, InvalidMessage> {
    Ok(TaskRef {
        job_id: job_id(&task.job_id)?,
        attempt: AttemptNumber(task.attempt),
        subtask: required(task.subtask, "task.subtask")?.into(),
    })
}

fn counters_message(counters: Snapshot) -> v1::SubtaskCounters {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    v1::SubtaskCounters {
        records_in: counters.records_in,
        bytes_in: counters.bytes_in,
        records_out: counters.records_out,
        bytes_out: counters.bytes_out,
        bad: counters.bad,
        late: counters.operator.late,
        open_windows: counters.operator.open,
        open_events: counters.operator.open_events,
        watermark_ms: counters.watermark.map(|watermark| watermark.0),
        busy_ms: ms(counters.busy),
        idle_ms: ms(counters.idle),
        backpressured_ms: ms(counters.backpressured),
        splits: counters.splits.into_iter().map(split_message).collect(),
    }
}

fn split_message(progress: SplitProgress) -> v1::SplitProgress {
    v1::SplitProgress {
        split: progress.split.0,
        position: progress.position,
        end: progress.known_end,
        watermark_ms: progress.watermark.map(|watermark| watermark.0),
        is_idle: progress.is_idle,
        is_finished: progress.is_finished,
    }
}
