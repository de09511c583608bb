//! What was measured, for people and for programs, and whether the pause grows with the state or checkpoints cost too much.

use std::time::Duration;

use localcluster::table::{Align, Table};
use serde_json::{Value, json};

use crate::args::Args;
use crate::costs::{Cost, percentile};
use crate::overhead::{Half, Round};
use crate::run::{AtRate, Measured};

/// A pause of the largest state that is more than so many times that of the smallest, and [`SPARE_US`], grows with the state.
const FACTOR: u64 = 2;
/// What the system's scheduler may add on a busy machine.
const SPARE_US: u64 = 1_000;
/// What checkpoints may cost, as a share of an event's CPU time without them.
const MOST: f64 = 0.05;

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
    /// What is not as it should be.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let too_much = self.runs.iter().filter_map(|run| {
            let cost = median(&ratios(&run.rounds, Half::cpu_us))? - 1.0;
            (cost > MOST).then(|| {
                format!(
                    "checkpoints cost {:.1} % of an event with {} sessions, and not {:.0} %",
                    100.0 * cost,
                    run.sessions,
                    100.0 * MOST
                )
            })
        });
        self.complaint().into_iter().chain(too_much).collect()
    }

    /// That the median pause of one kind of checkpoints grows with the state, if it does.
    fn complaint(&self) -> Option<String> {
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
            ("SENT/S", Align::Right),
            ("EVENTS/S", Align::Right),
            ("MOST BEHIND", Align::Right),
            ("GIVEN UP", Align::Right),
        ]);
        for run in &self.runs {
            for at in &run.rates {
                runs.row([
                    run.sessions.to_string(),
                    format!("{:.1} s", run.opening.as_secs_f64()),
                    mib(run.memory_bytes),
                    at.rate.to_string(),
                    format!("{:.0}", per_second(at.events, at.measuring)),
                    format!("{} ms", behind_ms(at)),
                    run.costs.aborted().len().to_string(),
                ]);
            }
        }
        format!(
            "{}\n{}\n{}MIB is the median written. The pause is the longest that a subtask stood still for a checkpoint. MEMORY is \
             by how much\nthe taskmanagers grew. EVENTS/S and MOST BEHIND are of the time in which checkpoints were taken.\n\n\
             machine: {}\ncommit:  {}\nseed:    {}\ncommand: {}\n",
            costs.render(),
            runs.render(),
            self.overhead(),
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
                "rates": run.rates.iter().map(of_rate).collect::<Vec<_>>(),
                "deltas": run.deltas.iter().map(|delta| json!([delta.changed, delta.written_bytes])).collect::<Vec<_>>(),
                "rounds": run.rounds.iter().map(|round| round.each_ref().map(of_half)).collect::<Vec<_>>(),
                "cost": median(&ratios(&run.rounds, Half::cpu_us)).map(|ratio| ratio - 1.0),
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
            "interval_ms": self.args.interval.as_millis() as u64,
            "parallelism": self.args.parallelism,
            "runs": runs.collect::<Vec<_>>(),
            "complaints": self.complaints(),
        })
    }

    /// What checkpoints cost an event; nothing where that was not asked for.
    fn overhead(&self) -> String {
        let mut table = Table::new(&[
            ("SESSIONS", Align::Right),
            ("A CHECKPOINT EACH", Align::Right),
            ("", Align::Right),
            ("CPU P50", Align::Right),
            ("LEAST", Align::Right),
            ("MOST", Align::Right),
            ("EVENTS/S P50", Align::Right),
        ]);
        let mut is_empty = true;
        for run in self.runs.iter().filter(|run| !run.rounds.is_empty()) {
            is_empty = false;
            let often = stream_runtime::duration::show(self.args.often);
            for (place, name) in [often.as_str(), "1h"].into_iter().enumerate() {
                let halves: Vec<Half> = run.rounds.iter().map(|round| round[place]).collect();
                let cpu: Vec<f64> = halves.iter().map(Half::cpu_us).collect();
                let us = |value: Option<f64>| value.map_or_else(String::new, |us| format!("{us:.3} µs"));
                let per_second = median(&halves.iter().map(Half::per_second).collect::<Vec<_>>());
                table.row([
                    run.sessions.to_string(),
                    name.to_owned(),
                    halves.iter().map(|half| half.checkpoints).sum::<u64>().to_string(),
                    us(median(&cpu)),
                    us(cpu.iter().copied().reduce(f64::min)),
                    us(cpu.iter().copied().reduce(f64::max)),
                    per_second.map_or_else(String::new, |rate| format!("{rate:.0}")),
                ]);
            }
            let ratio =
                |value| median(&ratios(&run.rounds, value)).map_or_else(String::new, |ratio| format!("× {ratio:.3}"));
            let empty = String::new;
            table.row([
                run.sessions.to_string(),
                "of a round".into(),
                empty(),
                ratio(Half::cpu_us),
                empty(),
                empty(),
                ratio(Half::per_second),
            ]);
        }
        if is_empty { String::new() } else { table.render() + "\n" }
    }

    /// What measures the same again.
    fn command(&self) -> String {
        let Args { sessions, rate, interval, incremental, full, parallelism, rounds, often, backlog, seed, .. } =
            self.args;
        let sessions = sessions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let rate = rate.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let [interval, often] = [interval, often].map(|&time| stream_runtime::duration::show(time));
        format!(
            "bench-checkpoints --sessions {sessions} --rate {rate} --interval {interval} --incremental {incremental} \
             --full {full} --parallelism {parallelism} --rounds {rounds} --often {often} --backlog {backlog} --seed {seed}"
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
fn behind_ms(at: &AtRate) -> u64 {
    at.lag_max * 1000 / at.rate.max(1)
}

fn of_rate(at: &AtRate) -> Value {
    json!({
        "rate": at.rate,
        "measured_ms": at.measuring.as_millis() as u64,
        "events": at.events,
        "events_per_s": per_second(at.events, at.measuring),
        "lag_max": at.lag_max,
        "most_behind_ms": behind_ms(at),
    })
}

fn of_half(half: &Half) -> Value {
    json!({
        "events": half.events,
        "took_ms": half.time.as_millis() as u64,
        "cpu_ms": half.cpu.as_millis() as u64,
        "cpu_us_per_event": half.cpu_us(),
        "checkpoints": half.checkpoints,
    })
}

/// Of each round, with checkpoints over without.
fn ratios(rounds: &[Round], value: fn(&Half) -> f64) -> Vec<f64> {
    rounds.iter().map(|[often, seldom]| value(often) / value(seldom)).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().checked_sub(1)?;
    Some(f64::midpoint(sorted[middle / 2], sorted[middle.div_ceil(2)]))
}

fn ms(us: u64) -> String {
    if us < 10_000 { format!("{:.2} ms", us as f64 / 1e3) } else { format!("{} ms", us / 1000) }
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;
    use crate::costs::{Costs, Delta};

    pub(crate) fn run(sessions: u64, pause_us: u64) -> Measured {
        let mut costs = Costs::default();
        let shown = |id: u64, total_bytes: u64| {
            json!({
                "id": format!("1.{id}"), "state": "completed", "triggered_ms": 1, "ended_ms": 2, "written_bytes": 1 << 20,
                "total_bytes": total_bytes, "pause_us": pause_us, "alignment_us": 5, "accounts": { "read": id },
            })
        };
        costs.read(&[shown(1, 1 << 20), shown(2, 1 << 21), shown(3, 1 << 21)], 0).expect("well-formed");
        let at = AtRate { rate: 5000, events: 50_000, measuring: Duration::from_secs(10), lag_max: 500 };
        let deltas = vec![Delta { changed: 2000, written_bytes: 1 << 20 }; 2];
        let opening = Duration::from_secs(2);
        Measured { sessions, opening, memory_bytes: 3 << 20, rates: vec![at], costs, deltas, rounds: Vec::new() }
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
            (&json["runs"][0]["rates"][0]["events_per_s"], &json["runs"][0]["rates"][0]["most_behind_ms"]),
            (&json!(5000.0), &json!(100))
        );
    }

    #[test]
    fn checkpoints_that_cost_more_than_they_may_are_a_complaint() {
        let args = Args::parse_from(["bench-checkpoints"]);
        let half = |cpu_ms| Half {
            events: 1_000_000,
            time: Duration::from_secs(1),
            cpu: Duration::from_millis(cpu_ms),
            checkpoints: 1,
        };
        let with_rounds = |with: [u64; 3]| {
            let mut report = report(&args, [500, 600]);
            report.runs[0].rounds = with.map(|ms| [half(ms), half(1_000)]).to_vec();
            report
        };
        assert_eq!(with_rounds([1_049, 2_000, 1_000]).complaints(), Vec::<String>::new(), "the median counts");
        let report = with_rounds([1_060, 1_060, 1_000]);
        assert_eq!(report.complaints(), ["checkpoints cost 6.0 % of an event with 200000 sessions, and not 5 %"]);
        let text = report.to_text();
        assert!(text.contains("1.060 µs") && text.contains("× 1.060"), "{text}");
    }
}
