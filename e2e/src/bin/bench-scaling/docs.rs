//! The section of `docs/performance.md` between two markers, and the figures beside it.

use std::fs;

use anyhow::{Context, Result};
use e2e::page;

use crate::report::{Part, Report};

const PAGE: &str = "docs/performance.md";
const FIGURES: &str = "docs/bench/scaling.json";
/// In the markers of the section.
const NAME: &str = "make bench-scaling";

/// Writes both anew.
///
/// # Errors
/// If the page or its markers are not there, or something cannot be written.
pub(crate) fn write(report: &Report<'_>) -> Result<()> {
    let text = fs::read_to_string(PAGE).with_context(|| format!("cannot read `{PAGE}`; run this in the repository"))?;
    let text = page::replaced(&text, NAME, &section(report)).with_context(|| format!("`{PAGE}`"))?;
    fs::write(FIGURES, format!("{:#}\n", report.to_json())).with_context(|| format!("cannot write `{FIGURES}`"))?;
    fs::write(PAGE, text).with_context(|| format!("cannot write `{PAGE}`"))
}

fn section(report: &Report<'_>) -> String {
    let mut text = String::new();
    for Part { table, words } in report.parts() {
        text += &format!("{}\n{words}\n\n", table.to_markdown());
    }
    for (name, value) in report.circumstances() {
        text += &format!("* {name}: {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;
    use crate::report::tests::{bytes, report};

    #[test]
    fn the_page_of_this_repository_has_the_markers() {
        assert!(page::replaced(include_str!("../../../../docs/performance.md"), NAME, "").is_ok());
    }

    #[test]
    fn the_section_has_all_tables_and_what_they_were_measured_on() {
        let args = Args::parse_from(["bench-scaling"]);
        let section = section(&report(&args, 40.0, Ok(bytes())));
        assert_eq!(section.matches("---:").count(), 3 + 1 + 7 + 2 + 10, "{section}");
        assert!(section.contains("| web | 4 | 4 | 500 | 75 % | 834 | 834 (834–834) | +0.0 % |"), "{section}");
        assert!(section.contains("* commit: abc\n"), "{section}");
    }
}
