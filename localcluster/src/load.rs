//! A file of JSON lines into a topic: line i to partition i mod N, so that each partition keeps the file's order.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use connectors::file::{self, Reader};
use connectors::kafka::{self, Producer};
use stream_core::operator::Record;
use stream_runtime::connector::{ConnectorError, SourceReader, SourceVisitor};

use crate::topic::{self, Topic};

/// How long the last messages may take.
const FLUSH_WITHIN: Duration = Duration::from_secs(60);

/// A file never has to be waited for; a pipe is looked at again this often.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// A file that could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or cannot be opened.
    #[error(transparent)]
    Open(#[from] file::Error),
    /// It could not be read to its end.
    #[error(transparent)]
    Read(#[from] ConnectorError),
    /// It has no lines.
    #[error("`{}` has no lines; nothing was sent", .0.display())]
    Empty(PathBuf),
    /// The topic cannot be produced to.
    #[error(transparent)]
    Topic(#[from] topic::Error),
    /// Kafka did not take the lines.
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
}

/// How far a load has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines sent.
    pub lines: u64,
    /// Bytes read, of the text if the file is compressed.
    pub bytes: u64,
    /// Bytes there are, as far as known.
    pub of_bytes: u64,
}

/// Sends every line of `path` (`.gz` and `.zst` are unpacked) and waits until the broker has them all. Blocks.
///
/// With `batch`, so many lines of a partition are sent in a row, as one batch of records: otherwise a batch has what comes within some
/// milliseconds, which is little where there are many partitions, and little makes each record dear to whoever reads it.
///
/// # Errors
/// If the file cannot be read or the broker does not take it; what was sent before stays in the topic.
pub fn load(
    path: &Path,
    topic: &Topic,
    batch: Option<NonZeroU16>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Progress, Error> {
    let mut reader = Reader::open(&file::splits(&path.to_string_lossy())?);
    let producer = match batch {
        Some(records) => topic.producer_in_batches(records)?,
        None => topic.producer()?,
    };
    let mut sending = Sending {
        producer: &producer,
        partitions: topic.partitions(),
        in_a_row: batch.map_or(1, |records| usize::from(records.get())),
        text: Vec::new(),
        ends: Vec::new(),
        progress: Progress::default(),
        finished: false,
        failure: None,
    };
    while !sending.finished {
        reader.poll(POLL_WAIT, &mut sending)?;
        if sending.finished {
            sending.send();
        }
        if let Some(failure) = sending.failure.take() {
            return Err(failure.into());
        }
        on_progress(sending.progress);
    }
    let progress = sending.progress;
    if progress.lines == 0 {
        return Err(Error::Empty(path.to_owned()));
    }
    producer.flush(FLUSH_WITHIN)?;
    Ok(progress)
}

struct Sending<'a> {
    producer: &'a Producer,
    partitions: &'a [i32],
    /// Lines of a partition that are sent one after the other.
    in_a_row: usize,
    /// Lines that are to be sent, so many of each partition at most.
    text: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    progress: Progress,
    finished: bool,
    failure: Option<kafka::Error>,
}

impl Sending<'_> {
    /// Sends the lines that were gathered, partition by partition.
    fn send(&mut self) {
        let Sending { producer, partitions, text, ends, .. } = self;
        'sending: for (place, &partition) in partitions.iter().enumerate() {
            for line in (place..ends.len()).step_by(partitions.len()) {
                let from = line.checked_sub(1).map_or(0, |before| ends[before]);
                if let Err(failure) = producer.send(Some(partition), &text[from..ends[line]]) {
                    self.failure = Some(failure);
                    break 'sending;
                }
            }
        }
        self.text.clear();
        self.ends.clear();
    }
}

impl SourceVisitor for Sending<'_> {
    fn on_records(&mut self, _split: usize, records: &[Record<'_>], next_offset: u64) -> usize {
        for line in records.iter().filter_map(|record| record.payload) {
            if self.failure.is_some() {
                break;
            }
            self.text.extend_from_slice(line);
            self.ends.push(self.text.len());
            self.progress.lines += 1;
            if self.ends.len() >= self.partitions.len() * self.in_a_row {
                self.send();
            }
        }
        self.progress.bytes = next_offset;
        records.len()
    }

    fn on_end_of_split_for_now(&mut self, _split: usize) {}

    fn on_split_finished(&mut self, _split: usize) {
        self.finished = true;
    }

    fn on_known_end(&mut self, _split: usize, end: u64) {
        self.progress.of_bytes = end;
    }
}
