//! What could not be exported, counted: a collector that is away costs this number and one warning.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::family::{Family, Read, Reading, number};
use crate::metric::{Kind, Metric, Unit};

/// Spans, log records and rounds of metrics that were dropped.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<[AtomicU64; 3]>);

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A round of all metrics.
    Metrics,
    /// A span.
    Traces,
    /// A log record.
    Logs,
}

/// Of the telemetry itself.
pub(crate) const LOSSES: Family<Losses> = Family {
    title: "Telemetry",
    about: "Of each process, where it exports by OTLP.",
    attributes: &[],
    values: |_| Vec::new(),
    metrics: &[Reading {
        metric: Metric {
            name: "gapwise.telemetry.dropped",
            kind: Kind::Counter,
            unit: Unit::Things("{item}"),
            meaning: "What no collector took: spans (traces), log records (logs), rounds of metrics (metrics).",
            flink: "",
        },
        read: Read::Each("signal", |losses| {
            let count = |signal: Signal| number(losses.count(signal));
            vec![("metrics", count(Signal::Metrics)), ("traces", count(Signal::Traces)), ("logs", count(Signal::Logs))]
        }),
    }],
};

impl Losses {
    /// Counts what was dropped.
    pub fn add(&self, signal: Signal, items: u64) {
        self.0[signal as usize].fetch_add(items, Relaxed);
    }

    /// How much of a signal was dropped.
    pub(crate) fn count(&self, signal: Signal) -> u64 {
        self.0[signal as usize].load(Relaxed)
    }
}
