//! Opening a log: every batch is read once and checked, which rebuilds the index and the producers' sequence numbers.
//!
//! What a crash left at the end, half a batch, is cut off with one warning.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::Log;
use crate::batch::{HEADER_BYTES, Header};
use crate::disk::{self, At, DiskError};
use crate::producers::Producers;

/// Kafka's name for the segment that begins at offset 0.
const LOG_FILE: &str = "00000000000000000000.log";
pub(super) const START_OFFSET_FILE: &str = "log-start-offset.json";

impl Log {
    /// Opens the log in `dir`, making it if there is none.
    ///
    /// # Errors
    /// When the directory cannot be read or written. A damaged log is not an error: it ends before the damage.
    pub(crate) fn open(dir: &Path, fsync: bool) -> Result<Self, DiskError> {
        fs::create_dir_all(dir).at("create", dir)?;
        let path = dir.join(LOG_FILE);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).at("open", &path)?;
        let mut log = Self {
            dir: dir.to_owned(),
            fsync,
            file: Arc::new(file),
            end_position: 0,
            start_offset: 0,
            end_offset: 0,
            blocks: Vec::new(),
            producers: Producers::default(),
        };
        log.replay().at("read", &path)?;
        let bytes = log.file.metadata().at("read", &path)?.len();
        if bytes > log.end_position {
            let cut = bytes - log.end_position;
            warn!(log = %path.display(), cut_bytes = cut, end_offset = log.end_offset, "cut off a torn batch");
            log.file.set_len(log.end_position).at("truncate", &path)?;
        }
        log.start_offset = disk::read_json(&dir.join(START_OFFSET_FILE))?.unwrap_or(0);
        if log.start_offset > log.end_offset {
            // Records that were deleted were also torn off. Those that take their offsets must not count as deleted.
            log.start_offset = log.end_offset;
            disk::write_json(&dir.join(START_OFFSET_FILE), &log.start_offset, fsync)?;
        }
        Ok(log)
    }

    /// Reads batches up to the first that is not whole, valid and next.
    fn replay(&mut self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        let mut reader = BufReader::with_capacity(1 << 20, &*file);
        let mut batch = Vec::new();
        loop {
            batch.clear();
            reader.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut batch)?;
            let Ok(header) = Header::parse(&batch) else { return Ok(()) };
            reader.by_ref().take((header.bytes - HEADER_BYTES) as u64).read_to_end(&mut batch)?;
            if header.base_offset != self.end_offset || header.verify(&batch).is_err() {
                return Ok(());
            }
            self.index(&header);
        }
    }
}
