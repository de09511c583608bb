//! The thread that publishes: one epoch after the other, each until it is visible.
//!
//! A publisher blocks, for as long as the sink does; on a thread of its own it holds up nobody. It is told by a queue of
//! one epoch and answers into the committer's mailbox. Dropping its handle stops it between two tries.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use stream_core::checkpoint::SealedEpoch;
use stream_core::row::RowBatch;
use stream_core::table::Schemas;
use stream_runtime::clock::Clock;
use stream_runtime::connector::{PublishError, Publisher, RowChunks, cause_chain};
use stream_runtime::retry::Backoff;
use stream_runtime::store::{StoreError, StoreErrorKind};

use crate::counters::Counters;
use crate::recorders::JobRecorders;
use crate::snapshotting::JobFiles;
use crate::subtask::TaskError;
use crate::subtask::mail::{Letter, Mailbox};
use crate::subtask::spans::SubtaskSpans;
use stream_core::epochs::Piece;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(5);

/// Opens a publisher, on the thread that will use it.
pub(super) type Open = Box<dyn FnOnce() -> Result<Box<dyn Publisher>, TaskError> + Send>;

/// Where the thread tells what became of an epoch.
pub(super) struct Teller {
    /// The committer.
    pub(super) mailbox: Arc<Mailbox>,
    /// What cannot be published, and why.
    pub(super) counters: Arc<Counters>,
    /// How long it took.
    pub(super) recorders: JobRecorders,
    /// The same, within the checkpoint's trace.
    pub(super) spans: Option<SubtaskSpans>,
    /// For that.
    pub(super) clock: Arc<dyn Clock>,
}

/// The committer's end of the publishing thread.
pub(super) struct PublishingThread {
    jobs: Option<SyncSender<Job>>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Publish(SealedEpoch, Vec<Piece>),
    Finish,
}

/// Told once, waited for by a thread that would try again.
#[derive(Default)]
struct Stop {
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

impl PublishingThread {
    /// Starts the thread and waits until its publisher is open.
    ///
    /// # Errors
    /// If there is no thread, or the publisher cannot be opened.
    pub(super) fn start(
        name: &str,
        open: Open,
        files: Option<JobFiles>,
        schemas: Schemas,
        teller: Teller,
    ) -> Result<Self, TaskError> {
        // One epoch at a time, so that what follows waits where it can be counted.
        let (jobs, queued) = sync_channel(1);
        let (opened_sender, opened) = sync_channel(1);
        let stop = Arc::new(Stop::default());
        let stop_of_thread = Arc::clone(&stop);
        let task = tracing::Span::current();
        let body = move || {
            let _entered = task.entered();
            let publisher = match open() {
                Ok(publisher) => publisher,
                Err(error) => return drop(opened_sender.send(Err(error))),
            };
            if opened_sender.send(Ok(())).is_ok() {
                Publishing { publisher, files, schemas, teller, stop: stop_of_thread }.run(&queued);
            }
        };
        let thread = std::thread::Builder::new().name(format!("{name}-pub")).spawn(body).map_err(TaskError::Thread)?;
        let handle = PublishingThread { jobs: Some(jobs), stop, thread: Some(thread) };
        opened.recv().unwrap_or_else(|_| Err(TaskError::Panicked("opening the sink; see the log".to_owned())))?;
        Ok(handle)
    }

    /// Publishes an epoch. To be called when the one before it is answered.
    pub(super) fn publish(&self, epoch: SealedEpoch, pieces: Vec<Piece>) {
        self.send(Job::Publish(epoch, pieces));
    }

    /// Nothing will follow: the sink gets its final form. Answered like an epoch.
    pub(super) fn finish(&self) {
        self.send(Job::Finish);
    }

    /// Whether the thread has ended, by which it would never answer.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // A thread that is gone has told why, or panicked, which the committer sees.
            let _ = jobs.try_send(job);
        }
    }
}

impl Drop for PublishingThread {
    fn drop(&mut self) {
        self.stop.tell();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was logged; what it leaves undone the ledger undoes.
            let _ = thread.join();
        }
    }
}

struct Publishing {
    publisher: Box<dyn Publisher>,
    files: Option<JobFiles>,
    schemas: Schemas,
    teller: Teller,
    stop: Arc<Stop>,
}

