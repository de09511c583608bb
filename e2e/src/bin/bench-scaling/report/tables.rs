//! The report as tables with words.

use localcluster::table::{Align, Table};

use super::{Check, Report};
use crate::exchange::Exchange;
use crate::model::{Cost, Line, Machines, remote_share};
use crate::stages::Stage;
use crate::subject::Limits;
use crate::wire::{self, Limited};

/// A table with what there is to say of it.
pub(crate) struct Part {
    pub(crate) table: Table,
    pub(crate) words: String,
}

impl Report<'_> {
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
    pub(super) fn gbit_per_s(&self, machines: Machines, takes: f64) -> [String; 2] {
        let Ok(bytes) = &self.wire else { return ["–".to_owned(), "–".to_owned()] };
        let of_exchange = bytes.exchange.last().map_or(0.0, |(_, bytes)| *bytes) * remote_share(machines.count);
        let of_each = |outside: Line| {
            let bytes_per_s = takes / f64::from(machines.count) * (outside.at(self.web) + of_exchange);
            format!("{:.2}", 8.0 * bytes_per_s / 1e9)
        };
        [of_each(bytes.received), of_each(bytes.sent)]
    }
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
