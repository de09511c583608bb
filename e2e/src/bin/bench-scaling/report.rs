//! What was measured and what it predicts, for people and for programs, and whether both agree.

use anyhow::{Context, Result};
use localcluster::table::{Align, Table};
use serde_json::{Value, json};

use crate::args::Args;
use crate::exchange::Exchange;
use crate::model::{Circumstances, Cost, Line, Machines, Model, events_per_batch, remote_share};
use crate::run::{Run, Runs};
use crate::stages::Stage;
use crate::subject::{Kind, Layout, Limits, Series};
use crate::wire::{self, Bytes, Limited};

/// Everything.
pub(crate) struct Report<'a> {
    pub(crate) args: &'a Args,
    limits: Limits,
    model: Model,
    checks: Vec<Check>,
    /// Sessions of each event of the web traffic.
    web: f64,
    wire: Result<Bytes>,
    machine: String,
    commit: String,
}

/// A prediction beside what it predicts.
#[derive(Clone, Copy, Debug)]
struct Check {
    kind: Kind,
    layout: Layout,
    events_per_batch: f64,
    predicted_ns: f64,
    measured_ns: f64,
    spread_ns: (f64, f64),
}

/// A table with what there is to say of it.
pub(crate) struct Part {
    pub(crate) table: Table,
    pub(crate) words: String,
}

