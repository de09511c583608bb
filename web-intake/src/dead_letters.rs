//! What becomes of a record that cannot be read.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use stream_core::collector::Collector;
use stream_core::ids::{JobId, TableIndex};
use stream_core::operator::Refusal;
use stream_core::origin::Origin;
use stream_core::pipeline::SideTable;
use stream_core::row::{Column, ColumnType};

use crate::side_table::{self, Whose, signed};

/// The table of records that could not be read.
pub const DEAD_LETTER_EVENTS: &str = "dead_letter_events";
/// What is kept of a bad record, in bytes.
pub const KEPT_BYTES: usize = 64 << 10;

/// What becomes of a record that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadRecord {
    /// It is counted and kept in table `dead_letter_events`.
    DeadLetter,
    /// It is counted.
    #[default]
    Skip,
    /// The job fails, as in Flink.
    Fail,
}

impl OnBadRecord {
    /// The table of dead letters beside `result`, if they are kept.
    pub fn side_table(self, result: &str) -> Option<SideTable> {
        (self == OnBadRecord::DeadLetter).then(|| side_table::beside(result, DEAD_LETTER_EVENTS, columns()))
    }
}

fn columns() -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    vec![
        column("job_id", ColumnType::Text),
        column("reason", ColumnType::Text),
        column("topic", ColumnType::Text),
        column("partition", ColumnType::BigInt),
        column("offset", ColumnType::BigInt),
        column("bytes", ColumnType::BigInt),
        column("record", ColumnType::Bytes),
    ]
}

/// What is done with bad records; unless told, they are skipped.
#[derive(Clone, Debug, Default)]
pub struct DeadLetters {
    policy: OnBadRecord,
    table: TableIndex,
    whose: Whose,
}

impl DeadLetters {
    /// Those of a job that reads from `topic`; kept, they go to `table` of its sink.
    pub fn new(policy: OnBadRecord, table: TableIndex, job_id: JobId, topic: &str) -> Self {
        DeadLetters { policy, table, whose: Whose::new(job_id, topic) }
    }

    /// A record cannot be used; `reason` says why.
    ///
    /// # Errors
    /// If the job is to fail then.
    pub fn on_bad(
        &self,
        origin: Origin,
        record: &[u8],
        reason: &dyn Display,
        out: &mut Collector,
    ) -> Result<(), Refusal> {
        let Origin { split, offset } = origin;
        match self.policy {
            OnBadRecord::Skip => Ok(()),
            OnBadRecord::Fail => Err(Refusal(format!(
                "the record at offset {offset} of partition {split} of `{}` is bad ({reason}), and the job is to fail then \
                 (--on-bad-record)",
                self.whose.topic
            ))),
            OnBadRecord::DeadLetter => {
                let Some(mut row) = out.side_row(self.table, 7) else { return Ok(()) };
                self.whose.write_job(&mut row);
                row.text(Some(&reason.to_string()));
                self.whose.write_place(&mut row, origin);
                row.bigint(signed(record.len() as u64)).bytes(Some(&record[..record.len().min(KEPT_BYTES)]));
                Ok(())
            }
        }
    }
}
