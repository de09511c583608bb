//! The state machine of an attempt's checkpoints: one at a time, complete with every acknowledgement and its manifest stored.
//!
//! ```text
//! trigger ──> every task acknowledged ──> manifest stored ──> complete ──> published
//!    └─ declined, expired ─> aborted <─ not stored ┘
//! ```
//!
//! It never sends, waits or reads a clock. A checkpoint that was given up may exist all the same, if its manifest's write
//! came through. That is safe: its id is not used again, and the next one's `prev` is the last *completed* one, so
//! once that is published `choose` finds that the other does not continue the ledger.
//!
//! Examples compare effects; a simulation feeds random events; `exactly_once_model` runs it against crashes and zombies.

use std::collections::BTreeSet;

use super::choose::epochs_behind;
use super::history::{CheckpointRecord, History};
use super::pending::{Base, Pending};
use super::requests::Requests;
use super::retention::Retained;
use super::{Attempt, Cost, Effect, Event, Manifest, Request, RequestKind, SealedEpoch, Settings, TaskSnapshot};
use crate::barrier::Barrier;
use crate::ids::{CheckpointId, SubtaskId};
use crate::time::Timestamp;

/// The checkpoints of one attempt. A new attempt has a new one.
#[derive(Clone, Debug)]
pub struct Coordinator {
    settings: Settings,
    attempt: Attempt,
    is_running: bool,
    /// The highest sequence number that was used.
    last_sequence: u32,
    /// When the next one is triggered, if nobody asks for one before.
    next_trigger: Timestamp,
    pending: Option<Pending>,
    /// The last completed checkpoint of the lineage, also of earlier attempts.
    completed: CheckpointId,
    published: CheckpointId,
    /// The completed epochs behind `published`, in their order.
    unpublished: Vec<SealedEpoch>,
    base: Base,
    retained: Retained,
    requests: Requests,
    history: History,
    drained: BTreeSet<SubtaskId>,
    is_drain_told: bool,
    /// Of a last one that was given up: the next is tried at the interval.
    is_last_delayed: bool,
    /// The last checkpoint, once it is complete.
    last: Option<CheckpointId>,
}

/// A promise of the coordinator that does not hold: a bug of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenInvariant {
    /// The unpublished epochs do not lead from the published one to the completed one.
    #[error("epoch {epoch} does not follow {expected}")]
    Chain {
        /// What the next `prev` had to be.
        expected: CheckpointId,
        /// Whose is another one.
        epoch: CheckpointId,
    },
    /// An id is not above all earlier ones.
    #[error("checkpoint {0} is not newer than the last completed one")]
    Order(CheckpointId),
}

impl Coordinator {
    /// Nothing is triggered before [`Event::Running`].
    pub fn new(settings: Settings, mut attempt: Attempt, now: Timestamp) -> Self {
        let stored = std::mem::take(&mut attempt.stored);
        let is_own = |manifest: &&Manifest| manifest.token == attempt.token && manifest.nonce == attempt.nonce;
        let own = stored.iter().filter(is_own).max_by_key(|manifest| manifest.checkpoint);
        let latest = own.or(attempt.restored.as_ref());
        let unpublished = latest.map_or(&[][..], |latest| match epochs_behind(latest, attempt.last_epoch) {
            Ok(epochs) => epochs,
            // An adopted attempt has published since it began.
            Err(_) if own.is_some() => &latest.pending,
            // A savepoint from before what is published: the ledger goes on from where it is.
            Err(_) => &[],
        });
        let unpublished = unpublished.to_vec();
        let published = unpublished.first().map_or(attempt.last_epoch, |epoch| epoch.prev);
        let completed = unpublished.last().map_or(published, |epoch| epoch.epoch);
        let base = Base::new(latest, attempt.restored.as_ref());
        let last_sequence = own.map_or(0, |own| own.checkpoint.sequence()).max(attempt.last_sequence);
        let manifests = stored.into_iter().chain(attempt.restored.clone()).collect();
        Coordinator {
            settings,
            is_running: false,
            last_sequence,
            next_trigger: now,
            pending: None,
            completed,
            published,
            unpublished,
            base,
            retained: Retained::new(now, manifests, published),
            requests: Requests::default(),
            history: History::default(),
            drained: BTreeSet::new(),
            is_drain_told: false,
            is_last_delayed: false,
            last: None,
            attempt,
        }
    }

