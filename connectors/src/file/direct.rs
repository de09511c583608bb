//! Publishes epochs to what keeps no ledger: standard output, `/dev/null`, a named pipe.
//!
//! A row is out as soon as it is written and nothing can take it back, so exactly once ends with the process. There is one
//! table.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::CheckpointId;
use stream_core::row::Column;
use stream_runtime::connector::{ConnectorError, PublishError, Published, Publisher, RowChunks};

use super::error::{Action, Error};
use super::publisher::publish_error;
use super::text::{BUFFER_BYTES, Format, RowText};
use crate::rows::EpochRows;

/// A publisher of CSV to standard output.
pub fn stdout(columns: &[Column]) -> Box<dyn Publisher> {
    let rows = RowText::new(Format::Csv, columns);
    Box::new(DirectPublisher::new(Output::Stdout, PathBuf::from("standard output"), rows))
}

/// Writes rows when they are published.
pub(super) struct DirectPublisher {
    output: Output,
    /// For messages.
    path: PathBuf,
    rows: RowText,
    text: Vec<u8>,
    /// Whether the header was written.
    is_begun: bool,
    last_epoch: CheckpointId,
}

enum Output {
    Stdout,
    /// Opened at the first write: opening a named pipe waits for its reader.
    File(Option<File>),
}

impl DirectPublisher {
    /// A publisher into what is there.
    pub(super) fn into_file(path: PathBuf, rows: RowText) -> Self {
        Self::new(Output::File(None), path, rows)
    }

    fn new(output: Output, path: PathBuf, rows: RowText) -> Self {
        let text = Vec::with_capacity(BUFFER_BYTES);
        DirectPublisher { output, path, rows, text, is_begun: false, last_epoch: CheckpointId::ROOT }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.rows.header(&mut self.text);
        }
    }

    fn hand_on(&mut self) -> Result<(), Error> {
        self.output.write(&self.path, &mut self.text)
    }
}

impl Output {
    /// Writes a text to what is called `path`, and clears it.
    fn write(&mut self, path: &Path, text: &mut Vec<u8>) -> Result<(), Error> {
        let written = match self {
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text).and_then(|()| stdout.flush())
            }
            Output::File(Some(file)) => file.write_all(text),
            Output::File(file) => {
                OpenOptions::new().write(true).open(path).and_then(|opened| file.insert(opened).write_all(text))
            }
        };
        text.clear();
        written.map_err(|error| Error::io(Action::Write, path, error))
    }
}

impl Publisher for DirectPublisher {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<Published, PublishError> {
        if self.last_epoch >= epoch.epoch {
            return Ok(Published::Already);
        }
        self.begin();
        let mut rows = EpochRows::new(epoch, rows);
        while let Some(chunk) = rows.next()? {
            let DirectPublisher { output, path, rows, text, .. } = self;
            rows.rows(&chunk, text, &mut |text| output.write(path, text).map_err(publish_error))?;
        }
        self.hand_on().map_err(publish_error)?;
        self.last_epoch = epoch.epoch;
        Ok(Published::Now)
    }

    fn is_due(&mut self, epoch: &SealedEpoch) -> Result<bool, PublishError> {
        Ok(self.last_epoch < epoch.epoch)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        self.begin();
        Ok(self.hand_on()?)
    }
}
