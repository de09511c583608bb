//! The section of `docs/performance.md` between two markers, and the plots beside it, from one report.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use e2e::page;
use e2e::plot::{self, Bar};

use crate::contestant::Unit;
use crate::goals::{self, Goal};
use crate::report::{COLUMNS, Entry, Report};

const PAGE: &str = "docs/performance.md";
const PLOTS: &str = "docs/bench";
/// In the markers of the section.
const NAME: &str = "make bench";

/// Writes both anew.
///
/// # Errors
/// If the page or its markers are not there, or something cannot be written.
pub(crate) fn write(report: &Report) -> Result<()> {
    let page = fs::read_to_string(PAGE).with_context(|| format!("cannot read `{PAGE}`; run this in the repository"))?;
    let mut plots = Vec::new();
    fs::create_dir_all(PLOTS).with_context(|| format!("cannot make `{PLOTS}`"))?;
    for place in places(report) {
        let title = format!("CPU time of an event, {place} (median, least to most)");
        if let Some(svg) = plot::bars(&title, "µs", &bars(report, place)) {
            let file = Path::new(PLOTS).join(format!("{place}.svg"));
            fs::write(&file, svg).with_context(|| format!("cannot write `{}`", file.display()))?;
            plots.push(place);
        }
    }
    let page = page::replaced(&page, NAME, &section(report, &plots)).with_context(|| format!("`{PAGE}`"))?;
    fs::write(PAGE, page).with_context(|| format!("cannot write `{PAGE}`"))
}

fn section(report: &Report, plots: &[&str]) -> String {
    let mut text = String::new();
    for plot in plots {
        text += &format!("![CPU time of an event, {plot}](bench/{plot}.svg)\n\n");
    }
    text += &format!("| {} |\n|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for entry in report.entries.iter().filter(|entry| !entry.runs.is_empty()) {
        text += &format!("| {} |\n", entry.cells().join(" | "));
    }
    text += "\nMedian (least–most); CPU of all processes of a contestant, start-up included; every result was right.\n";
    for Entry { name, what, skipped, .. } in &report.entries {
        let reason = skipped.as_ref().map(|reason| format!(" – not run: {}", reason.replace('\n', " ")));
        text += &format!("* `{name}`: {what}{}\n", reason.unwrap_or_default());
    }
    let goals = goals::goals(report);
    if !goals.is_empty() {
        text += "\n| goal, of the medians | wanted | found |\n|---|---|---|\n";
        for Goal { what, wanted, found, is_met } in goals {
            let missed = if is_met { "" } else { ", missed" };
            text += &format!("| {what} | {wanted} | {found}{missed} |\n");
        }
    }
    text += "\n";
    for (name, value) in report.circumstances() {
        text += &format!("* {name}: {value}\n");
    }
    text
}

/// What stands before the `/` of names, each once.
fn places(report: &Report) -> Vec<&str> {
    let mut places: Vec<&str> = report.entries.iter().filter_map(|entry| entry.name.split('/').next()).collect();
    places.dedup();
    places
}

fn bars(report: &Report, place: &str) -> Vec<Bar> {
    let of_place = report.entries.iter().filter(|entry| entry.unit == Unit::Event);
    of_place
        .filter_map(|entry| {
            let (its_place, name) = entry.name.split_once('/')?;
            let spread = entry.spread(|run| Some(run.cpu_us_each())).filter(|spread| spread.min > 0.0)?;
            let is_ours = entry.what.starts_with("ours");
            let bar = Bar { name: name.to_owned(), min: spread.min, median: spread.median, max: spread.max, is_ours };
            (its_place == place).then_some(bar)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn the_page_of_this_repository_has_the_markers() {
        assert!(page::replaced(include_str!("../../docs/performance.md"), NAME, "").is_ok());
    }

    #[test]
    fn each_place_has_its_plot_and_each_contestant_its_row() {
        let report = report(&[("web/csv-p1", 0.5, 1.0), ("web/duckdb", 3.0, 2.0), ("kafka/x", 1.0, 1.0)]);
        assert_eq!(places(&report), ["web", "kafka"]);
        assert_eq!(bars(&report, "web").into_iter().map(|bar| bar.name).collect::<Vec<_>>(), ["csv-p1", "duckdb"]);
        let section = section(&report, &["web"]);
        assert!(section.contains("![CPU time of an event, web](bench/web.svg)"), "{section}");
        assert!(section.contains("| web/duckdb | 500 (500–500) | 3.00 (3.00–3.00) |"), "{section}");
        assert!(section.contains("| DuckDB over ours, CPU | ≥ 5 × | 6.00 × |"), "{section}");
    }
}
