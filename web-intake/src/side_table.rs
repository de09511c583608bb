//! Tables beside the result: where they stand, and how a row says of which job it is, since several may share a table, and
//! where its record stands, so that it can be looked up in the topic for as long as that keeps it.

use stream_core::ids::JobId;
use stream_core::origin::Origin;
use stream_core::pipeline::{Changelog, SideTable};
use stream_core::row::{Column, RowWriter};

/// The table `name` in the schema of the result's table.
pub fn beside(result: &str, name: &str, columns: Vec<Column>) -> SideTable {
    let schema = &result[..result.len() - name_of(result).len()];
    SideTable { name: format!("{schema}{name}"), columns, outlet: None, changelog: Changelog::Append }
}

/// Whether the name of a table says in which schema it is.
pub fn has_schema(table: &str) -> bool {
    name_of(table).len() < table.len()
}

/// Whether a table has that name, in whatever schema.
pub fn is_named(table: &SideTable, name: &str) -> bool {
    name_of(&table.name) == name
}

/// What stands behind the last dot that is not within quotes.
fn name_of(table: &str) -> &str {
    let mut is_quoted = false;
    let mut begin = 0;
    for (at, c) in table.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => begin = at + 1,
            _ => {}
        }
    }
    &table[begin..]
}

/// Whose rows they are.
#[derive(Clone, Debug, Default)]
pub struct Whose {
    job_id: String,
    /// What the job reads from.
    pub topic: String,
}

impl Whose {
    /// A job that reads from `topic`.
    pub fn new(job_id: JobId, topic: &str) -> Self {
        Whose { job_id: job_id.to_string(), topic: topic.to_owned() }
    }

    /// Writes the job: one column of text.
    pub fn write_job(&self, row: &mut RowWriter<'_>) {
        row.text(Some(&self.job_id));
    }

    /// Writes topic, partition and offset: one column of text, two of numbers.
    pub fn write_place(&self, row: &mut RowWriter<'_>, origin: Origin) {
        row.text(Some(&self.topic)).bigint(origin.split.into()).bigint(signed(origin.offset));
    }
}

/// A number as a column holds it.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_table_stands_in_the_schema_of_the_result() {
        for (result, name) in [("s", "late"), ("web.s", "web.late"), ("\"a.b\".\"c.d\"", "\"a.b\".late")] {
            let table = beside(result, "late", Vec::new());
            assert_eq!(table.name, name);
            assert!(is_named(&table, "late") && !is_named(&table, "ate"));
            assert_eq!(has_schema(result), result != "s");
        }
    }
}
