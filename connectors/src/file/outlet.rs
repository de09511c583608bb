//! A file as an outlet: the rows of a side table beside a sink that is somewhere else.
//!
//! Unlike a sink's file it can be read while the job runs, and grows with each epoch; what was in it before stays. Several jobs may
//! put their rows into one. A hidden file beside it is its register: the epoch of each job that it took last, and at which byte
//! the last of them ends. Before an epoch is written it says so: what is behind that byte then is of a writer that died, and is
//! cut off by the next one. Whoever holds the lock of the file holds the register.
//!
//! It is a file of the machine that publishes: of another one it knows nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stream_core::checkpoint::{FORMAT_VERSION, SealedEpoch};
use stream_core::ids::{CheckpointId, JobId, TableIndex};
use stream_core::outlet::{Turn, turn};
use stream_core::row::Column;
use stream_runtime::connector::{PublishError, RowChunks};
use stream_runtime::fail_point::{self, Point};

use super::error::{Action, Error};
use super::ledger::{lock, replace};
use super::place::{Place, Target, check_writable};
use super::publisher::publish_error;
use super::table_text::TableText;
use super::text::{Format, RowText};
use crate::outlets::Outlet;
use crate::rows::EpochRows;

/// Jobs that a register remembers, those that published last: one that was forgotten counts as new.
const REMEMBERED_JOBS: usize = 1000;

/// What counts of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Register {
    /// `FORMAT_VERSION` of the writer.
    version: u32,
    /// How much of the text counts.
    bytes: u64,
    /// Whether what is behind that is of a writer that is at work, or died. Otherwise somebody else put it there, and it stays.
    is_writing: bool,
    /// Whose rows are in it, whoever published last at the end.
    jobs: Vec<Published>,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Published {
    job_id: JobId,
    last_epoch: CheckpointId,
}

/// Publishes into a file.
pub(crate) struct FileOutlet {
    table: TableIndex,
    text: TableText,
    register: PathBuf,
    job_id: JobId,
}

/// Checks that rows could be put into a file there.
///
/// # Errors
/// If not, or if it is no regular file.
pub fn check_outlet(path: &str) -> Result<(), Error> {
    regular(path)?;
    check_writable(path, &[])
}

fn regular(path: &str) -> Result<Target, Error> {
    match Place::of(path)? {
        Place::InPlace(path) => Err(Error::NoRegularFile { path }),
        Place::Whole(target) => Ok(target),
    }
}

impl FileOutlet {
    /// An outlet for rows of these columns.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(crate) fn open(
        path: &str,
        format: Format,
        table: TableIndex,
        columns: &[Column],
        job_id: JobId,
    ) -> Result<Self, Error> {
        let target = regular(path)?;
        let register = target.register();
        Ok(FileOutlet { table, text: TableText::new(target, RowText::new(format, columns)), register, job_id })
    }

    /// The file, locked until it is closed.
    fn locked(&self) -> Result<File, Error> {
        let target = &self.text.target;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&target.target);
        let file = file.map_err(|error| Error::io(Action::Write, &target.path, error))?;
        lock(&file, target)?;
        Ok(file)
    }

    /// The register, and the epoch of this job that the file took last.
    fn register(&self, file: &File, epoch: &SealedEpoch) -> Result<(Register, CheckpointId), Error> {
        let path = &self.text.target.path;
        let bytes = file.metadata().map_err(|error| Error::io(Action::Read, path, error))?.len();
        let new = || Register { version: FORMAT_VERSION, bytes, is_writing: false, jobs: Vec::new() };
        let mut register = Register::read(&self.register)?.unwrap_or_else(new);
        let last_epoch = register.last_epoch(self.job_id);
        if last_epoch.is_none() && epoch.prev != CheckpointId::ROOT {
            tracing::warn!(file = %path.display(), "rows that the job published before are not in this file: \
                they are in another, or on another machine");
        }
        if bytes < register.bytes && last_epoch.is_some() {
            return Err(Error::TextLost { path: path.clone() });
        }
        if bytes < register.bytes || !register.is_writing {
            register.bytes = bytes;
        }
        Ok((register, last_epoch.unwrap_or(CheckpointId::ROOT)))
    }

    fn replace(&self, register: &Register) -> Result<(), PublishError> {
        replace(register, &self.register, &self.text.target).map_err(publish_error)
    }
}

