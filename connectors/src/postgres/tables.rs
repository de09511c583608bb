//! The tables of a sink, with their names read.

use stream_core::ids::TableIndex;
use stream_core::pipeline::{Changelog, SinkSpec};
use stream_core::row::Column;

use super::table_name::{TableName, TableNameError};

/// A table that rows go into.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: TableName,
    pub(super) columns: Vec<Column>,
    /// What its rows do to it.
    pub(super) changelog: Changelog,
}

impl Table {
    /// The column that tells its rows apart, if rows are replaced.
    pub(super) fn key(&self) -> Option<&Column> {
        self.columns.first().filter(|_| self.changelog == Changelog::Upsert)
    }
}

/// All of them. The ledger stands in the schema of the first, and knows the job by its name.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) result: Table,
    /// `None` where a side table has an outlet.
    side: Vec<Option<Table>>,
}

impl Tables {
    /// Those of a spec.
    pub(super) fn of(spec: &SinkSpec) -> Result<Self, TableNameError> {
        let table = |name: &str, columns: &[Column], changelog| {
            Ok(Table { name: name.parse()?, columns: columns.to_vec(), changelog })
        };
        let side = spec.side_tables.iter().map(|side| {
            let is_here = side.outlet.is_none();
            is_here.then(|| table(&side.name, &side.columns, side.changelog)).transpose()
        });
        let result = table(&spec.table, &spec.columns, Changelog::Append)?;
        Ok(Tables { result, side: side.collect::<Result<_, _>>()? })
    }

    /// The result first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.result).chain(self.side.iter().flatten())
    }

    /// The table that rows are for; `None` if there is no such one.
    pub(super) fn get(&self, index: TableIndex) -> Option<&Table> {
        match index.place().checked_sub(1) {
            None => Some(&self.result),
            Some(place) => self.side.get(place)?.as_ref(),
        }
    }
}
