//! What a cluster of some machines takes, and what bounds it.
//!
//! An event costs `a + s σ + (1 - 1/N) x` of CPU time: `a` for the event, `s` for its share σ of a session, and `x`, as keys are spread evenly
//! over N machines, where its window is on another machine than its partition's source. `x` is of an event, its bytes, and its share of a
//! batch, and a batch has fewer events the more subtasks a source sends to. N machines of C cores have N C seconds of CPU time each second;
//! and no subtask has more than one thread.

use anyhow::{Context, Result};

use crate::exchange::Exchange;
use crate::least_squares;
use crate::stages::Stage;

/// Key groups, as a job has them unless told otherwise.
pub(crate) const MAX_PARALLELISM: u32 = 128;
/// A source sends a batch that has so many events (`stream_core::collector::BATCH_EVENTS`),
const BATCH_EVENTS: f64 = 2048.0;
/// or after so long (`taskmanager::Options::DEFAULT_LINGER`).
const LINGER_S: f64 = 0.005;
/// More than it takes until the events of a batch, and with them the rate, no longer change.
const ROUNDS: usize = 50;

/// What an event takes and what a session takes besides, in ns or in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) event: f64,
    pub(crate) session: f64,
}

/// Everything that predictions are made of, from runs in one taskmanager and from a channel alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Model {
    /// By [`Stage::ALL`].
    pub(crate) stages: [Line; Stage::ALL.len()],
    /// Everything, as the system charged it.
    pub(crate) all: Line,
    pub(crate) exchange: Exchange,
    /// Of an event in a batch.
    pub(crate) batch_bytes: f64,
}

/// Machines that are alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machines {
    pub(crate) count: u32,
    /// Of each; as many subtasks of source and window, too.
    pub(crate) cores: u32,
}

/// What a cluster can take at most, in events a second, by what runs out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// CPU time of all machines.
    pub(crate) cpu: f64,
    /// The thread of the window subtask that has most key groups.
    pub(crate) window: f64,
    /// The thread of the sink, of which there is one.
    pub(crate) sink: f64,
}

impl Line {
    /// Through what events took, at some numbers of sessions for each event. It is not below zero: what is so is the noise of a stage that
    /// costs nothing there.
    pub(crate) fn through(points: &[(f64, f64)]) -> Result<Line> {
        let rows: Vec<([f64; 2], f64)> = points.iter().map(|&(sessions, took)| ([1.0, sessions], took)).collect();
        let fitted = least_squares::fit(&rows).context("two kinds of traffic with as many sessions an event")?;
        let [event, session] = fitted.map(|figure| figure.max(0.0));
        Ok(Line { event, session })
    }

    pub(crate) fn at(self, sessions_per_event: f64) -> f64 {
        self.event + self.session * sessions_per_event
    }
}

impl Model {
    /// ns of CPU for each event, in so many machines or processes, when each of `parallelism` sources reads so many events a second.
    pub(crate) fn cpu_ns(&self, machines: u32, parallelism: u32, source_per_s: f64, sessions_per_event: f64) -> f64 {
        let batch = events_per_batch(source_per_s, parallelism);
        self.all.at(sessions_per_event) + remote_share(machines) * self.exchange.each_ns(self.batch_bytes, batch)
    }

    /// When all cores are at work all the time, each with one source.
    pub(crate) fn busy_cpu_ns(&self, machines: Machines, sessions_per_event: f64) -> f64 {
        let mut ns = self.all.at(sessions_per_event);
        for _ in 0..ROUNDS {
            ns = self.cpu_ns(machines.count, machines.parallelism(), 1e9 / ns, sessions_per_event);
        }
        ns
    }

    pub(crate) fn bounds(&self, machines: Machines, sessions_per_event: f64) -> Bounds {
        let thread = |stage: Stage| 1e9 / self.stages[stage as usize].at(sessions_per_event).max(f64::MIN_POSITIVE);
        Bounds {
            cpu: 1e9 * f64::from(machines.count * machines.cores) / self.busy_cpu_ns(machines, sessions_per_event),
            window: thread(Stage::Window) / largest_share(machines.parallelism()),
            sink: thread(Stage::Sink),
        }
    }
}

