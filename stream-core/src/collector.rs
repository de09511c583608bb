//! Where a job's code puts what it makes: keyed events, routed to the subtask that owns their key, or result rows.

use crate::event_batch::{EventBatch, KeyedEvent};
use crate::ids::SubtaskIndex;
use crate::key_group::MaxParallelism;
use crate::row::{RowBatch, RowWriter};

/// Gathers output by target subtask until the edge takes it. Full batches are set aside as they fill, so that one
/// large input cannot make one huge batch.
#[derive(Debug)]
pub struct Collector {
    max_parallelism: MaxParallelism,
    open: Vec<EventBatch>,
    full: Vec<(SubtaskIndex, EventBatch)>,
    rows: RowBatch,
    full_rows: Vec<RowBatch>,
}

/// Entries in a full batch: enough that the cost of handing it on vanishes, few enough to stay in the caches.
pub const BATCH_EVENTS: usize = 2048;
/// Bytes in a full batch, for keys that are long.
pub const BATCH_BYTES: usize = 256 * 1024;

impl Collector {
    /// A collector for events that go to `targets` subtasks by key group. `targets` is at least 1.
    pub fn new(max_parallelism: MaxParallelism, targets: u32) -> Self {
        let open = (0..targets.max(1)).map(|_| EventBatch::default()).collect();
        Collector { max_parallelism, open, full: Vec::new(), rows: RowBatch::default(), full_rows: Vec::new() }
    }

    /// Adds an event for the subtask that owns its key.
    pub fn event(&mut self, event: KeyedEvent<'_>) {
        let targets = u32::try_from(self.open.len()).expect("as many as a 32-bit parallelism");
        let target = match targets {
            1 => SubtaskIndex(0),
            _ => event.hash.key_group(self.max_parallelism).subtask(self.max_parallelism, targets),
        };
        let batch = &mut self.open[target.0 as usize];
        batch.push(event);
        if batch.len() >= BATCH_EVENTS || batch.bytes() >= BATCH_BYTES {
            self.full.push((target, std::mem::take(batch)));
        }
    }

    /// Begins a result row of `columns` fields.
    pub fn row(&mut self, columns: u16) -> RowWriter<'_> {
        if self.rows.as_bytes().len() >= BATCH_BYTES {
            self.full_rows.push(std::mem::take(&mut self.rows));
        }
        self.rows.row(columns)
    }

    /// Takes the full batches, in the order in which they filled.
    pub fn take_full(&mut self) -> impl Iterator<Item = (SubtaskIndex, EventBatch)> + '_ {
        self.full.drain(..)
    }

    /// Takes every batch that holds anything, full ones first.
    pub fn take_all(&mut self) -> impl Iterator<Item = (SubtaskIndex, EventBatch)> + '_ {
        let open = (0_u32..).zip(&mut self.open).filter(|(_, batch)| !batch.is_empty());
        self.full.drain(..).chain(open.map(|(target, batch)| (SubtaskIndex(target), std::mem::take(batch))))
    }

    /// Takes all result rows in one batch, if there are any.
    pub fn take_rows(&mut self) -> Option<RowBatch> {
        self.take_row_batches().reduce(|mut rows, more| {
            rows.append(&more);
            rows
        })
    }

    /// Takes the result rows in batches of about [`BATCH_BYTES`], in their order: one watermark can fire a million rows.
    pub fn take_row_batches(&mut self) -> impl Iterator<Item = RowBatch> + '_ {
        let open = (!self.rows.is_empty()).then(|| std::mem::take(&mut self.rows));
        self.full_rows.drain(..).chain(open)
    }

    /// The bytes of result rows waiting to be taken.
    pub fn row_bytes(&self) -> usize {
        self.full_rows.iter().chain([&self.rows]).map(|rows| rows.as_bytes().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_group::hash_key;
    use crate::time::EventTime;

    #[test]
    fn rows_come_in_batches_or_all_at_once() {
        let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
        let write = |collector: &mut Collector| {
            for n in 0..20_000 {
                collector.row(2).bigint(n).text(Some("some text"));
            }
        };
        write(&mut collector);
        let bytes = collector.row_bytes();
        let batches: Vec<_> = collector.take_row_batches().collect();
        assert!(batches.len() > 1 && batches.iter().all(|rows| rows.as_bytes().len() < BATCH_BYTES + 64));
        write(&mut collector);
        let all = collector.take_rows().expect("rows");
        assert_eq!((all.rows(), all.as_bytes().len(), collector.row_bytes()), (20_000, bytes, 0));
        assert_eq!(all.as_bytes(), batches.iter().flat_map(|rows| rows.as_bytes()).copied().collect::<Vec<_>>());
    }

    #[test]
    fn every_event_goes_to_the_owner_of_its_key_and_none_is_lost() {
        let max = MaxParallelism::DEFAULT;
        let mut collector = Collector::new(max, 3);
        let keys: Vec<String> = (0..10_000).map(|key| format!("key-{key}")).collect();
        for key in &keys {
            collector.event(KeyedEvent {
                hash: hash_key(key.as_bytes()),
                time: EventTime(0),
                count: 1,
                key: key.as_bytes(),
            });
        }
        let full = collector.take_full().count();
        assert!(full >= 3, "{full} full batches were set aside");
        let mut collector = Collector::new(max, 3);
        for key in &keys {
            collector.event(KeyedEvent {
                hash: hash_key(key.as_bytes()),
                time: EventTime(0),
                count: 1,
                key: key.as_bytes(),
            });
        }
        let mut seen = 0;
        for (target, batch) in collector.take_all() {
            seen += batch.len();
            assert!(batch.len() <= BATCH_EVENTS);
            assert!(batch.iter().all(|event| event.hash.key_group(max).subtask(max, 3) == target));
        }
        assert_eq!(seen, keys.len());
        assert_eq!(collector.take_all().count(), 0);
    }
}
