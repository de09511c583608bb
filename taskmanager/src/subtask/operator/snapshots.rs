//! The snapshots of one operator subtask: begun at a barrier, copied between steps, stored in the background.

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Chain, FileRef, OperatorSnapshot, TaskSnapshot};
use stream_core::collector::Collector;
use stream_core::ids::{CheckpointId, SubtaskId};
use stream_core::key_group::KeyGroupRange;
use stream_core::operator::{Operator, OperatorCounters};
use stream_core::snapshot::{KeyedSnapshot, SnapshotKind, copy_slice};
use stream_core::watermark::Watermark;
use stream_runtime::clock::Clock;
use stream_runtime::fail_point::{self, Point};
use stream_runtime::store::StoreError;
use telemetry::Spread;

use crate::counters::Counters;
use crate::snapshotting::JobFiles;
use crate::subtask::event::{Acknowledgement, Change, Teller};
use crate::subtask::mail::Mailbox;

/// How long a slice of a snapshot may hold up the next batch. A million keys are copied within some thousand slices.
const SLICE: Duration = Duration::from_micros(100);

/// Takes an operator's snapshots. One at a time.
pub(super) struct Snapshots {
    subtask: SubtaskId,
    key_groups: KeyGroupRange,
    /// Where state is stored, if anywhere.
    files: Option<JobFiles>,
    chain: Chain,
    stage: Stage,
    last_ticket: u64,
    counters: Arc<Counters>,
    mailbox: Arc<Mailbox>,
    teller: Teller,
    clock: Arc<dyn Clock>,
}

/// Where a snapshot is.
enum Stage {
    /// There is none.
    Idle,
    /// It was begun, and memory to copy the state into is being prepared.
    Preparing(Cut),
    /// The operator copies its state.
    Copying(Cut),
    /// The copy is on its way to the store.
    Storing(Cut, u64),
}

/// What was so at the barrier.
struct Cut {
    checkpoint: CheckpointId,
    kind: SnapshotKind,
    watermark: Watermark,
    by_clock: Watermark,
    counters: OperatorCounters,
    alignment: Duration,
    pause: Duration,
    /// When it began, and when all was copied, by the steady clock.
    began: Duration,
    copied: Duration,
}

/// What snapshots are taken with.
pub(crate) struct SnapshotParts {
    /// Whose.
    pub(crate) subtask: SubtaskId,
    /// What it owns.
    pub(crate) key_groups: KeyGroupRange,
    /// Where state is stored, if anywhere.
    pub(crate) files: Option<JobFiles>,
    /// What the first snapshot goes on from.
    pub(crate) chain: Chain,
    /// Where uploads answer.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Where acknowledgements go.
    pub(crate) teller: Teller,
    /// For the pause.
    pub(crate) clock: Arc<dyn Clock>,
    /// The subtask's.
    pub(crate) counters: Arc<Counters>,
}

impl Snapshots {
    /// None yet.
    pub(super) fn new(parts: SnapshotParts) -> Self {
        let SnapshotParts { subtask, key_groups, files, chain, mailbox, teller, clock, counters } = parts;
        let stage = Stage::Idle;
        Snapshots { subtask, key_groups, files, chain, stage, last_ticket: 0, counters, mailbox, teller, clock }
    }

    /// Begins the snapshot of a barrier that came on every input, at a watermark of which the clock made so much, behind the operator's last
    /// rows before it.
    pub(super) fn begin(
        &mut self,
        barrier: Barrier,
        alignment: Duration,
        (watermark, by_clock): (Watermark, Watermark),
        operator: &mut dyn Operator,
        out: &mut Collector,
    ) {
        let started = self.clock.monotonic();
        // Whatever becomes of the snapshot: the rows are the epoch's.
        operator.on_barrier(out);
        let mut cut = Cut {
            checkpoint: barrier.checkpoint,
            kind: self.chain.next_kind(barrier.is_full),
            watermark,
            by_clock,
            counters: operator.counters(),
            alignment,
            pause: self.clock.monotonic().saturating_sub(started),
            began: started,
            copied: started,
        };
        if self.files.is_none() {
            return self.acknowledge(cut, 0);
        }
        if let Stage::Storing(earlier, _) = &self.stage {
            // Nothing is lost: the next delta holds what this one would have held.
            let reason = format!("the state of checkpoint {} is still being stored", earlier.checkpoint);
            return self.teller.tell(Change::Declined { checkpoint: barrier.checkpoint, reason });
        }
        if let Stage::Preparing(_) | Stage::Copying(_) = &self.stage {
            // Its checkpoint was aborted, or there would be no other; what it had taken from the list of changes is lost.
            self.chain.lose();
            cut.kind = SnapshotKind::Full;
        }
        operator.begin_snapshot(cut.kind);
        cut.pause = self.clock.monotonic().saturating_sub(started);
        self.stage = match (operator.blocks_wanted(), &self.files) {
            (0, _) | (_, None) => Stage::Copying(cut),
            (count, Some(files)) => {
                files.prepare_blocks(cut.checkpoint, count, Arc::clone(&self.mailbox));
                Stage::Preparing(cut)
            }
        };
    }

