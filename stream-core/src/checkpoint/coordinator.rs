//! When checkpoints are triggered, completed and given up.
//!
//! One at a time. A checkpoint is complete once every task of the attempt has acknowledged it and its manifest is stored: only
//! then it is announced, and its epoch published. What fails before that is given up, and its id is never used again. A
//! manifest whose write failed may be in the store all the same: nobody was told of it, and as the next checkpoint follows on
//! the last *completed* one, it either is chosen before anything behind it is published, or continues nothing any more.

use std::collections::BTreeSet;
use std::time::Duration;

use super::history::{Entry, History};
use super::manifest::{Manifest, SealedEpoch};
use super::pending::Pending;
use super::retention::{Removable, Retained};
use super::{Attempt, Effect, Event, Request, RequestKind, Settings};
use crate::barrier::Barrier;
use crate::ids::{CheckpointId, SubtaskId};
use crate::pipeline::Split;
use crate::time::Timestamp;

/// The checkpoints of one attempt.
#[derive(Clone, Debug)]
pub struct Coordinator {
    settings: Settings,
    attempt: Attempt,
    is_running: bool,
    /// Whether a last checkpoint is complete: nothing follows.
    is_over: bool,
    sequence: u32,
    /// When the next one is due.
    due: Timestamp,
    pending: Option<Pending>,
    last_completed: CheckpointId,
    published: CheckpointId,
    /// Completed epochs that are not known to be published, oldest first.
    unpublished: Vec<SealedEpoch>,
    retained: Retained,
    drained: BTreeSet<SubtaskId>,
    is_draining: bool,
    /// Whether a checkpoint was triggered with which the sources end.
    has_tried_last: bool,
    /// Whether what older attempts left was looked for.
    has_swept: bool,
    /// Requests that no checkpoint serves yet.
    requests: Vec<Request>,
    /// Stops that are complete and not published.
    stops: Vec<(CheckpointId, Request)>,
    history: History,
}

/// A promise of the coordinator that does not hold: a bug of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {epoch} follows {follows}, expected to follow {expected}")]
pub struct BrokenInvariant {
    /// The epoch that is out of order.
    pub epoch: CheckpointId,
    /// What it says that it follows.
    pub follows: CheckpointId,
    /// What it has to follow.
    pub expected: CheckpointId,
}

impl Coordinator {
    /// Nothing is triggered before [`Event::Running`].
    pub fn new(settings: Settings, attempt: Attempt, now: Timestamp) -> Self {
        let (stored, last_epoch) = (attempt.stored.clone(), attempt.last_epoch);
        Coordinator {
            settings,
            is_running: false,
            is_over: false,
            sequence: attempt.last_sequence,
            due: now,
            pending: None,
            last_completed: attempt.pending.last().map_or(last_epoch, |epoch| epoch.epoch),
            published: last_epoch,
            unpublished: attempt.pending.clone(),
            retained: Retained::new(settings.retention, stored, last_epoch, now),
            drained: BTreeSet::new(),
            is_draining: false,
            has_tried_last: false,
            has_swept: false,
            requests: Vec::new(),
            stops: Vec::new(),
            history: History::default(),
            attempt,
        }
    }

