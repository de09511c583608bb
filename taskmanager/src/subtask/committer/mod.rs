//! The committer, the only subtask of the sink stage: rows in, whole epochs out to the sink, each once.
//!
//! Rows are stored as they come. A barrier on all inputs seals them into an epoch, which is acknowledged once it is stored
//! and published once its checkpoint is complete, by a thread of its own ([`publishing`]); how far that is behind never
//! keeps this subtask from taking input. What is gathered, sealed and published is [`stream_core::epochs`]' bookkeeping.

mod due;
mod publishing;

use std::sync::Arc;
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{FileRef, SealedEpoch, TaskSnapshot};
use stream_core::ids::{CheckpointId, TableIndex, Token};
use stream_core::row::RowBatch;
use stream_core::table::Schemas;
use stream_core::watermark::{Progress, Valve};
use stream_runtime::clock::Clock;
use stream_runtime::fail_point::{self, Point};
use stream_runtime::store::StoreError;
use telemetry::Spread;

use crate::counters::Counters;
use crate::exchange::gate::{Gate, Input};
use crate::exchange::message::Message;
use crate::recorders::JobRecorders;
use crate::snapshotting::JobFiles;
use crate::subtask::aligning::{Aligned, Aligner};
use crate::subtask::committer::due::DueRows;
use crate::subtask::committer::publishing::{Open, PublishingThread, Teller as PublicationTeller};
use crate::subtask::event::{Acknowledgement, Change, Teller};
use crate::subtask::mail::{Letter, Mailbox};
use crate::subtask::sampling::FollowedRows;
use crate::subtask::{Step, Subtask, TaskError};
use stream_core::epochs::Epochs;

/// Stored rows that stay in memory until they are published. Above it they are read back.
const MEMORY_BUDGET: u64 = 64 << 20;
/// Rows that wait to be stored. Above it no input is taken: it is the store, not the sink, that does not follow.
const UNSTORED_LIMIT: u64 = 64 << 20;
/// How long after a failure rows are handed to the store again, if no barrier comes first.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The only copy of the sink stage.
pub(crate) struct Committer {
    gate: Arc<Gate>,
    valve: Valve,
    aligner: Aligner,
    open_inputs: usize,
    epochs: Epochs,
    publishing: PublishingThread,
    state: State,
    has_publishing_ended: bool,
    files: Option<JobFiles>,
    token: Token,
    /// The epoch that was sealed last, or published before the attempt.
    last_epoch: CheckpointId,
    retry_store_at: Option<Duration>,
    rows_published: u64,
    /// Of the epochs that are sealed and not acknowledged: alignment, and when they were sealed.
    alignments: Vec<(CheckpointId, Duration, Duration)>,
    due: DueRows,
    followed: FollowedRows,
    recorders: JobRecorders,
    mailbox: Arc<Mailbox>,
    teller: Teller,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

/// What the publishing thread is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Publishing,
    Finishing,
    Finished,
}

/// What a committer is made of.
pub(crate) struct CommitterParts {
    /// Its name, for the publishing thread.
    pub(crate) name: String,
    /// Where rows come from.
    pub(crate) gate: Arc<Gate>,
    /// How many inputs the gate has.
    pub(crate) inputs: usize,
    /// Opens the publisher.
    pub(crate) open: Open,
    /// The columns of the sink's tables.
    pub(crate) schemas: Schemas,
    /// Where rows are stored, if anywhere.
    pub(crate) files: Option<JobFiles>,
    /// The attempt's, for the names of its files.
    pub(crate) token: Token,
    /// The epoch published last.
    pub(crate) last_epoch: CheckpointId,
    /// Epochs behind it, from the checkpoint that the attempt began with.
    pub(crate) pending: Vec<SealedEpoch>,
    /// Where completions and the rest come from.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Where acknowledgements go.
    pub(crate) teller: Teller,
    /// For alignment.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where publications are recorded.
    pub(crate) recorders: JobRecorders,
    /// This subtask's.
    pub(crate) counters: Arc<Counters>,
}

