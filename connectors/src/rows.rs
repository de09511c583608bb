//! The stored rows of an epoch, as every publisher reads them.

use std::sync::Arc;

use stream_core::checkpoint::SealedEpoch;
use stream_core::row::{DecodeRowError, RowBatch};
use stream_core::table::RowCounts;
use stream_runtime::connector::{PublishError, RowChunks};
use stream_runtime::store::{StoreError, StoreErrorKind};

/// The pieces of an epoch's rows, counted.
pub(crate) struct EpochRows<'a> {
    epoch: &'a SealedEpoch,
    rows: &'a mut dyn RowChunks,
    found: RowCounts,
}

impl<'a> EpochRows<'a> {
    /// From the beginning.
    pub(crate) fn new(epoch: &'a SealedEpoch, rows: &'a mut dyn RowChunks) -> Self {
        EpochRows { epoch, rows, found: RowCounts::default() }
    }

    /// The next piece, of one table. Behind the last it makes sure that there were as many rows as were sealed.
    ///
    /// # Errors
    /// If a piece cannot be read, or rows are missing.
    pub(crate) fn next(&mut self) -> Result<Option<Arc<RowBatch>>, PublishError> {
        if self.epoch.rows.total() == 0 {
            return Ok(None);
        }
        if let Some(chunk) = self.rows.next_chunk()? {
            self.found.add(chunk.table(), chunk.rows());
            return Ok(Some(chunk));
        }
        let mut found = self.found.clone();
        found.add_all(&self.rows.passed_over());
        let sealed = &self.epoch.rows;
        if *sealed == found {
            return Ok(None);
        }
        let (epoch, sealed, found) = (self.epoch.epoch, sealed.total(), found.total());
        let message =
            format!("epoch {epoch} was sealed with {sealed} rows, its files have {found}, or for other tables");
        Err(PublishError::Rows(StoreError::new(StoreErrorKind::Damaged, message)))
    }
}

/// Rows that are not of the sink's columns.
#[allow(clippy::needless_pass_by_value, reason = "the signature that `map_err` wants")]
pub(crate) fn misfit(error: DecodeRowError) -> PublishError {
    unfit(error.to_string())
}

/// Rows of a table that the sink does not have.
pub(crate) fn no_such_table(rows: &RowBatch) -> PublishError {
    unfit(format!("there is no table {}", rows.table().0))
}

fn unfit(reason: String) -> PublishError {
    let message = format!("stored rows do not fit the sink: {reason}");
    PublishError::Rows(StoreError::new(StoreErrorKind::Damaged, message))
}
