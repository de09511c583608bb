//! Sources, a sink with its ledger, and a checkpoint store, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::{CheckpointId, Token};
use stream_core::operator::Record;
use stream_core::pipeline::{SinkSpec, SourceSpec, Split};
use stream_core::row::{Field, RowBatch};
use stream_runtime::connector::{
    Anchor, Claim, ConnectorError, ConnectorErrorKind, Connectors, Grant, PortFuture, PublishError, Published,
    Publisher, RowChunks, SourceReader, SourceVisitor,
};
use stream_runtime::store::{MemoryStore, ObjectStore, StoreError, Stores};

/// The checkpoint store's URI.
pub(crate) const STORE: &str = "memory:";

/// What the taskmanagers of a test read and write.
#[derive(Clone)]
pub(crate) struct Memory {
    /// The records of each split.
    pub(crate) records: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    /// The rows that are visible.
    pub(crate) rows: Arc<Mutex<Vec<(String, i64)>>>,
    /// Who may publish, and what was.
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    /// What the next publications fail with.
    pub(crate) failures: Arc<Mutex<VecDeque<PublishError>>>,
    /// Records handed out so far, and how many may be; readers act as at their end when they have.
    pub(crate) records_read: Arc<AtomicU64>,
    pub(crate) records_allowed: Arc<AtomicU64>,
    /// Publishers that were finished, and publishers that were dropped.
    pub(crate) finished: Arc<AtomicUsize>,
    pub(crate) dropped: Arc<AtomicUsize>,
    /// While it is shut, nothing is published.
    pub(crate) sink_gate: Arc<HoldGate>,
    /// While it is shut, operators of the job `held` stand still.
    pub(crate) operator_gate: Arc<HoldGate>,
    /// The checkpoint store.
    pub(crate) store: MemoryStore,
}

/// The newest attempt that has opened the sink, and the epochs that are visible.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) token: Token,
    pub(crate) epochs: Vec<u64>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            records: Arc::default(),
            rows: Arc::default(),
            ledger: Arc::default(),
            failures: Arc::default(),
            records_read: Arc::default(),
            records_allowed: Arc::new(AtomicU64::new(u64::MAX)),
            finished: Arc::default(),
            dropped: Arc::default(),
            sink_gate: Arc::default(),
            operator_gate: Arc::default(),
            store: MemoryStore::default(),
        }
    }
}

/// Lets work pass, or holds it up.
#[derive(Default)]
pub(crate) struct HoldGate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl HoldGate {
    pub(crate) fn shut(&self) {
        *self.is_shut.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.is_shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    pub(crate) fn pass(&self) {
        drop(self.opened.wait_while(self.is_shut.lock().unwrap(), |is_shut| *is_shut).unwrap());
    }
}

impl Memory {
    /// `count` records over `splits` splits and their counts by key, from a seed.
    pub(crate) fn with_random_records(count: usize, splits: usize, seed: u64) -> (Memory, BTreeMap<String, i64>) {
        let memory = Memory::default();
        let mut expected = BTreeMap::new();
        let mut state = seed;
        for _ in 0..count {
            // SplitMix64's constants; any mixing would do.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (key, split) = (format!("key-{}", (state >> 33) % 1000), (state >> 50) as usize % splits);
            let record = format!("{key}@{}", (state >> 40) % 1_000_000);
            memory.records.lock().unwrap().entry(format!("split/{split}")).or_default().push(record);
            *expected.entry(key).or_insert(0) += 1;
        }
        (memory, expected)
    }

    /// All rows, summed by key.
    pub(crate) fn totals(&self) -> BTreeMap<String, i64> {
        let mut totals = BTreeMap::new();
        for (key, count) in self.rows.lock().unwrap().iter() {
            *totals.entry(key.clone()).or_insert(0) += count;
        }
        totals
    }

    pub(crate) fn splits(&self) -> Vec<Split> {
        let ids = self.records.lock().unwrap().keys().cloned().collect::<Vec<_>>();
        ids.iter().map(|id| split(id)).collect()
    }
}

pub(crate) fn split(id: &str) -> Split {
    Split { id: stream_core::ids::SplitId(id.to_owned()), start: 0, end: None }
}

impl Stores for Memory {
    fn open(&self, uri: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
        assert_eq!(uri, STORE);
        Ok(Arc::new(self.store.clone()))
    }
}

impl Connectors for Memory {
    fn discover<'a>(&'a self, _source: &'a SourceSpec) -> PortFuture<'a, Vec<Split>> {
        Box::pin(async { Ok(self.splits()) })
    }

    fn open_source(&self, source: &SourceSpec, splits: &[Split]) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let mut reader = Reader { memory: self.clone(), splits: Vec::new(), is_bounded: source.is_bounded };
        reader.add_splits(splits)?;
        Ok(Box::new(reader))
    }