    /// Takes an event in; the effects are to be carried out in their order.
    pub fn on(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Running => self.on_running(now, &mut effects),
            Event::Acknowledged { checkpoint, subtask, snapshot, cost } => {
                self.on_acknowledged(now, checkpoint, subtask, snapshot, cost, &mut effects);
            }
            Event::Declined { checkpoint, subtask, reason } => {
                if self.is_collecting(checkpoint) && self.is_task(subtask) {
                    self.abort(now, reason, &mut effects);
                }
            }
            Event::Stored { checkpoint } => self.on_stored(now, checkpoint, &mut effects),
            Event::NotStored { checkpoint, reason } => {
                if self.is_storing(checkpoint) {
                    self.abort(now, reason, &mut effects);
                }
            }
            Event::Published { epoch } => self.on_published(now, epoch, &mut effects),
            Event::SourceDrained { subtask } => {
                if self.attempt.sources.contains(&subtask) {
                    self.drained.insert(subtask);
                }
            }
            Event::Requested(request) => self.requests.push(request),
            Event::Tick => self.expire(now, &mut effects),
        }
        self.tell_drain(&mut effects);
        self.trigger_if_due(now, &mut effects);
        let in_use = self.pending.iter().flat_map(Pending::files);
        effects.extend(self.retained.discard(now, self.settings.retention, in_use));
        effects
    }

    /// The checkpoint that is being taken.
    pub fn pending(&self) -> Option<CheckpointId> {
        self.pending.as_ref().map(|pending| pending.barrier.checkpoint)
    }

    /// The last completed checkpoint that this attempt builds on or took; [`CheckpointId::ROOT`] without one.
    pub fn last_completed(&self) -> CheckpointId {
        self.completed
    }

    /// The last epoch that is known to be visible in the sink.
    pub fn published(&self) -> CheckpointId {
        self.published
    }

    /// The completed epochs that are not known to be visible, oldest first.
    pub fn unpublished(&self) -> &[SealedEpoch] {
        &self.unpublished
    }

    /// The manifests that are kept, oldest first.
    pub fn manifests(&self) -> impl DoubleEndedIterator<Item = &Manifest> {
        self.retained.manifests()
    }

    /// This attempt's last checkpoints, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &CheckpointRecord> {
        self.history.records()
    }

    /// Whether the last checkpoint is complete: the sources end.
    pub fn is_ending(&self) -> bool {
        self.last.is_some()
    }

    /// The requests that have no answer yet; who ends the attempt answers them.
    pub fn unanswered(&self) -> impl Iterator<Item = Request> {
        let pending = self.pending.iter().flat_map(|pending| pending.requests.iter().copied());
        pending.chain(self.requests.unanswered())
    }

    /// Checks what is promised of ids and of the chain of epochs.
    ///
    /// # Errors
    /// If a promise does not hold, which is a bug.
    pub fn check(&self) -> Result<(), BrokenInvariant> {
        let mut expected = self.published;
        for epoch in &self.unpublished {
            if epoch.prev != expected {
                return Err(BrokenInvariant::Chain { expected, epoch: epoch.epoch });
            }
            if epoch.epoch <= expected {
                return Err(BrokenInvariant::Order(epoch.epoch));
            }
            expected = epoch.epoch;
        }
        if expected != self.completed {
            return Err(BrokenInvariant::Chain { expected, epoch: self.completed });
        }
        match self.pending() {
            Some(pending) if pending <= self.completed => Err(BrokenInvariant::Order(pending)),
            _ => Ok(()),
        }
    }

    fn on_running(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.is_running {
            return;
        }
        self.is_running = true;
        self.next_trigger = now.saturating_add(self.settings.interval);
        // Of an adopted attempt nobody knows which of these the committer was told; to hear one twice changes nothing.
        effects.extend(self.unpublished.iter().filter(|epoch| epoch.epoch.token() == self.attempt.token).map(complete));
    }

    fn on_acknowledged(
        &mut self,
        now: Timestamp,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        snapshot: TaskSnapshot,
        cost: Cost,
        effects: &mut Vec<Effect>,
    ) {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.barrier.checkpoint == checkpoint) else {
            return;
        };
        if !pending.acknowledge(&self.attempt, subtask, snapshot) {
            return;
        }
        self.history.acknowledge(checkpoint, cost);
        if pending.is_complete(&self.attempt) {
            let manifest = pending.build(now, &self.attempt, &self.base, &self.unpublished);
            pending.manifest = Some(manifest.clone());
            effects.push(Effect::Store(Box::new(manifest)));
        }
    }

    fn on_stored(&mut self, now: Timestamp, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        if !self.is_storing(checkpoint) {
            return;
        }
        let Some(Pending { barrier, requests, manifest: Some(manifest), .. }) = self.pending.take() else {
            return;
        };
        let own = manifest.pending.last().expect("a manifest's own epoch is its last").clone();
        self.history.complete(now, checkpoint, manifest.accounts);
        self.base.take_splits(&manifest);
        effects.push(complete(&own));
        effects.push(Effect::CommitPositions(manifest.splits.iter().map(|split| split.split.clone()).collect()));
        self.unpublished.push(own);
        self.completed = checkpoint;
        self.retained.push(manifest);
        self.requests.complete(requests, checkpoint, effects);
        self.is_last_delayed = false;
        if barrier.is_last {
            self.last = Some(checkpoint);
        }
    }

    fn on_published(&mut self, now: Timestamp, epoch: CheckpointId, effects: &mut Vec<Effect>) {
        let Some(at) = self.unpublished.iter().position(|unpublished| unpublished.epoch == epoch) else {
            return;
        };
        self.unpublished.drain(..=at);
        self.published = epoch;
        self.history.publish(epoch);
        self.retained.publish(now, epoch);
        self.requests.publish(epoch, effects);
    }

    fn expire(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(pending) = self.pending.as_ref().filter(|pending| pending.manifest.is_none()) else {
            return;
        };
        if now >= pending.barrier.triggered.saturating_add(self.settings.timeout) {
            let reason = format!("it was not complete after {:?}", self.settings.timeout);
            self.abort(now, reason, effects);
        }
    }

    fn abort(&mut self, now: Timestamp, reason: String, effects: &mut Vec<Effect>) {
        let Some(Pending { barrier, requests, .. }) = self.pending.take() else {
            return;
        };
        self.history.abort(now, barrier.checkpoint, &reason);
        self.is_last_delayed = barrier.is_last;
        let answer = format!("checkpoint {} was given up: {reason}", barrier.checkpoint);
        effects.push(Effect::Abort { checkpoint: barrier.checkpoint, reason });
        self.requests.abort(requests, &answer, effects);
    }

    fn tell_drain(&mut self, effects: &mut Vec<Effect>) {
        if self.is_running && self.last.is_none() && !self.is_drain_told && self.requests.has_drain() {
            self.is_drain_told = true;
            effects.push(Effect::Drain);
        }
    }

    fn trigger_if_due(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(last) = self.last {
            self.requests.refuse(last, effects);
            return;
        }
        if !self.is_running || self.pending.is_some() {
            return;
        }
        let is_drained = self.attempt.sources.iter().all(|source| self.drained.contains(source));
        let is_wanted = self.requests.is_due() || (is_drained && !self.is_last_delayed);
        let is_due = now >= self.next_trigger || is_wanted;
        if !is_due {
            return;
        }
        let requests = self.requests.take_due(is_drained);
        let is_stop = |request: &Request| matches!(request.kind, RequestKind::Stop | RequestKind::Drain);
        // A stop is a savepoint too.
        let is_savepoint = requests.iter().any(|request| request.kind != RequestKind::Checkpoint);
        self.last_sequence += 1;
        let barrier = Barrier {
            checkpoint: CheckpointId::new(self.attempt.token, self.last_sequence),
            prev: self.completed,
            triggered: now,
            is_full: is_savepoint,
            is_last: is_drained || requests.iter().any(is_stop),
        };
        self.next_trigger = now.saturating_add(self.settings.interval);
        let tasks = self.attempt.sources.len() + self.attempt.operators.len() + 1;
        self.history.trigger(barrier, is_savepoint, tasks);
        self.pending = Some(Pending::new(barrier, is_savepoint, requests));
        effects.push(Effect::Trigger(barrier));
    }

    fn is_collecting(&self, checkpoint: CheckpointId) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|pending| pending.barrier.checkpoint == checkpoint && pending.manifest.is_none())
    }

    fn is_storing(&self, checkpoint: CheckpointId) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|pending| pending.barrier.checkpoint == checkpoint && pending.manifest.is_some())
    }

    fn is_task(&self, subtask: SubtaskId) -> bool {
        let attempt = &self.attempt;
        attempt.sources.contains(&subtask) || attempt.operators.contains(&subtask) || attempt.sink == subtask
    }
}

fn complete(epoch: &SealedEpoch) -> Effect {
    Effect::Complete { checkpoint: epoch.epoch, prev: epoch.prev, accounts: epoch.accounts }
}
