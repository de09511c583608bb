//! Sources and sinks that answer as a test wants.

use std::sync::{Arc, Mutex};

use stream_core::ids::{CheckpointId, SplitId, Token};
use stream_core::pipeline::{SinkSpec, SourceSpec, Split, StartPosition};
use stream_runtime::connector::{
    Anchor, Claim, ConnectorError, ConnectorErrorKind, Connectors, Grant, PortFuture, Publisher, SourceReader,
};

use crate::stores::Log;

/// Answers that the test may change at any time.
#[derive(Default)]
pub(crate) struct FakeConnectors {
    answers: Mutex<Answers>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Answers {
    partitions: u32,
    source_error: Option<(ConnectorErrorKind, String)>,
    sink_error: Option<(ConnectorErrorKind, String)>,
    source_is_silent: bool,
    discoveries: Vec<StartPosition>,
    token: u32,
    last_epoch: CheckpointId,
    fence_error: Option<ConnectorErrorKind>,
    forgets_token: bool,
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

    /// From now on fences are written there, among what else is.
    pub(crate) fn log_to(&self, log: &Log) {
        *self.log.lock().unwrap() = log.clone();
    }

    /// From now on the ledger shows this epoch.
    pub(crate) fn set_last_epoch(&self, epoch: CheckpointId) {
        self.answers.lock().unwrap().last_epoch = epoch;
    }

    /// From now on the ledger cannot be had, or can again.
    pub(crate) fn fail_fence(&self, kind: Option<ConnectorErrorKind>) {
        self.answers.lock().unwrap().fence_error = kind;
    }

    /// The next fence knows of no token: as if the sink was set back, and the store's highest read before there was any.
    pub(crate) fn forget_token_once(&self) {
        self.answers.lock().unwrap().forgets_token = true;
    }

    /// The ledger's token.
    pub(crate) fn token(&self) -> Token {
        Token(self.answers.lock().unwrap().token)
    }

    fn fence(&self, claim: Claim) -> Result<Anchor, ConnectorError> {
        let mut answers = self.answers.lock().unwrap();
        self.log.lock().unwrap().write("fence".to_owned());
        if let Some(kind) = answers.fence_error {
            return Err(ConnectorError::new(kind, "no ledger"));
        }
        if std::mem::take(&mut answers.forgets_token) {
            answers.token = 1;
            return Ok(Anchor { token: Token(1), last_epoch: answers.last_epoch });
        }
        answers.token = answers.token.max(claim.highest_token.0) + 1;
        Ok(Anchor { token: Token(answers.token), last_epoch: answers.last_epoch })
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

    fn fence_sink<'a>(&'a self, _: &'a SinkSpec, claim: Claim) -> PortFuture<'a, Anchor> {
        Box::pin(async move { self.fence(claim) })
    }

    fn open_publisher(&self, _: &SinkSpec, _: Grant) -> Result<Box<dyn Publisher>, ConnectorError> {
        unreachable!("a jobmanager publishes nothing")
    }

    fn commit_positions<'a>(&'a self, _: &'a SourceSpec, _: &'a [Split]) -> PortFuture<'a, ()> {
        self.log.lock().unwrap().write("commit positions".to_owned());
        Box::pin(async { Ok(()) })
    }
}
