//! The table of open sessions: at each barrier, what changed of them since the barrier before.
//!
//! The rows are the last of the epoch that the barrier closes. So they become visible in the same instant as the rows of the sessions that
//! closed in it, and as the ledger's accounts, and whatever is lost or published again of an epoch is so of all three alike.
//! `docs/design/0009-open-sessions-table.md` has the whole.

use stream_core::collector::Collector;
use stream_core::ids::{JobId, TableIndex};
use stream_core::key_group::hash_key;
use stream_core::pipeline::{Changelog, SideTable};
use stream_core::row::{Column, ColumnType, RowWriter};
use stream_core::session::{Change, Restored, Windows};
use web_intake::side_table::{self, signed};

use crate::key::Key;

/// The columns of a row. Those that the table of closed sessions also has are called the same; but `num_hits` counts every event that no
/// row there has yet, so that the sum over a job is what its ledger calls open.
pub fn columns() -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    vec![
        column("session_id", ColumnType::BigInt),
        column("job_id", ColumnType::Text),
        column("event_hour", ColumnType::Timestamp),
        column("last_event", ColumnType::Timestamp),
        column("ip", ColumnType::Text),
        column("host", ColumnType::Text),
        column("num_hits", ColumnType::BigInt),
    ]
}

/// The column whose sum over a job's rows is its number of open events.
pub const OPEN_EVENTS: &str = "num_hits";

const COLUMNS: u16 = 7;

/// The table of that name; without a schema it is in that of `result`.
pub fn table(result: &str, name: &str) -> SideTable {
    let changelog = Changelog::Upsert;
    if side_table::has_schema(name) {
        return SideTable { name: name.to_owned(), columns: columns(), outlet: None, changelog };
    }
    SideTable { changelog, ..side_table::beside(result, name, columns()) }
}

/// Writes the changes of one subtask's sessions.
#[derive(Debug)]
pub struct OpenTable {
    table: TableIndex,
    job_id: JobId,
    job: String,
    /// Whether the table's rows are to be told anew, and no other of the job are to stay.
    begins_anew: bool,
}

impl OpenTable {
    /// Into this table of the sink. A job that begins with a savepoint tells all that is open, once: the table may be new, or show a later
    /// time, or the job had none.
    pub fn new(table: TableIndex, job_id: JobId, is_from_savepoint: bool) -> Self {
        OpenTable { table, job_id, job: job_id.to_string(), begins_anew: is_from_savepoint }
    }

    /// The windows, which from now on can tell what changed.
    pub(crate) fn prepare(&self, windows: Windows) -> Windows {
        let restored = if self.begins_anew { Restored::Untold } else { Restored::Told };
        windows.telling_changes(hash_key(&self.job_id.0.to_be_bytes()).0, restored)
    }

    /// Writes what changed since the last call.
    pub(crate) fn write(&mut self, windows: &mut Windows, gap_ms: i64, out: &mut Collector) {
        let OpenTable { table, ref job, .. } = *self;
        if std::mem::take(&mut self.begins_anew) {
            let mut row = out.row(table, COLUMNS);
            row.null().text(Some(job));
            nulls(&mut row);
        }
        windows.tell_changes(|change| {
            let mut row = out.row(table, COLUMNS);
            match change {
                Change::Gone(id) => {
                    row.bigint(signed(id.get())).null();
                    nulls(&mut row);
                }
                Change::Open { id, key, start, end, events } => {
                    let key = Key::decode(key).expect("every key in a window was encoded by this job's decoder");
                    row.bigint(signed(id.get())).text(Some(job));
                    row.timestamp(start).timestamp(end.saturating_add_ms(-gap_ms));
                    row.text(key.ip).text(key.host).bigint(signed(events));
                }
            }
        });
    }
}

/// Nothing in the columns behind whose row it is.
fn nulls(row: &mut RowWriter<'_>) {
    for _ in 2..COLUMNS {
        row.null();
    }
}