impl Publishing {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Publish(epoch, pieces) => {
                    let began = self.teller.clock.monotonic();
                    let Some(result) = self.publish(&epoch, &pieces) else { return };
                    let has_failed = result.is_err();
                    self.teller.tell(&epoch, began, result);
                    if has_failed {
                        return;
                    }
                }
                Job::Finish => {
                    let finished = self.publisher.finish();
                    return self.teller.mailbox.put(Letter::Finished(finished.map_err(TaskError::from)));
                }
            }
        }
    }

    /// Publishes until it works or cannot; nothing if it was stopped.
    fn publish(&mut self, epoch: &SealedEpoch, pieces: &[Piece]) -> Option<Result<(), PublishError>> {
        // Whatever the sink logs meanwhile is about this checkpoint.
        let _publication = tracing::error_span!("publish", checkpoint = %epoch.epoch).entered();
        let mut backoff = Backoff::new(FIRST_RETRY, MAX_RETRY);
        let mut was_told = false;
        loop {
            let (files, schemas) = (self.files.as_ref(), &self.schemas);
            let mut rows = EpochRows { pieces, left: pieces.iter(), files, schemas };
            let error = match self.publisher.publish(epoch, &mut rows) {
                Ok(_) => {
                    if was_told {
                        self.teller.counters.set_trouble(String::new());
                        tracing::info!(rows = epoch.rows.total(), "published after all");
                    }
                    return Some(Ok(()));
                }
                Err(error) if is_passing(&error) => error,
                Err(error) => return Some(Err(error)),
            };
            let reason = cause_chain(&error).join(": ");
            self.teller.counters.set_trouble(reason.clone());
            self.teller.counters.add_publish_failure();
            if !std::mem::replace(&mut was_told, true) {
                tracing::warn!(reason, "cannot publish now: trying on, while the job goes on");
            }
            if self.stop.wait(backoff.next_wait()) {
                return None;
            }
        }
    }
}

impl Teller {
    fn tell(&self, epoch: &SealedEpoch, began: Duration, result: Result<(), PublishError>) {
        let (took, rows) = (self.clock.monotonic().saturating_sub(began), epoch.rows.total());
        let failure = result.as_ref().err().map(|error| cause_chain(error).join(": "));
        if failure.is_none() {
            self.recorders.on_published(took, rows);
        }
        if let Some(spans) = &self.spans {
            spans.tell_publication(epoch.epoch, took, rows, failure.as_deref());
        }
        self.mailbox.put(Letter::Published(result.map(|()| epoch.epoch).map_err(TaskError::from)));
    }
}

fn is_passing(error: &PublishError) -> bool {
    match error {
        PublishError::Passing(_) => true,
        PublishError::Rows(error) => error.kind == StoreErrorKind::Unavailable,
        PublishError::Fenced { .. } | PublishError::WentBack { .. } | PublishError::Final(_) => false,
    }
}

/// An epoch's rows, from memory where they are still there.
struct EpochRows<'a> {
    pieces: &'a [Piece],
    left: std::slice::Iter<'a, Piece>,
    files: Option<&'a JobFiles>,
    schemas: &'a Schemas,
}

impl RowChunks for EpochRows<'_> {
    fn next_chunk(&mut self) -> Result<Option<Arc<RowBatch>>, StoreError> {
        let Some(piece) = self.left.next() else { return Ok(None) };
        if let Some(rows) = &piece.rows {
            return Ok(Some(Arc::clone(rows)));
        }
        let (Some(files), Some(file)) = (self.files, &piece.file) else {
            unreachable!("rows leave memory only once they are stored")
        };
        files.read_rows(file, self.schemas).map(|rows| Some(Arc::new(rows)))
    }

    fn rewind(&mut self) {
        self.left = self.pieces.iter();
    }
}

impl Stop {
    fn tell(&self) {
        *self.is_stopped.lock().expect(NO_PANIC) = true;
        self.stopped.notify_all();
    }

    /// Waits; whether it is to stop.
    fn wait(&self, max_wait: Duration) -> bool {
        let is_stopped = self.is_stopped.lock().expect(NO_PANIC);
        *self.stopped.wait_timeout_while(is_stopped, max_wait, |is_stopped| !*is_stopped).expect(NO_PANIC).0
    }
}

const NO_PANIC: &str = "no code panics while it holds the stop flag";
