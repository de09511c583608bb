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
}

/// Entries in a full batch: enough that the cost of handing it on vanishes, few enough to stay in the caches.
pub const BATCH_EVENTS: usize = 2048;
/// Bytes in a full batch, for keys that are long.
pub const BATCH_BYTES: usize = 256 * 1024;

impl Collector {
    /// A collector for events that go to `targets` subtasks by key group. `targets` is at least 1.
    pub fn new(max_parallelism: MaxParallelism, targets: u32) -> Self {
        let open = (0..targets.max(1)).map(|_| EventBatch::default()).collect();
        Collector { max_parallelism, open, full: Vec::new(), rows: RowBatch::default() }
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

    /// Takes the result rows, if there are any.
    pub fn take_rows(&mut self) -> Option<RowBatch> {
        (!self.rows.is_empty()).then(|| std::mem::take(&mut self.rows))
    }

    /// The bytes of result rows waiting to be taken.
    pub fn row_bytes(&self) -> usize {
        self.rows.as_bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_group::hash_key;
    use crate::time::EventTime;

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
