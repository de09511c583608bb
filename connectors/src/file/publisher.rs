//! Publishes epochs into a file that gets its name when the job has finished.
//!
//! An epoch's text is appended, made durable, and counts from the moment when the ledger says so.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};

use stream_core::checkpoint::SealedEpoch;
use stream_core::row::Column;
use stream_runtime::connector::{ConnectorError, Grant, PublishError, Published, Publisher, RowChunks};

use super::direct::DirectPublisher;
use super::error::{Action, Error};
use super::ledger::{FileLedger, lock, open_locked, sync_folder};
use super::place::{Place, Target};
use super::text::{Format, RowText};
use crate::rows::for_each_chunk;
use stream_core::checkpoint::{Standing, standing};

/// Text gathered before it is written.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// A publisher of a file.
///
/// # Errors
/// If nothing can be written there.
pub fn open_publisher(
    path: &str,
    format: Format,
    columns: &[Column],
    grant: Grant,
) -> Result<Box<dyn Publisher>, Error> {
    let rows = RowText::new(format, columns);
    match Place::of(path)? {
        Place::InPlace(path) => Ok(Box::new(DirectPublisher::into_file(path, rows))),
        Place::Whole(target) => {
            Ok(Box::new(FilePublisher { target, grant, rows, text: Vec::with_capacity(BUFFER_BYTES), part: None }))
        }
    }
}

struct FilePublisher {
    target: Target,
    grant: Grant,
    rows: RowText,
    text: Vec<u8>,
    /// The file of the text so far, unless something failed.
    part: Option<File>,
}

impl FilePublisher {
    /// The text's file, locked.
    fn locked(&mut self) -> Result<File, Error> {
        match self.part.take() {
            Some(part) => lock(&part, &self.target).map(|()| part),
            None => open_locked(&self.target.part(self.grant.job_id), &self.target),
        }
    }

    fn publish_locked(
        &mut self,
        part: &mut File,
        epoch: &SealedEpoch,
        rows: &mut dyn RowChunks,
    ) -> Result<Published, PublishError> {
        let name = self.target.ledger(self.grant.job_id);
        let ledger = FileLedger::read(&name).map_err(publish_error)?;
        let ledger =
            match (standing(ledger.map(|ledger| ledger.entry()), self.grant.token, self.grant.nonce, epoch), ledger) {
                (Standing::Due, Some(ledger)) => ledger,
                (Standing::Published, _) => return Ok(Published::Already),
                (Standing::Fenced(token), _) => return Err(PublishError::Fenced { token }),
                (Standing::WentBack(last_epoch), _) => {
                    return Err(PublishError::WentBack { last_epoch, expected: epoch.prev });
                }
                (Standing::Foreign(_), _) | (Standing::Due, None) => {
                    let reason = format!("epoch {} is to follow {}", epoch.epoch, epoch.prev);
                    return Err(publish_error(Error::LedgerDamaged { path: name, reason }));
                }
            };
        let bytes = self.append(part, ledger.bytes, epoch, rows)?;
        ledger.after(epoch.epoch, bytes).replace(&name, &self.target).map_err(publish_error)?;
        Ok(Published::Now)
    }

    /// Appends an epoch's text behind what counts, durably; the length with it.
    fn append(
        &mut self,
        part: &mut File,
        begin: u64,
        epoch: &SealedEpoch,
        rows: &mut dyn RowChunks,
    ) -> Result<u64, PublishError> {
        cut_to(part, begin, &self.target).map_err(publish_error)?;
        let FilePublisher { target, rows: row_text, text, .. } = self;
        let failed = |error| publish_error(Error::io(Action::Write, &target.path, error));
        text.clear();
        if begin == 0 {
            row_text.header(text);
        }
        let mut end = begin;
        for_each_chunk(epoch, rows, |chunk| {
            row_text.rows(chunk, text).map_err(crate::rows::misfit)?;
            if text.len() >= BUFFER_BYTES {
                part.write_all(text).map_err(failed)?;
                end += text.len() as u64;
                text.clear();
            }
            Ok(())
        })?;
        part.write_all(text).and_then(|()| part.sync_data()).map_err(failed)?;
        Ok(end + text.len() as u64)
    }

    fn rename(&mut self, part: &mut File) -> Result<(), Error> {
        let target = &self.target;
        let failed = |error| Error::io(Action::Write, &target.path, error);
        let (part_name, ledger_name) = (target.part(self.grant.job_id), target.ledger(self.grant.job_id));
        let ledger = FileLedger::read(&ledger_name)?.filter(|ledger| {
            let entry = ledger.entry();
            (entry.token, entry.nonce) == (self.grant.token, self.grant.nonce)
        });
        let ledger = ledger.ok_or_else(|| Error::TakenOver { path: target.path.clone() })?;
        let is_renamed = ledger.bytes > 0
            && part.metadata().map_err(failed)?.len() == 0
            && fs::metadata(&target.target).is_ok_and(|found| found.len() == ledger.bytes);
        if is_renamed {
            // An attempt before this one ended between the two steps below.
            fs::remove_file(&part_name).map_err(failed)?;
        } else {
            cut_to(part, ledger.bytes, target)?;
            if ledger.bytes == 0 {
                self.text.clear();
                self.rows.header(&mut self.text);
                part.write_all(&self.text).map_err(failed)?;
            }
            let renamed = part.sync_all().and_then(|()| fs::rename(&part_name, &target.target));
            renamed.and_then(|()| sync_folder(target)).map_err(failed)?;
        }
        fs::remove_file(&ledger_name).map_err(|error| Error::io(Action::Write, &ledger_name, error))
    }
}

impl Publisher for FilePublisher {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<Published, PublishError> {
        let mut part = self.locked().map_err(publish_error)?;
        // After an error the file is closed, which unlocks it.
        let published = self.publish_locked(&mut part, epoch, rows)?;
        part.unlock().map_err(|error| publish_error(Error::io(Action::Write, &self.target.path, error)))?;
        self.part = Some(part);
        Ok(published)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        let mut part = self.locked()?;
        Ok(self.rename(&mut part)?)
    }
}

/// Leaves out what an unpublished epoch has left behind.
fn cut_to(part: &mut File, bytes: u64, target: &Target) -> Result<(), Error> {
    let failed = |error| Error::io(Action::Write, &target.path, error);
    if part.metadata().map_err(failed)?.len() < bytes {
        return Err(Error::TextLost { path: target.path.clone() });
    }
    part.set_len(bytes).and_then(|()| part.seek(SeekFrom::Start(bytes))).map(drop).map_err(failed)
}

/// Whether trying again may help: somebody may make room.
pub(super) fn publish_error(error: Error) -> PublishError {
    use std::io::ErrorKind::{Interrupted, QuotaExceeded, StorageFull, TimedOut};
    let is_passing = match &error {
        Error::Held { .. } => true,
        Error::Io { source, .. } => matches!(source.kind(), Interrupted | QuotaExceeded | StorageFull | TimedOut),
        _ => false,
    };
    if is_passing { PublishError::Passing(error.into()) } else { PublishError::Final(error.into()) }
}
