//! A collector of OpenTelemetry for tests: takes metrics, spans and log records by gRPC and by HTTP on one port, and keeps them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// A collector that listens until it is dropped.
#[derive(Debug)]
pub struct Collector {
    /// Its port on 127.0.0.1.
    pub port: u16,
    received: Received,
    _serving: JoinSet<std::io::Result<()>>,
}

/// A metric that arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Who told it: `service.name`.
    pub service: String,
    /// As in OpenTelemetry.
    pub name: String,
    /// As it was told.
    pub unit: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The attributes of each of its points, and its value: a histogram's count.
    pub points: Vec<(BTreeMap<String, String>, f64)>,
}

/// A span that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Who told it: `service.instance.id`.
    pub instance: String,
    /// Its trace.
    pub trace: Vec<u8>,
    /// Itself.
    pub id: Vec<u8>,
    /// Its parent; empty for a root.
    pub parent: Vec<u8>,
    /// What happened.
    pub name: String,
    /// Nanoseconds since 1970.
    pub started: u64,
    /// The same.
    pub ended: u64,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// The traces that it links to.
    pub links: Vec<Vec<u8>>,
}

/// A log record that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Who told it: `service.name`.
    pub service: String,
    /// What it says.
    pub body: String,
    /// Its fields.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
struct Received(Arc<Mutex<Store>>);

#[derive(Debug, Default)]
struct Store {
    metrics: Vec<Metric>,
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    /// Everything as text, for what must not be in it.
    text: String,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start() -> Result<Collector> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let received = Received::default();
        let grpc = Routes::new(MetricsServiceServer::new(received.clone()))
            .add_service(TraceServiceServer::new(received.clone()))
            .add_service(LogsServiceServer::new(received.clone()));
        let http = axum::Router::new()
            .route("/v1/metrics", post(take_http::<ExportMetricsServiceRequest>))
            .route("/v1/traces", post(take_http::<ExportTraceServiceRequest>))
            .route("/v1/logs", post(take_http::<ExportLogsServiceRequest>))
            .with_state(received.clone());
        let router = grpc.into_axum_router().merge(http);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        Ok(Collector { port, received, _serving: serving })
    }

    /// The last that was told of each metric of a service.
    pub fn metrics(&self, service: &str) -> BTreeMap<String, Metric> {
        let store = self.received.store();
        let of_service = store.metrics.iter().filter(|metric| metric.service == service);
        of_service.map(|metric| (metric.name.clone(), metric.clone())).collect()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.received.store().spans.clone()
    }

    /// All log records so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        self.received.store().logs.clone()
    }

    /// Whether a text was anywhere in what was told.
    pub fn was_told(&self, text: &str) -> bool {
        self.received.store().text.contains(text)
    }
}

impl Received {
    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a collector is sent.
trait Export: Message + Default {
    fn put_into(self, store: &mut Store);
}

async fn take_http<T: Export>(State(received): State<Received>, body: Bytes) -> StatusCode {
    match T::decode(body) {
        Ok(request) => {
            request.put_into(&mut received.store());
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        request.into_inner().put_into(&mut self.store());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        request.into_inner().put_into(&mut self.store());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Received {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        request.into_inner().put_into(&mut self.store());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

impl Export for ExportMetricsServiceRequest {
    fn put_into(self, store: &mut Store) {
        store.text.push_str(&format!("{self:?}\n"));
        for resource in self.resource_metrics {
            let service = of_resource(resource.resource.as_ref(), "service.name");
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let Some((kind, points)) = metric.data.map(points) else { continue };
                let (service, name, unit) = (service.clone(), metric.name, metric.unit);
                store.metrics.push(Metric { service, name, unit, kind, points });
            }
        }
    }
}

impl Export for ExportTraceServiceRequest {
    fn put_into(self, store: &mut Store) {
        store.text.push_str(&format!("{self:?}\n"));
        for resource in self.resource_spans {
            let instance = of_resource(resource.resource.as_ref(), "service.instance.id");
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                store.spans.push(Span {
                    instance: instance.clone(),
                    trace: span.trace_id,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    name: span.name,
                    started: span.start_time_unix_nano,
                    ended: span.end_time_unix_nano,
                    attributes: attributes(&span.attributes),
                    links: span.links.into_iter().map(|link| link.trace_id).collect(),
                });
            }
        }
    }
}

impl Export for ExportLogsServiceRequest {
    fn put_into(self, store: &mut Store) {
        store.text.push_str(&format!("{self:?}\n"));
        for resource in self.resource_logs {
            let service = of_resource(resource.resource.as_ref(), "service.name");
            for record in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let body = record.body.and_then(|body| body.value).map(text).unwrap_or_default();
                let attributes = attributes(&record.attributes);
                store.logs.push(LogRecord { service: service.clone(), body, attributes });
            }
        }
    }
}

type Points = Vec<(BTreeMap<String, String>, f64)>;

fn points(data: Data) -> (&'static str, Points) {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    let number = |value: Option<Value>| match value {
        Some(Value::AsDouble(value)) => value,
        #[allow(clippy::cast_precision_loss, reason = "tests count no further than 2^53")]
        Some(Value::AsInt(value)) => value as f64,
        None => f64::NAN,
    };
    match data {
        Data::Gauge(gauge) => (
            "gauge",
            gauge.data_points.into_iter().map(|point| (attributes(&point.attributes), number(point.value))).collect(),
        ),
        Data::Sum(sum) => {
            let kind = if sum.is_monotonic { "counter" } else { "gauge" };
            (
                kind,
                sum.data_points.into_iter().map(|point| (attributes(&point.attributes), number(point.value))).collect(),
            )
        }
        #[allow(clippy::cast_precision_loss, reason = "tests count no further than 2^53")]
        Data::Histogram(histogram) => {
            let points = histogram.data_points.into_iter();
            ("histogram", points.map(|point| (attributes(&point.attributes), point.count as f64)).collect())
        }
        Data::ExponentialHistogram(_) | Data::Summary(_) => ("other", Vec::new()),
    }
}

fn of_resource(resource: Option<&Resource>, key: &str) -> String {
    resource.and_then(|resource| attributes(&resource.attributes).remove(key)).unwrap_or_default()
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |pair: &KeyValue| pair.value.clone().and_then(|value| value.value).map(text).unwrap_or_default();
    pairs.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn text(value: Value) -> String {
    match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::BoolValue(is_so) => is_so.to_string(),
        other => format!("{other:?}"),
    }
}
