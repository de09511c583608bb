//! What was measured, for people and for programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use localcluster::machine;
use localcluster::table::{Align, Table};
use serde::{Deserialize, Serialize};

use crate::args::{Args, BrokerKind};
use crate::contestant::{Run, Unit};
use crate::goals;

/// All that was measured in one sitting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) commit: String,
    pub(crate) seed: u64,
    pub(crate) events: u64,
    pub(crate) runs: u16,
    pub(crate) command: String,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) entries: Vec<Entry>,
}

/// A contestant's runs, all of which were right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// Why there are none.
    pub(crate) skipped: Option<String>,
    pub(crate) runs: Vec<Run>,
}

/// The middle of several figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of these; `None` of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Some(Spread { min, median: f64::midpoint(values[lower], values[upper]), max })
    }

    fn show(self, show: impl Fn(f64) -> String) -> String {
        let Spread { min, median, max } = self;
        format!("{} ({}–{})", show(median), show(min), show(max))
    }
}

impl Entry {
    /// A figure over all runs; `None` if there are none, or some do not have it.
    pub(crate) fn spread(&self, figure: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        let values: Option<Vec<f64>> = self.runs.iter().map(figure).collect();
        Spread::of(values?)
    }

    /// The cells of its row: name, events/s, CPU, events for each CPU-second, memory, first row.
    pub(crate) fn cells(&self) -> [String; 6] {
        let cell = |figure: fn(&Run) -> Option<f64>, show: fn(f64) -> String| {
            self.spread(figure).map_or_else(|| "–".to_owned(), |spread| spread.show(show))
        };
        [
            self.name.clone(),
            cell(|run| Some(run.per_s()), thousands),
            cell(|run| Some(run.cpu_us_each()), |us| format!("{us:.2}")),
            cell(|run| Some(run.per_cpu_s()), thousands),
            cell(|run| run.peak_bytes.map(|bytes| bytes as f64), |bytes| format!("{:.0}", bytes / 1e6)),
            cell(|run| run.first_row_s, |s| format!("{s:.2}")),
        ]
    }
}

/// What the columns of [`Entry::cells`] are called.
pub(crate) const COLUMNS: [&str; 6] = ["", "EVENTS/S, K", "CPU, µs EACH", "EACH CPU-S, K", "PEAK, MB", "FIRST ROW, s"];

impl Report {
    /// What was measured now, here.
    pub(crate) fn of(args: &Args, versions: BTreeMap<String, String>, entries: Vec<Entry>) -> Report {
        Report {
            machine: machine::machine(),
            commit: machine::commit(Path::new(".")),
            seed: args.seed,
            events: args.events.get(),
            runs: args.runs.get(),
            command: command(args),
            versions,
            entries,
        }
    }

    /// Reads one that was kept.
    ///
    /// # Errors
    /// If it is not there, or is none.
    pub(crate) fn read(file: &Path) -> Result<Report> {
        let text = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("`{}` is no report of this version", file.display()))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, self.to_json()?).with_context(|| format!("cannot write `{}`", file.display()))
    }

    pub(crate) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Who is called so, if it was run.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name && !entry.runs.is_empty())
    }

    pub(crate) fn to_text(&self) -> String {
        let [name, figures @ ..] = COLUMNS;
        let mut columns = vec![(name, Align::Left)];
        columns.extend(figures.map(|figure| (figure, Align::Right)));
        let mut table = Table::new(&columns);
        let (run, skipped): (Vec<&Entry>, Vec<&Entry>) = self.entries.iter().partition(|entry| entry.skipped.is_none());
        run.iter().for_each(|entry| table.row(entry.cells()));
        let mut text = table.render();
        text += "\nMedian (least–most). CPU is that of all processes of the contestant, start-up included.\n";
        for entry in skipped {
            let reason = entry.skipped.as_deref().unwrap_or_default().replace('\n', " ");
            text += &format!("{}: not run: {reason}\n", entry.name);
        }
        for Entry { name, what, unit, .. } in run {
            let of_rows = if *unit == Unit::Row { "; of rows, not events" } else { "" };
            text += &format!("{name}: {what}{of_rows}\n");
        }
        text += &goals::to_text(self);
        text + &self.circumstances().iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>()
    }

    /// Without which a figure says nothing.
    pub(crate) fn circumstances(&self) -> Vec<(&'static str, String)> {
        let versions = self.versions.iter().map(|(name, version)| format!("{name} {version}"));
        vec![
            ("machine", self.machine.clone()),
            ("commit", self.commit.clone()),
            ("events", format!("{}, seed {}, {} runs in turn", self.events, self.seed, self.runs)),
            ("versions", versions.collect::<Vec<_>>().join(", ")),
            ("command", self.command.clone()),
        ]
    }
}

/// What measures the same again.
fn command(args: &Args) -> String {
    let Args { events, seed, ips, runs, only, broker, .. } = args;
    let broker = if *broker == BrokerKind::Devbroker { " --broker devbroker" } else { "" };
    let only = if only.is_empty() { String::new() } else { format!(" --only {}", only.join(",")) };
    format!("make bench ARGS='--events {events} --seed {seed} --ips {ips} --runs {runs}{only}{broker}'")
}

/// In thousands, with three digits at least.
fn thousands(value: f64) -> String {
    let thousands = value / 1e3;
    if thousands < 100.0 { format!("{thousands:.1}") } else { format!("{thousands:.0}") }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A report of these contestants, each with one run of a million events in so many CPU-seconds and seconds.
    pub(crate) fn report(entries: &[(&str, f64, f64)]) -> Report {
        let run =
            |cpu_s, wall_s| Run { count: 1_000_000, wall_s, cpu_s, peak_bytes: Some(5_000_000), first_row_s: None };
        let entry = |&(name, cpu_s, wall_s): &(&str, f64, f64)| Entry {
            name: name.to_owned(),
            what: "a toy".to_owned(),
            unit: Unit::Event,
            skipped: None,
            runs: vec![run(cpu_s, wall_s)],
        };
        Report {
            machine: "2 × nothing".to_owned(),
            commit: "abc".to_owned(),
            seed: 1,
            events: 1_000_000,
            runs: 1,
            command: "make bench".to_owned(),
            versions: BTreeMap::from([("flink".to_owned(), "2.2.0".to_owned())]),
            entries: entries.iter().map(entry).collect(),
        }
    }

    #[test]
    fn the_median_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_report_shows_figures_and_reasons_and_survives_its_file() {
        let mut report = report(&[("web/csv-p1", 0.5, 2.0), ("web/flink-sql", 40.0, 20.0)]);
        report.entries[1] =
            Entry { skipped: Some("no java".to_owned()), runs: Vec::new(), ..report.entries[1].clone() };
        let text = report.to_text();
        let figures = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(figures.contains("web/csv-p1 500 (500–500) 0.50 (0.50–0.50) 2000 (2000–2000)"), "{text}");
        assert!(text.contains("web/flink-sql: not run: no java\n"), "{text}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report.json");
        report.write(&file).unwrap();
        assert_eq!(Report::read(&file).unwrap(), report);
    }
}
