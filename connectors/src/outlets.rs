//! A sink some of whose side tables have an outlet: each epoch goes to the outlets first, and to the sink behind them.
//!
//! The rule by which nothing is there twice, and why, is [`stream_core::outlet`]'s. Tests: beside the code, and
//! `e2e/tests/clusters/outlets.rs` on real systems, with processes that die between the two.

use std::sync::Arc;

use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::TableIndex;
use stream_core::row::RowBatch;
use stream_core::table::RowCounts;
use stream_runtime::connector::{ConnectorError, PublishError, Published, Publisher, RowChunks};
use stream_runtime::store::{StoreError, StoreErrorKind};

/// Where the rows of one side table go. One for each committer; blocks; dropped, it leaves nothing half-done behind.
pub(crate) trait Outlet: Send {
    /// Publishes an epoch's rows, all that `rows` gives, and moves the register to it in the same step; nothing if that has
    /// happened before. After an error the same call may be repeated.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<(), PublishError>;
}

/// Publishes into outlets and a sink.
pub(crate) struct WithOutlets {
    sink: Box<dyn Publisher>,
    outlets: Vec<TableOutlet>,
}

struct TableOutlet {
    table: TableIndex,
    outlet: Box<dyn Outlet>,
    /// Whether its register has an epoch of this attempt: from then on only rows move it.
    is_taken: bool,
}

impl WithOutlets {
    /// A sink, and the outlets of some of its tables.
    pub(crate) fn new(
        sink: Box<dyn Publisher>,
        outlets: impl IntoIterator<Item = (TableIndex, Box<dyn Outlet>)>,
    ) -> Self {
        let outlets = outlets.into_iter().map(|(table, outlet)| TableOutlet { table, outlet, is_taken: false });
        WithOutlets { sink, outlets: outlets.collect() }
    }
}

impl TableOutlet {
    fn is_concerned(&self, epoch: &SealedEpoch) -> bool {
        !self.is_taken || epoch.rows.of(self.table) > 0
    }
}

impl Publisher for WithOutlets {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<Published, PublishError> {
        let WithOutlets { sink, outlets } = self;
        if outlets.iter().any(|outlet| outlet.is_concerned(epoch)) {
            // An attempt that was replaced must not bring an epoch that its successor has not heard of.
            if !sink.is_due(epoch)? {
                return Ok(Published::Already);
            }
            for TableOutlet { table, outlet, is_taken } in
                outlets.iter_mut().filter(|outlet| outlet.is_concerned(epoch))
            {
                rows.rewind();
                outlet.publish(epoch, &mut OfTable { epoch, table: *table, rows, found: 0 })?;
                *is_taken = true;
            }
            rows.rewind();
        }
        let outlets = outlets.iter().map(|outlet| outlet.table).collect();
        sink.publish(epoch, &mut OfOthers { outlets, rows, passed_over: RowCounts::default() })
    }

    fn is_due(&mut self, epoch: &SealedEpoch) -> Result<bool, PublishError> {
        self.sink.is_due(epoch)
    }

    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        self.sink.finish()
    }
}

/// The rows of one table.
struct OfTable<'a> {
    epoch: &'a SealedEpoch,
    table: TableIndex,
    rows: &'a mut dyn RowChunks,
    found: u64,
}

impl RowChunks for OfTable<'_> {
    fn next_chunk(&mut self) -> Result<Option<Arc<RowBatch>>, StoreError> {
        let (sealed, table) = (self.epoch.rows.of(self.table), self.table);
        // Nothing is read of an epoch that has none, nor behind the last.
        while self.found < sealed {
            match self.rows.next_chunk()? {
                Some(chunk) if chunk.table() == table => {
                    self.found += chunk.rows();
                    return Ok(Some(chunk));
                }
                Some(_) => {}
                None => break,
            }
        }
        if self.found == sealed {
            return Ok(None);
        }
        let (epoch, found) = (self.epoch.epoch, self.found);
        let message =
            format!("epoch {epoch} was sealed with {sealed} rows for table {}, its files have {found}", table.0);
        Err(StoreError::new(StoreErrorKind::Damaged, message))
    }

    fn rewind(&mut self) {
        self.rows.rewind();
        self.found = 0;
    }

    fn passed_over(&self) -> RowCounts {
        self.epoch.rows.without(self.table)
    }
}

/// The rows of every table without an outlet.
struct OfOthers<'a> {
    outlets: Vec<TableIndex>,
    rows: &'a mut dyn RowChunks,
    passed_over: RowCounts,
}

impl RowChunks for OfOthers<'_> {
    fn next_chunk(&mut self) -> Result<Option<Arc<RowBatch>>, StoreError> {
        while let Some(chunk) = self.rows.next_chunk()? {
            if !self.outlets.contains(&chunk.table()) {
                return Ok(Some(chunk));
            }
            self.passed_over.add(chunk.table(), chunk.rows());
        }
        Ok(None)
    }

    fn rewind(&mut self) {
        self.rows.rewind();
        self.passed_over = RowCounts::default();
    }

    fn passed_over(&self) -> RowCounts {
        self.passed_over.clone()
    }
}

#[cfg(test)]
mod tests;
