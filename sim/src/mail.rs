//! What processes send each other, and what comes back from the store and from Postgres.

use std::sync::Arc;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Accounts, FileRef, LedgerEntry, Manifest, SealedEpoch, TaskSnapshot};
use stream_core::event_batch::EventBatch;
use stream_core::ids::{AttemptNumber, CheckpointId, Nonce, SubtaskId, Token};
use stream_core::job::TaskState;
use stream_core::plan::Plan;
use stream_core::row::RowBatch;
use stream_core::watermark::Progress;

#[derive(Debug)]
pub(crate) enum Mail {
    Tick,
    LinkLost(u64),
    Register { link: u64, from: u32, name: String, running: Vec<AttemptNumber> },
    Report { link: u64, attempt: AttemptNumber, subtask: SubtaskId, report: Report },
    Heartbeat { link: u64 },
    Command { link: u64, attempt: AttemptNumber, command: Command },
    Data { attempt: AttemptNumber, from: SubtaskId, to: SubtaskId, item: Item },
    ExchangeLost(AttemptNumber),
    Done(Done),
}

#[derive(Clone, Debug)]
pub(crate) enum Report {
    State(TaskState),
    Acknowledged(CheckpointId, TaskSnapshot),
    Declined(CheckpointId, String),
    Published(CheckpointId),
    Drained,
}

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Deploy(Arc<Deployment>),
    Cancel,
    Trigger(Barrier),
    Complete { checkpoint: CheckpointId, prev: CheckpointId, accounts: Accounts },
    Abort(CheckpointId),
}

/// What an attempt begins with, the same for all its tasks.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) token: Token,
    pub(crate) nonce: Nonce,
    pub(crate) restored: Option<Manifest>,
    pub(crate) pending: Vec<SealedEpoch>,
    pub(crate) plan: Plan,
    pub(crate) parallelism: u32,
    /// The process of each taskmanager of the plan.
    pub(crate) locations: Vec<(String, u32)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Events(EventBatch),
    Rows(RowBatch),
    Progress(Progress),
    Barrier(Barrier),
    End,
}

#[derive(Debug)]
pub(crate) enum Done {
    Fenced(AttemptNumber, Result<LedgerEntry, String>),
    RecordStored(AttemptNumber, Result<(), String>),
    Orphans(AttemptNumber, Vec<String>),
    ManifestStored(AttemptNumber, CheckpointId, Result<(), String>),
    StateStored(AttemptNumber, SubtaskId, u64, Result<FileRef, String>),
    RowsStored(AttemptNumber, u64, Result<FileRef, String>),
    Looked(AttemptNumber, Result<LedgerEntry, String>),
    Published(AttemptNumber, Result<bool, String>),
}

impl Mail {
    /// The connection that it came by: without it, it does not come.
    pub(crate) fn link(&self) -> Option<u64> {
        match self {
            Mail::Register { link, .. } | Mail::Report { link, .. } => Some(*link),
            Mail::Heartbeat { link } | Mail::Command { link, .. } => Some(*link),
            Mail::Tick | Mail::LinkLost(_) | Mail::Data { .. } | Mail::ExchangeLost(_) | Mail::Done(_) => None,
        }
    }

    pub(crate) fn is_heartbeat(&self) -> bool {
        matches!(self, Mail::Heartbeat { .. })
    }
}
