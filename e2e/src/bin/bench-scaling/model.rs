//! What a cluster of some machines takes, and what bounds it.
//!
//! An event costs `a + s σ + k / b + (1 - 1/N) x` of CPU time: `a` for the event, `s` for its share σ of a session, `k` for its share of a
//! batch of b events, and `x`, as keys are spread evenly over N machines, where its window is on another machine than its partition's source.
//! `x` is of an event, its bytes, and its share of a batch, too. A batch has fewer events the more subtasks a source sends to. N machines of
//! C cores have N C seconds of CPU time each second; and no subtask has more than one thread.

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
/// More than it takes until the events of a batch and the rate agree.
const ROUNDS: usize = 50;

/// What an event takes and what a session takes besides, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) event: f64,
    pub(crate) session: f64,
}

/// What is spent in ns of CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) event: f64,
    pub(crate) session: f64,
    /// Of a batch from one source to one window, and whatever else is done as often.
    pub(crate) batch: f64,
}

/// What an event has to do with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    pub(crate) sessions_per_event: f64,
    pub(crate) events_per_batch: f64,
}

/// Everything that predictions are made of, from runs in one taskmanager and from a channel alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Model {
    /// By [`Stage::ALL`].
    pub(crate) stages: [Cost; Stage::ALL.len()],
    /// Everything, as the system charged it.
    pub(crate) all: Cost,
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
    /// Through what events took, at some numbers of sessions for each event.
    pub(crate) fn through(points: &[(f64, f64)]) -> Result<Line> {
        let rows: Vec<([f64; 2], f64)> = points.iter().map(|&(sessions, took)| ([1.0, sessions], took)).collect();
        let fitted = least_squares::fit(&rows).context("two kinds of traffic with as many sessions an event")?;
        let [event, session] = fitted;
        Ok(Line { event, session })
    }

    pub(crate) fn at(self, sessions_per_event: f64) -> f64 {
        self.event + self.session * sessions_per_event
    }
}

impl Cost {
    /// Through what events cost. A part may come out below zero: so much is noise.
    pub(crate) fn through(points: &[(Circumstances, f64)]) -> Result<Cost> {
        let row = |(at, ns): &(Circumstances, f64)| ([1.0, at.sessions_per_event, 1.0 / at.events_per_batch], *ns);
        let fitted = least_squares::fit(&points.iter().map(row).collect::<Vec<_>>());
        let [event, session, batch] = fitted.context("runs that do not tell events, sessions and batches apart")?;
        Ok(Cost { event, session, batch })
    }

    pub(crate) fn at(self, at: Circumstances) -> f64 {
        self.event + self.session * at.sessions_per_event + self.batch / at.events_per_batch
    }
}

impl Model {
    /// ns of CPU for each event, in so many machines or processes.
    pub(crate) fn cpu_ns(&self, machines: u32, at: Circumstances) -> f64 {
        self.all.at(at) + remote_share(machines) * self.exchange.each_ns(self.batch_bytes, at.events_per_batch)
    }

    /// Of events when all cores are at work all the time, each with one source: a batch's size is that of the rate, and the rate follows from it.
    pub(crate) fn busy(&self, machines: Machines, sessions_per_event: f64) -> Circumstances {
        let mut at = Circumstances { sessions_per_event, events_per_batch: BATCH_EVENTS };
        for _ in 0..ROUNDS {
            at.events_per_batch = events_per_batch(1e9 / self.cpu_ns(machines.count, at), machines.parallelism());
        }
        at
    }