impl Machines {
    pub(crate) fn parallelism(self) -> u32 {
        self.count * self.cores
    }
}

impl Bounds {
    /// What comes first.
    pub(crate) fn least(self) -> (f64, &'static str) {
        let all = [(self.cpu, "CPU"), (self.window, "one window"), (self.sink, "the sink")];
        all.into_iter().fold((f64::INFINITY, ""), |least, bound| if bound.0 < least.0 { bound } else { least })
    }
}

/// Of the events those that go to another machine.
pub(crate) fn remote_share(machines: u32) -> f64 {
    1.0 - 1.0 / f64::from(machines.max(1))
}

/// Of the key groups those of the subtask that has most: ⌈G/p⌉ of G.
pub(crate) fn largest_share(parallelism: u32) -> f64 {
    f64::from(MAX_PARALLELISM.div_ceil(parallelism.max(1))) / f64::from(MAX_PARALLELISM)
}

/// A source that reads so many events a second sends each batch when it is full, and all of them when the linger is over.
pub(crate) fn events_per_batch(source_per_s: f64, parallelism: u32) -> f64 {
    (source_per_s * LINGER_S / f64::from(parallelism.max(1))).clamp(1.0, BATCH_EVENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let mut stages = [Line { event: 100.0, session: 50.0 }; Stage::ALL.len()];
        stages[Stage::Sink as usize] = Line { event: 0.0, session: 250.0 };
        let exchange = Exchange { event_ns: 10.0, byte_ns: 0.5, batch_ns: 10_000.0, sender_share: 0.5 };
        Model { stages, all: Line { event: 600.0, session: 1000.0 }, exchange, batch_bytes: 60.0 }
    }

    #[test]
    fn two_kinds_of_traffic_tell_what_an_event_and_what_a_session_costs() {
        let line = Line::through(&[(0.2, 800.0), (0.9, 1500.0)]).expect("they say");
        assert!((line.event - 600.0).abs() < 1e-6 && (line.session - 1000.0).abs() < 1e-6, "{line:?}");
        assert!(Line::through(&[(0.2, 1.0), (0.2, 2.0)]).is_err());
    }

    #[test]
    fn in_one_machine_nothing_goes_over_a_wire_and_in_many_nearly_everything() {
        assert_eq!([1, 2, 4, 10].map(remote_share), [0.0, 0.5, 0.75, 0.9]);
        let ns = |machines| model().cpu_ns(machines, 4, 1e9, 0.2);
        let full = 10.0 + 0.5 * 60.0 + 10_000.0 / 2048.0;
        assert!((ns(1) - 800.0).abs() < 1e-9 && (ns(4) - 800.0 - 0.75 * full).abs() < 1e-9, "{}", ns(4));
    }

    #[test]
    fn batches_are_smaller_the_more_subtasks_there_are_and_the_less_is_read() {
        assert_eq!([4, 10, 100, 100_000].map(|p| events_per_batch(1e6, p)), [1250.0, 500.0, 50.0, 1.0]);
        assert_eq!(events_per_batch(1e9, 4), 2048.0);
    }

    #[test]
    fn key_groups_that_do_not_divide_make_one_subtask_the_last() {
        assert_eq!([1, 64, 80, 100, 128, 500].map(|p| 128.0 * largest_share(p)), [128.0, 2.0, 2.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn machines_add_up_until_the_one_sink_has_no_more_time() {
        let at = |count| model().bounds(Machines { count, cores: 8 }, 0.2);
        assert!((at(1).cpu - 8e9 / 800.0).abs() < 1.0);
        assert!(at(2).cpu < 2.0 * at(1).cpu && at(2).cpu > 1.5 * at(1).cpu);
        assert_eq!(at(1).least().1, "CPU");
        assert_eq!(at(10).least(), (at(10).sink, "the sink"));
        assert!((at(10).sink - 1e9 / 50.0).abs() < 1.0 && (at(10).window - 64e9 / 110.0).abs() < 1.0);
    }
}