    /// Takes an event in; the effects are to be carried out in their order. `now` is of the steady clock.
    pub fn on(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Running => {
                self.is_running = true;
                // What a failure held up has waited long enough, and while the sources have read little the cut is quick.
                let first_after = if self.is_restored() { Duration::ZERO } else { self.settings.interval };
                self.due = now.saturating_add(first_after);
                self.repeat_completions(&mut effects);
            }
            Event::Adopted { under_way } => {
                self.is_running = true;
                // The last one is long ago.
                self.due = now;
                self.repeat_completions(&mut effects);
                effects.extend(under_way.map(|checkpoint| Effect::Abort {
                    checkpoint,
                    reason: "the jobmanager that had triggered it is gone".to_owned(),
                }));
            }
            Event::Acknowledged { checkpoint, subtask, snapshot, cost } => {
                let Some(pending) = self.pending.as_mut().filter(|pending| pending.barrier.checkpoint == checkpoint)
                else {
                    return effects;
                };
                if pending.acknowledge(&self.attempt, subtask, snapshot) {
                    self.history.add_cost(checkpoint, cost);
                    self.store_if_acknowledged(now, &mut effects);
                }
            }
            Event::Declined { checkpoint, subtask, reason } => {
                let stage = subtask.stage;
                let reason = format!("subtask {} of stage {stage} declined: {reason}", subtask.index);
                self.abort(now, checkpoint, reason, &mut effects);
            }
            Event::Stored { checkpoint } => self.complete(now, checkpoint, &mut effects),
            Event::NotStored { checkpoint, reason } => {
                self.abort(now, checkpoint, format!("its manifest was not stored: {reason}"), &mut effects);
            }
            Event::Published { epoch } => self.on_published(now, epoch, &mut effects),
            Event::SourceDrained { subtask } => {
                if self.attempt.sources.contains(&subtask) {
                    self.drained.insert(subtask);
                }
            }
            Event::Requested(request) => self.on_request(request, &mut effects),
            Event::Ended { reason } => self.end(&reason, &mut effects),
            Event::Tick => self.expire(now, &mut effects),
        }
        self.trigger_if_due(now, &mut effects);
        self.discard(&mut effects);
        effects
    }

    /// The last checkpoints, the latest first.
    pub fn history(&self) -> impl Iterator<Item = &Entry> {
        self.history.entries().rev()
    }

    /// The last completed checkpoint of the job, of an earlier attempt too.
    pub fn last_completed(&self) -> CheckpointId {
        self.last_completed
    }

    /// The epoch that the sink shows, as far as is known.
    pub fn published(&self) -> CheckpointId {
        self.published
    }

    /// The checkpoint that is on its way.
    pub fn pending(&self) -> Option<CheckpointId> {
        self.pending.as_ref().map(|pending| pending.barrier.checkpoint)
    }

    /// How many tasks have still to acknowledge it; 0 while its manifest is being stored.
    pub fn missing_acknowledgements(&self) -> Option<usize> {
        self.pending.as_ref().map(|pending| pending.missing(&self.attempt))
    }

    /// The completed epochs that are not known to be published, oldest first.
    pub fn unpublished(&self) -> &[SealedEpoch] {
        &self.unpublished
    }

    /// The manifests that are stored and kept, oldest first.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.retained.manifests()
    }

    /// Whether the attempt gets on, now that this checkpoint is complete. The one that a restored attempt begins with proves nothing: a
    /// record that kills the job may be the next one.
    pub fn is_progress(&self, checkpoint: CheckpointId) -> bool {
        !(self.is_restored() && checkpoint == CheckpointId::new(self.attempt.token, 1))
    }

    /// Whether it began with a checkpoint.
    fn is_restored(&self) -> bool {
        !self.attempt.splits.is_empty()
    }

    /// Whether the last checkpoint of a job that ends is complete.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Checks what must always hold: the unpublished epochs lead, one behind the other, from the published epoch to the last
    /// completed one, and ids only grow.
    ///
    /// # Errors
    /// With what does not hold: a bug of ours.
    pub fn check(&self) -> Result<(), BrokenInvariant> {
        let mut at = self.published;
        for epoch in &self.unpublished {
            if epoch.prev != at || epoch.epoch <= at {
                return Err(BrokenInvariant { epoch: epoch.epoch, follows: epoch.prev, expected: at });
            }
            at = epoch.epoch;
        }
        match self.pending() {
            Some(pending) if pending <= at => Err(BrokenInvariant { epoch: pending, follows: at, expected: at }),
            Some(_) | None => Ok(()),
        }
    }

    /// The committer of an adopted attempt may not have heard of the last completions; that of a new one waits for this word
    /// that every task has its state before it publishes what a checkpoint left.
    fn repeat_completions(&self, effects: &mut Vec<Effect>) {
        let complete = |epoch: &SealedEpoch| Effect::Complete {
            checkpoint: epoch.epoch,
            prev: epoch.prev,
            accounts: epoch.accounts,
            cut: epoch.cut.clone(),
        };
        effects.extend(self.unpublished.iter().map(complete));
    }

    fn store_if_acknowledged(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let completed = self.wall(now);
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.is_acknowledged(&self.attempt)) else {
            return;
        };
        let mut manifest = pending.manifest(&self.attempt, &self.unpublished, completed);
        manifest.is_savepoint = pending.requests.iter().any(|request| request.kind.is_savepoint());
        pending.storing = Some(manifest.clone());
        effects.push(Effect::Store(Box::new(manifest)));
    }

    fn complete(&mut self, now: Timestamp, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        let is_it = |pending: &&mut Pending| pending.barrier.checkpoint == checkpoint;
        let Some(manifest) = self.pending.as_mut().filter(is_it).and_then(|pending| pending.storing.take()) else {
            return;
        };
        let Pending { barrier, requests, .. } = self.pending.take().expect("it was just found");
        let (prev, accounts) = (barrier.prev, manifest.accounts);
        let bytes = manifest.file_refs().map(|file| file.bytes).sum();
        self.history.complete(checkpoint, self.wall(now), bytes, accounts);
        self.last_completed = checkpoint;
        self.is_over = barrier.is_last;
        let cut = manifest.pending.last().and_then(|epoch| epoch.cut.clone());
        self.unpublished.extend(manifest.pending.last().cloned());
        let positions: Vec<Split> = manifest.splits.iter().map(|split| split.split.clone()).collect();
        self.retained.add(manifest, now);
        effects.push(Effect::Complete { checkpoint, prev, accounts, cut });
        effects.push(Effect::CommitPositions(positions));
        for request in requests {
            match request.kind {
                RequestKind::Stop | RequestKind::Drain => self.stops.push((checkpoint, request)),
                RequestKind::Checkpoint | RequestKind::Savepoint => {
                    effects.push(Effect::Answer { number: request.number, result: Ok(checkpoint) });
                }
            }
        }
        if self.is_over {
            self.refuse_all("the job has ended with its last checkpoint", effects);
        }
    }

    fn abort(&mut self, now: Timestamp, checkpoint: CheckpointId, reason: String, effects: &mut Vec<Effect>) {
        let Some(pending) = self.pending.take_if(|pending| pending.barrier.checkpoint == checkpoint) else { return };
        self.history.abort(checkpoint, self.wall(now), &reason);
        for request in pending.requests {
            match request.kind {
                // The sources are drained: there is no way back, so it is tried again.
                RequestKind::Drain => self.requests.push(request),
                RequestKind::Checkpoint | RequestKind::Savepoint | RequestKind::Stop => {
                    effects.push(Effect::Answer { number: request.number, result: Err(reason.clone()) });
                }
            }
        }
        effects.push(Effect::Abort { checkpoint, reason });
        // What is wrong now is hardly mended at once.
        self.due = self.due.max(now.saturating_add(self.settings.interval));
    }

    fn on_published(&mut self, now: Timestamp, epoch: CheckpointId, effects: &mut Vec<Effect>) {
        if epoch <= self.published {
            return;
        }
        self.published = epoch;
        self.unpublished.retain(|sealed| sealed.epoch > epoch);
        self.retained.on_published(epoch, now);
        self.history.publish(epoch);
        let (published, waiting) = std::mem::take(&mut self.stops).into_iter().partition(|(stop, _)| *stop <= epoch);
        self.stops = waiting;
        let published: Vec<(CheckpointId, Request)> = published;
        let answer = |(checkpoint, request): (CheckpointId, Request)| Effect::Answer {
            number: request.number,
            result: Ok(checkpoint),
        };
        effects.extend(published.into_iter().map(answer));
        // Not before: an epoch of our own proves that nobody has taken the sink over, and ends what an older attempt might continue.
        if epoch.token() == self.attempt.token && !std::mem::replace(&mut self.has_swept, true) {
            effects.push(Effect::Sweep { below: self.attempt.token });
        }
    }

    fn on_request(&mut self, request: Request, effects: &mut Vec<Effect>) {
        if self.is_over {
            let result = Err("the job has ended with its last checkpoint".to_owned());
            return effects.push(Effect::Answer { number: request.number, result });
        }
        if request.kind == RequestKind::Drain && !std::mem::replace(&mut self.is_draining, true) {
            effects.push(Effect::Drain);
        }
        self.requests.push(request);
    }

    fn end(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        self.is_running = false;
        if let Some(pending) = self.pending.take() {
            self.requests.extend(pending.requests);
        }
        let stops = std::mem::take(&mut self.stops);
        self.requests.extend(stops.into_iter().map(|(_, request)| request));
        self.refuse_all(reason, effects);
    }

    fn refuse_all(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        let refuse = |request: Request| Effect::Answer { number: request.number, result: Err(reason.to_owned()) };
        effects.extend(self.requests.drain(..).map(refuse));
    }

    fn expire(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_late = |pending: &Pending| pending.storing.is_none() && now >= pending.deadline;
        let late = self.pending.as_ref().filter(|pending| is_late(pending));
        if let Some(checkpoint) = late.map(|pending| pending.barrier.checkpoint) {
            let reason = format!("it was not complete within {:?}", self.settings.timeout);
            self.abort(now, checkpoint, reason, effects);
        }
    }

    fn trigger_if_due(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.is_running || self.is_over || self.pending.is_some() {
            return;
        }
        let is_drained = self.drained.len() == self.attempt.sources.len();
        let is_new = |request: &Request| request.kind != RequestKind::Drain;
        // After a last one that failed, the next comes at its time.
        let is_first_last = is_drained && !self.has_tried_last;
        if now >= self.due || is_first_last || self.requests.iter().any(is_new) {
            self.trigger(now, is_drained, effects);
        }
    }

    fn trigger(&mut self, now: Timestamp, is_drained: bool, effects: &mut Vec<Effect>) {
        let is_served = |request: &Request| is_drained || request.kind != RequestKind::Drain;
        let (served, waiting) = std::mem::take(&mut self.requests).into_iter().partition(is_served);
        self.requests = waiting;
        let served: Vec<Request> = served;
        self.sequence += 1;
        let barrier = Barrier {
            checkpoint: CheckpointId::new(self.attempt.token, self.sequence),
            prev: self.last_completed,
            triggered: self.wall(now),
            is_full: served.iter().any(|request| request.kind.is_savepoint()),
            is_last: is_drained || served.iter().any(|request| request.kind == RequestKind::Stop),
        };
        self.has_tried_last |= barrier.is_last;
        self.history.begin(barrier.checkpoint, barrier.triggered, barrier.is_full);
        self.pending = Some(Pending::new(barrier, served, now.saturating_add(self.settings.timeout)));
        self.due = now.saturating_add(self.settings.interval);
        effects.push(Effect::Trigger(barrier));
    }

    fn discard(&mut self, effects: &mut Vec<Effect>) {
        if let Some(Removable { checkpoints, files }) = self.retained.take_removable() {
            effects.push(Effect::Discard { checkpoints, files });
        }
    }

    fn wall(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.attempt.wall_offset_ms))
    }
}

impl RequestKind {
    /// Whether the user owns what comes of it.
    pub fn is_savepoint(self) -> bool {
        match self {
            RequestKind::Checkpoint => false,
            RequestKind::Savepoint | RequestKind::Stop | RequestKind::Drain => true,
        }
    }
}
