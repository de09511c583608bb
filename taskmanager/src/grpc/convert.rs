//! Between the control messages and our own types.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::v1::{job_manager_message, task_manager_message};
use proto::{InvalidMessage, required, v1};
use stream_core::ids::{AttemptNumber, CheckpointId, JobId, SubtaskId, TaskManagerId, Token};
use stream_core::pipeline::Pipeline;
use stream_runtime::connector::cause_chain;

use crate::counters::Snapshot;
use crate::deployment::{Deployment, Location, Restore, TaskDeployment};
use crate::options::Options;
use crate::report::{Command, Report, RunningTask, TaskRef};
use crate::slot::Holder;
use crate::subtask::event::Acknowledgement;
use stream_core::source_splits::SplitProgress;
use stream_core::watermark::Watermark;

/// The first message of a connection.
pub(crate) fn registration(options: &Options, running: &[RunningTask]) -> v1::TaskManagerMessage {
    let running = running.iter().map(|running| v1::RunningTask {
        task: Some(task_ref(running.task)),
        slot: running.slot,
        state: v1::TaskState::from(running.state).into(),
        last_barrier: running.last_barrier.map(Into::into),
    });
    message(task_manager_message::Message::Register(v1::Register {
        version: proto::VERSION.to_owned(),
        taskmanager_id: options.id.0.clone(),
        slots: options.slots,
        exchange_address: options.advertised_exchange.clone(),
        pid: std::process::id(),
        running: running.collect(),
    }))
}