    /// Memory is there to copy the state of a checkpoint into.
    pub(super) fn on_blocks(&mut self, checkpoint: CheckpointId, blocks: Vec<Vec<u8>>, operator: &mut dyn Operator) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Preparing(cut) if cut.checkpoint == checkpoint => {
                operator.lend(blocks);
                Stage::Copying(cut)
            }
            other => {
                // It was given up meanwhile.
                self.give_back(blocks);
                other
            }
        };
    }

    /// Whether there is a slice to copy.
    pub(super) fn is_copying(&self) -> bool {
        matches!(self.stage, Stage::Copying(_))
    }

    /// Copies a slice of the snapshot that was begun, if there is one.
    pub(super) fn continue_copying(&mut self, operator: &mut dyn Operator) {
        let Stage::Copying(cut) = &mut self.stage else { return };
        let started = self.clock.monotonic();
        let took = || self.clock.monotonic().saturating_sub(started);
        let snapshot = copy_slice(|keys| operator.continue_snapshot(keys), || took() >= SLICE);
        cut.pause = cut.pause.max(took());
        if let Some(snapshot) = snapshot {
            self.store(snapshot);
        }
    }

    /// A file that was handed out is stored, or is not.
    pub(super) fn on_stored(&mut self, ticket: u64, result: Result<FileRef, StoreError>) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Storing(cut, expected) if expected == ticket => match result {
                Ok(file) => {
                    let written_bytes = file.bytes;
                    self.chain.extend(cut.kind, Some(file));
                    self.acknowledge(cut, written_bytes);
                }
                Err(error) => {
                    self.chain.lose();
                    self.trace(&cut, Some(&error.message));
                    self.teller.tell(Change::Declined { checkpoint: cut.checkpoint, reason: error.message });
                }
            },
            other => self.stage = other,
        }
    }

    fn store(&mut self, mut snapshot: KeyedSnapshot) {
        self.give_back(std::mem::take(&mut snapshot.spare_blocks));
        let Stage::Copying(mut cut) = std::mem::replace(&mut self.stage, Stage::Idle) else { return };
        cut.copied = self.clock.monotonic();
        // An operator may take a full one unasked.
        cut.kind = snapshot.kind;
        fail_point::reach(Point::SnapshotTaken);
        let Some(files) = self.files.as_ref().filter(|_| !snapshot.sections.is_empty()) else {
            self.chain.extend(cut.kind, None);
            return self.acknowledge(cut, 0);
        };
        self.last_ticket += 1;
        files.store_state(cut.checkpoint, self.subtask, snapshot, self.last_ticket, Arc::clone(&self.mailbox));
        self.stage = Stage::Storing(cut, self.last_ticket);
    }

    fn give_back(&self, blocks: Vec<Vec<u8>>) {
        if let Some(files) = &self.files {
            files.give_back_blocks(blocks);
        }
    }

    fn acknowledge(&self, cut: Cut, written_bytes: u64) {
        let state = OperatorSnapshot {
            subtask: self.subtask,
            key_groups: self.key_groups,
            watermark: cut.watermark,
            by_clock: cut.by_clock,
            files: self.chain.files().to_vec(),
        };
        self.counters.set_state_bytes(self.chain.files().iter().map(|file| file.bytes).sum());
        self.trace(&cut, None);
        let OperatorCounters { late, fired_events: fired, open_events: open, .. } = cut.counters;
        fail_point::reach(Point::AcknowledgementDue);
        self.teller.tell(Change::Acknowledged(Acknowledgement {
            checkpoint: cut.checkpoint,
            snapshot: TaskSnapshot::Operator { state, late, fired, open },
            written_bytes,
            pause: cut.pause,
            alignment: cut.alignment,
            arrivals: Spread::default(),
        }));
    }

    fn trace(&self, cut: &Cut, failure: Option<&str>) {
        if let Some(spans) = self.teller.spans() {
            let (copying, storing) =
                (cut.copied.saturating_sub(cut.began), self.clock.monotonic().saturating_sub(cut.copied));
            spans.tell_snapshot(
                cut.checkpoint,
                &[("align", cut.alignment), ("copy", copying), ("upload", storing)],
                failure,
            );
        }
    }
}
