//! What taskmanagers tell, and what follows from it.

use std::collections::BTreeMap;

use stream_core::checkpoint;
use stream_core::ids::{JobId, TaskManagerId};
use stream_core::job::{Event, TaskFailure};
use stream_core::log_line::{Level, LogLine};
use stream_core::pipeline::Split;
use stream_core::time::Timestamp;
use stream_runtime::fail_point::{self, Point};

use crate::handle::ShuttingDown;
use crate::protocol::{Command, Registration, Report, SubtaskCounters, TaskRef};
use crate::redaction::redact;
use crate::service::Service;
use crate::taskmanagers::{Connection, Session};

impl Service {
    /// A taskmanager introduced itself.
    pub(crate) fn on_register(
        &mut self,
        registration: Registration,
        connection: Connection,
    ) -> Result<Session, ShuttingDown> {
        if self.drain_deadline.is_some() {
            return Err(ShuttingDown);
        }
        let id = registration.taskmanager.clone();
        let running = registration.running.clone();
        self.lose_taskmanager(&id, "it registered again");
        let Registration { slots, exchange_address, pid, .. } = &registration;
        tracing::info!(taskmanager = %id, slots, exchange_address, pid, "taskmanager registered");
        self.slots.register(id.clone(), *slots);
        let session = self.taskmanagers.insert(registration, connection, self.clock.now(), self.clock.monotonic());
        self.command(
            &id,
            Command::Registered { heartbeat_interval: self.options.heartbeat_interval, started: self.started },
        );
        self.on_running_tasks(&id, running);
        self.wake_jobs_without_slots();
        Ok(session)
    }

    /// A taskmanager told something.
    pub(crate) fn on_report(&mut self, session: &Session, report: Report) {
        if !self.taskmanagers.is_current(session) {
            return;
        }
        let id = &session.taskmanager;
        match report {
            Report::Heartbeat { rss_bytes, tasks } => {
                self.taskmanagers.on_heartbeat(id, self.clock.now(), self.clock.monotonic(), rss_bytes);
                self.on_counters(id, tasks);
                self.command(id, Command::AcknowledgeHeartbeat);
                fail_point::reach(Point::Heartbeat);
            }
            Report::TaskStateChanged { task, state, failure, counters } => {
                self.on_leftover(id, &task, state);
                if !self.runs(id, &task) {
                    return;
                }
                self.on_counters(id, counters.map(|counters| (task, counters)));
                let Some(record) = self.jobs.get_mut(task.job) else { return };
                let causes: Vec<String> =
                    failure.causes.into_iter().map(|cause| redact(cause, &record.pipeline)).collect();
                record.note_damage(&causes);
                let failure = TaskFailure { causes, ..failure };
                let (attempt, subtask) = (task.attempt, task.subtask);
                self.apply(task.job, Event::TaskStateChanged { attempt, subtask, state, failure });
                self.notice_running(task.job);
            }
            Report::Acknowledged { task, checkpoint, snapshot, cost, arrivals } => {
                fail_point::reach(Point::AcknowledgementReceived);
                if self.runs(id, &task) {
                    self.observing.on_arrivals(task.job, checkpoint, &arrivals);
                }
                let subtask = task.subtask;
                self.on_checkpoint_word(
                    id,
                    &task,
                    checkpoint::Event::Acknowledged { checkpoint, subtask, snapshot, cost },
                );
                if self.missing_acknowledgements(task.job) == Some(1) {
                    fail_point::reach(Point::OneAcknowledgementMissing);
                }
            }
            Report::Declined { task, checkpoint, reason } => {
                let Some(record) = self.jobs.get(task.job) else { return };
                let (subtask, reason) = (task.subtask, redact(reason, &record.pipeline));
                self.on_checkpoint_word(id, &task, checkpoint::Event::Declined { checkpoint, subtask, reason });
            }
            Report::Published { task, epoch } => {
                fail_point::reach(Point::PublicationReported);
                if self.runs(id, &task) {
                    self.observe_published(task.job, epoch);
                }
                self.on_checkpoint_word(id, &task, checkpoint::Event::Published { epoch });
            }
            Report::Pace { task, slowest } => {
                if self.runs(id, &task) {
                    self.on_pace(&task, slowest);
                }
            }
            Report::Logs { job, lines, missed } => self.keep_logs(id, job, lines, missed),
            Report::Answered { task, query, result } => self.on_query_answer(id, &task, query, result),
            Report::Drained { task } => {
                let subtask = task.subtask;
                self.on_checkpoint_word(id, &task, checkpoint::Event::SourceDrained { subtask });
            }
            Report::Leaving => self.on_leaving(id),
        }
    }

    /// Lines of a taskmanager stay here when it is gone.
    fn keep_logs(&self, from: &TaskManagerId, job: JobId, lines: Vec<LogLine>, missed: u64) {
        let logs = &self.options.logs;
        if missed > 0 {
            let time = lines.first().map_or_else(|| self.clock.now(), |line| line.time);
            logs.add(job, LogLine { process: from.0.clone(), ..missing(time, missed) });
        }
        lines.into_iter().for_each(|line| logs.add(job, LogLine { process: from.0.clone(), ..line }));
    }

    fn on_checkpoint_word(&mut self, from: &TaskManagerId, task: &TaskRef, event: checkpoint::Event) {
        if self.runs(from, task) {
            self.coordinate(task.job, event);
        }
    }

    /// A source was asked again. What is new is kept: an attempt that follows reads it too.
    pub(crate) fn on_splits(&mut self, job: JobId, splits: Vec<Split>) {
        let Some(record) = self.jobs.get_mut(job) else { return };
        let known = &mut record.splits;
        for split in &splits {
            if !known.iter().any(|old| old.id == split.id) {
                known.push(split.clone());
            }
        }
        self.apply(job, Event::SplitsDiscovered(splits));
    }

    fn on_counters(&mut self, from: &TaskManagerId, tasks: impl IntoIterator<Item = (TaskRef, SubtaskCounters)>) {
        let mut changed = BTreeMap::new();
        for (task, counters) in tasks {
            if !self.runs(from, &task) {
                continue;
            }
            if let Some(record) = self.jobs.get_mut(task.job).filter(|record| record.is_live()) {
                let trouble = redact(counters.trouble, &record.pipeline);
                record.counters.insert(task.subtask, SubtaskCounters { trouble, ..counters });
                changed.insert(task.job, ());
            }
        }
        for job in changed.into_keys() {
            self.jobs.publish(job);
            self.pause_sources_if_behind(job);
        }
    }

    /// Whether this is a task of a current attempt and the taskmanager is who runs it.
    pub(crate) fn runs(&self, taskmanager: &TaskManagerId, task: &TaskRef) -> bool {
        let Some(record) = self.jobs.get(task.job).filter(|record| record.job.attempt() == task.attempt) else {
            return false;
        };
        record.job.plan().task(task.subtask).is_some_and(|planned| planned.slot.taskmanager == *taskmanager)
    }
}

/// Stands where lines are missing.
fn missing(time: Timestamp, missed: u64) -> LogLine {
    LogLine {
        time,
        level: Level::Warn,
        process: String::new(),
        target: module_path!().to_owned(),
        message: format!("{missed} lines are missing: they were logged faster than they could be told"),
        fields: Vec::new(),
    }
}
