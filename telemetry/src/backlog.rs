//! What waits to be exported: bounded, and counted where it finds no room.
//!
//! The SDK's own queues drop silently when a slow collector lets them fill. So what enters them is counted, and nothing enters that they
//! would not take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::Severity;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};

use crate::losses::{Losses, Signal};

/// The items of a signal that wait, or are on their way.
#[derive(Clone, Debug)]
pub(crate) struct Backlog {
    waiting: Arc<AtomicU64>,
    most: u64,
    signal: Signal,
    losses: Losses,
}

/// As in the SDK, which says so in no constant.
const DEFAULT_QUEUE_SIZE: u64 = 2048;

impl Backlog {
    /// An empty one, bounded as the variable says that bounds the SDK's queue.
    pub(crate) fn bounded_by(variable: &str, signal: Signal, losses: Losses) -> Self {
        let most = std::env::var(variable).ok().and_then(|size| size.parse().ok()).unwrap_or(DEFAULT_QUEUE_SIZE);
        Backlog { waiting: Arc::default(), most, signal, losses }
    }

    /// Takes room for one more; without room it is lost.
    pub(crate) fn take_room(&self) -> bool {
        let has_room = self.waiting.fetch_add(1, Relaxed) < self.most;
        if !has_room {
            self.waiting.fetch_sub(1, Relaxed);
            self.losses.add(self.signal, 1);
        }
        has_room
    }

    /// Items have left, or were lost on their way.
    pub(crate) fn give_back(&self, items: u64) {
        self.waiting.fetch_sub(items, Relaxed);
    }
}

/// A processor of log records behind a backlog.
#[derive(Debug)]
pub(crate) struct Bounded<P> {
    processor: P,
    backlog: Backlog,
}

impl<P> Bounded<P> {
    /// Puts a backlog before a processor.
    pub(crate) fn new(processor: P, backlog: Backlog) -> Self {
        Bounded { processor, backlog }
    }
}

impl<P: LogProcessor> LogProcessor for Bounded<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.backlog.take_room() {
            self.processor.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.processor.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_room_comes_back() {
        let losses = Losses::default();
        let backlog = Backlog::bounded_by("NO_SUCH_VARIABLE", Signal::Traces, losses.clone());
        let taken = (0..DEFAULT_QUEUE_SIZE + 3).filter(|_| backlog.take_room()).count() as u64;
        assert_eq!((taken, losses.count(Signal::Traces)), (DEFAULT_QUEUE_SIZE, 3));
        backlog.give_back(2);
        assert!(backlog.take_room() && backlog.take_room() && !backlog.take_room());
    }
}