    fn check_sink<'a>(&'a self, _sink: &'a SinkSpec) -> PortFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn fence_sink<'a>(&'a self, _sink: &'a SinkSpec, _claim: Claim) -> PortFuture<'a, Anchor> {
        unreachable!("taskmanagers fence nobody")
    }

    fn open_publisher(&self, sink: &SinkSpec, grant: Grant) -> Result<Box<dyn Publisher>, ConnectorError> {
        if sink.uri != "memory:" {
            let message = format!("cannot reach `{}`: check --sink", sink.uri);
            return Err(ConnectorError::new(ConnectorErrorKind::Unreachable, message));
        }
        let mut ledger = self.ledger.lock().unwrap();
        ledger.token = ledger.token.max(grant.token);
        Ok(Box::new(MemoryPublisher { memory: self.clone(), sink: sink.clone(), token: grant.token }))
    }

    fn commit_positions<'a>(&'a self, _source: &'a SourceSpec, _positions: &'a [Split]) -> PortFuture<'a, ()> {
        unreachable!("taskmanagers commit no positions")
    }
}

/// Hands out a few hundred records a poll, one split after the other. Unbounded splits then are at their end for now.
struct Reader {
    memory: Memory,
    splits: Vec<(String, usize, bool)>,
    is_bounded: bool,
}

impl SourceReader for Reader {
    fn add_splits(&mut self, splits: &[Split]) -> Result<(), ConnectorError> {
        let position = |split: &Split| usize::try_from(split.start).unwrap();
        self.splits.extend(splits.iter().map(|split| (split.id.0.clone(), position(split), false)));
        Ok(())
    }

    fn poll(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<(), ConnectorError> {
        let mut has_told = false;
        for (index, (id, position, is_finished)) in self.splits.iter_mut().enumerate() {
            let records = self.memory.records.lock().unwrap();
            let texts = records.get(id).map_or(&[][..], Vec::as_slice);
            let allowed =
                self.memory.records_allowed.load(SeqCst).saturating_sub(self.memory.records_read.load(SeqCst));
            let upto = texts.len().min(*position + 300.min(usize::try_from(allowed).unwrap_or(300)));
            let group: Vec<_> = texts[*position..upto]
                .iter()
                .zip(*position as u64..)
                .map(|(text, offset)| Record { payload: Some(text.as_bytes()), offset })
                .collect();
            *position = upto;
            if !group.is_empty() {
                self.memory.records_read.fetch_add(group.len() as u64, SeqCst);
                visitor.on_records(index, &group, upto as u64);
                has_told = true;
            } else if self.is_bounded && upto == texts.len() && !std::mem::replace(is_finished, true) {
                visitor.on_split_finished(index);
                has_told = true;
            }
        }
        if !has_told {
            // Nothing will ever come: a condition that nobody signals is a wait.
            let nothing = Mutex::new(());
            drop(Condvar::new().wait_timeout(nothing.lock().unwrap(), max_wait).unwrap());
        }
        Ok(())
    }
}

struct MemoryPublisher {
    memory: Memory,
    sink: SinkSpec,
    token: Token,
}

impl Publisher for MemoryPublisher {
    fn publish(&mut self, epoch: &SealedEpoch, chunks: &mut dyn RowChunks) -> Result<Published, PublishError> {
        self.memory.sink_gate.pass();
        let mut rows = Vec::new();
        while let Some(chunk) = chunks.next_chunk()? {
            self.read(&chunk, &mut rows);
        }
        if let Some(failure) = self.memory.failures.lock().unwrap().pop_front() {
            return Err(failure);
        }
        let mut ledger = self.memory.ledger.lock().unwrap();
        let last_epoch = CheckpointId(ledger.epochs.last().copied().unwrap_or(0));
        match () {
            () if ledger.token != self.token => return Err(PublishError::Fenced { token: ledger.token }),
            () if last_epoch == epoch.epoch => return Ok(Published::Already),
            () if last_epoch != epoch.prev => return Err(PublishError::WentBack { last_epoch, expected: epoch.prev }),
            () => {}
        }
        assert_eq!(rows.len() as u64, epoch.rows.result);
        ledger.epochs.push(epoch.epoch.0);
        self.memory.rows.lock().unwrap().append(&mut rows);
        Ok(Published::Now)
    }

    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        self.memory.finished.fetch_add(1, SeqCst);
        Ok(())
    }
}

impl MemoryPublisher {
    fn read(&self, chunk: &RowBatch, rows: &mut Vec<(String, i64)>) {
        let mut reader = chunk.reader(&self.sink.columns);
        let mut key = String::new();
        let mut on_field = |_, field: Field<'_>| match field {
            Field::Text(text) => key = text.as_str().to_owned(),
            Field::BigInt(count) => rows.push((std::mem::take(&mut key), count)),
            other => panic!("{other:?}"),
        };
        while reader.next_row(&mut on_field).unwrap() {}
    }
}

impl Drop for MemoryPublisher {
    fn drop(&mut self) {
        self.memory.dropped.fetch_add(1, SeqCst);
    }
}
