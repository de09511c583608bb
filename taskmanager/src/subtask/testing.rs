//! A clock, a reader, a writer and an operator that do what a test says.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stream_core::collector::Collector;
use stream_core::event_batch::{EventBatch, KeyedEvent};
use stream_core::ids::SplitId;
use stream_core::key_group::hash_key;
use stream_core::operator::{Decoded, Decoder, Operator, OperatorCounters, Record};
use stream_core::pipeline::Split;
use stream_core::row::{Column, ColumnType, Field, RowBatch};
use stream_core::time::{EventTime, Timestamp};
use stream_core::watermark::Watermark;
use stream_runtime::clock::Clock;
use stream_runtime::connector::{ConnectorError, SinkWriter, SourceReader, SourceVisitor};

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
        match self.script.lock().unwrap().pop_front() {
            None => self.clock.advance(max_wait),
            Some(Tell::Records(split, texts)) => {
                let records: Vec<_> =
                    texts.iter().map(|text| Record { payload: Some(text.as_bytes()), offset: 0 }).collect();
                self.offset += records.len() as u64;
                visitor.on_records(split, &records, self.offset);
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
    fn decode(&mut self, records: &[Record<'_>], out: &mut Collector) -> Decoded {
        let mut decoded = Decoded::default();
        for record in records {
            let text = std::str::from_utf8(record.payload.unwrap_or_default()).unwrap_or_default();
            let Some((key, Ok(ms))) = text.split_once('@').map(|(key, ms)| (key, ms.parse::<i64>())) else {
                decoded.bad += 1;
                continue;
            };
            let key = key.as_bytes();
            out.event(KeyedEvent { hash: hash_key(key), time: EventTime(ms), count: 1, key });
            decoded.events += 1;
            decoded.latest = decoded.latest.max(Some(EventTime(ms)));
        }
        decoded
    }
}

/// Emits a row for each event at once, and one for each watermark.
#[derive(Default)]
pub(crate) struct Echo {
    events: u64,
}

impl Operator for Echo {
    fn on_events(&mut self, events: &EventBatch, out: &mut Collector) {
        for event in events.iter() {
            out.row(1).text(std::str::from_utf8(event.key).ok());
            self.events += 1;
        }
    }
    fn on_watermark(&mut self, watermark: Watermark, out: &mut Collector) {
        out.row(1).text(Some(&format!("W{}", watermark.0)));
    }
    fn counters(&self) -> OperatorCounters {
        OperatorCounters { late: 1, open: 2, open_events: self.events }
    }
}

/// What a [`RecordingWriter`] was told.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) rows: Vec<String>,
    pub(crate) flushes: u64,
    pub(crate) is_finished: bool,
    pub(crate) is_dropped: bool,
    visible: u64,
}

/// A writer that remembers.
#[derive(Default)]
pub(crate) struct RecordingWriter(pub(crate) Arc<Mutex<Written>>);

impl SinkWriter for RecordingWriter {
    fn write(&mut self, rows: &RowBatch) -> Result<(), ConnectorError> {
        self.0.lock().unwrap().rows.extend(texts(rows));
        Ok(())
    }
    fn flush(&mut self) -> Result<(), ConnectorError> {
        let mut written = self.0.lock().unwrap();
        written.flushes += 1;
        written.visible = written.rows.len() as u64;
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        self.0.lock().unwrap().is_finished = true;
        Ok(())
    }
    fn rows_written(&self) -> u64 {
        self.0.lock().unwrap().visible
    }
}

impl Drop for RecordingWriter {
    fn drop(&mut self) {
        self.0.lock().unwrap().is_dropped = true;
    }
}

/// The texts of rows with one column.
pub(crate) fn texts(rows: &RowBatch) -> Vec<String> {
    let columns = [Column { name: "text".to_owned(), column_type: ColumnType::Text }];
    let mut reader = rows.reader(&columns);
    let mut texts = Vec::new();
    let mut on_field = |_, field: Field<'_>| match field {
        Field::Text(text) => texts.push(text.to_owned()),
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