impl<'a> Report<'a> {
    /// # Errors
    /// If there are runs missing, or they do not tell costs apart.
    pub(crate) fn new(
        args: &'a Args,
        limits: Limits,
        exchange: Exchange,
        series: Series,
        wire: Result<Bytes>,
        machine: String,
        commit: String,
    ) -> Result<Report<'a>> {
        let events = args.events.get() as f64;
        let of = |kind: Kind, layout: Layout| -> Result<Runs> {
            let found = |kind| series.get(&(kind, layout)).context("a run is missing");
            Ok(found(kind)?.without(found(Kind::Nothing)?))
        };
        let share = |runs: &Runs| runs.median(|run| run.sessions as f64 / events);
        // As large as the source's rate in one taskmanager makes them.
        let at = |kind: Kind, parallelism: u8| -> Result<Circumstances> {
            let alone = of(kind, Layout::new(1, parallelism))?;
            let source_per_s = events / alone.median(|run| run.wall_s).max(0.001) / f64::from(parallelism);
            let events_per_batch = events_per_batch(source_per_s, parallelism.into());
            Ok(Circumstances { sessions_per_event: share(&alone), events_per_batch })
        };
        let mut fitted = Vec::new();
        for layout in Layout::ALONE {
            for kind in Kind::TRAFFIC {
                fitted.push((at(kind, layout.parallelism)?, of(kind, layout)?));
            }
        }
        let cost = |of: &dyn Fn(&Run) -> f64| {
            Cost::through(&fitted.iter().map(|(at, runs)| (*at, ns(runs.median(of), events))).collect::<Vec<_>>())
        };
        let web = of(Kind::Web, Layout::ALONE[0])?;
        let mut model = Model {
            stages: Default::default(),
            all: cost(&|run| run.cpu_s)?,
            exchange,
            batch_bytes: web.median(|run| run.batch_bytes as f64 / events),
        };
        for stage in Stage::ALL {
            model.stages[stage as usize] = cost(&|run| run.stages[stage as usize])?;
        }
        let mut checks = Vec::new();
        for kind in Kind::TRAFFIC {
            for layout in Layout::ALL {
                let (runs, at) = (of(kind, layout)?, at(kind, layout.parallelism)?);
                let measured = |run: &Run| ns(run.cpu_s, events);
                checks.push(Check {
                    kind,
                    layout,
                    events_per_batch: at.events_per_batch,
                    predicted_ns: model.cpu_ns(layout.taskmanagers.into(), at),
                    measured_ns: runs.median(measured),
                    spread_ns: runs.spread(measured),
                });
            }
        }
        Ok(Report { args, limits, model, checks, web: share(&web), wire, machine, commit })
    }

    /// What is not as it should be.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let most = f64::from(self.args.most.get());
        let is_off = |check: &&Check| !check.is_fitted() && check.error_percent().abs() > most;
        let told = |check: &Check| {
            let (layout, kind, error) = (check.layout, check.kind.name(), check.error_percent());
            format!("{kind}, {layout}: the prediction is off by {error:.1} %, and not within {most:.0} %")
        };
        self.checks.iter().filter(is_off).map(told).collect()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for Part { table, words } in self.parts() {
            text += &format!("{}\n{words}\n\n", table.render());
        }
        for (name, value) in self.circumstances() {
            text += &format!("{:<9}{value}\n", format!("{name}:"));
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let line = |line: &Line| json!({ "event": line.event, "session": line.session });
        let cost = |cost: &Cost| json!({ "event": cost.event, "session": cost.session, "batch": cost.batch });
        let Exchange { event_ns, byte_ns, batch_ns, sender_share } = self.model.exchange;
        let of_stage = |stage: Stage| (stage.name().to_owned(), cost(&self.model.stages[stage as usize]));
        let check = |check: &Check| {
            json!({
                "traffic": check.kind.name(),
                "taskmanagers": check.layout.taskmanagers,
                "parallelism": check.layout.parallelism,
                "events_per_batch": check.events_per_batch,
                "predicted_ns": check.predicted_ns,
                "measured_ns": check.measured_ns,
                "least_ns": check.spread_ns.0,
                "most_ns": check.spread_ns.1,
            })
        };
        let wire = match &self.wire {
            Err(error) => json!({ "skipped": format!("{error:#}") }),
            Ok(bytes) => json!({
                "received_bytes": line(&bytes.received),
                "sent_bytes": line(&bytes.sent),
                "exchange_bytes": bytes.exchange,
                "limited": match &bytes.limited {
                    Limited::Measured { predicted, measured } => json!({ "predicted": predicted, "measured": measured }),
                    Limited::Skipped(reason) => json!({ "skipped": reason }),
                },
            }),
        };
        json!({
            "stages_ns": Stage::ALL.map(of_stage).into_iter().collect::<serde_json::Map<_, _>>(),
            "all_ns": cost(&self.model.all),
            "consume_alone_ns": self.limits.consume_ns,
            "scan_alone_ns": self.limits.scan_ns,
            "exchange": { "event_ns": event_ns, "byte_ns": byte_ns, "batch_ns": batch_ns, "sender_share": sender_share,
                          "batch_bytes": self.model.batch_bytes },
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
            "wire": wire,
            "sessions_per_event": self.web,
            "circumstances": self.circumstances().into_iter().map(|(name, value)| (name.to_owned(), value.into()))
                .collect::<serde_json::Map<_, _>>(),
        })
    }

    /// What figures mean nothing without.
    pub(crate) fn circumstances(&self) -> [(&'static str, String); 4] {
        let Args { events, seed, runs, .. } = self.args;
        let data = format!("{events} events of each kind, seed {seed}, {runs} runs in turn; Kafka is devbroker");
        [
            ("machine", self.machine.clone()),
            ("commit", self.commit.clone()),
            ("data", data),
            ("command", self.args.command()),
        ]
    }

    pub(crate) fn parts(&self) -> Vec<Part> {
        vec![self.stages(), self.exchange(), self.checked(), self.wires(), self.machines()]
    }

    fn stages(&self) -> Part {
        let columns = ["NS AN EVENT", "NS A SESSION", "NS A BATCH"].map(|name| (name, Align::Right));
        let mut table = Table::new(&[&[("WHO", Align::Left)], &columns[..]].concat());
        let mut row = |name: &str, cost: Cost| {
            table.row([name.to_owned(), figure(cost.event), figure(cost.session), figure(cost.batch)]);
        };
        for stage in Stage::ALL {
            row(stage.name(), self.model.stages[stage as usize]);
        }
        row("all", self.model.all);
        let Limits { consume_ns, scan_ns } = self.limits;
        for (name, ns) in [("librdkafka alone", consume_ns), ("a record's fields and time alone", scan_ns)] {
            table.row([name.to_owned(), figure(ns), String::new(), String::new()]);
        }
        let words = "CPU time in one taskmanager, of jobmanager and taskmanager, by thread, without the job's beginning and end, fitted to web and high-cardinality \
                     traffic at parallelism 4 and 16. Where there are more subtasks batches are smaller; what that costs more is a batch's, wherever it is spent. Below \
                     `all`, parts of it measured as programs of their own.";
        Part { table, words: words.to_owned() }
    }

    fn exchange(&self) -> Part {
        let Exchange { event_ns, byte_ns, batch_ns, sender_share } = self.model.exchange;
        let columns = [("OVER GRPC", Align::Left), ("NS", Align::Right)];
        let mut table = Table::new(&columns);
        let bytes = self.model.batch_bytes;
        table.row(["an event".to_owned(), figure(event_ns)]);
        table.row(["each of its bytes".to_owned(), format!("{byte_ns:.3}")]);
        table.row(["a batch".to_owned(), figure(batch_ns)]);
        for events in [2048.0, 128.0, 16.0] {
            let name = format!("so an event of {bytes:.0} bytes, {events:.0} to a batch");
            table.row([name, figure(self.model.exchange.each_ns(bytes, events))]);
        }
        let words = format!(
            "CPU time of both sides of a channel between two subtasks more than of one within a process, fitted to batches of 128 and 2,048 events with keys of \
             30 and 130 bytes; {:.0} % of it is the sender's.",
            100.0 * sender_share
        );
        Part { table, words }
    }

    fn checked(&self) -> Part {
        let columns = [
            ("TRAFFIC", Align::Left),
            ("PARALLELISM", Align::Right),
            ("TASKMANAGERS", Align::Right),
            ("EVENTS A BATCH", Align::Right),
            ("GO OVER A SOCKET", Align::Right),
            ("PREDICTED, NS", Align::Right),
            ("MEASURED, NS", Align::Right),
            ("ERROR", Align::Right),
        ];
        let mut table = Table::new(&columns);
        for check in &self.checks {
            let Check { kind, layout, events_per_batch, predicted_ns, measured_ns, spread_ns: (least, most) } = *check;
            let fitted = if check.is_fitted() { ", fitted" } else { "" };
            table.row([
                kind.name().to_owned(),
                layout.parallelism.to_string(),
                layout.taskmanagers.to_string(),
                format!("{events_per_batch:.0}"),
                format!("{:.0} %", 100.0 * remote_share(layout.taskmanagers.into())),
                figure(predicted_ns),
                format!("{} ({}–{})", figure(measured_ns), figure(least), figure(most)),
                format!("{:+.1} %{fitted}", check.error_percent()),
            ]);
        }
        let words = "CPU time of an event, predicted from the two tables above, which know nothing of more than one taskmanager, and what the system charged: \
                     median (least–most). Events a batch follow from the rate in one taskmanager.";
        Part { table, words: words.to_owned() }
    }

    fn wires(&self) -> Part {
        let columns = [("WIRE", Align::Left), ("BYTES AN EVENT", Align::Right), ("BYTES A SESSION", Align::Right)];
        let mut table = Table::new(&columns);
        let bytes = match &self.wire {
            Ok(bytes) => bytes,
            Err(error) => {
                table.row(["not measured".to_owned(), String::new(), String::new()]);
                return Part { table, words: format!("Not measured: {error:#}.") };
            }
        };
        for (name, Line { event, session }) in
            [("from Kafka, Postgres", bytes.received), ("to Kafka, Postgres", bytes.sent)]
        {
            table.row([name.to_owned(), format!("{event:.1}"), format!("{session:.1}")]);
        }
        for &(taskmanagers, bytes) in &bytes.exchange {
            let name = format!("exchange of {taskmanagers}, an event that goes to another");
            table.row([name, format!("{bytes:.1}"), String::new()]);
        }
        let mut words = format!(
            "What was counted on the links of taskmanagers in network namespaces of their own, packets as long as Ethernet's (1,500 bytes), headers and \
             acknowledgements included, in the exchange also rows on their way to the sink. In a batch an event has {:.1} bytes.",
            self.model.batch_bytes
        );
        words += &match &bytes.limited {
            Limited::Measured { predicted, measured } => format!(
                " When each of {} taskmanagers may send {} Mbit/s to the other, these bytes predict {} events a second; it was {} ({:+.1} %).",
                wire::LIMITED.taskmanagers,
                self.args.limit,
                thousands(*predicted),
                thousands(*measured),
                100.0 * (predicted / measured - 1.0)
            ),
            Limited::Skipped(reason) => format!(" With less bandwidth it was not run: {reason}."),
        };
        Part { table, words }
    }

    fn machines(&self) -> Part {
        let columns = [
            ("MACHINES", Align::Right),
            ("PARALLELISM", Align::Right),
            ("EVENTS A BATCH", Align::Right),
            ("CPU, NS AN EVENT", Align::Right),
            ("BY CPU, M/S", Align::Right),
            ("BY ONE WINDOW", Align::Right),
            ("BY THE SINK", Align::Right),
            ("TAKES, M/S", Align::Right),
            ("EACH RECEIVES, GBIT/S", Align::Right),
            ("EACH SENDS", Align::Right),
        ];
        let mut table = Table::new(&columns);
        for count in &self.args.machines {
            let machines = Machines { count: count.get(), cores: self.args.cores.get() };
            let at = self.model.busy(machines, self.web);
            let bounds = self.model.bounds(machines, at);
            let (takes, _) = bounds.least();
            let [received, sent] = self.gbit_per_s(machines, takes);
            table.row([
                format!("{count} × {}", self.args.cores),
                machines.parallelism().to_string(),
                format!("{:.0}", at.events_per_batch),
                figure(self.model.cpu_ns(machines.count, at)),
                millions(bounds.cpu),
                millions(bounds.window),
                millions(bounds.sink),
                millions(takes),
                received,
                sent,
            ]);
        }
        let words = format!(
            "Predicted for machines with {} such cores, web traffic ({:.2} sessions an event); broker and Postgres run elsewhere and keep up.",
            self.args.cores, self.web
        );
        Part { table, words }
    }

    /// What each machine receives and sends, on the average, when all take so many events a second.
    fn gbit_per_s(&self, machines: Machines, takes: f64) -> [String; 2] {
        let Ok(bytes) = &self.wire else { return ["–".to_owned(), "–".to_owned()] };
        let of_exchange = bytes.exchange.last().map_or(0.0, |(_, bytes)| *bytes) * remote_share(machines.count);
        let of_each = |outside: Line| {
            let bytes_per_s = takes / f64::from(machines.count) * (outside.at(self.web) + of_exchange);
            format!("{:.2}", 8.0 * bytes_per_s / 1e9)
        };
        [of_each(bytes.received), of_each(bytes.sent)]
    }
}

