//! The states of a job and of its tasks, spelled as Flink's.

use std::fmt;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// It has no plan yet.
    Created,
    /// Its tasks are deployed, or about to be.
    Running,
    /// A task failed; the others are being canceled.
    Failing,
    /// A failed attempt is over; the next one is prepared, or waits for its time or for slots.
    Restarting,
    /// It ended by a failure.
    Failed,
    /// A user canceled it; its tasks are being canceled.
    Canceling,
    /// It ended because a user wanted it to.
    Canceled,
    /// It read its input to the end and wrote every result.
    Finished,
}

/// The state of a task, in the order in which a task goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// It has no slot yet.
    Created,
    /// It has a slot.
    Scheduled,
    /// It was sent to its taskmanager.
    Deploying,
    /// It opens its source or sink, and its channels.
    Initializing,
    /// It is at work.
    Running,
    /// It is being canceled.
    Canceling,
    /// It has done all there was to do.
    Finished,
    /// It was canceled.
    Canceled,
    /// It failed.
    Failed,
}

impl JobState {
    /// Whether nothing can follow.
    pub fn is_terminal(self) -> bool {
        match self {
            JobState::Failed | JobState::Canceled | JobState::Finished => true,
            JobState::Created | JobState::Running | JobState::Failing | JobState::Restarting | JobState::Canceling => {
                false
            }
        }
    }
}

impl TaskState {
    /// Whether nothing can follow.
    pub fn is_terminal(self) -> bool {
        match self {
            TaskState::Finished | TaskState::Canceled | TaskState::Failed => true,
            TaskState::Created
            | TaskState::Scheduled
            | TaskState::Deploying
            | TaskState::Initializing
            | TaskState::Running
            | TaskState::Canceling => false,
        }
    }

    /// Whether a task in this state can still come into that one: states are left out, but never gone back to.
    pub fn can_become(self, next: TaskState) -> bool {
        !self.is_terminal() && next > self
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JobState::Created => "created",
            JobState::Running => "running",
            JobState::Failing => "failing",
            JobState::Restarting => "restarting",
            JobState::Failed => "failed",
            JobState::Canceling => "canceling",
            JobState::Canceled => "canceled",
            JobState::Finished => "finished",
        })
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskState::Created => "created",
            TaskState::Scheduled => "scheduled",
            TaskState::Deploying => "deploying",
            TaskState::Initializing => "initializing",
            TaskState::Running => "running",
            TaskState::Canceling => "canceling",
            TaskState::Finished => "finished",
            TaskState::Canceled => "canceled",
            TaskState::Failed => "failed",
        })
    }
}