#[cfg(test)]
mod tests {
    use stream_core::event_batch::KeyedEvent;
    use stream_core::key_group::{KeyGroupRange, MaxParallelism};
    use stream_core::origin::Origin;
    use stream_core::session::{Config, Limits};
    use stream_core::time::EventTime;
    use stream_core::watermark::Watermark;

    use super::*;
    use crate::testing::shown;

    const GAP_MS: i64 = 1000;
    const TABLE: TableIndex = TableIndex(2);

    struct Probe {
        windows: Windows,
        table: OpenTable,
        out: Collector,
    }

    impl Probe {
        fn new(is_from_savepoint: bool) -> Self {
            let max = MaxParallelism::DEFAULT;
            let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
            let windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
            let table = OpenTable::new(TABLE, JobId(7), is_from_savepoint);
            Probe { windows: table.prepare(windows), table, out: Collector::new(max, 1) }
        }

        fn event(&mut self, host: Option<&str>, time: i64) {
            let mut key = Vec::new();
            Key { ip: Some("1.2.3.4"), host }.encode(&mut key);
            let (hash, time, origin) = (hash_key(&key), EventTime(time), Origin::default());
            self.windows.add(KeyedEvent { hash, time, count: 1, key: &key, origin }, |_| ());
        }

        /// The rows, each without its id, which is told apart.
        fn told(&mut self) -> Vec<(String, String)> {
            self.table.write(&mut self.windows, GAP_MS, &mut self.out);
            let rows = self.out.take_rows(TABLE).unwrap_or_default();
            let split = |row: &String| row.split_once(" | ").map(|(id, rest)| (id.to_owned(), rest.to_owned()));
            shown(&rows, &columns()).iter().filter_map(split).collect()
        }
    }

    const JOB: &str = "00000000000000000000000000000007";
    const GONE: &str = "NULL | NULL | NULL | NULL | NULL | NULL";

    fn open(start: &str, last: &str, host: &str, hits: u64) -> String {
        format!("{JOB} | 1970-01-01 00:00:{start} | 1970-01-01 00:00:{last} | 1.2.3.4 | {host} | {hits}")
    }

    #[test]
    fn session_is_told_when_it_changed_and_once_more_when_it_is_gone() {
        let mut probe = Probe::new(false);
        assert_eq!(probe.told(), []);
        probe.event(Some("a.io"), 500);
        let told = probe.told();
        let [(id, row)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(*row, open("00.500", "00.500", "a.io", 1));
        assert!(id.parse::<i64>().is_ok_and(|id| id > 0), "{id}");
        assert_eq!(probe.told(), [], "nothing changed");
        probe.event(Some("a.io"), 0);
        assert_eq!(probe.told(), [(id.clone(), open("00.000", "00.500", "a.io", 2))]);
        probe.windows.advance(Watermark(5000), |_| ());
        assert_eq!(probe.told(), [(id.clone(), GONE.to_owned())]);
        assert_eq!(probe.told(), []);
    }

    #[test]
    fn session_that_was_never_seen_is_never_told_and_one_without_a_host_counts_its_events() {
        let mut probe = Probe::new(false);
        probe.event(Some("a.io"), 0);
        probe.windows.advance(Watermark(2000), |_| ());
        probe.event(None, 3000);
        let told: Vec<String> = probe.told().into_iter().map(|(_, row)| row).collect();
        assert_eq!(told, [open("03.000", "03.000", "NULL", 1)]);
    }

    #[test]
    fn behind_a_savepoint_the_job_has_no_rows_but_those_that_are_told() {
        let mut probe = Probe::new(true);
        assert_eq!(probe.told(), [("NULL".to_owned(), format!("{JOB} | NULL | NULL | NULL | NULL | NULL"))]);
        assert_eq!(probe.told(), []);
    }

    #[test]
    fn table_stands_beside_the_result_unless_its_name_says_where() {
        assert_eq!(table("web.s", "open").name, "web.open");
        assert_eq!(table("web.s", "live.open").name, "live.open");
        assert_eq!(table("s", "\"a.b\"").name, "\"a.b\"");
    }
}
