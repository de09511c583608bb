//! A frame: the cluster in a line, its jobs, one of them with its subtasks, partitions and checkpoints, and the keys.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Sparkline;
use stream_core::time::Timestamp;

use super::figures::{compact, events_per_second, short_span};
use super::heights;
use super::state::{State, Table};
use super::tables;
use crate::diagnosis;
use crate::terminal::harmless;
use crate::view::JobDetails;

/// Jobs that are listed while another table has the focus.
const LISTED_JOBS: u16 = 5;
/// Screens of these heights have a sparkline of so many lines beside its heading.
const SPARKLINES: [(u16, u16); 3] = [(36, 4), (24, 2), (16, 1)];

/// Draws the state as it is at `now`.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &State, now: Timestamp) {
    let area = frame.area();
    let summary = summary(state, area.width);
    let spark = sparkline_height(state, area.height);
    let summary_lines = u16::try_from(summary.len()).unwrap_or(u16::MAX);
    let for_tables = area.height.saturating_sub(2 + summary_lines + spark);
    let wanted = Table::ALL.map(|table| match tables::wanted(state, table) {
        wanted if table == Table::Jobs && state.focus != table => wanted.min(LISTED_JOBS + 1),
        wanted => wanted,
    });
    let [jobs, subtasks, partitions, checkpoints] = heights::share(for_tables, wanted, state.focus as usize);
    let parts = [1, jobs, summary_lines, spark, subtasks, partitions, checkpoints].map(Constraint::Length);
    let [head, jobs, about, spark, subtasks, partitions, checkpoints] = Layout::vertical(parts).areas(area);

    frame.render_widget(headline(state, now, head.width), head);
    frame.render_widget(ratatui::text::Text::from(summary), about);
    draw_sparkline(frame, state, spark);
    for (table, place) in Table::ALL.into_iter().zip([jobs, subtasks, partitions, checkpoints]) {
        if place.height > 0 {
            frame.render_widget(tables::table(state, table, place.width, place.height), place);
        }
    }
    if let Some(last) = area.rows().next_back().filter(|_| area.height > 1) {
        frame.render_widget(keys(state, last.width), last);
    }
}

/// The cluster; or, while nobody answers, that.
fn headline(state: &State, now: Timestamp, width: u16) -> Line<'static> {
    let cluster = &state.look.cluster;
    if let Some((since, why)) = &state.away {
        let seconds = Duration::from_secs(now.saturating_since(*since).as_secs().max(1));
        let (jobmanager, why) = (harmless(&cluster.jobmanager), harmless(why));
        let words = format!("jobmanager {jobmanager} away for {}, trying again ({why})", short_span(seconds));
        return Line::styled(words, state.symbols.alarm());
    }
    let up = now.0.saturating_sub(cluster.started_ms).max(0).unsigned_abs();
    let count = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    fit(
        state,
        width,
        [
            format!("gapwise {}", harmless(&cluster.jobmanager)),
            format!("{} free of {}", cluster.free_slots, count(cluster.slots, "slot")),
            count(cluster.taskmanagers, "taskmanager"),
            format!("{} running", count(cluster.running_jobs, "job")),
            format!("up {}", short_span(Duration::from_secs(up / 1000))),
            format!("{} MiB", cluster.rss_bytes >> 20),
        ]
        .map(Span::from),
    )
}

/// The job that is shown, in a few lines.
fn summary(state: &State, width: u16) -> Vec<Line<'static>> {
    let symbols = state.symbols;
    let Some(details) = &state.look.details else {
        let words = match state.look.jobs.is_empty() {
            true => "no jobs yet: `jobctl submit sessionize` starts one",
            false => "looking at the job",
        };
        return vec![Line::styled(words, symbols.dim())];
    };
    let job = &details.job;
    let mut lines = vec![
        fit(
            state,
            width,
            [
                Span::styled(harmless(&job.name), symbols.chosen()),
                Span::styled(waiting(details), symbols.state(job.state)),
                Span::from(format!("{} restarts", details.restarts)),
                Span::from(format!("attempt {}", details.attempt)),
                Span::from(harmless(&details.source)),
                Span::from(harmless(&details.sink)),
            ],
        ),
        fit(state, width, totals(state, details).map(Span::from)),
    ];
    lines.extend(trouble(details).map(|words| Line::styled(harmless(words), symbols.alarm())));
    lines
}

fn waiting(details: &JobDetails) -> String {
    match &details.waiting_for {
        None => details.job.state.to_owned(),
        Some(what) => format!("{}, waits for {}", details.job.state, harmless(what)),
    }
}

fn totals(state: &State, details: &JobDetails) -> [String; 6] {
    let rate = events_per_second(details, &state.figures).map_or_else(|| "-".to_owned(), compact);
    let lag: u64 = details.splits.iter().filter_map(|split| split.lag).sum();
    let sum = |part: fn(&crate::view::Subtask) -> u64| compact(details.subtasks.iter().map(part).sum());
    let holder = diagnosis::holder(&details.splits);
    let event_time = match holder.and_then(|split| split.watermark_ms) {
        None => "event time not known".to_owned(),
        Some(ms) => {
            let behind = state.look.clock.0.saturating_sub(ms).max(0).unsigned_abs();
            format!("event time {} behind", short_span(Duration::from_millis(behind)))
        }
    };
    [
        format!("{rate} events/s"),
        format!("lag {}", compact(lag)),
        event_time,
        format!("{} open", sum(|subtask| subtask.open_windows)),
        format!("{} late", sum(|subtask| subtask.late)),
        format!("{} bad", sum(|subtask| subtask.bad)),
    ]
}

/// What is wrong just now, or why it failed.
fn trouble(details: &JobDetails) -> Option<&str> {
    let trouble = details.subtasks.iter().find_map(|subtask| subtask.trouble.as_deref());
    let failure = || details.job.causes.first().or(details.last_failure.first()).map(String::as_str);
    trouble.or_else(failure)
}

fn sparkline_height(state: &State, height: u16) -> u16 {
    let is_shown = state.look.details.is_some();
    let lines = SPARKLINES.into_iter().find(|(from, _)| height >= *from).filter(|_| is_shown);
    lines.map_or(0, |(_, lines)| lines + 1)
}

fn draw_sparkline(frame: &mut Frame<'_>, state: &State, area: Rect) {
    if area.height == 0 {
        return;
    }
    let [title, bars] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let width = usize::from(bars.width);
    let shown: Vec<u64> = state.history.iter().rev().take(width).rev().copied().collect();
    let peak = shown.iter().max().copied().unwrap_or(0);
    frame.render_widget(Line::styled(format!("EVENTS/S  peak {}", compact(peak)), state.symbols.heading(false)), title);
    frame.render_widget(
        Sparkline::default().data(&shown).bar_set(state.symbols.bars()).style(state.symbols.good()),
        bars,
    );
}

fn keys(state: &State, width: u16) -> Line<'static> {
    fit(state, width, ["q quit", "Tab next table", "Up/Down move", "PgUp/PgDn"].map(Span::from))
        .style(state.symbols.dim())
}

/// As many facts as there is room for, the first in any case.
fn fit<const N: usize>(state: &State, width: u16, facts: [Span<'static>; N]) -> Line<'static> {
    let dot = state.symbols.dot();
    let mut line = Line::default();
    for fact in facts {
        let is_first = line.spans.is_empty();
        if !is_first && line.width() + Span::from(dot).width() + fact.width() > usize::from(width) {
            break;
        }
        if !is_first {
            line.push_span(Span::styled(dot, Style::new()));
        }
        line.push_span(fact);
    }
    line
}