impl Check {
    fn is_fitted(&self) -> bool {
        Layout::ALONE.contains(&self.layout)
    }

    fn error_percent(&self) -> f64 {
        let percent = 100.0 * (self.predicted_ns / self.measured_ns.max(f64::MIN_POSITIVE) - 1.0);
        // Rounding must not leave a zero below zero.
        if percent.abs() < 0.05 { 0.0 } else { percent }
    }
}

fn ns(seconds: f64, events: f64) -> f64 {
    1e9 * seconds / events
}

fn figure(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn millions(per_s: f64) -> String {
    format!("{:.1}", per_s / 1e6)
}

fn thousands(per_s: f64) -> String {
    format!("{:.0},000", per_s / 1e3)
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    /// An event takes 600 ns, a session 1,000, what goes over a socket `over_ns`; nothing but the first is known to the model.
    fn series(args: &Args, over_ns: f64) -> Series {
        let mut series = Series::new();
        let events = args.events.get() as f64;
        for layout in Layout::ALL {
            for (kind, share) in [(Kind::Web, 0.2), (Kind::HighCardinality, 0.9)] {
                // 500 events a batch at parallelism 4, 31.25 at 16.
                let wall_s = events / 1.6e6;
                let batch =
                    events_per_batch(events / wall_s / f64::from(layout.parallelism), layout.parallelism.into());
                let each_ns =
                    600.0 + 1000.0 * share + 2000.0 / batch + over_ns * remote_share(layout.taskmanagers.into());
                let cpu_s = 0.5 + each_ns * events / 1e9;
                let stages = [0.2 * (cpu_s - 0.5); 5];
                let sessions = (share * events) as u64;
                let run = Run { cpu_s, wall_s, stages, sessions, batch_bytes: 60 * args.events.get() };
                series.insert((kind, layout), Runs(vec![run; 3]));
            }
            series.insert((Kind::Nothing, layout), Runs(vec![Run { cpu_s: 0.5, ..Run::default() }]));
        }
        series
    }

    pub(crate) fn report(args: &Args, over_ns: f64, wire: Result<Bytes>) -> Report<'_> {
        let exchange = Exchange { event_ns: 10.0, byte_ns: 0.5, batch_ns: 0.0, sender_share: 0.4 };
        let (machine, commit) = ("1 × test".to_owned(), "abc".to_owned());
        Report::new(args, Limits::default(), exchange, series(args, over_ns), wire, machine, commit)
            .expect("all is there")
    }

    pub(crate) fn bytes() -> Bytes {
        Bytes {
            received: Line { event: 450.0, session: 2.0 },
            sent: Line { event: 5.0, session: 60.0 },
            exchange: vec![(2, 70.0), (4, 80.0)],
            limited: Limited::Measured { predicted: 210_000.0, measured: 200_000.0 },
        }
    }

    #[test]
    fn a_prediction_that_is_right_is_no_complaint_and_one_that_is_not_is_one() {
        let args = Args::parse_from(["bench-scaling", "--most", "10"]);
        assert_eq!(report(&args, 40.0, Ok(bytes())).complaints(), Vec::<String>::new());
        let complaints = report(&args, 240.0, Ok(bytes())).complaints();
        assert_eq!(
            complaints,
            [
                "web, parallelism 4, taskmanagers: 2: the prediction is off by -10.8 %, and not within 10 %",
                "web, parallelism 4, taskmanagers: 4: the prediction is off by -15.2 %, and not within 10 %",
                "web, parallelism 16, taskmanagers: 4: the prediction is off by -14.4 %, and not within 10 %"
            ]
        );
    }

    #[test]
    fn the_report_says_what_was_predicted_and_how_to_measure_it_again() {
        let args = Args::parse_from(["bench-scaling", "--seed", "7"]);
        let text = report(&args, 40.0, Ok(bytes())).to_text();
        assert!(text.contains("75 %            834      834 (834–834)          +0.0 %\n"), "{text}");
        assert!(text.contains("all                                       600          1000        2000\n"), "{text}");
        assert!(text.contains("predict 210,000 events a second; it was 200,000 (+5.0 %)"), "{text}");
        assert!(text.contains("--machines 1,2,4,10,16 --cores 8 --seed 7'"), "{text}");
    }

    #[test]
    fn ten_machines_need_what_their_events_bring() {
        let args = Args::parse_from(["bench-scaling"]);
        let machines = Machines { count: 10, cores: 8 };
        // 100,000 events a second each, of which 90 % go on; 0.2 sessions each.
        assert_eq!(report(&args, 40.0, Ok(bytes())).gbit_per_s(machines, 1e6), ["0.42", "0.07"]);
    }

    #[test]
    fn without_networks_there_is_a_row_that_says_why() {
        let args = Args::parse_from(["bench-scaling"]);
        let report = report(&args, 40.0, Err(anyhow::anyhow!("only root makes network namespaces")));
        assert!(report.to_text().contains("Not measured: only root makes network namespaces."));
        assert_eq!(report.to_json()["wire"]["skipped"], "only root makes network namespaces");
    }
}
