//! Rows of the case files, and how two lists of them are compared.

use anyhow::{Context as _, ensure};
use job_sessionize::key::Key;
use job_sessionize::operator::{Form, num_hits};
use serde_json::Value;
use stream_core::row::{Field, RowBatch};
use stream_core::session::Fired;

/// `[when, start_ms, end_ms, ip, host, num_hits]`, where `when` is a step's number or a watermark. Sorted as it stands, rows
/// are in order of their end first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) when: i64,
    pub(crate) end: i64,
    pub(crate) row: Session,
}

/// What the job writes of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session {
    pub(crate) start: i64,
    pub(crate) ip: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) num_hits: i64,
}

impl Row {
    pub(crate) fn of_fired(when: i64, form: Form, fired: Fired<'_>) -> Self {
        let key = Key::decode(fired.key).expect("own key");
        let session = Session {
            start: fired.start.0,
            ip: key.ip.map(str::to_owned),
            host: key.host.map(str::to_owned),
            num_hits: num_hits(form, key.host.is_some(), fired.count),
        };
        Row { when, end: fired.end.0, row: session }
    }
}

/// The rows of a case.
pub(crate) fn expected(rows: &Value) -> anyhow::Result<Vec<Row>> {
    let rows = rows.as_array().context("no `rows`")?;
    rows.iter().map(|row| read(row).with_context(|| format!("`{row}` is no row"))).collect()
}

fn read(row: &Value) -> Option<Row> {
    let [when, start, end, ip, host, num_hits] = row.as_array()?.as_slice() else { return None };
    let session = Session {
        start: start.as_i64()?,
        ip: ip.as_str().map(str::to_owned),
        host: host.as_str().map(str::to_owned),
        num_hits: num_hits.as_i64()?,
    };
    Some(Row { when: when.as_i64()?, end: end.as_i64()?, row: session })
}

/// Whether two lists are the same but for the order of rows that came at once and end at once, which Flink leaves open.
pub(crate) fn check(expected: &[Row], actual: &[Row]) -> anyhow::Result<()> {
    ensure!(actual.is_sorted_by_key(|row| (row.when, row.end)), "rows of one step are not in order of their end");
    let sorted = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    let (expected, actual) = (sorted(expected), sorted(actual));
    ensure!(expected == actual, "expected {expected:?}, got {actual:?}");
    Ok(())
}

/// The sessions of a batch as the sink would read them.
pub(crate) fn sessions(rows: &RowBatch) -> anyhow::Result<Vec<Session>> {
    let columns = job_sessionize::pipeline::columns();
    let mut reader = rows.reader(&columns);
    let mut sessions = Vec::new();
    loop {
        let mut session = Session { start: 0, ip: None, host: None, num_hits: -1 };
        let is_row = reader.next_row(|column, field| match (column, field) {
            (0, Field::Timestamp(start)) => session.start = start.0,
            (1, Field::Text(ip)) => session.ip = Some(ip.as_str().to_owned()),
            (2, Field::Text(host)) => session.host = Some(host.as_str().to_owned()),
            (3, Field::BigInt(num_hits)) => session.num_hits = num_hits,
            (_, Field::Null) => {}
            (column, field) => panic!("{field:?} in column {column}"),
        })?;
        if !is_row {
            return Ok(sessions);
        }
        sessions.push(session);
    }
}
