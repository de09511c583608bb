//! Instruments: what is observed when somebody asks, and what is recorded as it happens.

use std::fmt;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use crate::family::{Family, Read, Reading, Recorded};
use crate::metric::{Kind, Metric};
use crate::span::Spans;

/// Where a process tells of itself.
#[derive(Clone, Default)]
pub struct Telemetry {
    pub(crate) meter: Option<Meter>,
    pub(crate) spans: Spans,
}

impl Telemetry {
    /// Nobody asks.
    pub fn off() -> Self {
        Self::default()
    }

    /// Whether anybody asks for metrics.
    pub fn has_metrics(&self) -> bool {
        self.meter.is_some()
    }

    /// Where spans go.
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Shows a family: `source` is asked for all its things, once for each metric of each collection. It must not wait.
    pub fn observe<T: 'static>(
        &self,
        family: &'static Family<T>,
        source: impl Fn() -> Vec<T> + Clone + Send + Sync + 'static,
    ) {
        let Some(meter) = &self.meter else { return };
        for reading in family.metrics {
            let source = source.clone();
            observe_one(meter, &reading.metric, move |observer| {
                source().iter().for_each(|thing| tell(family, reading, thing, observer));
            });
        }
    }

    /// A histogram.
    pub fn histogram(&self, recorded: &Recorded) -> Histogram {
        let Metric { name, unit, meaning, kind, .. } = recorded.metric;
        let Kind::Histogram(bounds) = kind else { unreachable!("`{name}` is recorded, and no histogram") };
        let build = |meter: &Meter| {
            let builder = meter.f64_histogram(name).with_unit(unit.code()).with_description(meaning);
            builder.with_boundaries(bounds.to_vec()).build()
        };
        Histogram(self.meter.as_ref().map(build))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("has_metrics", &self.has_metrics()).finish_non_exhaustive()
    }
}

/// Records how often values come.
#[derive(Clone, Debug, Default)]
pub struct Histogram(Option<opentelemetry::metrics::Histogram<f64>>);

impl Histogram {
    /// Records one.
    pub fn record(&self, value: f64, attributes: &[(&'static str, &str)]) {
        if let Some(histogram) = &self.0 {
            let pairs: Vec<KeyValue> =
                attributes.iter().map(|&(key, value)| KeyValue::new(key, value.to_owned())).collect();
            histogram.record(value, &pairs);
        }
    }
}

fn observe_one(meter: &Meter, metric: &Metric, read: impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static) {
    let Metric { name, kind, unit, meaning, .. } = *metric;
    match kind {
        Kind::Counter => {
            let builder = meter.f64_observable_counter(name).with_unit(unit.code()).with_description(meaning);
            builder.with_callback(read).build();
        }
        Kind::Gauge => {
            let builder = meter.f64_observable_gauge(name).with_unit(unit.code()).with_description(meaning);
            builder.with_callback(read).build();
        }
        Kind::Histogram(_) => unreachable!("`{name}` is a histogram, which is recorded"),
    }
}

fn tell<T>(family: &Family<T>, reading: &Reading<T>, thing: &T, observer: &dyn AsyncInstrument<f64>) {
    let pairs = || {
        let values = (family.values)(thing).into_iter();
        let pairs = family.attributes.iter().zip(values).map(|(&key, value)| KeyValue::new(key, value));
        pairs.collect::<Vec<_>>()
    };
    match reading.read {
        Read::One(read) => {
            if let Some(value) = read(thing) {
                observer.observe(value, &pairs());
            }
        }
        Read::Each(attribute, read) => {
            let mut pairs = pairs();
            for (phase, value) in read(thing) {
                pairs.push(KeyValue::new(attribute, phase));
                observer.observe(value, &pairs);
                pairs.pop();
            }
        }
    }
}
