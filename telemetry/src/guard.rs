//! What stands around each exporter: counts what no collector took, and says so once.
//!
//! A collector that is down for a day would fail thousands of times; a person needs one line, and another when it is over. Several signals
//! that go to one collector share a voice: whichever fails first speaks, and the others only count.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::backlog::Backlog;
use crate::losses::{Losses, Signal};
use crate::settings::{Protocol, Target};

/// An exporter that counts what it loses.
#[derive(Debug)]
pub(crate) struct Guarded<E> {
    exporter: E,
    signal: Signal,
    voice: Arc<Voice>,
    backlog: Option<Backlog>,
}

/// Speaks of one collector.
#[derive(Debug)]
pub(crate) struct Voice {
    target: Target,
    losses: Losses,
    /// The signal whose failure was told, until it succeeds again.
    failing: Mutex<Option<Signal>>,
}

/// Of a failure so much is told: the rest is mostly the same once more, in other words.
const REASON_CHARS: usize = 200;

impl Voice {
    /// Of a collector that has not failed yet.
    pub(crate) fn new(target: Target, losses: Losses) -> Self {
        Voice { target, losses, failing: Mutex::default() }
    }

    fn on_result(&self, signal: Signal, items: u64, result: &OTelSdkResult) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) if *failing == Some(signal) => {
                *failing = None;
                tracing::info!(collector = self.target.shown, "the collector takes telemetry again");
            }
            Ok(()) => {}
            Err(error) => {
                self.losses.add(signal, items);
                if failing.is_none() {
                    *failing = Some(signal);
                    self.warn(signal, &error.to_string());
                }
            }
        }
    }

    fn warn(&self, signal: Signal, reason: &str) {
        let reason: String =
            reason.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_CHARS).collect();
        tracing::warn!(
            collector = self.target.shown,
            protocol = self.target.protocol.word(),
            signal = ?signal,
            reason,
            advice = self.target.advice(),
            "the collector takes no telemetry: it is dropped and counted, and the work goes on"
        );
    }
}

impl<E> Guarded<E> {
    /// Puts a guard around an exporter, which takes from a backlog if there is one.
    pub(crate) fn new(exporter: E, signal: Signal, voice: Arc<Voice>, backlog: Option<Backlog>) -> Self {
        Guarded { exporter, signal, voice, backlog }
    }

    fn noted(&self, items: usize, result: OTelSdkResult) -> OTelSdkResult {
        self.voice.on_result(self.signal, items as u64, &result);
        if let Some(backlog) = &self.backlog {
            backlog.give_back(items as u64);
        }
        result
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Guarded<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.noted(1, result)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

impl<E: SpanExporter> SpanExporter for Guarded<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let items = batch.len();
        let result = self.exporter.export(batch).await;
        self.noted(items, result)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Guarded<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let items = batch.iter().count();
        let result = self.exporter.export(batch).await;
        self.noted(items, result)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl Target {
    /// What is likely wrong, by the ports that everybody uses.
    fn advice(&self) -> &'static str {
        match self.protocol {
            Protocol::Http if self.shown.ends_with(":4317") => {
                "4317 is the port of OTLP over gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use port 4318"
            }
            Protocol::Grpc if self.shown.ends_with(":4318") => {
                "4318 is the port of OTLP over HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use port 4317"
            }
            Protocol::Http | Protocol::Grpc => "is it up, and does it speak this protocol at this port?",
        }
    }
}

impl Protocol {
    /// As the variable has it.
    fn word(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http/protobuf",
        }
    }
}
