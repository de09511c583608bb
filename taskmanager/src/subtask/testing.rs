//! A clock, a reader, a publisher and an operator that do what a test says.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stream_core::barrier::Barrier;
use stream_core::checkpoint::SealedEpoch;
use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::ids::{AttemptNumber, CheckpointId, JobId, SplitId, StageIndex, SubtaskId, SubtaskIndex, TableIndex};
use stream_core::key_group::{KeyGroup, hash_key};
use stream_core::operator::{Decoded, Decoder, Left, Operator, OperatorCounters, Record, Refusal, SplitRecords};
use stream_core::origin::Origin;
use stream_core::pipeline::Split;
use stream_core::row::{Column, ColumnType, Field, RowBatch};
use stream_core::snapshot::{BLOCK_BYTES, DecodeSnapshotError, KeyedSnapshot, MAX_STEPS, Section, SnapshotKind};
use stream_core::table::Schemas;
use stream_core::time::{EventTime, Timestamp};
use stream_core::watermark::Watermark;
use stream_runtime::clock::Clock;
use stream_runtime::connector::{
    ConnectorError, PublishError, Published, Publisher, RecordContext, RowChunks, SourceReader, SourceVisitor,
};
use tokio::sync::mpsc;

use crate::slot::Holder;
use crate::subtask::event::{Change, TaskEvent, Teller};

/// A clock that a test moves.
#[derive(Clone, Debug, Default)]
pub(crate) struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.0.load(SeqCst)).unwrap())
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(SeqCst))
    }
}

/// What a subtask under test tells.
pub(crate) struct Told(mpsc::Receiver<TaskEvent>);

impl Told {
    /// A teller, and what it tells.
    pub(crate) fn new() -> (Teller, Told) {
        let (sender, receiver) = mpsc::channel(64);
        let holder = Holder { job_id: JobId(1), attempt: AttemptNumber(1) };
        let subtask = SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) };
        (Teller::new(holder, subtask, sender), Told(receiver))
    }

    /// All that was told since the last call.
    pub(crate) fn take(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.0.try_recv().ok()).map(|event| event.change).collect()
    }
}

/// The barrier of checkpoint `checkpoint`, behind the completed one `prev`.
pub(crate) fn barrier(checkpoint: u64, prev: u64) -> Barrier {
    Barrier {
        checkpoint: CheckpointId(checkpoint),
        prev: CheckpointId(prev),
        triggered: Timestamp(0),
        is_full: false,
        is_last: false,
    }
}

/// The same, behind which the sources end.
pub(crate) fn last_barrier(checkpoint: u64, prev: u64) -> Barrier {
    Barrier { is_last: true, ..barrier(checkpoint, prev) }
}

/// What one poll of a [`ScriptedReader`] tells.
pub(crate) enum Tell {
    /// Records `KEY@MS` of a split; anything else is a bad record.
    Records(usize, &'static [&'static str]),
    EndForNow(usize),
    Finished(usize),
    Fail(ConnectorError),
}

/// A reader that tells one thing a poll; polls beyond the script take their whole wait and tell the last known ends.
pub(crate) struct ScriptedReader {
    pub(crate) script: Arc<Mutex<VecDeque<Tell>>>,
    pub(crate) added: Arc<Mutex<Vec<Split>>>,
    pub(crate) clock: ManualClock,
    pub(crate) offset: u64,
}

impl SourceReader for ScriptedReader {
    fn add_splits(&mut self, splits: &[Split]) -> Result<(), ConnectorError> {
        self.added.lock().unwrap().extend_from_slice(splits);
        Ok(())
    }

