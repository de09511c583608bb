//! What was measured, for people and for programs, and whether the pause grows with the state.

use std::time::Duration;

use localcluster::table::{Align, Table};
use serde_json::{Value, json};

use crate::args::Args;
use crate::costs::{Cost, percentile};
use crate::run::Measured;

/// A pause of the largest state that is more than so many times that of the smallest, and [`SPARE_US`], grows with the state.
const FACTOR: u64 = 2;
/// What the system's scheduler may add on a busy machine.
const SPARE_US: u64 = 1_000;

/// All runs, and what they were run with.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) args: &'a Args,
    pub(crate) runs: Vec<Measured>,
    pub(crate) machine: String,
    pub(crate) commit: String,
}

const KINDS: [(&str, bool); 2] = [("full", true), ("incremental", false)];

impl Report<'_> {
    /// That the median pause of one kind of checkpoints grows with the state, if it does.
    pub(crate) fn complaint(&self) -> Option<String> {
        let smallest = self.runs.iter().min_by_key(|run| run.sessions)?;
        let largest = self.runs.iter().max_by_key(|run| run.sessions)?;
        KINDS.into_iter().find_map(|(kind, is_full)| {
            let median = |run: &Measured| percentile(&run.costs.of(is_full), 50, |cost| cost.pause_us);
            let (few, many) = (median(smallest), median(largest));
            (many > FACTOR * few + SPARE_US).then(|| {
                format!(
                    "the pause grows with the state: {} with {} sessions, {} with {} (median of the {kind} checkpoints)",
                    ms(few),
                    smallest.sessions,
                    ms(many),
                    largest.sessions
                )
            })
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut costs = Table::new(&[
            ("SESSIONS", Align::Right),
            ("CHECKPOINTS", Align::Left),
            ("", Align::Right),
            ("MIB", Align::Right),
            ("TOOK P50", Align::Right),
            ("MAX", Align::Right),
            ("PAUSE P50", Align::Right),
            ("MAX", Align::Right),
            ("ALIGNED P50", Align::Right),
            ("MAX", Align::Right),
        ]);
        for run in &self.runs {
            for (name, is_full) in KINDS {
                let of_kind = run.costs.of(is_full);
                let figure = |percent, value: fn(&Cost) -> u64| ms(percentile(&of_kind, percent, value));
                costs.row([
                    run.sessions.to_string(),
                    name.to_owned(),
                    of_kind.len().to_string(),
                    mib(percentile(&of_kind, 50, |cost| cost.written_bytes)),
                    figure(50, |cost| cost.took_ms * 1000),
                    figure(100, |cost| cost.took_ms * 1000),
                    figure(50, |cost| cost.pause_us),
                    figure(100, |cost| cost.pause_us),
                    figure(50, |cost| cost.alignment_us),
                    figure(100, |cost| cost.alignment_us),
                ]);
            }
        }
        let mut runs = Table::new(&[
            ("SESSIONS", Align::Right),
            ("OPENED IN", Align::Right),
            ("MEMORY MIB", Align::Right),
            ("EVENTS/S", Align::Right),
            ("MOST BEHIND", Align::Right),
            ("GIVEN UP", Align::Right),
        ]);
        for run in &self.runs {
            runs.row([
                run.sessions.to_string(),
                format!("{:.1} s", run.opening.as_secs_f64()),
                mib(run.memory_bytes),
                format!("{:.0}", per_second(run.events, run.measuring)),
                format!("{} ms", behind_ms(run, self.args)),
                run.costs.aborted().len().to_string(),
            ]);
        }
        format!(
            "{}\n{}\nMIB is the median written. The pause is the longest that a subtask stood still for a checkpoint. MEMORY is \
             by how much\nthe taskmanagers grew. EVENTS/S and MOST BEHIND are of the time in which checkpoints were taken.\n\n\
             machine: {}\ncommit:  {}\nseed:    {}\ncommand: {}\n",
            costs.render(),
            runs.render(),
            self.machine,
            self.commit,
            self.args.seed,
            self.command()
        )
    }

    pub(crate) fn to_json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            json!({
                "sessions": run.sessions,
                "opened_in_ms": run.opening.as_millis() as u64,
                "memory_bytes": run.memory_bytes,
                "measured_ms": run.measuring.as_millis() as u64,
                "events": run.events,
                "events_per_s": per_second(run.events, run.measuring),
                "lag_max": run.lag_max,
                "most_behind_ms": behind_ms(run, self.args),
                "full": of_kind(&run.costs.of(true)),
                "incremental": of_kind(&run.costs.of(false)),
                "given_up": run.costs.aborted(),
                "checkpoints": run.costs.to_json(),
            })
        });
        json!({
            "machine": self.machine,
            "commit": self.commit,
            "seed": self.args.seed,
            "command": self.command(),
            "rate": self.args.rate,
            "interval_ms": self.args.interval.as_millis() as u64,
            "parallelism": self.args.parallelism,
            "runs": runs.collect::<Vec<_>>(),
            "complaint": self.complaint(),
        })
    }

    /// What measures the same again.
    fn command(&self) -> String {
        let Args { sessions, rate, interval, incremental, full, parallelism, seed, .. } = self.args;
        let sessions = sessions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let interval = stream_runtime::duration::show(*interval);
        format!(
            "bench-checkpoints --sessions {sessions} --rate {rate} --interval {interval} --incremental {incremental} \
             --full {full} --parallelism {parallelism} --seed {seed}"
        )
    }
}

