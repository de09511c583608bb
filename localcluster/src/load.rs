//! A file of JSON lines into a topic: line i to partition i mod N, so that each partition keeps the file's order.

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
/// # Errors
/// If the file cannot be read or the broker does not take it; what was sent before stays in the topic.
pub fn load(path: &Path, topic: &Topic, on_progress: &mut dyn FnMut(Progress)) -> Result<Progress, Error> {
    let mut reader = Reader::open(&file::splits(&path.to_string_lossy())?);
    let producer = topic.producer()?;
    let mut sending = Sending {
        producer: &producer,
        partitions: topic.partitions(),
        progress: Progress::default(),
        finished: false,
        failure: None,
    };
    while !sending.finished {
        reader.poll(POLL_WAIT, &mut sending)?;
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
    progress: Progress,
    finished: bool,
    failure: Option<kafka::Error>,
}

impl SourceVisitor for Sending<'_> {
    fn on_records(&mut self, _split: usize, records: &[Record<'_>], next_offset: u64) -> usize {
        for line in records.iter().filter_map(|record| record.payload) {
            if self.failure.is_some() {
                break;
            }
            let turn = usize::try_from(self.progress.lines).unwrap_or(usize::MAX) % self.partitions.len().max(1);
            self.failure = self.producer.send(self.partitions.get(turn).copied(), line).err();
            self.progress.lines += 1;
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
