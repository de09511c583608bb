//! One attempt of a job, as far as it runs on this taskmanager: its threads, its gates, its streams.
//!
//! Everything that belongs to an attempt hangs off its stop token and its wiring, so that [`Attempt::cancel`] reaches all
//! of it: threads leave their waits because their gates and channels are closed, streams because the token is canceled.

mod build;
mod wiring;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::ids::{CheckpointId, SubtaskId};
use stream_core::job::TaskState;
use stream_core::pipeline::{JobDefinition, StageKind};
use stream_runtime::clock::Clock;
use stream_runtime::connector::Connectors;
use telemetry::Spans;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::build::Blueprint;
use crate::attempt::wiring::Wiring;
use crate::counters::{Counters, Snapshot};
use crate::deployment::Deployment;
use crate::exchange::directory::Directory;
use crate::exchange::grpc::upstream::{self, Peers};
use crate::observed::{Observed, ObservedTask};
use crate::recorders::Recorders;
use crate::report::{RunningTask, TaskRef};
use crate::slot::Holder;
use crate::snapshotting::Snapshotting;
use crate::subtask::event::{Change, TaskEvent, Teller};
use crate::subtask::mail::{Letter, Mailbox};
use crate::subtask::spans::SubtaskSpans;
use crate::subtask::thread::{self, Outcome};

/// What attempts are run with; the same for all of them.
#[derive(Clone)]
pub(crate) struct Environment {
    /// Sources and sinks.
    pub(crate) connectors: Arc<dyn Connectors>,
    /// Checkpoint stores.
    pub(crate) snapshotting: Snapshotting,
    /// For all of them.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where streams that arrive find their gates.
    pub(crate) directory: Arc<Directory>,
    /// The connections to other taskmanagers.
    pub(crate) peers: Arc<Peers>,
    /// The bound of each channel.
    pub(crate) channel_bytes: usize,
    /// How long an event may wait for others to travel with.
    pub(crate) linger: Duration,
    /// Where tasks tell what became of them.
    pub(crate) events: mpsc::Sender<TaskEvent>,
    /// The streams to other taskmanagers, to be waited for at the end.
    pub(crate) streams: TaskTracker,
    /// Whoever asks about metrics finds the tasks there.
    pub(crate) observed: Observed,
    /// What is recorded as it happens.
    pub(crate) recorders: Recorders,
    /// Where spans go.
    pub(crate) spans: Spans,
    /// One record of so many is followed on its way.
    pub(crate) trace_sample: Option<u64>,
}

/// The tasks of an attempt that run here.
pub(crate) struct Attempt {
    tasks: BTreeMap<SubtaskId, Task>,
    wiring: Wiring,
    stop: CancellationToken,
    holder: Holder,
    /// The newest that the sources here were told to send.
    last_barrier: Option<Barrier>,
}

struct Task {
    name: String,
    kind: StageKind,
    slot: u32,
    state: TaskState,
    counters: Arc<Counters>,
    mailbox: Arc<Mailbox>,
    /// Sources: whether it has said that its input is at its end.
    is_drained: bool,
    /// The committer: the epoch that it published last.
    last_published: Option<CheckpointId>,
    thread: Option<JoinHandle<()>>,
}

