//! The text of one table, in a hidden file until the job has finished.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;

use stream_core::ids::{JobId, TableIndex};
use stream_core::row::RowBatch;
use stream_runtime::connector::PublishError;

use super::error::{Action, Error};
use super::ledger::sync_folder;
use super::place::Target;
use super::publisher::publish_error;
use super::text::RowText;
use crate::rows::EpochRows;

/// Where a table's rows go.
pub(super) struct TableText {
    pub(super) target: Target,
    rows: RowText,
    text: Vec<u8>,
    /// The file of the text so far, unless something failed.
    pub(super) part: Option<File>,
}

impl TableText {
    /// Nothing is opened yet.
    pub(super) fn new(target: Target, rows: RowText) -> Self {
        TableText { target, rows, text: Vec::new(), part: None }
    }

    /// The file of the text so far, made if it is missing.
    pub(super) fn open(&mut self, job_id: JobId) -> Result<File, Error> {
        if let Some(part) = self.part.take() {
            return Ok(part);
        }
        let part = OpenOptions::new().write(true).create(true).truncate(false).open(self.target.part(job_id));
        part.map_err(|error| Error::io(Action::Write, &self.target.path, error))
    }

    /// Appends the pieces of one table behind what counts, durably, and moves `end` behind them. `next` is the first piece, if
    /// it is of this table, and then the first of another.
    pub(super) fn append(
        &mut self,
        part: &mut File,
        end: &mut u64,
        table: TableIndex,
        next: &mut Option<Arc<RowBatch>>,
        rows: &mut EpochRows<'_>,
    ) -> Result<(), PublishError> {
        self.cut_to(part, *end).map_err(publish_error)?;
        let TableText { target, rows: row_text, text, .. } = self;
        let failed = |error| publish_error(Error::io(Action::Write, &target.path, error));
        text.clear();
        if *end == 0 {
            row_text.header(text);
        }
        let mut write = |text: &mut Vec<u8>| {
            part.write_all(text).map_err(failed)?;
            *end += text.len() as u64;
            text.clear();
            Ok(())
        };
        while let Some(chunk) = next.take_if(|chunk| chunk.table() == table) {
            row_text.rows(&chunk, text, &mut write)?;
            // Given back before the next one is there, which may be as large.
            drop(chunk);
            *next = rows.next()?;
        }
        write(text)?;
        part.sync_data().map_err(failed)
    }

    /// Gives the text its final name, of which `bytes` count.
    pub(super) fn rename(&mut self, part: &mut File, bytes: u64, job_id: JobId) -> Result<(), Error> {
        let (target, part_name) = (&self.target, self.target.part(job_id));
        let failed = |error| Error::io(Action::Write, &target.path, error);
        let is_renamed = bytes > 0
            && part.metadata().map_err(failed)?.len() == 0
            && fs::metadata(&target.target).is_ok_and(|found| found.len() == bytes);
        if is_renamed {
            // An attempt before this one ended between this step and the removal of the ledger.
            return fs::remove_file(&part_name).map_err(failed);
        }
        self.cut_to(part, bytes)?;
        if bytes == 0 {
            self.text.clear();
            self.rows.header(&mut self.text);
            part.write_all(&self.text).map_err(failed)?;
        }
        let renamed = part.sync_all().and_then(|()| fs::rename(&part_name, &target.target));
        renamed.and_then(|()| sync_folder(target)).map_err(failed)
    }

    /// Leaves out what an unpublished epoch has left behind.
    fn cut_to(&self, part: &mut File, bytes: u64) -> Result<(), Error> {
        let failed = |error| Error::io(Action::Write, &self.target.path, error);
        if part.metadata().map_err(failed)?.len() < bytes {
            return Err(Error::TextLost { path: self.target.path.clone() });
        }
        part.set_len(bytes).and_then(|()| part.seek(SeekFrom::Start(bytes))).map(drop).map_err(failed)
    }
}