fn of_kind(costs: &[Cost]) -> Value {
    let figures =
        |value: fn(&Cost) -> u64| json!({ "p50": percentile(costs, 50, value), "max": percentile(costs, 100, value) });
    json!({
        "checkpoints": costs.len(),
        "written_bytes": figures(|cost| cost.written_bytes),
        "took_ms": figures(|cost| cost.took_ms),
        "pause_us": figures(|cost| cost.pause_us),
        "alignment_us": figures(|cost| cost.alignment_us),
    })
}

fn per_second(events: u64, time: Duration) -> f64 {
    (events as f64 / time.as_secs_f64().max(0.001)).round()
}

/// How long the traffic takes to send what waited at most.
fn behind_ms(run: &Measured, args: &Args) -> u64 {
    run.lag_max * 1000 / args.rate
}

fn ms(us: u64) -> String {
    if us < 10_000 { format!("{:.2} ms", us as f64 / 1e3) } else { format!("{} ms", us / 1000) }
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::costs::Costs;

    fn run(sessions: u64, pause_us: u64) -> Measured {
        let mut costs = Costs::default();
        let shown = |id: u64, total_bytes: u64| {
            json!({
                "id": format!("1.{id}"), "state": "completed", "triggered_ms": 1, "ended_ms": 2, "written_bytes": 1 << 20,
                "total_bytes": total_bytes, "pause_us": pause_us, "alignment_us": 5,
            })
        };
        costs.read(&[shown(1, 1 << 20), shown(2, 1 << 21), shown(3, 1 << 21)], 0).expect("well-formed");
        let (opening, measuring) = (Duration::from_secs(2), Duration::from_secs(10));
        Measured { sessions, opening, memory_bytes: 3 << 20, events: 50_000, measuring, lag_max: 500, costs }
    }

    fn report(args: &Args, pauses: [u64; 2]) -> Report<'_> {
        let runs = vec![run(200_000, pauses[0]), run(2_000_000, pauses[1])];
        Report { args, runs, machine: "1 × test".to_owned(), commit: "abc".to_owned() }
    }

    #[test]
    fn a_pause_that_grows_with_the_state_is_a_complaint_and_one_that_does_not_is_none() {
        let args = Args::parse_from(["bench-checkpoints"]);
        assert_eq!(report(&args, [500, 2_000]).complaint(), None);
        let complaint = report(&args, [500, 2_001]).complaint().expect("more than twice and a millisecond");
        assert!(complaint.contains("0.50 ms with 200000 sessions, 2.00 ms with 2000000"), "{complaint}");
    }

    #[test]
    fn the_report_says_how_to_measure_again_and_what_is_what() {
        let args = Args::parse_from(["bench-checkpoints", "--seed", "7"]);
        let text = report(&args, [500, 600]).to_text();
        assert!(
            text.contains("command: bench-checkpoints --sessions 200000,2000000 --rate 5000 --interval 2s"),
            "{text}"
        );
        assert!(text.contains(" 2000000  incremental  2  1.0"), "{text}");
        let json = report(&args, [500, 600]).to_json();
        assert_eq!(json["runs"][1]["incremental"]["pause_us"], json!({ "p50": 600, "max": 600 }));
        assert_eq!(
            (&json["runs"][0]["events_per_s"], &json["runs"][0]["most_behind_ms"]),
            (&json!(5000.0), &json!(100))
        );
    }
}
