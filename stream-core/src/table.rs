//! The tables of a sink: the job's result, and side tables whose rows become visible in the same instant.

use serde::{Deserialize, Serialize};

use crate::ids::TableIndex;
use crate::row::{Column, RowBatch};

/// The columns of each table of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas(Vec<Vec<Column>>);

impl Schemas {
    /// Of these tables, the result first.
    pub fn new(tables: impl IntoIterator<Item = Vec<Column>>) -> Self {
        Schemas(tables.into_iter().collect())
    }

    /// The columns of a table; `None` if there is no such table.
    pub fn columns(&self, table: TableIndex) -> Option<&[Column]> {
        self.0.get(table.place()).map(Vec::as_slice)
    }
}

/// A batch for each table that has had rows.
#[derive(Debug, Default)]
pub struct TableBatches(Vec<RowBatch>);

impl TableBatches {
    /// The batch of a table.
    pub fn of(&mut self, table: TableIndex) -> &mut RowBatch {
        for index in self.0.len()..=table.place() {
            self.0.push(RowBatch::of(TableIndex(u16::try_from(index).expect("not above a table's index"))));
        }
        &mut self.0[table.place()]
    }

    /// Takes the rows of a table out, if there are any.
    pub fn take(&mut self, table: TableIndex) -> Option<RowBatch> {
        let batch = self.of(table);
        (!batch.is_empty()).then(|| batch.take())
    }

    /// Takes the rows of every table out that has any, in the tables' order.
    pub fn take_all(&mut self) -> impl Iterator<Item = RowBatch> + '_ {
        self.0.iter_mut().filter(|batch| !batch.is_empty()).map(RowBatch::take)
    }

    /// Whether no table has any.
    pub fn are_empty(&self) -> bool {
        self.0.iter().all(RowBatch::is_empty)
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|batch| batch.as_bytes().len()).sum()
    }
}

/// How many rows there are of each table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Of the result.
    #[serde(rename = "rows")]
    pub result: u64,
    /// Of each side table, in their order; none behind the last that has any.
    #[serde(default, rename = "side_rows", skip_serializing_if = "Vec::is_empty")]
    pub side: Vec<u64>,
}

impl RowCounts {
    /// So many rows of the result, and no others.
    pub fn of_result(rows: u64) -> Self {
        RowCounts { result: rows, side: Vec::new() }
    }

    /// Counts rows of a table.
    pub fn add(&mut self, table: TableIndex, rows: u64) {
        match table.place().checked_sub(1) {
            None => self.result += rows,
            Some(_) if rows == 0 => {}
            Some(place) => {
                self.side.resize(self.side.len().max(place + 1), 0);
                self.side[place] += rows;
            }
        }
    }

    /// Counts rows of several tables.
    pub fn add_all(&mut self, more: &RowCounts) {
        self.add(TableIndex::RESULT, more.result);
        (1..).map(TableIndex).zip(&more.side).for_each(|(table, &rows)| self.add(table, rows));
    }

    /// The same without the rows of a side table.
    #[must_use]
    pub fn without(&self, table: TableIndex) -> RowCounts {
        let mut others = RowCounts::of_result(self.result);
        let side = (1..).map(TableIndex).zip(&self.side);
        side.filter(|(other, _)| *other != table).for_each(|(other, &rows)| others.add(other, rows));
        others
    }

    /// Rows of a table.
    pub fn of(&self, table: TableIndex) -> u64 {
        match table.place().checked_sub(1) {
            None => self.result,
            Some(place) => self.side.get(place).copied().unwrap_or(0),
        }
    }

    /// Rows of all tables.
    pub fn total(&self) -> u64 {
        self.result + self.side.iter().sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_table_and_stored_as_before_where_there_is_but_one() {
        let mut counts = RowCounts::of_result(2);
        assert_eq!(serde_json::to_string(&counts).expect("numbers"), r#"{"rows":2}"#);
        counts.add(TableIndex(2), 0);
        assert_eq!(counts, RowCounts::of_result(2));
        counts.add(TableIndex(2), 3);
        counts.add(TableIndex::RESULT, 1);
        assert_eq!((counts.result, counts.side.as_slice(), counts.total()), (3, [0, 3].as_slice(), 6));
        let json = serde_json::to_string(&counts).expect("numbers");
        assert_eq!(serde_json::from_str::<RowCounts>(&json).expect("its own words"), counts);
    }

    #[test]
    fn batches_are_kept_by_table_and_taken_in_order() {
        let mut batches = TableBatches::default();
        assert!(batches.are_empty() && batches.take(TableIndex(4)).is_none());
        batches.of(TableIndex(2)).row(1).bigint(1);
        batches.of(TableIndex::RESULT).row(1).bigint(2);
        assert!(batches.bytes() > 0 && !batches.are_empty());
        assert_eq!(
            batches.take_all().map(|batch| (batch.table().0, batch.rows())).collect::<Vec<_>>(),
            [(0, 1), (2, 1)]
        );
        assert!(batches.are_empty());
    }
}