impl Outlet for FileOutlet {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<(), PublishError> {
        let mut file = self.locked().map_err(publish_error)?;
        let (mut register, last_epoch) = self.register(&file, epoch).map_err(publish_error)?;
        match turn(Some(last_epoch), epoch) {
            Turn::Due => {}
            Turn::Published => return Ok(()),
            Turn::Passed(last) => {
                let path = self.text.target.path.clone();
                let (register, epoch, prev) = (self.register.clone(), epoch.epoch, epoch.prev);
                return Err(publish_error(Error::OutletPassed { path, register, last, epoch, prev }));
            }
        }
        let mut rows = EpochRows::new(epoch, rows);
        let mut next = rows.next()?;
        if next.is_some() {
            register.is_writing = true;
            self.replace(&register)?;
            self.text.append(&mut file, &mut register.bytes, self.table, &mut next, &mut rows)?;
        }
        fail_point::reach(Point::OutletRowsSent);
        register.is_writing = false;
        register.publish(self.job_id, epoch.epoch);
        self.replace(&register)?;
        fail_point::reach(Point::OutletCommitted);
        Ok(())
    }
}

impl Register {
    /// What it says; `None` if there is none.
    fn read(name: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read(name) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(Action::Read, name, error)),
        };
        let damaged = |reason: String| Error::LedgerDamaged { path: name.to_path_buf(), reason };
        let register: Register = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if register.version > FORMAT_VERSION {
            return Err(damaged(format!("it has version {}, this program reads {FORMAT_VERSION}", register.version)));
        }
        Ok(Some(register))
    }

    fn last_epoch(&self, job_id: JobId) -> Option<CheckpointId> {
        self.jobs.iter().find(|published| published.job_id == job_id).map(|published| published.last_epoch)
    }

    fn publish(&mut self, job_id: JobId, last_epoch: CheckpointId) {
        self.jobs.retain(|published| published.job_id != job_id);
        self.jobs.push(Published { job_id, last_epoch });
        let forgotten = self.jobs.len().saturating_sub(REMEMBERED_JOBS);
        self.jobs.drain(..forgotten);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;
    use std::sync::Arc;

    use stream_core::checkpoint::Accounts;
    use stream_core::ids::Token;
    use stream_core::row::{ColumnType, RowBatch};
    use stream_core::table::RowCounts;
    use stream_runtime::store::StoreError;

    use super::*;

    const LATE: TableIndex = TableIndex(1);

    /// The rows of one epoch, once.
    struct Rows(VecDeque<RowBatch>);

    impl RowChunks for Rows {
        fn next_chunk(&mut self) -> Result<Option<Arc<RowBatch>>, StoreError> {
            Ok(self.0.pop_front().map(Arc::new))
        }
        fn rewind(&mut self) {}
    }

    fn publish(outlet: &mut FileOutlet, sequence: u32, prev: u32, numbers: &[i64]) -> Result<(), PublishError> {
        let id = |sequence| if sequence == 0 { CheckpointId::ROOT } else { CheckpointId::new(Token(1), sequence) };
        let mut rows = RowCounts::default();
        rows.add(LATE, numbers.len() as u64);
        let epoch = SealedEpoch {
            epoch: id(sequence),
            prev: id(prev),
            files: Vec::new(),
            rows,
            accounts: Accounts::default(),
            cut: None,
        };
        let chunks = numbers.iter().map(|&number| {
            let mut chunk = RowBatch::of(LATE);
            chunk.row(1).bigint(number);
            chunk
        });
        outlet.publish(&epoch, &mut Rows(chunks.collect()))
    }

    fn outlet(path: &Path, format: Format) -> FileOutlet {
        outlet_of(JobId(7), path, format)
    }

    fn outlet_of(job_id: JobId, path: &Path, format: Format) -> FileOutlet {
        let columns = [Column { name: "n".to_owned(), column_type: ColumnType::BigInt }];
        FileOutlet::open(path.to_str().unwrap(), format, LATE, &columns, job_id).unwrap()
    }

    #[test]
    fn epochs_are_appended_once_to_what_was_there_and_can_be_read_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late.jsonl");
        fs::write(&path, "old\n").unwrap();
        let mut first = outlet(&path, Format::JsonLines);
        publish(&mut first, 1, 0, &[1, 2]).unwrap();
        publish(&mut first, 2, 1, &[]).unwrap();
        publish(&mut outlet(&path, Format::JsonLines), 2, 1, &[]).unwrap();
        publish(&mut outlet(&path, Format::JsonLines), 3, 2, &[3]).unwrap();
        publish(&mut first, 3, 2, &[3]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\n{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    }

    #[test]
    fn what_a_writer_that_died_has_left_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late.csv");
        let mut outlet = outlet(&path, Format::Csv);
        publish(&mut outlet, 1, 0, &[1]).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let mut register = Register::read(&outlet.register).unwrap().unwrap();
        register.is_writing = true;
        outlet.replace(&register).unwrap();
        fs::write(&path, format!("{whole}2\n3")).unwrap();
        publish(&mut outlet, 2, 1, &[2, 3]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "n\n1\n2\n3\n");
    }

    #[test]
    fn what_somebody_appends_stays_and_what_somebody_takes_away_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late.csv");
        publish(&mut outlet(&path, Format::Csv), 1, 0, &[1]).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}by hand\n")).unwrap();
        publish(&mut outlet(&path, Format::Csv), 2, 1, &[2]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "n\n1\nby hand\n2\n");
        fs::write(&path, "n\n").unwrap();
        let error = publish(&mut outlet(&path, Format::Csv), 3, 2, &[3]).unwrap_err().to_string();
        assert!(error.contains("are gone from it"), "{error}");
        publish(&mut outlet_of(JobId(8), &path, Format::Csv), 1, 0, &[4]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "n\n4\n", "a job that begins takes it as it is");
    }

    #[test]
    fn jobs_that_take_turns_in_one_file_keep_each_others_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late.csv");
        let mut jobs = [JobId(1), JobId(2)].map(|job_id| outlet_of(job_id, &path, Format::Csv));
        publish(&mut jobs[0], 1, 0, &[1]).unwrap();
        publish(&mut jobs[1], 1, 0, &[10, 11]).unwrap();
        publish(&mut jobs[0], 2, 1, &[2]).unwrap();
        publish(&mut jobs[1], 2, 1, &[12]).unwrap();
        publish(&mut jobs[0], 2, 1, &[2]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "n\n1\n10\n11\n2\n12\n");
        let mut register = Register::read(&jobs[0].register).unwrap().unwrap();
        for job in 0..2000 {
            register.publish(JobId(job), CheckpointId::ROOT);
        }
        assert_eq!(
            (register.jobs.len(), register.last_epoch(JobId(1999))),
            (REMEMBERED_JOBS, Some(CheckpointId::ROOT))
        );
    }

    #[test]
    fn an_epoch_that_does_not_follow_what_is_there_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late.jsonl");
        let mut outlet = outlet(&path, Format::JsonLines);
        publish(&mut outlet, 1, 0, &[1]).unwrap();
        publish(&mut outlet, 2, 1, &[2]).unwrap();
        let error = publish(&mut outlet, 3, 1, &[2]).unwrap_err().to_string();
        assert!(error.contains("has epoch 1.2, and epoch 1.3 was made without it"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":1}\n{\"n\":2}\n");
    }

    #[test]
    fn rows_are_put_into_regular_files_only() {
        assert!(check_outlet("/dev/null").unwrap_err().to_string().contains("is no regular file"));
    }
}
