//! What a metric is: a name, a unit, a meaning. Each crate lists its own in its `metrics.rs`; `docs/metrics.md` is made of the lists.

/// A metric, as it is documented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// As in OpenTelemetry, for instance `gapwise.task.records.in`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// In what it is counted.
    pub unit: Unit,
    /// In a sentence, for the operator.
    pub meaning: &'static str,
    /// What Flink calls it; empty if it has none.
    pub flink: &'static str,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A sum that only grows, until what it counts begins anew.
    Counter,
    /// A value at one moment.
    Gauge,
    /// How often values lay between these bounds.
    Histogram(&'static [f64]),
}

/// In what a metric is counted, by the Unified Code for Units of Measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `By`
    Bytes,
    /// `s`
    Seconds,
    /// Things: an annotation such as `{record}`.
    Things(&'static str),
    /// A flag, 0 or 1.
    Flag,
}

impl Unit {
    /// As OpenTelemetry writes it.
    pub fn code(self) -> &'static str {
        match self {
            Unit::Bytes => "By",
            Unit::Seconds => "s",
            Unit::Things(annotation) => annotation,
            Unit::Flag => "",
        }
    }
}

impl Kind {
    /// As it is documented.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

impl Metric {
    /// What it is called in Prometheus, whether that scrapes it or a collector hands it on: dots become underscores, then come unit and
    /// `_total` (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>).
    pub fn prometheus_name(&self) -> String {
        let unit = match self.unit {
            Unit::Bytes => "_bytes",
            Unit::Seconds => "_seconds",
            Unit::Things(_) | Unit::Flag => "",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_gets_unit_and_total_behind_the_name() {
        let metric = |kind, unit| Metric { name: "gapwise.task.time", kind, unit, meaning: "", flink: "" };
        assert_eq!(metric(Kind::Counter, Unit::Seconds).prometheus_name(), "gapwise_task_time_seconds_total");
        assert_eq!(metric(Kind::Gauge, Unit::Bytes).prometheus_name(), "gapwise_task_time_bytes");
        assert_eq!(metric(Kind::Gauge, Unit::Things("{record}")).prometheus_name(), "gapwise_task_time");
        assert_eq!(metric(Kind::Histogram(&[]), Unit::Flag).prometheus_name(), "gapwise_task_time");
    }
}
