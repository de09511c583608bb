//! The stored rows of an epoch, as every publisher reads them.

use stream_core::checkpoint::SealedEpoch;
use stream_core::row::{DecodeRowError, RowBatch};
use stream_runtime::connector::{PublishError, RowChunks};
use stream_runtime::store::{StoreError, StoreErrorKind};

/// Gives every piece of an epoch's rows to `take`, and makes sure at the end that they are as many as were sealed.
///
/// # Errors
/// Those of `take`; and if a piece cannot be read, or rows are missing.
pub(crate) fn for_each_chunk(
    epoch: &SealedEpoch,
    rows: &mut dyn RowChunks,
    mut take: impl FnMut(&RowBatch) -> Result<(), PublishError>,
) -> Result<(), PublishError> {
    if epoch.rows == 0 {
        return Ok(());
    }
    let mut found = 0;
    while let Some(chunk) = rows.next_chunk()? {
        found += chunk.rows();
        take(&chunk)?;
    }
    if found == epoch.rows {
        return Ok(());
    }
    let message = format!("epoch {} was sealed with {} rows, its files have {found}", epoch.epoch, epoch.rows);
    Err(PublishError::Rows(StoreError::new(StoreErrorKind::Damaged, message)))
}

/// Rows that are not of the sink's columns.
#[allow(clippy::needless_pass_by_value, reason = "the signature that `map_err` wants")]
pub(crate) fn misfit(error: DecodeRowError) -> PublishError {
    let message = format!("stored rows do not fit the sink's columns: {error}");
    PublishError::Rows(StoreError::new(StoreErrorKind::Damaged, message))
}