    pub(crate) fn bounds(&self, machines: Machines, at: Circumstances) -> Bounds {
        let thread = |stage: Stage| 1e9 / self.stages[stage as usize].at(at).max(f64::MIN_POSITIVE);
        Bounds {
            cpu: 1e9 * f64::from(machines.parallelism()) / self.cpu_ns(machines.count, at),
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
        let mut stages = [Cost { event: 100.0, session: 50.0, batch: 0.0 }; Stage::ALL.len()];
        stages[Stage::Sink as usize] = Cost { session: 250.0, ..Cost::default() };
        let exchange = Exchange { event_ns: 10.0, byte_ns: 0.5, batch_ns: 10_000.0, sender_share: 0.5 };
        Model { stages, all: Cost { event: 600.0, session: 1000.0, batch: 2000.0 }, exchange, batch_bytes: 60.0 }
    }

    const fn at(sessions_per_event: f64, events_per_batch: f64) -> Circumstances {
        Circumstances { sessions_per_event, events_per_batch }
    }

    #[test]
    fn two_kinds_of_traffic_and_two_sizes_of_batches_tell_costs_apart() {
        let points = [at(0.2, 400.0), at(0.9, 400.0), at(0.2, 20.0), at(0.9, 25.0)];
        let cost = Cost::through(&points.map(|at| (at, model().all.at(at)))).expect("they say");
        let off = [cost.event - 600.0, cost.session - 1000.0, cost.batch - 2000.0];
        assert!(off.iter().all(|off| off.abs() < 1e-6), "{cost:?}");
        assert!(Cost::through(&points[..2].iter().map(|&at| (at, 1.0)).collect::<Vec<_>>()).is_err());
        let line = Line::through(&[(0.2, 800.0), (0.9, 1500.0)]).expect("they say");
        assert!((line.event - 600.0).abs() < 1e-6 && (line.session - 1000.0).abs() < 1e-6, "{line:?}");
        assert!(Line::through(&[(0.2, 1.0), (0.2, 2.0)]).is_err());
    }

    #[test]
    fn in_one_machine_nothing_goes_over_a_wire_and_in_many_nearly_everything() {
        assert_eq!([1, 2, 4, 10].map(remote_share), [0.0, 0.5, 0.75, 0.9]);
        let ns = |machines| model().cpu_ns(machines, at(0.2, 100.0));
        let over = 10.0 + 0.5 * 60.0 + 10_000.0 / 100.0;
        assert!((ns(1) - 820.0).abs() < 1e-9 && (ns(4) - 820.0 - 0.75 * over).abs() < 1e-9, "{}", ns(4));
    }

    #[test]
    fn batches_are_smaller_the_more_subtasks_there_are_and_the_less_is_read() {
        assert_eq!([4, 10, 100, 100_000].map(|p| events_per_batch(1e6, p)), [1250.0, 500.0, 50.0, 1.0]);
        assert_eq!(events_per_batch(1e9, 4), 2048.0);
        // What a core reads in 5 ms, for each of 80.
        let busy = model().busy(Machines { count: 10, cores: 8 }, 0.2);
        let wanted = 5e6 / model().cpu_ns(10, busy) / 80.0;
        assert!((busy.events_per_batch - wanted).abs() < 1e-6 && wanted > 20.0, "{busy:?}");
    }

    #[test]
    fn key_groups_that_do_not_divide_make_one_subtask_the_last() {
        assert_eq!([1, 64, 80, 100, 128, 500].map(|p| 128.0 * largest_share(p)), [128.0, 2.0, 2.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn machines_add_up_until_the_one_sink_has_no_more_time() {
        let bounds = |count| model().bounds(Machines { count, cores: 8 }, at(0.2, 1000.0));
        assert!((bounds(1).cpu - 8e9 / 802.0).abs() < 1.0);
        assert!(bounds(2).cpu < 2.0 * bounds(1).cpu && bounds(2).cpu > 1.5 * bounds(1).cpu);
        assert_eq!(bounds(1).least().1, "CPU");
        assert_eq!(bounds(10).least(), (bounds(10).sink, "the sink"));
        assert!((bounds(10).sink - 1e9 / 50.0).abs() < 1.0 && (bounds(10).window - 64e9 / 110.0).abs() < 1.0);
    }
}
