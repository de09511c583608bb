//! Answers as text: aligned columns with a header, and nothing around them.

mod audit;
mod checkpoint;
mod cluster;
mod explanation;
mod job;
mod late;
mod log_line;

use std::fmt::Display;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use stream_core::time::EventTime;
use stream_runtime::duration;

use crate::terminal::harmless;

pub(crate) use audit::audit;
pub(crate) use checkpoint::checkpoints;
pub(crate) use cluster::{cluster, taskmanagers};
pub(crate) use explanation::{explanation, open_sessions};
pub(crate) use job::{details, jobs};
pub(crate) use late::late_replay;
pub(crate) use log_line::log_line;

/// What is not there, or not known.
const NONE: &str = "-";

/// Which side of its column a cell stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    /// Numbers, so that their digits stand under one another.
    Right,
}

/// Lines of aligned columns, each ending in a line break.
fn table<const N: usize>(columns: [(&str, Side); N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.map(|(name, _)| name));
    for row in rows {
        table.add_row(row.map(|cell| harmless(&cell)));
    }
    for ((_, side), column) in columns.iter().zip(table.column_iter_mut()) {
        column.set_padding((0, 2));
        if *side == Side::Right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// `NAME  value` lines.
fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields.iter().map(|(name, value)| format!("{name:width$}  {}\n", harmless(value))).collect()
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

/// A time in UTC.
pub(crate) fn time(ms: i64) -> String {
    EventTime(ms).to_string()
}

/// A watermark, which is no time before the first event and after the last.
pub(crate) fn watermark(ms: Option<i64>) -> String {
    match ms {
        None | Some(i64::MIN) => NONE.to_owned(),
        Some(i64::MAX) => "end".to_owned(),
        Some(ms) => time(ms),
    }
}

/// A span in whole seconds, or milliseconds below one.
pub(crate) fn span(from_ms: i64, to_ms: i64) -> String {
    let ms = to_ms.saturating_sub(from_ms).max(0).unsigned_abs();
    let ms = if ms < 1000 { ms } else { ms - ms % 1000 };
    duration::show(Duration::from_millis(ms))
}

/// A size in MiB.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1 << 20);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests;
