//! What becomes of an event that is late.

use serde::{Deserialize, Serialize};
use stream_core::collector::Collector;
use stream_core::event_batch::KeyedEvent;
use stream_core::ids::{JobId, TableIndex};
use stream_core::operator::Refusal;
use stream_core::origin::Origin;
use stream_core::pipeline::SideTable;
use stream_core::row::{Column, ColumnType};
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

use crate::side_table::{self, Whose};

/// The table of late events.
pub const LATE_EVENTS: &str = "late_events";

/// What becomes of an event that is late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLate {
    /// It is counted and kept in table `late_events`.
    DeadLetterTable,
    /// It is counted, as in Flink.
    #[default]
    Drop,
    /// The job fails.
    Fail,
}

impl OnLate {
    /// The table of late events beside `result`, if they are kept.
    pub fn side_table(self, result: &str) -> Option<SideTable> {
        (self == OnLate::DeadLetterTable).then(|| side_table::beside(result, LATE_EVENTS, columns()))
    }
}

fn columns() -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    vec![
        column("job_id", ColumnType::Text),
        column("ip", ColumnType::Text),
        column("host", ColumnType::Text),
        column("event_time", ColumnType::Timestamp),
        column("watermark", ColumnType::Timestamp),
        column("late_by_ms", ColumnType::BigInt),
        column("topic", ColumnType::Text),
        column("partition", ColumnType::BigInt),
        column("offset", ColumnType::BigInt),
    ]
}

/// Of whom an event tells, as far as the job has read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visit<'a> {
    /// The client's address.
    pub ip: Option<&'a str>,
    /// The host that was asked.
    pub host: Option<&'a str>,
}

/// What is done with late events; unless told, they are dropped.
#[derive(Clone, Debug, Default)]
pub struct LateEvents {
    policy: OnLate,
    table: TableIndex,
    whose: Whose,
}

impl LateEvents {
    /// Those of a job that reads from `topic`; kept, they go to `table` of its sink.
    pub fn new(policy: OnLate, table: TableIndex, job_id: JobId, topic: &str) -> Self {
        LateEvents { policy, table, whose: Whose::new(job_id, topic) }
    }

    /// An event came behind the watermark, and its window is over.
    ///
    /// # Errors
    /// If the job is to fail then.
    pub fn on_late(
        &self,
        event: &KeyedEvent<'_>,
        visit: Visit<'_>,
        watermark: Watermark,
        out: &mut Collector,
    ) -> Result<(), Refusal> {
        let late_by_ms = watermark.0.saturating_sub(event.time.0);
        match self.policy {
            OnLate::Drop => Ok(()),
            OnLate::Fail => {
                let Origin { split, offset } = event.origin;
                Err(Refusal(format!(
                    "the event at offset {offset} of partition {split} of `{}` came {late_by_ms} ms behind the watermark, and \
                     the job is to fail then (--on-late)",
                    self.whose.topic
                )))
            }
            OnLate::DeadLetterTable => {
                let Some(mut row) = out.side_row(self.table, 9) else { return Ok(()) };
                self.whose.write_job(&mut row);
                row.text(visit.ip).text(visit.host).timestamp(event.time);
                row.timestamp(EventTime(watermark.0)).bigint(late_by_ms);
                self.whose.write_place(&mut row, event.origin);
                Ok(())
            }
        }
    }
}
