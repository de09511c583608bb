//! A channel between two subtasks, measured alone: by events, bytes and batches.

use anyhow::{Context, Result, ensure};
use e2e::programs;
use serde_json::{Value, json};
use taskmanager::measuring::cost::{Way, batch, cost};

use crate::least_squares;

/// Events of a batch, bytes of a key: a full batch and one as live traffic has them, a key of a visitor and host and a longer one.
const GRID: [(u32, usize); 4] = [(2048, 30), (2048, 130), (128, 30), (128, 130)];
/// Of each point; the median counts.
const RUNS: usize = 5;
/// Enough that a run takes tenths of a second.
const EVENTS: usize = 3_000_000;

/// What it costs at both sides together, in ns of CPU, over gRPC more than by pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Exchange {
    pub(crate) event_ns: f64,
    pub(crate) byte_ns: f64,
    pub(crate) batch_ns: f64,
    /// The sender's share of a full batch of short keys, from 0 to 1.
    pub(crate) sender_share: f64,
}

/// A batch that was measured.
#[derive(Clone, Copy, Debug)]
struct Point {
    events: f64,
    /// Of each event, as it travels.
    bytes: f64,
    sender_ns: f64,
    receiver_ns: f64,
}

impl Exchange {
    /// For each event that goes to another taskmanager.
    pub(crate) fn each_ns(&self, bytes: f64, events_per_batch: f64) -> f64 {
        self.event_ns + self.byte_ns * bytes + self.batch_ns / events_per_batch.max(1.0)
    }

    fn fit(points: &[Point]) -> Option<Exchange> {
        let all = |point: &Point| ([1.0, point.bytes, 1.0 / point.events], point.sender_ns + point.receiver_ns);
        let [event_ns, byte_ns, batch_ns] = least_squares::fit(&points.iter().map(all).collect::<Vec<_>>())?;
        let first = points.first()?;
        Some(Exchange {
            event_ns,
            byte_ns,
            batch_ns,
            sender_share: first.sender_ns / (first.sender_ns + first.receiver_ns),
        })
    }
}

/// Measures it in a process of its own, which has no other threads.
pub(crate) fn measure() -> Result<Exchange> {
    let said: Value = serde_json::from_str(&programs::run("bench-scaling", &["exchange"], &[])?.ok()?)?;
    let points: Option<Vec<Point>> = said.as_array().context("a list")?.iter().map(point).collect();
    Exchange::fit(&points.context("a figure is missing")?).context("the points do not say what a channel costs")
}

fn point(said: &Value) -> Option<Point> {
    let number = |name: &str| said[name].as_f64();
    let (events, bytes) = (number("events")?, number("bytes")?);
    Some(Point { events, bytes, sender_ns: number("sender_ns")?, receiver_ns: number("receiver_ns")? })
}

/// What [`measure`] reads.
#[allow(clippy::print_stdout, reason = "the process that started this one reads it")]
pub(crate) fn print() -> Result<()> {
    let mut points = Vec::new();
    for (events, key_bytes) in GRID {
        let batch = batch(events, key_bytes);
        ensure!(!batch.is_empty(), "a batch has events");
        let mut sides = [Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            let count = EVENTS / batch.len();
            let (local, grpc) = (cost(Way::Local, &batch, count)?, cost(Way::Grpc, &batch, count)?);
            sides[0].push(grpc.sender.all() - local.sender.all());
            sides[1].push(grpc.receiver.all() - local.receiver.all());
        }
        let [sender_ns, receiver_ns] = sides.map(crate::run::median);
        let bytes = batch.bytes() as f64 / batch.len() as f64;
        points.push(json!({ "events": events, "bytes": bytes, "sender_ns": sender_ns, "receiver_ns": receiver_ns }));
    }
    println!("{}", Value::from(points));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_costs_by_events_bytes_and_batches() {
        let wanted = Exchange { event_ns: 4.0, byte_ns: 0.25, batch_ns: 9000.0, sender_share: 0.4 };
        let of = |(events, bytes): (u32, f64)| {
            let all = wanted.each_ns(bytes, events.into());
            Point { events: events.into(), bytes, sender_ns: 0.4 * all, receiver_ns: 0.6 * all }
        };
        let points = [(2048, 70.0), (2048, 170.0), (128, 70.0), (128, 170.0)].map(of);
        let found = Exchange::fit(&points).expect("they say");
        assert!((found.each_ns(100.0, 500.0) - wanted.each_ns(100.0, 500.0)).abs() < 1e-6, "{found:?}");
        assert!((found.sender_share - 0.4).abs() < 1e-9);
    }

    #[test]
    fn a_point_without_a_figure_is_none() {
        assert!(point(&json!({ "events": 1, "bytes": 2.0, "sender_ns": 3.0 })).is_none());
        assert!(point(&json!({ "events": 1, "bytes": 2.0, "sender_ns": 3.0, "receiver_ns": 4 })).is_some());
    }
}
