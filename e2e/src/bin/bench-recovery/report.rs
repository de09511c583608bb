//! What was measured, for people and for programs, and whether it is soon enough.

use std::time::Duration;

use e2e::recovery_time::percentile;
use localcluster::table::{Align, Table};
use serde_json::{Value, json};
use stream_runtime::duration;

use crate::args::Args;
use crate::run::{Kill, Measured};
use crate::timeline::STEPS;

const PERCENTS: [(&str, usize); 3] = [("p50", 50), ("p99", 99), ("max", 100)];

/// All runs, and what they were run with.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) args: &'a Args,
    pub(crate) runs: Vec<Measured>,
    pub(crate) machine: String,
    pub(crate) commit: String,
}

impl Report<'_> {
    /// What is not as it should be.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for run in &self.runs {
            let interval = duration::show(run.interval);
            let p99 = percentile(times(run), 99).unwrap_or(Duration::MAX);
            if p99 > self.args.most {
                let most = duration::show(self.args.most);
                complaints.push(format!("p99 is {} with a checkpoint each {interval}, and not within {most}", s(p99)));
            }
            let told = run.violations.iter().map(|told| format!("with a checkpoint each {interval}: {told}"));
            complaints.extend(told);
        }
        complaints
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for run in &self.runs {
            let first = run.kills.first();
            text += &format!(
                "{} open sessions, a checkpoint each {}, {}; state {} MiB; {} events/s\n\n{}\n",
                run.sessions,
                duration::show(run.interval),
                run.broker,
                first.map_or_else(String::new, |kill| mib(kill.state_bytes)),
                first.map_or(0, |kill| kill.load),
                table(run),
            );
        }
        text += "From the kill of a taskmanager to the first epoch of a new attempt that Postgres shows (ALL), and how long each step to it took: \
                 the failure is\nknown (DETECTED), every task of the old attempt has ended (CANCELED), the new one has waited, taken the sink over and \
                 chosen its checkpoint (PLANNED),\nall its tasks run (RESTORED; READ and REBUILT are the longest of a subtask for its files and for its \
                 tables), a checkpoint is TRIGGERED, COMPLETED\nand PUBLISHED. RESTORED MIB is what was read, WRITTEN MIB what that checkpoint wrote.\n\n";
        text += &format!(
            "machine: {}\ncommit:  {}\nseed:    {}\ncommand: {}\n",
            self.machine,
            self.commit,
            self.args.seed,
            self.command()
        );
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            json!({
                "interval_ms": ms(run.interval),
                "sessions": run.sessions,
                "broker": run.broker,
                "opened_in_ms": ms(run.opening),
                "recovery_ms": PERCENTS.map(|(_, percent)| percentile(times(run), percent).map(ms)),
                "kills": run.kills.iter().map(of_kill).collect::<Vec<_>>(),
                "violations": run.violations,
            })
        });
        json!({
            "machine": self.machine,
            "commit": self.commit,
            "seed": self.args.seed,
            "command": self.command(),
            "percentiles": PERCENTS.map(|(name, _)| name),
            "runs": runs.collect::<Vec<_>>(),
            "complaints": self.complaints(),
        })
    }

    /// What measures the same again.
    fn command(&self) -> String {
        let Args { sessions, kills, intervals, backlog, parallelism, broker, most, seed, output: _ } = self.args;
        let intervals = intervals.iter().map(|&interval| duration::show(interval)).collect::<Vec<_>>().join(",");
        format!(
            "bench-recovery --sessions {sessions} --kills {kills} --intervals {intervals} --backlog {backlog} \
             --parallelism {parallelism} --broker {broker} --most {} --seed {seed}",
            duration::show(*most)
        )
    }
}

/// A row for each kill, and what so many per cent of them do not exceed, column by column.
fn table(run: &Measured) -> String {
    let of_steps = STEPS.map(|step| (step, Align::Right));
    let more = ["READ", "REBUILT", "RESTORED MIB", "WRITTEN MIB"].map(|name| (name, Align::Right));
    let columns = [&[("KILL", Align::Left), ("ALL", Align::Right)], &of_steps[..], &more].concat();
    let mut table = Table::new(&columns);
    for (number, kill) in (1..).zip(&run.kills) {
        let attempts = kill.begun.attempts;
        let name = if attempts == 1 { format!("{number}") } else { format!("{number} ({attempts} attempts)") };
        table.row(cells(name, &figures(kill), [mib(kill.begun.restored_bytes), mib(kill.written_bytes)]));
    }
    for (name, percent) in PERCENTS {
        let of_column = |column: usize| {
            let values = run.kills.iter().map(|kill| figures(kill)[column]).collect();
            percentile(values, percent).unwrap_or_default()
        };
        table.row(cells(name.to_owned(), &std::array::from_fn(of_column), [String::new(), String::new()]));
    }
    table.render()
}

