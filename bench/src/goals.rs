//! What the figures are held against. Ratios of one sitting, since a machine of one's own is rare.

use localcluster::table::{Align, Table};

use crate::report::{Entry, Report};

/// A goal and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) wanted: String,
    pub(crate) found: String,
    pub(crate) is_met: bool,
}

/// Which way is good.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Of one, up and down.
    WithinPercent(f64),
}

/// Of fewer events starting is too much of the cost, of a JVM above all.
const JUDGED_FROM: u64 = 1_000_000;

/// The goals whose contestants were run; none of a run that is too small to be judged.
pub(crate) fn goals(report: &Report) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost, WithinPercent};
    let cpu = |name| median(report, name, |entry| entry.spread(|run| Some(run.cpu_us_each())).map(|s| s.median));
    let rate = |name| median(report, name, |entry| entry.spread(|run| Some(run.per_s())).map(|s| s.median));
    let over = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    let beyond = |whole, bare| Some(cpu(whole)? - cpu(bare)?);
    let ours = cpu("web/csv-p1");
    let goal = |what, unit, bound, found: Option<f64>| found.map(|found| goal(what, unit, bound, found));
    if report.events < JUDGED_FROM {
        return Vec::new();
    }
    let all = [
        goal("CPU of an event, web, file to CSV, parallelism 1", " µs", AtMost(0.65), ours),
        goal("ours over the bare program, CPU", " ×", AtMost(1.25), over(ours, cpu("web/limit-sessions"))),
        goal("Flink SQL over ours, CPU", " ×", AtLeast(60.0), over(cpu("web/flink-sql"), ours)),
        goal("Flink DataStream over ours, CPU", " ×", AtLeast(17.0), over(cpu("web/flink-datastream"), ours)),
        goal("DuckDB over ours, CPU", " ×", AtLeast(5.0), over(cpu("web/duckdb"), ours)),
        goal(
            "parallelism 2 over two copies, events a second",
            " ×",
            AtLeast(0.9),
            over(rate("web/csv-p2"), rate("web/csv-two-copies")),
        ),
        goal(
            "Kafka to Postgres over librdkafka alone, CPU of an event",
            " µs",
            AtMost(0.5),
            beyond("kafka/to-postgres-p1", "kafka/limit-consume"),
        ),
        goal(
            "1,000 partitions over 1, Kafka to Postgres beyond librdkafka alone, CPU",
            " ×",
            WithinPercent(10.0),
            over(
                beyond("partitions/to-postgres-1000", "partitions/limit-consume-1000"),
                beyond("partitions/to-postgres-1", "partitions/limit-consume-1"),
            ),
        ),
        goal(
            "100 M events over 1 M, Nexmark query 11, CPU of a bid",
            " ×",
            WithinPercent(10.0),
            over(cpu("length/nexmark-100m"), cpu("length/nexmark-1m")),
        ),
        goal("CPU of an event, high cardinality", " µs", AtMost(1.2), cpu("high-cardinality/csv-p1")),
    ];
    all.into_iter().flatten().collect()
}

fn median(report: &Report, name: &str, figure: impl Fn(&Entry) -> Option<f64>) -> Option<f64> {
    figure(report.entry(name)?)
}

fn goal(what: &'static str, unit: &str, bound: Bound, found: f64) -> Goal {
    let (wanted, is_met) = match bound {
        Bound::AtMost(most) => (format!("≤ {most}{unit}"), found <= most),
        Bound::AtLeast(least) => (format!("≥ {least}{unit}"), found >= least),
        Bound::WithinPercent(percent) => (format!("1{unit} ± {percent} %"), (found - 1.0).abs() <= percent / 100.0),
    };
    Goal { what, wanted, found: format!("{found:.2}{unit}"), is_met }
}

pub(crate) fn to_text(report: &Report) -> String {
    let goals = goals(report);
    if report.events < JUDGED_FROM {
        return format!(
            "\nGoals are judged from {JUDGED_FROM} events on: of fewer, starting is too much of the cost.\n\n"
        );
    }
    if goals.is_empty() {
        return "\n".to_owned();
    }
    let mut table = Table::new(&[
        ("GOAL, OF THE MEDIANS", Align::Left),
        ("WANTED", Align::Right),
        ("FOUND", Align::Right),
        ("", Align::Left),
    ]);
    for Goal { what, wanted, found, is_met } in goals {
        let missed = if is_met { "" } else { "missed" };
        table.row([what.to_owned(), wanted, found, missed.to_owned()]);
    }
    format!("\n{}\n", table.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_goal_is_told_only_of_what_was_run_and_missed_goals_are_named() {
        let report = report(&[("web/csv-p1", 0.5, 1.0), ("web/duckdb", 2.0, 1.0), ("web/csv-p2", 0.6, 0.6)]);
        let goals = goals(&report);
        let told: Vec<(&str, bool)> = goals.iter().map(|goal| (goal.found.as_str(), goal.is_met)).collect();
        assert_eq!(told, [("0.50 µs", true), ("4.00 ×", false)]);
        let text = to_text(&report).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.ends_with("DuckDB over ours, CPU ≥ 5 × 4.00 × missed"), "{text}");
        let few = Report { events: JUDGED_FROM - 1, ..report };
        assert!(super::goals(&few).is_empty() && to_text(&few).contains("of fewer"), "{}", to_text(&few));
    }

    #[test]
    fn what_partitions_and_length_cost_is_held_against_the_least_of_them() {
        let found = |whole_of_many, longest| {
            let report = report(&[
                ("partitions/to-postgres-1", 0.8, 1.0),
                ("partitions/limit-consume-1", 0.3, 1.0),
                ("partitions/to-postgres-1000", whole_of_many, 1.0),
                ("partitions/limit-consume-1000", 0.9, 1.0),
                ("length/nexmark-1m", 0.5, 1.0),
                ("length/nexmark-100m", longest, 1.0),
            ]);
            goals(&report).into_iter().map(|goal| (goal.found, goal.is_met)).collect::<Vec<_>>()
        };
        let told = |times: &str, is_met| (format!("{times} ×"), is_met);
        assert_eq!(found(1.44, 0.54), [told("1.08", true), told("1.08", true)]);
        assert_eq!(found(1.30, 0.44), [told("0.80", false), told("0.88", false)]);
    }
}
