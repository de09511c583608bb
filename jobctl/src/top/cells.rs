//! What stands in the tables: a cell for each column, in the order of the columns in `tables`.

use std::time::Duration;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::figures::{Figures, compact, compact_bytes, short_span};
use super::symbols::Symbols;
use crate::render;
use crate::terminal::harmless;
use crate::view::{Checkpoint, Job, Split, Subtask};

/// What is not there, or not known.
const NONE: &str = "-";
/// Characters of a load's bar.
pub(super) const LOAD: u16 = 10;

/// A row.
pub(super) type Cells = Vec<Line<'static>>;

pub(super) fn job(job: &Job, symbols: Symbols, now_ms: i64) -> Cells {
    vec![
        text(&job.name),
        styled(job.state, symbols.state(job.state)),
        span(job.submitted_ms, job.ended_ms.unwrap_or(now_ms)),
        number(job.records_in),
        number(job.rows_out),
        number(job.parallelism.into()),
        text(&job.id.chars().take(12).collect::<String>()),
    ]
}

pub(super) fn subtask(subtask: &Subtask, figures: Option<Figures>, symbols: Symbols, now_ms: i64) -> Cells {
    let known = |value: fn(Figures) -> u64| figures.map(value);
    let percent = |value: Option<u64>| value.map_or_else(none, |percent| Line::from(format!("{percent}%")));
    let state = if subtask.is_paused { "paused" } else { subtask.state };
    vec![
        text(&format!("{}[{}]", subtask.stage, subtask.index)),
        figures.map_or_else(none, |figures| load(figures, symbols)),
        percent(known(|figures| figures.busy)),
        percent(known(|figures| figures.backpressured)),
        known(|figures| figures.in_per_second).map_or_else(none, number),
        known(|figures| figures.out_per_second).map_or_else(none, number),
        styled(state, symbols.state(state)),
        behind(subtask.watermark_ms, now_ms),
        number(subtask.open_windows),
        text(&format!("{}/{}", subtask.taskmanager, subtask.slot)),
        watermark(subtask.watermark_ms),
    ]
}

pub(super) fn partition(split: &Split, symbols: Symbols, now_ms: i64) -> Cells {
    vec![
        text(&split.id),
        styled(split.state, symbols.state(split.state)),
        split.lag.map_or_else(none, number),
        behind(split.watermark_ms, now_ms),
        Line::from(split.position.to_string()),
        split.end.map_or_else(none, |end| Line::from(end.to_string())),
        text(&split.subtask),
        watermark(split.watermark_ms),
    ]
}

pub(super) fn checkpoint(checkpoint: &Checkpoint, symbols: Symbols, now_ms: i64) -> Cells {
    let state = match checkpoint.state {
        _ if checkpoint.is_published => "published",
        state => state,
    };
    let micros = |us: u64| match us {
        0..1000 => Line::from(format!("{us}us")),
        _ => Line::from(short_span(Duration::from_micros(us))),
    };
    let kind = if checkpoint.is_savepoint { " savepoint" } else { "" };
    vec![
        text(&format!("{}{kind}", checkpoint.id)),
        styled(state, symbols.state(state)),
        span(checkpoint.triggered_ms, now_ms),
        checkpoint.ended_ms.map_or_else(none, |ended| span(checkpoint.triggered_ms, ended)),
        micros(checkpoint.pause_us),
        micros(checkpoint.alignment_us),
        bytes(checkpoint.total_bytes),
        bytes(checkpoint.written_bytes),
        checkpoint.reason.as_deref().map_or_else(none, text),
    ]
}

/// A bar of the time at work, held up, and idle.
fn load(figures: Figures, symbols: Symbols) -> Line<'static> {
    let cells = |percent: u64| (usize::try_from(percent).unwrap_or(100) * usize::from(LOAD) + 50) / 100;
    let busy = cells(figures.busy).min(LOAD.into());
    let backpressured = cells(figures.backpressured).min(usize::from(LOAD) - busy);
    let idle = usize::from(LOAD) - busy - backpressured;
    let [at_work, held_up, waiting] = symbols.load();
    Line::from(vec![
        Span::styled(at_work.repeat(busy), symbols.good()),
        Span::styled(held_up.repeat(backpressured), symbols.alarm()),
        Span::styled(waiting.repeat(idle), symbols.dim()),
    ])
}

/// How far event time is behind the clock.
fn behind(watermark_ms: Option<i64>, now_ms: i64) -> Line<'static> {
    match watermark_ms {
        None | Some(i64::MIN) => none(),
        Some(i64::MAX) => Line::from("end"),
        Some(ms) => span(ms, now_ms),
    }
}

fn watermark(ms: Option<i64>) -> Line<'static> {
    Line::from(render::watermark(ms))
}

fn span(from_ms: i64, to_ms: i64) -> Line<'static> {
    Line::from(short_span(Duration::from_millis(to_ms.saturating_sub(from_ms).max(0).unsigned_abs())))
}

fn number(number: u64) -> Line<'static> {
    Line::from(compact(number))
}

fn bytes(bytes: u64) -> Line<'static> {
    Line::from(compact_bytes(bytes))
}

fn text(text: &str) -> Line<'static> {
    Line::from(harmless(text))
}

fn styled(text: &str, style: Style) -> Line<'static> {
    Line::from(Span::styled(harmless(text), style))
}

fn none() -> Line<'static> {
    Line::from(NONE)
}
