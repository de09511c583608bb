//! Publishes epochs into a file that gets its name when the job has finished.
//!
//! An epoch's text is appended, made durable, and counts from the moment when the ledger says so.

use std::fs::{self, File};

use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::TableIndex;
use stream_core::pipeline::SinkSpec;
use stream_runtime::connector::{ConnectorError, Grant, PublishError, Published, Publisher, RowChunks};

use super::direct::DirectPublisher;
use super::error::{Action, Error};
use super::ledger::{FileLedger, lock, open_locked};
use super::place::Place;
use super::table_text::TableText;
use super::text::{Format, RowText};
use crate::rows::{EpochRows, no_such_table};
use stream_core::checkpoint::{Standing, standing};

/// A publisher of a file.
///
/// # Errors
/// If nothing can be written there.
pub fn open_publisher(path: &str, format: Format, sink: &SinkSpec, grant: Grant) -> Result<Box<dyn Publisher>, Error> {
    match Place::of(path)? {
        Place::InPlace(path) => Ok(Box::new(DirectPublisher::into_file(path, RowText::new(format, &sink.columns)))),
        Place::Whole(target) => {
            let side = sink
                .side_tables
                .iter()
                .map(|table| TableText::new(target.beside(&table.name), RowText::new(format, &table.columns)));
            let side = side.collect();
            let result = TableText::new(target, RowText::new(format, &sink.columns));
            Ok(Box::new(FilePublisher { grant, result, side }))
        }
    }
}

struct FilePublisher {
    grant: Grant,
    /// Its hidden file stands for all of them: it is locked, and its ledger has all their lengths.
    result: TableText,
    side: Vec<TableText>,
}

impl FilePublisher {
    /// The text's file, locked.
    fn locked(&mut self) -> Result<File, Error> {
        let target = &self.result.target;
        match self.result.part.take() {
            Some(part) => lock(&part, target).map(|()| part),
            None => open_locked(&target.part(self.grant.job_id), target),
        }
    }

    fn publish_locked(
        &mut self,
        part: &mut File,
        epoch: &SealedEpoch,
        rows: &mut dyn RowChunks,
    ) -> Result<Published, PublishError> {
        let Some(ledger) = self.due(epoch)? else { return Ok(Published::Already) };
        let (bytes, side_bytes) = self.append(part, &ledger, epoch, rows)?;
        let ledger = ledger.after(epoch.epoch, bytes, side_bytes);
        let name = self.result.target.ledger(self.grant.job_id);
        ledger.replace(&name, &self.result.target).map_err(publish_error)?;
        Ok(Published::Now)
    }

    /// The ledger, if the epoch's turn has come; `None` if it is published already.
    fn due(&self, epoch: &SealedEpoch) -> Result<Option<FileLedger>, PublishError> {
        let name = self.result.target.ledger(self.grant.job_id);
        let ledger = FileLedger::read(&name).map_err(publish_error)?;
        let entry = ledger.as_ref().map(FileLedger::entry);
        match (standing(entry, self.grant.token, self.grant.nonce, epoch), ledger) {
            (Standing::Due, Some(ledger)) => Ok(Some(ledger)),
            (Standing::Published, _) => Ok(None),
            (Standing::Fenced(token), _) => Err(PublishError::Fenced { token }),
            (Standing::WentBack(last_epoch), _) => Err(PublishError::WentBack { last_epoch, expected: epoch.prev }),
            (Standing::Foreign(_), _) | (Standing::Due, None) => {
                let reason = format!("epoch {} is to follow {}", epoch.epoch, epoch.prev);
                Err(publish_error(Error::LedgerDamaged { path: name, reason }))
            }
        }
    }

    /// Appends an epoch's text behind what counts, durably; the lengths with it.
    fn append(
        &mut self,
        part: &mut File,
        ledger: &FileLedger,
        epoch: &SealedEpoch,
        rows: &mut dyn RowChunks,
    ) -> Result<(u64, Vec<u64>), PublishError> {
        let FilePublisher { grant, result, side } = self;
        let mut ends = ledger.side_bytes(side.len());
        let mut rows = EpochRows::new(epoch, rows);
        let mut next = rows.next()?;
        let mut bytes = ledger.bytes;
        // The result's file is written for every epoch, be it only to cut off what does not count.
        result.append(part, &mut bytes, TableIndex::RESULT, &mut next, &mut rows)?;
        while let Some(chunk) = &next {
            let table = chunk.table();
            let place = table.place().checked_sub(1).filter(|&place| place < side.len());
            let place = place.ok_or_else(|| no_such_table(chunk))?;
            let mut part = side[place].open(grant.job_id).map_err(publish_error)?;
            side[place].append(&mut part, &mut ends[place], table, &mut next, &mut rows)?;
            side[place].part = Some(part);
        }
        Ok((bytes, ends))
    }

    fn rename(&mut self, part: &mut File) -> Result<(), Error> {
        let FilePublisher { grant, result, side } = self;
        let target = &result.target;
        let ledger_name = target.ledger(grant.job_id);
        let ledger = FileLedger::read(&ledger_name)?.filter(|ledger| {
            let entry = ledger.entry();
            (entry.token, entry.nonce) == (grant.token, grant.nonce)
        });
        let ledger = ledger.ok_or_else(|| Error::TakenOver { path: target.path.clone() })?;
        let side_bytes = ledger.side_bytes(side.len());
        for (table, bytes) in side.iter_mut().zip(side_bytes).filter(|(_, bytes)| *bytes > 0) {
            let mut part = table.open(grant.job_id)?;
            table.rename(&mut part, bytes, grant.job_id)?;
        }
        result.rename(part, ledger.bytes, grant.job_id)?;
        fs::remove_file(&ledger_name).map_err(|error| Error::io(Action::Write, &ledger_name, error))
    }
}

impl Publisher for FilePublisher {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<Published, PublishError> {
        let mut part = self.locked().map_err(publish_error)?;
        // After an error the file is closed, which unlocks it.
        let published = self.publish_locked(&mut part, epoch, rows)?;
        part.unlock().map_err(|error| publish_error(Error::io(Action::Write, &self.result.target.path, error)))?;
        self.result.part = Some(part);
        Ok(published)
    }

    fn is_due(&mut self, epoch: &SealedEpoch) -> Result<bool, PublishError> {
        Ok(self.due(epoch)?.is_some())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        let mut part = self.locked()?;
        Ok(self.rename(&mut part)?)
    }
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
