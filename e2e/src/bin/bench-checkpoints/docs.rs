//! The report and the plot of it in `docs/bench`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use e2e::plot::{self, Points};

use crate::report::Report;
use crate::run::Measured;

const FOLDER: &str = "docs/bench";

/// Writes them anew.
///
/// # Errors
/// If something cannot be written.
pub(crate) fn write(report: &Report<'_>) -> Result<()> {
    fs::create_dir_all(FOLDER).with_context(|| format!("cannot make `{FOLDER}`; run this in the repository"))?;
    let write = |name: &str, text: &str| {
        let file = Path::new(FOLDER).join(name);
        fs::write(&file, text).with_context(|| format!("cannot write `{}`", file.display()))
    };
    write("checkpoints.json", &format!("{:#}\n", report.to_json()))?;
    write("checkpoints.csv", &csv(&report.runs))?;
    plot(&report.runs).map_or(Ok(()), |svg| write("checkpoints.svg", &svg))
}

fn csv(runs: &[Measured]) -> String {
    let of_run = |run: &Measured| {
        let line =
            |delta: &crate::costs::Delta| format!("{},{},{}\n", run.sessions, delta.changed, delta.written_bytes);
        run.deltas.iter().map(line).collect::<String>()
    };
    "open_sessions,changed_sessions,written_bytes\n".to_owned() + &runs.iter().map(of_run).collect::<String>()
}

fn plot(runs: &[Measured]) -> Option<String> {
    let points = |run: &Measured| Points {
        name: format!("{} open sessions", run.sessions),
        at: run.deltas.iter().map(|delta| (delta.changed as f64 / 1e3, delta.written_bytes as f64 / 1e6)).collect(),
    };
    let all: Vec<Points> = runs.iter().map(points).collect();
    plot::points(
        "What an incremental checkpoint writes, by what changed since the one before",
        ("sessions that changed, thousands", "MB"),
        &all,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::run;

    #[test]
    fn each_incremental_checkpoint_is_a_line_and_a_point() {
        let runs = [run(200_000, 5), run(2_000_000, 5)];
        let line = "200000,2000,1048576\n";
        assert_eq!(csv(&runs).lines().count(), 1 + 2 * runs[0].deltas.len());
        assert!(csv(&runs).contains(line), "{}", csv(&runs));
        let svg = plot(&runs).expect("there are points");
        assert!(
            svg.contains("2000000 open sessions") && svg.matches("r=\"3\"").count() == 2 * runs[0].deltas.len(),
            "{svg}"
        );
    }
}
