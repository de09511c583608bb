//! What was measured and what it predicts, for people and for programs, and whether both agree.

mod json;
mod tables;

use anyhow::{Context, Result};

use crate::args::Args;
use crate::exchange::Exchange;
use crate::model::{Circumstances, Cost, Model, events_per_batch};
use crate::run::{Run, Runs};
use crate::stages::Stage;
use crate::subject::{Kind, Layout, Limits, Series};
use crate::wire::Bytes;
pub(crate) use tables::Part;

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

#[cfg(test)]
pub(crate) mod tests;
