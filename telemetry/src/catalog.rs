//! The table of all metrics, from the lists in the code: what `docs/metrics.md` consists of.

use std::fmt::Write;

use crate::family::{Family, Recorded};
use crate::metric::Metric;

/// A part of the table.
#[derive(Clone, Debug)]
pub struct Section {
    title: &'static str,
    about: &'static str,
    rows: Vec<(Metric, Vec<&'static str>)>,
}

impl Section {
    /// The metrics of a family.
    pub fn of_family<T>(family: &Family<T>) -> Self {
        let rows = family.metrics.iter().map(|reading| (reading.metric, reading.attributes(family)));
        Section { title: family.title, about: family.about, rows: rows.collect() }
    }

    /// Histograms.
    pub fn of_recorded(title: &'static str, about: &'static str, recorded: &[Recorded]) -> Self {
        let rows = recorded.iter().map(|recorded| (recorded.metric, recorded.attributes.to_vec()));
        Section { title, about, rows: rows.collect() }
    }

    /// Its metrics and their attributes.
    pub fn metrics(&self) -> impl Iterator<Item = (&Metric, &[&'static str])> {
        self.rows.iter().map(|(metric, attributes)| (metric, attributes.as_slice()))
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.about);
        text.push_str("| Metric | In Prometheus | Kind | Unit | Attributes | Meaning | In Flink |\n");
        text.push_str("|---|---|---|---|---|---|---|\n");
        for (metric, attributes) in &self.rows {
            let (name, prometheus) = (metric.name, metric.prometheus_name());
            let (kind, unit) = (metric.kind.word(), metric.unit.code());
            let attributes = attributes.join(" ");
            let Metric { meaning, flink, .. } = metric;
            writeln!(text, "| `{name}` | `{prometheus}` | {kind} | {unit} | {attributes} | {meaning} | {flink} |")
                .expect("a string takes everything");
        }
        text
    }
}

/// `docs/metrics.md`: the introduction and all tables.
pub fn page(sections: &[Section]) -> String {
    let tables: Vec<String> = sections.iter().map(Section::markdown).collect();
    format!("{}\n{}", include_str!("metrics_page.md"), tables.join("\n"))
}
