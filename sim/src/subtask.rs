//! Subtasks: what `taskmanager::subtask` does on threads, driven by the event loop, over the same pure parts.

mod committer;
mod inputs;
mod source;
mod window;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Accounts, FileRef, LedgerEntry};
use stream_core::ids::{AttemptNumber, CheckpointId, StageIndex, SubtaskId, SubtaskIndex};
use stream_core::pipeline::StageKind;

use crate::mail::{Deployment, Item, Mail, Report};
use crate::world::World;
use committer::Committer;
use source::Source;
use window::Window;

/// Where a subtask is and whom it tells.
pub(crate) struct Context<'a> {
    pub(crate) pid: u32,
    pub(crate) attempt: AttemptNumber,
    pub(crate) subtask: SubtaskId,
    pub(crate) deployment: &'a Deployment,
    pub(crate) world: &'a mut World,
    pub(crate) reports: Vec<Report>,
    /// Why it cannot go on.
    pub(crate) failure: Option<String>,
}

impl Context<'_> {
    fn send(&mut self, to: SubtaskId, item: Item) {
        let planned = self.deployment.plan.task(to).expect("it is in the plan");
        let locations = &self.deployment.locations;
        let pid = locations.iter().find(|(name, _)| *name == planned.slot.taskmanager.0).map_or(0, |(_, pid)| *pid);
        if self.world.cut.contains(&(self.attempt, self.pid, pid)) {
            return;
        }
        let number = |id: SubtaskId| u64::from(id.stage.0) << 8 | u64::from(id.index.0);
        let way = (1 << 63 | u64::from(self.attempt.0) << 32 | number(self.subtask), u64::from(pid) << 16 | number(to));
        self.world.send(way, pid, Mail::Data { attempt: self.attempt, from: self.subtask, to, item });
    }

    /// To every subtask of the next stage.
    fn send_all(&mut self, item: &Item) {
        let next = StageIndex(self.subtask.stage.0 + 1);
        let count = if next.0 == 2 { 1 } else { self.deployment.parallelism };
        for index in (0..count).map(SubtaskIndex) {
            self.send(SubtaskId { stage: next, index }, item.clone());
        }
    }
}

/// One subtask.
pub(crate) enum Subtask {
    Source(Box<Source>),
    Window(Box<Window>),
    Committer(Box<Committer>),
}

impl Subtask {
    pub(crate) fn new(id: SubtaskId, kind: StageKind, deployment: &Deployment, world: &mut World) -> Self {
        match kind {
            StageKind::Source => Subtask::Source(Box::new(Source::new(id, deployment))),
            StageKind::Operator => Subtask::Window(Box::new(Window::new(id, deployment, world))),
            StageKind::Sink => Subtask::Committer(Box::new(Committer::new(deployment))),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Subtask::Source(source) => source.is_finished(),
            Subtask::Window(window) => window.is_finished(),
            Subtask::Committer(committer) => committer.is_finished(),
        }
    }

    pub(crate) fn on_tick(&mut self, at: &mut Context<'_>) {
        match self {
            Subtask::Source(source) => source.poll(at),
            Subtask::Window(window) => window.continue_copying(at),
            Subtask::Committer(committer) => committer.on_tick(at),
        }
    }

    pub(crate) fn on_item(&mut self, from: SubtaskId, item: Item, at: &mut Context<'_>) {
        let input = from.index.0 as usize;
        match self {
            Subtask::Source(_) => unreachable!("a source has no input"),
            Subtask::Window(window) => window.on_item(input, item, at),
            Subtask::Committer(committer) => committer.on_item(input, item, at),
        }
    }

    pub(crate) fn on_trigger(&mut self, barrier: Barrier, at: &mut Context<'_>) {
        if let Subtask::Source(source) = self {
            source.on_trigger(barrier, at);
        }
    }

    pub(crate) fn on_complete(
        &mut self,
        checkpoint: CheckpointId,
        prev: CheckpointId,
        accounts: Accounts,
        at: &mut Context<'_>,
    ) {
        match self {
            Subtask::Source(source) => source.on_complete(checkpoint, at),
            Subtask::Window(_) => {}
            Subtask::Committer(committer) => committer.on_complete(checkpoint, prev, accounts, at),
        }
    }

    pub(crate) fn on_abort(&mut self, checkpoint: CheckpointId, at: &mut Context<'_>) {
        match self {
            Subtask::Source(_) => {}
            Subtask::Window(window) => window.abort(checkpoint, at),
            Subtask::Committer(committer) => committer.abort(checkpoint, at),
        }
    }

    pub(crate) fn orphan(&mut self, at: &mut Context<'_>) {
        match self {
            Subtask::Source(_) => {}
            Subtask::Window(window) => window.orphan(at),
            Subtask::Committer(committer) => committer.orphan(at),
        }
    }

    pub(crate) fn on_state_stored(&mut self, ticket: u64, result: Result<FileRef, String>, at: &mut Context<'_>) {
        if let Subtask::Window(window) = self {
            window.on_stored(ticket, result, at);
        }
    }

    pub(crate) fn on_rows_stored(&mut self, ticket: u64, result: Result<FileRef, String>, at: &mut Context<'_>) {
        if let Subtask::Committer(committer) = self {
            committer.on_stored(ticket, result, at);
        }
    }

    pub(crate) fn on_looked(&mut self, result: Result<LedgerEntry, String>, at: &mut Context<'_>) {
        if let Subtask::Committer(committer) = self {
            committer.on_looked(result, at);
        }
    }

    pub(crate) fn on_published(&mut self, result: Result<bool, String>, at: &mut Context<'_>) {
        if let Subtask::Committer(committer) = self {
            committer.on_published(result, at);
        }
    }
}
