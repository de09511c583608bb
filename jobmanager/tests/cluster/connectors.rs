//! Sources and sinks that answer as a test wants.

use std::sync::{Arc, Mutex};

use stream_core::ids::SplitId;
use stream_core::pipeline::{SinkSpec, SourceSpec, Split, StartPosition};
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, Connectors, PortFuture, SinkWriter, SourceReader};

/// Answers that the test may change at any time.
#[derive(Default)]
pub(crate) struct FakeConnectors {
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    partitions: u32,
    source_error: Option<(ConnectorErrorKind, String)>,
    sink_error: Option<(ConnectorErrorKind, String)>,
    source_is_silent: bool,
    discoveries: Vec<StartPosition>,
}

impl FakeConnectors {
    /// A source of this many partitions, and a sink that takes everything.
    pub(crate) fn with_partitions(partitions: u32) -> Arc<Self> {
        let fake = Arc::new(FakeConnectors::default());
        fake.set_partitions(partitions);
        fake
    }

    /// From now on the source has this many.
    pub(crate) fn set_partitions(&self, partitions: u32) {
        self.answers.lock().unwrap().partitions = partitions;
    }

    /// From now on the source refuses.
    pub(crate) fn fail_source(&self, kind: ConnectorErrorKind, message: &str) {
        self.answers.lock().unwrap().source_error = Some((kind, message.to_owned()));
    }

    /// From now on the sink refuses.
    pub(crate) fn fail_sink(&self, kind: ConnectorErrorKind, message: &str) {
        self.answers.lock().unwrap().sink_error = Some((kind, message.to_owned()));
    }

    /// From now on the source never answers.
    pub(crate) fn silence_source(&self) {
        self.answers.lock().unwrap().source_is_silent = true;
    }

    /// Where each discovery so far was to begin.
    pub(crate) fn discoveries(&self) -> Vec<StartPosition> {
        self.answers.lock().unwrap().discoveries.clone()
    }

    fn splits(&self, source: &SourceSpec) -> Result<Vec<Split>, ConnectorError> {
        let mut answers = self.answers.lock().unwrap();
        answers.discoveries.push(source.from);
        if let Some((kind, message)) = &answers.source_error {
            return Err(ConnectorError::caused_by(*kind, message.clone(), "broker said no"));
        }
        let split = |partition| Split { id: SplitId(format!("events/{partition}")), start: 0, end: None };
        // The broker's order is no order.
        Ok((0..answers.partitions).rev().map(split).collect())
    }
}

impl Connectors for FakeConnectors {
    fn discover<'a>(&'a self, source: &'a SourceSpec) -> PortFuture<'a, Vec<Split>> {
        Box::pin(async move {
            if self.answers.lock().unwrap().source_is_silent {
                std::future::pending::<()>().await;
            }
            self.splits(source)
        })
    }

    fn open_source(&self, _: &SourceSpec, _: &[Split]) -> Result<Box<dyn SourceReader>, ConnectorError> {
        unreachable!("a jobmanager reads nothing")
    }

    fn check_sink<'a>(&'a self, _: &'a SinkSpec) -> PortFuture<'a, ()> {
        Box::pin(async move {
            match &self.answers.lock().unwrap().sink_error {
                Some((kind, message)) => Err(ConnectorError::new(*kind, message.clone())),
                None => Ok(()),
            }
        })
    }

    fn open_sink(&self, _: &SinkSpec) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        unreachable!("a jobmanager writes nothing")
    }
}
