//! Sources and sinks in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use stream_core::operator::Record;
use stream_core::pipeline::{SinkSpec, SourceSpec, Split};
use stream_core::row::{Field, RowBatch};
use stream_runtime::connector::{
    ConnectorError, ConnectorErrorKind, Connectors, PortFuture, SinkWriter, SourceReader, SourceVisitor,
};

/// What the taskmanagers of a test read and write.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    /// The records of each split.
    pub(crate) records: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    /// What the sinks were given.
    pub(crate) rows: Arc<Mutex<Vec<(String, i64)>>>,
    /// Records handed out so far.
    pub(crate) records_read: Arc<AtomicU64>,
    /// Sinks that were finished, and sinks that were dropped.
    pub(crate) finished: Arc<AtomicUsize>,
    pub(crate) dropped: Arc<AtomicUsize>,
    /// While it is shut, sinks block in `write`.
    pub(crate) sink_gate: Arc<SinkGate>,
}

/// Lets sinks write, or holds them up.
#[derive(Default)]
pub(crate) struct SinkGate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl SinkGate {
    pub(crate) fn shut(&self) {
        *self.is_shut.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.is_shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
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

    fn open_sink(&self, sink: &SinkSpec) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        if sink.uri != "memory:" {
            let message = format!("cannot reach `{}`: check --sink", sink.uri);
            return Err(ConnectorError::new(ConnectorErrorKind::Unreachable, message));
        }
        Ok(Box::new(Writer { memory: self.clone(), sink: sink.clone(), rows: 0 }))
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
        self.splits.extend(splits.iter().map(|split| (split.id.0.clone(), 0, false)));
        Ok(())
    }

    fn poll(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<(), ConnectorError> {
        let mut has_told = false;
        for (index, (id, position, is_finished)) in self.splits.iter_mut().enumerate() {
            let records = self.memory.records.lock().unwrap();
            let texts = records.get(id).map_or(&[][..], Vec::as_slice);
            let upto = texts.len().min(*position + 300);
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
            } else if self.is_bounded && !std::mem::replace(is_finished, true) {
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

struct Writer {
    memory: Memory,
    sink: SinkSpec,
    rows: u64,
}

impl SinkWriter for Writer {
    fn write(&mut self, rows: &RowBatch) -> Result<(), ConnectorError> {
        self.memory.sink_gate.pass();
        let mut reader = rows.reader(&self.sink.columns);
        let mut row = (String::new(), 0);
        let mut on_field = |_, field: Field<'_>| match field {
            Field::Text(text) => row.0 = text.to_owned(),
            Field::BigInt(count) => self.memory.rows.lock().unwrap().push((std::mem::take(&mut row.0), count)),
            other => panic!("{other:?}"),
        };
        while reader.next_row(&mut on_field).unwrap() {}
        self.rows += rows.rows();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        self.memory.finished.fetch_add(1, SeqCst);
        Ok(())
    }

    fn rows_written(&self) -> u64 {
        self.rows
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.memory.dropped.fetch_add(1, SeqCst);
    }
}