impl Attempt {
    /// Wires the tasks up and starts their threads. The deployment has been checked.
    ///
    /// # Errors
    /// If a thread cannot be started; nothing is left running.
    pub(crate) fn start(
        deployment: Deployment,
        definition: Arc<dyn JobDefinition>,
        environment: &Environment,
    ) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let wiring = Wiring::new(&deployment, environment.channel_bytes, &stop);
        let holder = Holder { job_id: deployment.job_id, attempt: deployment.attempt };
        let mut attempt = Attempt { tasks: BTreeMap::new(), wiring, stop, holder, last_barrier: None };
        environment.directory.add(attempt.wiring.take_inlets());
        for link in attempt.wiring.take_links() {
            let (stop, peers) = (attempt.stop.clone(), Arc::clone(&environment.peers));
            // If it fails, its channel and by that its task fails; it is canceled with the attempt.
            environment.streams.spawn(async move {
                stop.run_until_cancelled(upstream::carry(link, &peers)).await;
            });
        }
        let deployment = Arc::new(deployment);
        for &subtask in deployment.tasks.keys() {
            let started = attempt.start_task(subtask, &deployment, &definition, environment);
            if let Err(error) = started {
                attempt.cancel();
                return Err(error);
            }
        }
        environment.observed.add(holder, attempt.observed(&deployment));
        Ok(attempt)
    }

    /// Stops all tasks; each will tell when it has ended.
    pub(crate) fn cancel(&mut self) {
        self.stop.cancel();
        self.wiring.close();
        for task in self.tasks.values_mut().filter(|task| !task.state.is_terminal()) {
            task.state = TaskState::Canceling;
        }
    }

    /// Takes note of what became of a task.
    pub(crate) fn on_change(&mut self, subtask: SubtaskId, change: &Change) {
        let Some(task) = self.tasks.get_mut(&subtask) else { return };
        match change {
            // A task that is being canceled may have come up in the meantime.
            Change::Running if task.state == TaskState::Canceling => {}
            Change::Running => task.state = TaskState::Running,
            Change::Drained => task.is_drained = true,
            Change::Published(epoch) => task.last_published = Some(*epoch),
            Change::Acknowledged(_) | Change::Declined { .. } | Change::Pace(_) | Change::Answered { .. } => {}
            Change::Ended(outcome) => {
                task.state = match outcome {
                    Outcome::Finished => TaskState::Finished,
                    Outcome::Canceled => TaskState::Canceled,
                    Outcome::Failed(_) => TaskState::Failed,
                };
                if let Some(thread) = task.thread.take() {
                    // Its last act was to send this event, and its panics are caught: this neither waits nor fails.
                    let _ = thread.join();
                }
            }
        }
    }

    /// Whether all its tasks have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.tasks.values().all(|task| task.state.is_terminal())
    }

    /// What a task is called.
    pub(crate) fn name(&self, subtask: SubtaskId) -> Option<&str> {
        self.tasks.get(&subtask).map(|task| task.name.as_str())
    }

    /// The names of the tasks that have not ended.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &str> {
        self.tasks.values().filter(|task| !task.state.is_terminal()).map(|task| task.name.as_str())
    }

    /// Leaves a letter for one task; for one that is not here, for nobody.
    pub(crate) fn write_to(&self, subtask: SubtaskId, letter: Letter) {
        if let Some(task) = self.tasks.get(&subtask) {
            task.mailbox.put(letter);
        }
    }

    /// Leaves a letter for each of the sources.
    pub(crate) fn write_to_sources(&self, letter: impl Fn() -> Letter) {
        let sources = self.tasks.values().filter(|task| task.kind == StageKind::Source);
        sources.for_each(|task| task.mailbox.put(letter()));
    }

    /// Leaves a letter for each task.
    pub(crate) fn write_to_all(&self, letter: impl Fn() -> Letter) {
        self.tasks.values().for_each(|task| task.mailbox.put(letter()));
    }

    /// Has the sources send a barrier. What anybody here learns of a checkpoint begins with that.
    pub(crate) fn trigger(&mut self, barrier: Barrier) {
        self.last_barrier = Some(barrier);
        self.write_to_sources(|| Letter::Trigger(barrier));
    }

    /// The tasks that have not ended.
    pub(crate) fn running(&self) -> impl Iterator<Item = RunningTask> {
        let alive = self.tasks.iter().filter(|(_, task)| !task.state.is_terminal());
        alive.map(|(&subtask, task)| RunningTask {
            task: self.task_ref(subtask),
            slot: task.slot,
            state: task.state,
            last_barrier: self.last_barrier,
        })
    }

    /// The sources whose input is at its end.
    pub(crate) fn drained(&self) -> impl Iterator<Item = TaskRef> {
        let drained = self.tasks.iter().filter(|(_, task)| task.is_drained && !task.state.is_terminal());
        drained.map(|(&subtask, _)| self.task_ref(subtask))
    }

    /// What was published last, and by whom.
    pub(crate) fn last_published(&self) -> Option<(TaskRef, CheckpointId)> {
        self.tasks.iter().find_map(|(&subtask, task)| Some((self.task_ref(subtask), task.last_published?)))
    }

    /// The counters of a task.
    pub(crate) fn counters(&self, subtask: SubtaskId) -> Option<Snapshot> {
        self.tasks.get(&subtask).map(|task| task.counters.snapshot())
    }

    /// The counters of all tasks that have not ended.
    pub(crate) fn all_counters(&self) -> impl Iterator<Item = (SubtaskId, Snapshot)> {
        let alive = self.tasks.iter().filter(|(_, task)| !task.state.is_terminal());
        alive.map(|(&subtask, task)| (subtask, task.counters.snapshot()))
    }

    fn observed(&self, deployment: &Deployment) -> Vec<ObservedTask> {
        let tasks = self.tasks.iter();
        let observed = |(&subtask, task): (&SubtaskId, &Task)| {
            ObservedTask::new(deployment, subtask, Arc::clone(&task.counters), self.wiring.gate(subtask))
        };
        tasks.map(observed).collect()
    }

    fn start_task(
        &mut self,
        subtask: SubtaskId,
        deployment: &Arc<Deployment>,
        definition: &Arc<dyn JobDefinition>,
        environment: &Environment,
    ) -> std::io::Result<()> {
        let name = deployment.name(subtask);
        let counters = Arc::new(Counters::default());
        let redaction = || deployment.pipeline.redaction();
        let spans = SubtaskSpans::new(&environment.spans, &environment.clock, self.holder, subtask, &name, redaction);
        let mailbox = Arc::new(Mailbox::new(self.wiring.gate(subtask)));
        let blueprint = Blueprint {
            subtask,
            deployment: Arc::clone(deployment),
            definition: Arc::clone(definition),
            gate: self.wiring.gate(subtask),
            outputs: self.wiring.outputs(subtask),
            mailbox: Arc::clone(&mailbox),
            teller: Teller::new(self.holder, subtask, environment.events.clone()).traced(spans),
            counters: Arc::clone(&counters),
            environment: environment.clone(),
        };
        let stop = self.stop.clone();
        let body = move || run_task(blueprint, &stop);
        let thread = std::thread::Builder::new().name(name.clone()).spawn(body)?;
        let task = Task {
            name,
            kind: deployment.kind(subtask),
            slot: deployment.tasks[&subtask].slot,
            state: TaskState::Initializing,
            counters,
            mailbox,
            is_drained: false,
            last_published: None,
            thread: Some(thread),
        };
        self.tasks.insert(subtask, task);
        Ok(())
    }

    fn task_ref(&self, subtask: SubtaskId) -> TaskRef {
        TaskRef { job_id: self.holder.job_id, attempt: self.holder.attempt, subtask }
    }
}

/// The body of a task's thread.
fn run_task(blueprint: Blueprint, stop: &CancellationToken) {
    // What is logged on this thread, by a client library perhaps, says for whom.
    let Deployment { job_id, attempt, .. } = *blueprint.deployment;
    let subtask = blueprint.deployment.name(blueprint.subtask);
    // At the highest level, so that no filter takes it away from a line that it lets pass.
    let _task = tracing::error_span!("task", %job_id, %attempt, subtask).entered();
    let teller = blueprint.teller.clone();
    let clock = Arc::clone(&blueprint.environment.clock);
    let counters = Arc::clone(&blueprint.counters);
    let on_running = || teller.tell(Change::Running);
    let outcome = thread::run(|| blueprint.build(), on_running, stop, clock.as_ref(), &counters);
    teller.tell(Change::Ended(outcome));
}
