//! What a task is told while it runs: by the service, by the uploads it began, by its publisher.
//!
//! Letters are few: what the jobmanager sends for each checkpoint, and one answer to each job or question that the task itself
//! handed out, of which it hands out a bounded number. A task takes them between steps.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::{Accounts, Cut, FileRef};
use stream_core::ids::CheckpointId;
use stream_core::operator::Answer;
use stream_core::pipeline::Split;
use stream_core::watermark::Watermark;
use stream_runtime::lookup::Answers;
use stream_runtime::store::StoreError;

use crate::exchange::gate::Gate;
use crate::subtask::TaskError;

/// One thing that a task is told. A task passes over what is not for its kind.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Sources: read these, too.
    Splits(Vec<Split>),
    /// Sources: send this barrier.
    Trigger(Barrier),
    /// A checkpoint is complete.
    Completed {
        /// Which.
        checkpoint: CheckpointId,
        /// The epoch before it.
        prev: CheckpointId,
        /// The accounts at its cut.
        accounts: Accounts,
        /// The cut.
        cut: Option<Cut>,
    },
    /// Nobody waits for a checkpoint any more.
    Aborted(CheckpointId),
    /// Sources: read no more for now, or go on.
    Pause(bool),
    /// Sources: how far the slowest split of the other source subtasks is.
    Pace(Watermark),
    /// Sources: end event time and read no more.
    Drain,
    /// Operators: answer a question about the state.
    Query {
        /// The number under which the answer is awaited.
        number: u64,
        /// The question, in the job's own form.
        query: String,
    },
    /// Whether there is a jobmanager. Without one nobody triggers the barriers that others wait for.
    Orphaned(bool),
    /// A file that the task handed out is stored, or is not.
    Stored {
        /// The number under which it was handed out.
        ticket: u64,
        /// The file.
        result: Result<FileRef, StoreError>,
    },
    /// Operators: memory to copy the state into.
    Blocks {
        /// Of which snapshot.
        checkpoint: CheckpointId,
        /// Empty, and each touched already.
        blocks: Vec<Vec<u8>>,
    },
    /// Operators: what was looked up.
    Answered {
        /// The question.
        key: Vec<u8>,
        /// The answer to it.
        answer: Answer,
    },
    /// The publisher is done with an epoch, or cannot go on.
    Published(Result<CheckpointId, TaskError>),
    /// The publisher gave the sink its final form, or could not.
    Finished(Result<(), TaskError>),
}

/// Where the letters of one task lie.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    arrived: Condvar,
    /// Where the task waits, unless it is a source.
    gate: Option<Arc<Gate>>,
}

impl Mailbox {
    /// An empty one, of a task that waits for input at `gate`.
    pub(crate) fn new(gate: Option<Arc<Gate>>) -> Self {
        Mailbox { gate, ..Mailbox::default() }
    }

    /// Leaves a letter, and wakes the task.
    pub(crate) fn put(&self, letter: Letter) {
        self.lock().push(letter);
        self.arrived.notify_one();
        if let Some(gate) = &self.gate {
            gate.call();
        }
    }

    /// Takes all letters, in their order.
    pub(crate) fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until there is a letter, `max_wait` at most.
    pub(crate) fn wait(&self, max_wait: Duration) {
        let letters = self.lock();
        drop(self.arrived.wait_timeout_while(letters, max_wait, |letters| letters.is_empty()).expect(NO_PANIC));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.letters.lock().expect(NO_PANIC)
    }
}

impl Answers for Mailbox {
    fn answer(&self, key: Vec<u8>, answer: Answer) {
        self.put(Letter::Answered { key, answer });
    }
}

const NO_PANIC: &str = "no code panics while it holds a mailbox";