/// A report as it goes over the wire.
pub(crate) fn report(report: Report) -> v1::TaskManagerMessage {
    message(match report {
        Report::StateChange { task, state, failure, counters } => {
            task_manager_message::Message::TaskStateChange(v1::TaskStateChange {
                task: Some(task_ref(task)),
                state: v1::TaskState::from(state).into(),
                causes: failure.causes,
                counters: counters.map(counters_message),
                is_final: failure.is_final,
            })
        }
        Report::Acknowledged { task, acknowledgement } => acknowledged(task, &acknowledgement),
        Report::Declined { task, checkpoint, reason } => {
            let (task, checkpoint_id) = (Some(task_ref(task)), checkpoint.0);
            task_manager_message::Message::CheckpointDecline(v1::CheckpointDecline { task, checkpoint_id, reason })
        }
        Report::Published { task, epoch } => {
            let (task, epoch) = (Some(task_ref(task)), epoch.0);
            task_manager_message::Message::EpochPublished(v1::EpochPublished { task, epoch })
        }
        Report::Drained(task) => {
            task_manager_message::Message::SourceDrained(v1::SourceDrained { task: Some(task_ref(task)) })
        }
        Report::Leaving => task_manager_message::Message::Leaving(v1::Leaving {}),
        Report::Pace { task, slowest } => {
            let (task, slowest_ms) = (Some(task_ref(task)), slowest.0);
            task_manager_message::Message::SourcePace(v1::SourcePace { task, slowest_ms })
        }
        Report::Answered { task, query, result } => {
            let answer = match result {
                Ok(answer) => v1::query_answer::Answer::Found(answer),
                Err(error) => v1::query_answer::Answer::Refused(error.to_string()),
            };
            let (task, answer) = (Some(task_ref(task)), Some(answer));
            task_manager_message::Message::QueryAnswer(v1::QueryAnswer { task, query_id: query, answer })
        }
        Report::Logs { job_id, lines, missed } => {
            let lines = lines.into_iter().map(|line| Arc::unwrap_or_clone(line).into()).collect();
            task_manager_message::Message::JobLogs(v1::JobLogs { job_id: job_id.to_string(), lines, missed })
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

fn acknowledged(task: TaskRef, acknowledgement: &Acknowledgement) -> task_manager_message::Message {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let arrivals = acknowledgement.arrivals.moments().map(|(at, records)| v1::Arrivals { at_ms: at.0, records });
    task_manager_message::Message::CheckpointAck(v1::CheckpointAck {
        task: Some(task_ref(task)),
        checkpoint_id: acknowledgement.checkpoint.0,
        snapshot: Some((&acknowledgement.snapshot).into()),
        written_bytes: acknowledgement.written_bytes,
        pause_us: micros(acknowledgement.pause),
        alignment_us: micros(acknowledgement.alignment),
        arrivals: arrivals.collect(),
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
        Message::CancelTasks(cancel) => Some(Command::Cancel(holder(&cancel.job_id, cancel.attempt)?)),
        Message::TriggerCheckpoint(trigger) => {
            let barrier = required(trigger.barrier, "trigger_checkpoint.barrier")?.into();
            Some(Command::Trigger(holder(&trigger.job_id, trigger.attempt)?, barrier))
        }
        Message::CompleteCheckpoint(complete) => Some(Command::Complete {
            holder: holder(&complete.job_id, complete.attempt)?,
            checkpoint: CheckpointId(complete.checkpoint_id),
            prev: CheckpointId(complete.prev),
            accounts: required(complete.accounts, "complete_checkpoint.accounts")?.into(),
            cut: complete.cut.map(TryInto::try_into).transpose()?,
        }),
        Message::AbortCheckpoint(abort) => {
            Some(Command::Abort(holder(&abort.job_id, abort.attempt)?, CheckpointId(abort.checkpoint_id)))
        }
        Message::PauseSources(pause) => Some(Command::Pause(holder(&pause.job_id, pause.attempt)?, pause.is_paused)),
        Message::AlignSource(align) => {
            let task = read_task_ref(required(align.task, "align_source.task")?)?;
            Some(Command::Pace(task, Watermark(align.slowest_ms)))
        }
        Message::QueryState(query) => Some(Command::Query {
            holder: holder(&query.job_id, query.attempt)?,
            number: query.query_id,
            query: query.query,
        }),
        Message::Release(v1::Release {}) => Some(Command::Release),
        Message::DrainSources(drain) => Some(Command::Drain(holder(&drain.job_id, drain.attempt)?)),
        Message::AssignSplits(assign) => {
            let task = read_task_ref(required(assign.task, "assign_splits.task")?)?;
            Some(Command::AssignSplits { task, splits: assign.splits.into_iter().map(Into::into).collect() })
        }
        // A second registration means nothing; an ack needs no answer.
        Message::Registered(_) | Message::HeartbeatAck(_) => None,
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
        job_name: deploy.job_name,
        attempt: AttemptNumber(deploy.attempt),
        pipeline: Pipeline::try_from(required(deploy.pipeline, "deploy.pipeline")?)?,
        tasks: tasks.collect::<Result<BTreeMap<_, _>, InvalidMessage>>()?,
        locations: locations.collect::<Result<BTreeMap<_, _>, InvalidMessage>>()?,
        token: Token(deploy.token),
        nonce: proto::read_nonce(&deploy.nonce)?,
        checkpoint_store: deploy.checkpoint_store,
        restore: deploy.restore.map(read_restore).transpose()?.unwrap_or_default(),
        last_epoch: CheckpointId(deploy.last_epoch),
    })
}

fn read_restore(restore: v1::Restore) -> Result<Restore, InvalidMessage> {
    Ok(Restore {
        splits: restore.splits.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        operators: restore.operators.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        pending: restore.pending.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        is_savepoint: restore.is_savepoint,
    })
}

fn holder(job: &str, attempt: u32) -> Result<Holder, InvalidMessage> {
    Ok(Holder { job_id: job_id(job)?, attempt: AttemptNumber(attempt) })
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
        fired_events: counters.operator.fired_events,
        unanswered: counters.operator.unanswered,
        unpublished_bytes: counters.unpublished_bytes,
        trouble: counters.trouble,
        is_paused: counters.is_paused,
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
        silent_ms: progress.silent.as_millis().try_into().unwrap_or(u64::MAX),
        is_held: progress.is_held,
        is_idle: progress.is_idle,
        is_finished: progress.is_finished,
    }
}
