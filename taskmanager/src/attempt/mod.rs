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

use stream_core::ids::SubtaskId;
use stream_core::job::TaskState;
use stream_core::pipeline::{JobDefinition, Split};
use stream_runtime::clock::Clock;
use stream_runtime::connector::Connectors;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::build::Blueprint;
use crate::attempt::wiring::Wiring;
use crate::counters::{Counters, Snapshot};
use crate::deployment::Deployment;
use crate::exchange::directory::Directory;
use crate::exchange::grpc::upstream::{self, Peers};
use crate::slot::Holder;
use crate::subtask::source::Assignments;
use crate::subtask::thread::{self, Outcome};

/// What attempts are run with; the same for all of them.
#[derive(Clone)]
pub(crate) struct Environment {
    /// Sources and sinks.
    pub(crate) connectors: Arc<dyn Connectors>,
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
}

/// What a task tells of itself.
#[derive(Debug)]
pub(crate) struct TaskEvent {
    /// Of which attempt.
    pub(crate) holder: Holder,
    /// Which task.
    pub(crate) subtask: SubtaskId,
    /// What became of it.
    pub(crate) change: Change,
}

/// What became of a task.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Its source, operator or sink is open, and it works.
    Running,
    /// Its thread is about to return.
    Ended(Outcome),
}

/// The tasks of an attempt that run here.
pub(crate) struct Attempt {
    tasks: BTreeMap<SubtaskId, Task>,
    wiring: Wiring,
    stop: CancellationToken,
}

struct Task {
    name: String,
    state: TaskState,
    counters: Arc<Counters>,
    /// Sources only.
    assignments: Option<Arc<Assignments>>,
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
        let mut attempt = Attempt { tasks: BTreeMap::new(), wiring, stop };
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

    /// The names of the tasks that have not ended.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &str> {
        self.tasks.values().filter(|task| !task.state.is_terminal()).map(|task| task.name.as_str())
    }

    /// Gives a source task further splits. A task that is no source, or is not here, is passed over.
    pub(crate) fn assign_splits(&self, subtask: SubtaskId, splits: Vec<Split>) {
        let assignments = self.tasks.get(&subtask).and_then(|task| task.assignments.as_ref());
        if let Some(assignments) = assignments {
            assignments.add(splits);
        }
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

    fn start_task(
        &mut self,
        subtask: SubtaskId,
        deployment: &Arc<Deployment>,
        definition: &Arc<dyn JobDefinition>,
        environment: &Environment,
    ) -> std::io::Result<()> {
        let name = deployment.name(subtask);
        let counters = Arc::new(Counters::default());
        let assignments = Arc::new(Assignments::default());
        let blueprint = Blueprint {
            subtask,
            deployment: Arc::clone(deployment),
            definition: Arc::clone(definition),
            gate: self.wiring.gate(subtask),
            outputs: self.wiring.outputs(subtask),
            assignments: Arc::clone(&assignments),
            counters: Arc::clone(&counters),
            environment: environment.clone(),
        };
        let stop = self.stop.clone();
        let body = move || run_task(blueprint, &stop);
        let thread = std::thread::Builder::new().name(name.clone()).spawn(body)?;
        let assignments = (deployment.pipeline.stages[subtask.stage.0 as usize].input.is_none()).then_some(assignments);
        let state = TaskState::Initializing;
        self.tasks.insert(subtask, Task { name, state, counters, assignments, thread: Some(thread) });
        Ok(())
    }
}

/// The body of a task's thread.
fn run_task(blueprint: Blueprint, stop: &CancellationToken) {
    let deployment = &blueprint.deployment;
    let holder = Holder { job_id: deployment.job_id, attempt: deployment.attempt };
    let subtask = blueprint.subtask;
    let events = blueprint.environment.events.clone();
    let clock = Arc::clone(&blueprint.environment.clock);
    let counters = Arc::clone(&blueprint.counters);
    // The service outlives its threads and always takes events; without it there is nobody left to tell.
    let tell = |change| drop(events.blocking_send(TaskEvent { holder, subtask, change }));
    let outcome = thread::run(|| blueprint.build(), || tell(Change::Running), stop, clock.as_ref(), &counters);
    tell(Change::Ended(outcome));
}
