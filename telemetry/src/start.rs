//! From settings to what runs: exporters, each with a thread of its own, and what is kept for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use opentelemetry_otlp::{ExporterBuildError, LogExporter, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Layer;

use crate::backlog::{Backlog, Bounded};
use crate::guard::{Guarded, Voice};
use crate::instruments::Telemetry;
use crate::losses::{LOSSES, Losses, Signal};
use crate::process::{PROCESS, Process};
use crate::resource::resource;
use crate::scrape;
use crate::settings::{Otlp, Protocol, Settings, Target};
use crate::span::Spans;

/// Telemetry could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An exporter does not take its variables.
    #[error("telemetry cannot be exported to `{collector}`")]
    Exporter {
        /// Where to.
        collector: String,
        /// What the exporter says.
        #[source]
        cause: ExporterBuildError,
    },
    /// Prometheus's text cannot be made.
    #[error("metrics cannot be kept for Prometheus: {0}")]
    Scrape(String),
}

/// What runs for telemetry in a process; [`Exporters::shutdown`] at its end, or the last seconds are lost.
#[derive(Debug, Default)]
pub struct Exporters {
    meters: Option<SdkMeterProvider>,
    spans: Spans,
    loggers: Option<SdkLoggerProvider>,
    registry: Option<Registry>,
}

/// What must not be exported as a log record: exporting it would make the next one.
const EXPORTING: [&str; 8] =
    ["h2", "hyper", "hyper_util", "opentelemetry", "opentelemetry_sdk", "reqwest", "tonic", "tower"];

/// An exporter by the protocol of its target. The three builders look alike and share no trait.
macro_rules! exporter {
    ($exporter:ty, $target:expr) => {{
        let builder = <$exporter>::builder();
        let built = match $target.protocol {
            Protocol::Grpc => builder.with_tonic().build(),
            Protocol::Http => builder.with_http().build(),
        };
        built.map_err(|cause| StartError::Exporter { collector: $target.shown.clone(), cause })
    }};
}

/// Begins. To be called within an async runtime, whose threads carry what goes by gRPC.
///
/// # Errors
/// If an exporter does not take what the variables say. A collector that is away is no error.
pub fn start(settings: &Settings) -> Result<(Telemetry, Exporters), StartError> {
    let losses = Losses::default();
    let resource = resource(settings);
    let voices = Voices::new(&settings.otlp, &losses);
    let (meters, registry) = meters(settings, &resource, &voices)?;
    let spans = match &settings.otlp.traces {
        Some(target) => spans(target, &resource, &voices, &losses)?,
        None => Spans::default(),
    };
    let loggers = settings.otlp.logs.as_ref().map(|target| loggers(target, resource, &voices, &losses)).transpose()?;
    let meter = meters.as_ref().map(|meters| meters.meter("gapwise"));
    let telemetry = Telemetry { meter, spans: spans.clone() };
    telemetry.observe(&PROCESS, || vec![Process::now()]);
    telemetry.observe(&LOSSES, move || vec![losses.clone()]);
    Ok((telemetry, Exporters { meters, spans, loggers, registry }))
}

impl Exporters {
    /// What takes log records, for the process's subscriber.
    pub fn log_layer(&self) -> Option<Box<dyn Layer<tracing_subscriber::Registry> + Send + Sync>> {
        let filter = Targets::new().with_default(LevelFilter::TRACE);
        let filter = EXPORTING.iter().fold(filter, |filter, target| filter.with_target(*target, LevelFilter::OFF));
        self.loggers.as_ref().map(|loggers| {
            let bridge = OpenTelemetryTracingBridge::builder(loggers);
            bridge.with_tracing_span_attributes(TracingSpanAttributes::all()).build().with_filter(filter).boxed()
        })
    }

    /// Serves `/metrics` until `shutdown`, if metrics are kept for it and there is where to; otherwise returns at once.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve_metrics(
        &self,
        listener: Option<TcpListener>,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        match (&self.registry, listener) {
            (Some(registry), Some(listener)) => scrape::serve(listener, registry.clone(), shutdown).await,
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// Lets what is left leave, for so long at most: a third of it for each kind. To be called outside async code, while the runtime
    /// still runs.
    pub fn shutdown(self, within: Duration) {
        let of_each = within / 3;
        self.spans.shutdown(of_each);
        // Whatever fails here was counted and said.
        if let Some(meters) = self.meters {
            let _ = meters.shutdown_with_timeout(of_each);
        }
        if let Some(loggers) = self.loggers {
            let _ = loggers.shutdown_with_timeout(of_each);
        }
    }
}

fn meters(
    settings: &Settings,
    resource: &Resource,
    voices: &Voices,
) -> Result<(Option<SdkMeterProvider>, Option<Registry>), StartError> {
    if settings.otlp.metrics.is_none() && !settings.is_scraped {
        return Ok((None, None));
    }
    let mut provider = SdkMeterProvider::builder().with_resource(resource.clone());
    if let Some(target) = &settings.otlp.metrics {
        let guarded = Guarded::new(exporter!(MetricExporter, target)?, Signal::Metrics, voices.of(target), None);
        provider = provider.with_reader(PeriodicReader::builder(guarded).build());
    }
    let mut registry = None;
    if settings.is_scraped {
        let kept = registry.insert(Registry::new()).clone();
        let reader = opentelemetry_prometheus::exporter().with_registry(kept).scope_info_enabled(false).build();
        provider = provider.with_reader(reader.map_err(|error| StartError::Scrape(error.to_string()))?);
    }
    Ok((Some(provider.build()), registry))
}

fn spans(target: &Target, resource: &Resource, voices: &Voices, losses: &Losses) -> Result<Spans, StartError> {
    let backlog = Backlog::bounded_by("OTEL_BSP_MAX_QUEUE_SIZE", Signal::Traces, losses.clone());
    let exporter = exporter!(SpanExporter, target)?;
    let guarded = Guarded::new(exporter, Signal::Traces, voices.of(target), Some(backlog.clone()));
    let mut processor = BatchSpanProcessor::builder(guarded).build();
    processor.set_resource(resource);
    Ok(Spans::to(processor, backlog))
}

fn loggers(
    target: &Target,
    resource: Resource,
    voices: &Voices,
    losses: &Losses,
) -> Result<SdkLoggerProvider, StartError> {
    let backlog = Backlog::bounded_by("OTEL_BLRP_MAX_QUEUE_SIZE", Signal::Logs, losses.clone());
    let exporter = exporter!(LogExporter, target)?;
    let guarded = Guarded::new(exporter, Signal::Logs, voices.of(target), Some(backlog.clone()));
    let processor = Bounded::new(BatchLogProcessor::builder(guarded).build(), backlog);
    Ok(SdkLoggerProvider::builder().with_resource(resource).with_log_processor(processor).build())
}

/// One voice for each collector.
struct Voices(Vec<(Target, Arc<Voice>)>);

impl Voices {
    fn new(otlp: &Otlp, losses: &Losses) -> Self {
        let mut voices: Vec<(Target, Arc<Voice>)> = Vec::new();
        for target in [&otlp.metrics, &otlp.traces, &otlp.logs].into_iter().flatten() {
            if voices.iter().all(|(known, _)| known != target) {
                voices.push((target.clone(), Arc::new(Voice::new(target.clone(), losses.clone()))));
            }
        }
        Voices(voices)
    }

    fn of(&self, target: &Target) -> Arc<Voice> {
        let found = self.0.iter().find(|(known, _)| known == target);
        Arc::clone(&found.expect("every target has a voice").1)
    }
}