impl Committer {
    /// A committer with its publisher open.
    ///
    /// # Errors
    /// If the publisher cannot be opened.
    pub(crate) fn start(parts: CommitterParts) -> Result<Self, TaskError> {
        let CommitterParts { gate, inputs, files, mailbox, clock, .. } = parts;
        let publishing = PublishingThread::start(
            &parts.name,
            parts.open,
            files.clone(),
            parts.schemas,
            PublicationTeller {
                mailbox: Arc::clone(&mailbox),
                counters: Arc::clone(&parts.counters),
                recorders: parts.recorders.clone(),
                spans: parts.teller.spans().cloned(),
                clock: Arc::clone(&clock),
            },
        )?;
        Ok(Committer {
            aligner: Aligner::new(inputs, Arc::clone(&gate), Arc::clone(&clock)),
            gate,
            valve: Valve::new(inputs),
            open_inputs: inputs,
            epochs: Epochs::new(files.is_some(), MEMORY_BUDGET, parts.pending),
            publishing,
            state: State::Idle,
            has_publishing_ended: false,
            files,
            token: parts.token,
            last_epoch: parts.last_epoch,
            retry_store_at: None,
            rows_published: 0,
            alignments: Vec::new(),
            due: DueRows::new(inputs),
            followed: FollowedRows::default(),
            recorders: parts.recorders,
            mailbox,
            teller: parts.teller,
            clock,
            counters: parts.counters,
        })
    }
}

impl Subtask for Committer {
    fn step(&mut self) -> Result<Step, TaskError> {
        self.read_mail()?;
        if self.retry_store_at.is_some_and(|at| self.clock.monotonic() >= at) {
            self.store_chunks();
        }
        self.check_publishing()?;
        self.publish_next();
        self.counters.set_unpublished_bytes(self.epochs.unpublished_bytes());
        if self.state == State::Finished {
            return Ok(Step::Finished);
        }
        if self.is_store_behind() {
            return Ok(Step::Backpressured);
        }
        match self.gate.try_pop()? {
            Input::Empty => return Ok(Step::AwaitingInput),
            Input::Closed => return Ok(Step::Closed),
            Input::Message(channel, Message::Rows(rows)) => self.on_rows(channel, rows),
            Input::Message(channel, Message::Progress(progress)) => self.on_progress(channel, progress),
            Input::Message(channel, Message::Barrier(barrier)) => {
                let aligned = self.aligner.on_barrier(channel, barrier);
                self.on_aligned(aligned);
            }
            Input::Message(_, Message::Traced(traced)) => self.followed.add(traced.place, self.clock.monotonic()),
            Input::Message(channel, Message::End) => self.on_end(channel)?,
            Input::Message(_, Message::Events(_)) => return Err(TaskError::UnexpectedMessage("events")),
        }
        Ok(Step::WORKED)
    }

    fn wait_for_input(&self, max_wait: Duration) {
        self.gate.wait_for_input(max_wait);
    }

    /// A committer sends nothing; what it waits for is that the store takes its rows, which the mail tells.
    fn wait_for_room(&self, max_wait: Duration) {
        self.mailbox.wait(max_wait);
    }
}

impl Committer {
    fn read_mail(&mut self) -> Result<(), TaskError> {
        for letter in self.mailbox.take() {
            match letter {
                Letter::Completed { checkpoint, prev, accounts, cut } => {
                    fail_point::reach(Point::CompletionReceived);
                    self.epochs.complete(checkpoint, prev, accounts, cut);
                }
                Letter::Stored { ticket, result } => self.on_stored(ticket, result),
                Letter::Published(published) => self.on_published(published?),
                Letter::Finished(finished) => {
                    finished?;
                    self.state = State::Finished;
                }
                Letter::Aborted(checkpoint) => self.aligner.abort(checkpoint),
                Letter::Orphaned(is_orphaned) => self.aligner.set_orphaned(is_orphaned),
                Letter::Splits(_) | Letter::Trigger(_) | Letter::Pause(_) | Letter::Pace(_) | Letter::Drain => {}
                Letter::Answered { .. } | Letter::Query { .. } | Letter::Blocks { .. } => {}
            }
        }
        Ok(())
    }

    fn on_rows(&mut self, channel: usize, rows: RowBatch) {
        if rows.table() == TableIndex::RESULT {
            self.due.on_rows(channel, rows.rows());
            self.counters.add_in(rows.rows(), rows.as_bytes().len() as u64);
        }
        if self.epochs.gather(rows) {
            self.store_chunks();
        }
    }

    fn on_progress(&mut self, channel: usize, progress: Progress) {
        if let Progress::Active(watermark) = progress {
            self.due.on_watermark(channel, watermark);
        }
        if let Some(Progress::Active(watermark)) = self.valve.on_progress(channel, progress) {
            self.counters.set_watermark(watermark);
        }
    }

    fn on_aligned(&mut self, aligned: Option<Aligned>) {
        let Some(Aligned { barrier, alignment }) = aligned else { return };
        self.seal(barrier, alignment);
    }

