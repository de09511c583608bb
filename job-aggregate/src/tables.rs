//! The tables of the job: hits per host, which is *the* result; hits per host and referrer, a second result; and behind them, as far
//! as the options ask for them, late events and dead letters.

use stream_core::ids::{JobId, TableIndex};
use stream_core::pipeline::{Changelog, SideTable};
use stream_core::row::{Column, ColumnType};
use web_intake::{DeadLetters, LateEvents, OnLate};

use crate::options::Options;

/// Hits per host and referrer. Its rows are a result's: every one is written, whatever their number.
pub const BY_REFERRER: TableIndex = TableIndex(1);
/// The first of the others.
const FIRST_SIDE_TABLE: TableIndex = TableIndex(2);
/// Of `processed_events_aggregated`, `processed_events_aggregated_source` is the second result: the homework's names.
const BY_REFERRER_SUFFIX: &str = "_source";

/// The columns of hits per host. `event_hour` is the window's start, and no hour unless the window is one: the name is the homework's.
pub fn columns() -> Vec<Column> {
    vec![
        column("event_hour", ColumnType::Timestamp),
        column("host", ColumnType::Text),
        column("num_hits", ColumnType::BigInt),
    ]
}

/// The columns of hits per host and referrer.
pub fn columns_by_referrer() -> Vec<Column> {
    let mut columns = columns();
    columns.insert(2, column("referrer", ColumnType::Text));
    columns
}

/// Every table but that of hits per host, which is `result`.
pub fn side_tables(options: &Options, result: &str) -> Vec<SideTable> {
    let by_referrer = SideTable {
        name: with_suffix(result, BY_REFERRER_SUFFIX),
        columns: columns_by_referrer(),
        outlet: None,
        changelog: Changelog::Append,
    };
    let others = options.on_late.side_table(result).into_iter().chain(options.on_bad_record.side_table(result));
    std::iter::once(by_referrer).chain(others).collect()
}

/// What is done with late events.
pub(crate) fn late_events(options: &Options, job_id: JobId, topic: &str) -> LateEvents {
    LateEvents::new(options.on_late, FIRST_SIDE_TABLE, job_id, topic)
}

/// What is done with bad records.
pub(crate) fn dead_letters(options: &Options, job_id: JobId, topic: &str) -> DeadLetters {
    let before = u16::from(options.on_late == OnLate::DeadLetterTable);
    DeadLetters::new(options.on_bad_record, TableIndex(FIRST_SIDE_TABLE.0 + before), job_id, topic)
}

/// A table's name with more behind it, within its quotes if it has any.
fn with_suffix(table: &str, suffix: &str) -> String {
    match table.strip_suffix('"') {
        Some(quoted) => format!("{quoted}{suffix}\""),
        None => format!("{table}{suffix}"),
    }
}

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.to_owned(), column_type }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use web_intake::OnBadRecord;

    use super::*;

    #[test]
    fn second_result_stands_beside_the_first_and_before_what_is_late_or_bad() {
        let options = Options::new(Duration::from_secs(1), Duration::ZERO).expect("valid");
        let names = |on_late, on_bad_record, result| -> Vec<String> {
            let tables = side_tables(&options.with_policies(on_late, on_bad_record), result);
            tables.into_iter().map(|table| table.name).collect()
        };
        assert_eq!(
            names(OnLate::DeadLetterTable, OnBadRecord::DeadLetter, "web.hits"),
            ["web.hits_source", "web.late_events", "web.dead_letter_events"]
        );
        assert_eq!(names(OnLate::Drop, OnBadRecord::Skip, "hits"), ["hits_source"]);
        assert_eq!(names(OnLate::Drop, OnBadRecord::Fail, r#""a.b"."my hits""#), [r#""a.b"."my hits_source""#]);
    }
}
