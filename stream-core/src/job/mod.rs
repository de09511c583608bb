//! The life of a job: what to do when a task changes its state, a taskmanager is lost, or somebody cancels.
//!
//! ```text
//! created ──> running ──> finished                 all tasks finished
//!    │         │  ▲ └───> canceling ──> canceled      on request, from any state
//!    │         ▼  └────────────────┐
//!    │      failing ──> restarting ┘               one task failed: the others are canceled, then a pause
//!    └─────────┴──────────┴─> failed               where nothing more is to be tried
//! ```
//!
//! Every attempt is *prepared* before it is planned: the service takes over the sink, chooses a checkpoint and takes the
//! slots. Each has a number of its own, also one that came no further than that.
//!
//! A [`Job`] takes [`Event`]s with the time at which they happened and answers with [`Effect`]s, to be carried out in
//! their order; what comes of an effect comes back as an event. It never sends, waits or reads a clock, and it does not
//! know what its tasks compute. A message of another attempt changes nothing, and nothing changes once a job has ended.
//!
//! Examples compare effects; a simulation feeds events in random order and checks that the job ends, once, and that the
//! slots of each attempt are released once.

mod attempts;
mod machine;
mod restart;
mod state;

use std::time::Duration;

pub use attempts::History;
pub use machine::Job;
pub use restart::{ExponentialDelay, RestartStrategy};
pub use state::{JobState, TaskState};

use crate::ids::{AttemptNumber, SubtaskId, TaskManagerId};
use crate::pipeline::Split;
use crate::plan::Plan;
use crate::time::Timestamp;

/// How patient a job is, and what it does about failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How long a deployed task may take until it says that it initializes.
    pub deploy_timeout: Duration,
    /// How long a taskmanager may take to confirm that its tasks are canceled.
    pub cancel_timeout: Duration,
    /// What follows once a failed attempt's tasks have all ended.
    pub restart: RestartStrategy,
}

/// What a job waits for between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The next attempt is being prepared.
    Preparation,
    /// The pause after a failure is not over.
    Pause {
        /// When it is.
        until: Timestamp,
    },
    /// Too few slots are free.
    Slots,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The service has taken the job; it has no attempt under way.
    Submitted,
    /// The attempt is prepared, slots were granted, and it is planned.
    Planned {
        /// Which attempt.
        attempt: AttemptNumber,
        /// What runs where.
        plan: Plan,
    },
    /// The attempt could not be prepared.
    NotPrepared {
        /// Which attempt.
        attempt: AttemptNumber,
        /// Why, outermost first.
        causes: Vec<String>,
        /// Whether trying again cannot help.
        is_final: bool,
    },
    /// The attempt is prepared, but too few slots are free.
    NoSlots {
        /// Which attempt.
        attempt: AttemptNumber,
    },
    /// The attempt completed a checkpoint, other than the one that it began with: what it has done need not be done again.
    Progressed {
        /// The attempt's number.
        attempt: AttemptNumber,
    },
    /// Slots came free, or new ones came: as many as the job needs.
    SlotsChanged,
    /// The running attempt is to give way to another one at once, for instance with another parallelism. No failure.
    RestartRequested,
    /// A taskmanager's connection took the deployment.
    Deployed {
        /// Of which attempt.
        attempt: AttemptNumber,
        /// Whose.
        taskmanager: TaskManagerId,
    },
    /// A task told its new state.
    TaskStateChanged {
        /// Of which attempt.
        attempt: AttemptNumber,
        /// Which task.
        subtask: SubtaskId,
        /// What it is now.
        state: TaskState,
        /// Why it failed, if it did.
        failure: TaskFailure,
    },
    /// A taskmanager is gone, and its tasks with it.
    TaskManagerLost {
        /// Which.
        taskmanager: TaskManagerId,
        /// How that was noticed, for the user.
        reason: String,
    },
    /// The source was asked again for its splits; these are all it has now.
    SplitsDiscovered(Vec<Split>),
    /// A user wants the job to stop.
    CancelRequested,
    /// Time passed.
    Tick,
}

/// Why a task failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFailure {
    /// Outermost first.
    pub causes: Vec<String>,
    /// Whether any other attempt would fail likewise, as where records are gone that it would have to read.
    pub is_final: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Take over the sink, choose a checkpoint, take slots and plan; answered by [`Event::Planned`],
    /// [`Event::NotPrepared`] or [`Event::NoSlots`].
    Prepare {
        /// Which attempt: the next one.
        attempt: AttemptNumber,
    },
    /// Send a taskmanager its tasks of the plan; answered by [`Event::Deployed`] or [`Event::TaskManagerLost`].
    Deploy {
        /// Of which attempt.
        attempt: AttemptNumber,
        /// To whom.
        taskmanager: TaskManagerId,
    },
    /// Tell a source task of splits that were found after it began.
    AssignSplits {
        /// Of which attempt.
        attempt: AttemptNumber,
        /// To whom.
        taskmanager: TaskManagerId,
        /// To which task.
        subtask: SubtaskId,
        /// What it reads from now on, beside what it has.
        splits: Vec<Split>,
    },
    /// Tell a taskmanager to cancel all tasks of the attempt.
    CancelTasks {
        /// Of which attempt.
        attempt: AttemptNumber,
        /// Whom.
        taskmanager: TaskManagerId,
    },
    /// Break the connection to a taskmanager that does not confirm: its slots may still be taken.
    Disconnect {
        /// Whom.
        taskmanager: TaskManagerId,
    },
    /// Give the job's slots back; once for each [`Effect::Prepare`], whatever came of it.
    ReleaseSlots,
    /// The job has ended; nothing follows.
    JobEnded {
        /// How.
        state: JobState,
        /// Why it failed, outermost first; empty if it did not.
        causes: Vec<String>,
    },
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
