//! Spans, told when they are over.
//!
//! What is traced here, a checkpoint or a recovery, is spread over messages and processes: there is no call that it could be wrapped
//! around. So whoever ends a phase tells the finished span, with its place ([`SpanRef`]) and the time it took.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use stream_core::time::Timestamp;

use crate::backlog::Backlog;
use crate::trace::SpanRef;

/// Something that took time.
#[derive(Clone, Debug)]
pub struct Span {
    /// Which it is.
    pub place: SpanRef,
    /// What it is part of.
    pub parent: Option<u64>,
    /// What happened, in few words that do not vary.
    pub name: &'static str,
    /// When it was over, by the wall clock.
    pub ended: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Of what, and how much.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What else it has to do with.
    pub links: Vec<SpanRef>,
}

/// Where spans go: nowhere, or to a queue that a thread empties.
#[derive(Clone, Default)]
pub struct Spans(Option<Taker>);

#[derive(Clone)]
enum Taker {
    Exported { processor: Arc<dyn SpanProcessor>, backlog: Backlog },
    Kept(KeptSpans),
}

/// Spans that went nowhere, for a test to look at.
#[derive(Clone, Debug, Default)]
pub struct KeptSpans(Arc<Mutex<Vec<Span>>>);

impl Span {
    /// The whole of a trace.
    pub fn root(place: SpanRef, name: &'static str, ended: Timestamp, took: Duration) -> Self {
        Span { place, parent: None, name, ended, took, attributes: Vec::new(), failure: None, links: Vec::new() }
    }

    /// A part of the span at `parent`.
    pub fn child(parent: SpanRef, place: SpanRef, name: &'static str, ended: Timestamp, took: Duration) -> Self {
        Span { parent: Some(parent.span), ..Span::root(place, name, ended, took) }
    }

    /// The same, with an attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.attributes.push((key, value.to_string()));
        self
    }
}

impl Spans {
    pub(crate) fn to(processor: BatchSpanProcessor, backlog: Backlog) -> Self {
        Spans(Some(Taker::Exported { processor: Arc::new(processor), backlog }))
    }

    /// Ones that are kept, without a bound: for tests.
    pub fn kept() -> (Self, KeptSpans) {
        let kept = KeptSpans::default();
        (Spans(Some(Taker::Kept(kept.clone()))), kept)
    }

    /// Whether anybody takes them.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells one; `span` is called only if anybody takes it. Never waits: a full queue drops.
    pub fn tell(&self, span: impl FnOnce() -> Span) {
        match &self.0 {
            Some(Taker::Exported { processor, backlog }) if backlog.take_room() => processor.on_end(data(span())),
            Some(Taker::Kept(KeptSpans(kept))) => kept.lock().unwrap_or_else(PoisonError::into_inner).push(span()),
            Some(Taker::Exported { .. }) | None => {}
        }
    }

    pub(crate) fn shutdown(&self, timeout: Duration) {
        if let Some(Taker::Exported { processor, .. }) = &self.0 {
            // What could not leave was counted.
            let _ = processor.shutdown_with_timeout(timeout);
        }
    }
}

impl KeptSpans {
    /// All that were told since the last call.
    pub fn take(&self) -> Vec<Span> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.are_on()).finish()
    }
}

fn data(span: Span) -> SpanData {
    let ended = UNIX_EPOCH + Duration::from_millis(u64::try_from(span.ended.0).unwrap_or(0));
    let attributes = span.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    let mut links = SpanLinks::default();
    links.links = span.links.into_iter().map(|place| Link::new(context(place), Vec::new(), 0)).collect();
    SpanData {
        span_context: context(span.place),
        parent_span_id: span.parent.map_or(SpanId::INVALID, id),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: ended.checked_sub(span.took).unwrap_or(SystemTime::UNIX_EPOCH),
        end_time: ended,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: span.failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("gapwise").build(),
    }
}

fn context(place: SpanRef) -> SpanContext {
    let trace = TraceId::from_bytes(place.trace.to_be_bytes());
    SpanContext::new(trace, id(place.span), TraceFlags::SAMPLED, false, TraceState::NONE)
}

fn id(span: u64) -> SpanId {
    SpanId::from_bytes(span.to_be_bytes())
}