    fn poll(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<(), ConnectorError> {
        let next = self.script.lock().unwrap().pop_front();
        match next {
            None => self.clock.advance(max_wait),
            Some(Tell::Records(split, texts)) => {
                let records: Vec<_> = (self.offset..)
                    .zip(texts)
                    .map(|(offset, text)| Record { payload: Some(text.as_bytes()), offset })
                    .collect();
                let count = records.len().min(visitor.until_followed().max(1));
                let next = self.offset + count as u64;
                let taken = match visitor.until_followed() {
                    0 => visitor.on_followed(split, &records[0], next, RecordContext::default()),
                    _ => visitor.on_records(split, &records[..count], next),
                };
                self.offset += taken as u64;
                if taken < records.len() {
                    self.script.lock().unwrap().push_front(Tell::Records(split, &texts[taken..]));
                }
            }
            Some(Tell::EndForNow(split)) => visitor.on_end_of_split_for_now(split),
            Some(Tell::Finished(split)) => visitor.on_split_finished(split),
            Some(Tell::Fail(error)) => return Err(error),
        }
        Ok(())
    }
}

/// Reads `KEY@MS`.
pub(crate) struct KeyAtTime;

impl Decoder for KeyAtTime {
    fn decode(&mut self, records: SplitRecords<'_>, out: &mut Collector) -> Result<Decoded, Refusal> {
        let mut decoded = Decoded::default();
        let mut hold = records.hold;
        for (index, record) in records.records.iter().enumerate() {
            let text = std::str::from_utf8(record.payload.unwrap_or_default()).unwrap_or_default();
            let Some((key, Ok(ms))) = text.split_once('@').map(|(key, ms)| (key, ms.parse::<i64>())) else {
                decoded.bad += 1;
                continue;
            };
            if hold.leaves(EventTime(ms)) {
                decoded.left = Some(Left { records: records.records.len() - index, time: EventTime(ms) });
                break;
            }
            let key = key.as_bytes();
            out.event(KeyedEvent {
                hash: hash_key(key),
                time: EventTime(ms),
                count: 1,
                key,
                origin: Origin::default(),
            });
            decoded.events += 1;
            decoded.latest = decoded.latest.max(Some(EventTime(ms)));
        }
        Ok(decoded)
    }
}

/// Slices of an [`Echo`]'s snapshot, by a clock that stands still.
pub(crate) const SLICES: u64 = 4;

/// Emits a row for each event at once, and one for each watermark. Its snapshot has a key for each event since the last,
/// one to a section, and is copied as slowly as it may.
#[derive(Default)]
pub(crate) struct Echo {
    events: u64,
    changed: Vec<Section>,
    snapshot: Option<(SnapshotKind, Vec<Section>)>,
    watermark: Option<Watermark>,
    pub(crate) slices: u64,
    /// It copies nothing before it was lent so many blocks.
    blocks_wanted: usize,
    lent: Vec<Vec<u8>>,
}

impl Echo {
    pub(crate) fn wanting(blocks: usize) -> Self {
        Echo { blocks_wanted: blocks, ..Echo::default() }
    }
}

impl Operator for Echo {
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) -> Result<(), Refusal> {
        for event in events.iter() {
            out.row(TableIndex::RESULT, 1).text(std::str::from_utf8(event.key).ok());
            self.events += 1;
            let group = KeyGroup(u16::try_from(self.changed.len()).unwrap());
            self.changed.push(Section { group, records: 1, bytes: event.key.to_vec() });
        }
        Ok(())
    }
    fn on_watermark(&mut self, watermark: Watermark, out: &mut Collector) {
        self.watermark = Some(watermark);
        out.row(TableIndex::RESULT, 1).text(Some(&format!("W{}", watermark.0)));
    }
    fn counters(&self) -> OperatorCounters {
        OperatorCounters { late: 1, open: 2, open_events: self.events, fired_events: 3, unanswered: 0 }
    }
    fn begin_snapshot(&mut self, kind: SnapshotKind) {
        self.snapshot = Some((kind, std::mem::take(&mut self.changed)));
        self.slices = SLICES * MAX_STEPS as u64;
        self.lent.clear();
    }
    fn blocks_wanted(&self) -> usize {
        self.blocks_wanted
    }
    fn lend(&mut self, blocks: Vec<Vec<u8>>) {
        assert!(blocks.iter().all(|block| block.is_empty() && block.capacity() == BLOCK_BYTES));
        self.lent.extend(blocks);
    }
    fn continue_snapshot(&mut self, _keys: usize) -> Option<KeyedSnapshot> {
        assert_eq!(self.lent.len(), self.blocks_wanted, "memory comes before the copy");
        self.slices = self.slices.saturating_sub(1);
        let (kind, sections) = self.snapshot.take_if(|_| self.slices == 0)?;
        let (watermark, spare_blocks) = (self.watermark.unwrap_or(Watermark::NONE), std::mem::take(&mut self.lent));
        Some(KeyedSnapshot { kind, watermark, sections, spare_blocks })
    }
    fn restore(&mut self, _watermark: Watermark, newest_first: &[&Section]) -> Result<(), DecodeSnapshotError> {
        self.events += newest_first.len() as u64;
        Ok(())
    }
}

/// What a [`RecordingPublisher`] was told, and how it answers.
#[derive(Default)]
pub(crate) struct Publications {
    pub(crate) epochs: Vec<(u64, Vec<String>)>,
    pub(crate) failures: VecDeque<PublishError>,
    pub(crate) is_finished: bool,
    pub(crate) is_dropped: bool,
}

/// A publisher that remembers, and fails as often as it is told to.
#[derive(Clone, Default)]
pub(crate) struct RecordingPublisher(pub(crate) Arc<Mutex<Publications>>);

impl Publisher for RecordingPublisher {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<Published, PublishError> {
        let mut published = Vec::new();
        while let Some(chunk) = rows.next_chunk()? {
            published.extend(texts(&chunk));
        }
        let mut record = self.0.lock().unwrap();
        if let Some(failure) = record.failures.pop_front() {
            return Err(failure);
        }
        assert_eq!(published.len() as u64, epoch.rows.total());
        record.epochs.push((epoch.epoch.0, published));
        Ok(Published::Now)
    }
    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        self.0.lock().unwrap().is_finished = true;
        Ok(())
    }
}

impl Drop for RecordingPublisher {
    fn drop(&mut self) {
        self.0.lock().unwrap().is_dropped = true;
    }
}

/// A result and a side table, of one column of texts each.
pub(crate) fn schemas() -> Schemas {
    let columns = vec![Column { name: "text".to_owned(), column_type: ColumnType::Text }];
    Schemas::new([columns.clone(), columns])
}

/// The texts of rows with one column.
pub(crate) fn texts(rows: &RowBatch) -> Vec<String> {
    let schemas = schemas();
    let mut reader = rows.reader(schemas.columns(rows.table()).unwrap());
    let mut texts = Vec::new();
    let mut on_field = |_, field: Field<'_>| match field {
        Field::Text(text) => texts.push(text.as_str().to_owned()),
        other => panic!("{other:?}"),
    };
    while reader.next_row(&mut on_field).unwrap() {}
    texts
}

/// The keys of a batch.
pub(crate) fn keys(events: &EventBatch) -> Vec<String> {
    events.iter().map(|event| String::from_utf8(event.key.to_vec()).unwrap()).collect()
}

/// A split of this name without end.
pub(crate) fn split(id: &str) -> Split {
    Split { id: SplitId(id.to_owned()), start: 0, end: None }
}
