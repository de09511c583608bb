//! Metrics, traces and logs: what a process tells of itself to a collector (OTLP) or to Prometheus.
//!
//! A crate lists its [`Metric`]s in its `metrics.rs`, as a [`Family`] for each kind of thing, and says how each is read off what the
//! process holds anyway; [`Telemetry::observe`] reads when somebody asks. What happens rather than is, a checkpoint or a
//! publication, is recorded in a [`Histogram`] and told as a finished [`Span`]: once a checkpoint, never for a batch or an event.
//! Whoever does all this gets a [`Telemetry`], which is [`Telemetry::off`] unless [`start`] found a collector or an address in
//! the [`Settings`]; off, each call is a look at an empty option.
//!
//! The id of a span is derived from what it is about ([`trace`]), so that every process knows the trace of a checkpoint from its
//! number, and nothing has to be handed on.
//!
//! This is the only crate that names OpenTelemetry. It keeps nothing global: a process may have several, as tests do.

mod backlog;
mod catalog;
mod family;
mod guard;
mod instruments;
mod losses;
mod metric;
mod process;
mod resource;
mod scrape;
mod settings;
mod span;
mod spread;
mod start;
pub mod trace;

pub use catalog::{Section, page};
pub use family::{Family, Read, Reading, Recorded, number};
pub use instruments::{Histogram, Telemetry};
pub use losses::{Losses, Signal};
pub use metric::{Kind, Metric, Unit};
pub use scrape::{ListenError, listen};
pub use settings::{Otlp, Protocol, Settings, SettingsError, Target};
pub use span::{KeptSpans, Span, Spans};
pub use spread::Spread;
pub use start::{Exporters, StartError, start};

/// What every process tells, for the documentation.
pub fn catalog() -> Vec<Section> {
    vec![Section::of_family(&process::PROCESS), Section::of_family(&losses::LOSSES)]
}