    fn seal(&mut self, barrier: Barrier, alignment: Duration) {
        self.epochs.seal(barrier);
        self.last_epoch = barrier.checkpoint;
        self.due.seal(barrier.checkpoint);
        self.followed.seal(barrier.checkpoint);
        self.alignments.push((barrier.checkpoint, alignment, self.clock.monotonic()));
        fail_point::reach(Point::SnapshotTaken);
        self.store_chunks();
        self.acknowledge();
    }

    fn store_chunks(&mut self) {
        self.retry_store_at = None;
        let Some(files) = &self.files else { return };
        for (ticket, rows) in self.epochs.take_unstored() {
            files.store_rows(self.token, self.last_epoch, rows, ticket, Arc::clone(&self.mailbox));
        }
    }

    fn on_stored(&mut self, ticket: u64, result: Result<FileRef, StoreError>) {
        if let Err(error) = &result {
            tracing::warn!(reason = %error, "cannot store rows now: trying again");
            self.retry_store_at = Some(self.clock.monotonic() + STORE_RETRY);
        }
        if let Some((checkpoint, reason)) = self.epochs.on_stored(ticket, result.map_err(|error| error.message)) {
            self.teller.tell(Change::Declined { checkpoint, reason });
        }
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        for part in self.epochs.take_acknowledged() {
            let written_bytes = part.files.iter().map(|file| file.bytes).sum();
            let place = self.alignments.iter().position(|(epoch, ..)| *epoch == part.epoch);
            let alignment = place.map_or(Duration::ZERO, |place| self.alignments[place].1);
            if let (Some(place), Some(spans)) = (place, self.teller.spans()) {
                let storing = self.clock.monotonic().saturating_sub(self.alignments[place].2);
                spans.tell_snapshot(part.epoch, &[("align", alignment), ("upload", storing)], None);
            }
            // Those before it were aborted, or they would have been acknowledged.
            self.alignments.retain(|(epoch, ..)| *epoch > part.epoch);
            fail_point::reach(Point::AcknowledgementDue);
            self.teller.tell(Change::Acknowledged(Acknowledgement {
                checkpoint: part.epoch,
                snapshot: TaskSnapshot::Sink { files: part.files, rows: part.rows },
                written_bytes,
                pause: Duration::ZERO,
                alignment,
                arrivals: Spread::default(),
            }));
        }
    }

    /// A publishing thread that has ended without an answer has panicked. Whatever it answered was answered before it ended:
    /// what is not in the mail that is read after that will never come.
    fn check_publishing(&mut self) -> Result<(), TaskError> {
        let is_awaited = matches!(self.state, State::Publishing | State::Finishing);
        if is_awaited && std::mem::replace(&mut self.has_publishing_ended, self.publishing.has_ended()) {
            return Err(TaskError::Panicked("publishing; see the log".to_owned()));
        }
        Ok(())
    }

    fn publish_next(&mut self) {
        let is_over = self.open_inputs == 0 && self.epochs.are_published();
        match (self.state, self.epochs.next_ready()) {
            (State::Idle, Some(ready)) => {
                self.publishing.publish(ready.epoch.clone(), ready.pieces.clone());
                self.state = State::Publishing;
            }
            (State::Idle, None) if is_over => {
                self.publishing.finish();
                self.state = State::Finishing;
            }
            _ => {}
        }
    }

    fn on_published(&mut self, epoch: CheckpointId) {
        fail_point::reach(Point::PublicationKnown);
        self.rows_published += self.epochs.on_published();
        self.counters.set_records_out(self.rows_published);
        self.state = State::Idle;
        for due in self.due.on_published(epoch) {
            self.recorders.on_visible(&due, self.clock.now());
        }
        self.followed.on_published(epoch, self.clock.monotonic(), self.teller.spans());
        self.teller.tell(Change::Published(epoch));
        if epoch.token() < self.token {
            fail_point::reach(Point::EarlierEpochPublished);
        }
    }

    fn on_end(&mut self, channel: usize) -> Result<(), TaskError> {
        self.open_inputs = self.open_inputs.saturating_sub(1);
        let aligned = self.aligner.on_end(channel);
        self.on_aligned(aligned);
        if self.open_inputs == 0 && !self.aligner.has_seen_last() {
            return Err(TaskError::EndedBeforeLast);
        }
        Ok(())
    }

    fn is_store_behind(&self) -> bool {
        self.epochs.unstored_bytes() > UNSTORED_LIMIT
    }
}

#[cfg(test)]
mod tests;