/// All, each step, reading, rebuilding.
type Figures = [Duration; STEPS.len() + 3];

fn figures(kill: &Kill) -> Figures {
    let mut figures = [kill.took; STEPS.len() + 3];
    figures[1..=STEPS.len()].copy_from_slice(&kill.steps);
    figures[STEPS.len() + 1..].copy_from_slice(&[kill.begun.reading, kill.begun.rebuilding]);
    figures
}

fn cells(name: String, figures: &Figures, bytes: [String; 2]) -> [String; STEPS.len() + 6] {
    let mut cells = std::iter::once(name).chain(figures.iter().map(|&time| s(time))).chain(bytes);
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}

fn of_kill(kill: &Kill) -> Value {
    let steps: serde_json::Map<String, Value> = STEPS
        .iter()
        .zip(kill.steps)
        .map(|(step, time)| (format!("{}_ms", step.to_lowercase()), ms(time).into()))
        .collect();
    json!({
        "took_ms": ms(kill.took),
        "steps": steps,
        "attempts": kill.begun.attempts,
        "state_bytes": kill.state_bytes,
        "restored_bytes": kill.begun.restored_bytes,
        "restored_records": kill.begun.restored_records,
        "reading_ms": ms(kill.begun.reading),
        "rebuilding_ms": ms(kill.begun.rebuilding),
        "written_bytes": kill.written_bytes,
        "events_per_s": kill.load,
    })
}

fn times(run: &Measured) -> Vec<Duration> {
    run.kills.iter().map(|kill| kill.took).collect()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn s(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::timeline::Begun;

    fn run(took_s: &[u64]) -> Measured {
        let kill = |&took: &u64| Kill {
            took: Duration::from_secs(took),
            steps: [Duration::from_secs(took) / 7; STEPS.len()],
            begun: Begun { attempts: 1, restored_bytes: 3 << 20, ..Begun::default() },
            state_bytes: 2 << 20,
            written_bytes: 1 << 20,
            load: 1000,
        };
        Measured {
            interval: Duration::from_secs(1),
            sessions: 10,
            opening: Duration::from_secs(2),
            broker: "a broker".to_owned(),
            kills: took_s.iter().map(kill).collect(),
            violations: Vec::new(),
        }
    }

    fn report<'a>(args: &'a Args, took_s: &[u64]) -> Report<'a> {
        Report { args, runs: vec![run(took_s)], machine: "1 × test".to_owned(), commit: "abc".to_owned() }
    }

    #[test]
    fn what_takes_longer_than_it_may_is_a_complaint_and_what_does_not_is_none() {
        let args = Args::parse_from(["bench-recovery"]);
        assert_eq!(report(&args, &[1, 5]).complaints(), Vec::<String>::new());
        assert_eq!(
            report(&args, &[1, 6]).complaints(),
            ["p99 is 6.00 s with a checkpoint each 1s, and not within 5s".to_owned()]
        );
        assert_eq!(report(&args, &[]).complaints().len(), 1, "nothing was measured");
    }

    #[test]
    fn the_report_says_how_to_measure_again_and_what_is_what() {
        let args = Args::parse_from(["bench-recovery", "--seed", "7", "--intervals", "1s,10s"]);
        let text = report(&args, &[1, 2]).to_text();
        assert!(text.contains("--intervals 1s,10s --backlog 30000000 --parallelism 2 --broker devbroker"), "{text}");
        assert!(text.contains("\np50   1.00 s") && text.contains("\nmax   2.00 s"), "{text}");
        let json = report(&args, &[1, 2]).to_json();
        assert_eq!(json["runs"][0]["recovery_ms"], json!([1000, 2000, 2000]));
        assert_eq!(json["runs"][0]["kills"][1]["restored_bytes"], json!(3 << 20));
    }
}
