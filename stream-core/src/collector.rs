//! Where a job's code puts what it makes: keyed events, routed to the subtask that owns their key, or result rows.

use crate::event_batch::{EventBatch, KeyedEvent};
use crate::ids::{SubtaskIndex, TableIndex};
use crate::key_group::MaxParallelism;
use crate::row::{RowBatch, RowWriter};
use crate::table::{RowCounts, TableBatches};

/// Gathers output by target subtask until the edge takes it. Full batches are set aside as they fill, so that one
/// large input cannot make one huge batch.
#[derive(Debug)]
pub struct Collector {
    max_parallelism: MaxParallelism,
    open: Vec<EventBatch>,
    full: Vec<(SubtaskIndex, EventBatch)>,
    rows: TableBatches,
    full_rows: Vec<RowBatch>,
    /// Rows offered for each side table since the last barrier.
    side_rows: RowCounts,
}

/// A moment of a collector's.
#[derive(Clone, Debug)]
pub struct Mark {
    full: usize,
    /// Entries of the open batches.
    open: Vec<usize>,
}

/// Entries in a full batch: enough that the cost of handing it on vanishes, few enough to stay in the caches.
pub const BATCH_EVENTS: usize = 2048;
/// Bytes in a full batch, for keys that are long.
pub const BATCH_BYTES: usize = 256 * 1024;
/// Rows that a subtask writes into a side table between two barriers, and behind those one of so many: a flood of bad records
/// must not fill the database. They are counted all the same.
pub const SIDE_ROWS: u64 = 10_000;
/// See [`SIDE_ROWS`].
pub const SIDE_ROW_OF: u64 = 1000;

impl Collector {
    /// A collector for events that go to `targets` subtasks by key group. `targets` is at least 1.
    pub fn new(max_parallelism: MaxParallelism, targets: u32) -> Self {
        let open = (0..targets.max(1)).map(|_| EventBatch::default()).collect();
        Collector {
            max_parallelism,
            open,
            full: Vec::new(),
            rows: TableBatches::default(),
            full_rows: Vec::new(),
            side_rows: RowCounts::default(),
        }
    }

    /// Where it is now, for [`Collector::events_since`]. Allocates: not for every record.
    pub fn mark(&self) -> Mark {
        Mark { full: self.full.len(), open: self.open.iter().map(EventBatch::len).collect() }
    }

    /// The events that were added since the mark, with their targets. None may have been taken out since.
    pub fn events_since(&self, mark: &Mark) -> impl Iterator<Item = (SubtaskIndex, KeyedEvent<'_>)> {
        let filled = self.full.get(mark.full..).unwrap_or_default();
        (0_u32..).map(SubtaskIndex).zip(self.open.iter().zip(&mark.open)).flat_map(move |(target, (open, &before))| {
            let filled = filled.iter().filter(move |(of, _)| *of == target).map(|(_, batch)| batch);
            filled.chain([open]).flat_map(EventBatch::iter).skip(before).map(move |event| (target, event))
        })
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
            // Room at once: columns that double as they fill are copied as often again as they are written. But not for what
            // one huge event made.
            let is_usual = batch.bytes() < 2 * BATCH_BYTES;
            let next = if is_usual { batch.another() } else { EventBatch::default() };
            self.full.push((target, std::mem::replace(batch, next)));
        }
    }

    /// Begins a row of `columns` fields for a table.
    pub fn row(&mut self, table: TableIndex, columns: u16) -> RowWriter<'_> {
        if self.rows.of(table).as_bytes().len() >= BATCH_BYTES {
            self.full_rows.extend(self.rows.take(table));
        }
        self.rows.of(table).row(columns)
    }

    /// Begins a row of `columns` fields for a side table; `None` once there are too many ([`SIDE_ROWS`]).
    pub fn side_row(&mut self, table: TableIndex, columns: u16) -> Option<RowWriter<'_>> {
        let before = self.side_rows.of(table);
        self.side_rows.add(table, 1);
        let is_kept = before < SIDE_ROWS || before.is_multiple_of(SIDE_ROW_OF);
        is_kept.then(|| self.row(table, columns))
    }

    /// A barrier was sent: side rows are counted anew.
    pub fn on_barrier(&mut self) {
        self.side_rows = RowCounts::default();
    }

    /// Takes rows that were made elsewhere, to hand them on.
    pub fn pass_on(&mut self, rows: RowBatch) {
        if !rows.is_empty() {
            self.full_rows.push(rows);
        }
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

    /// Takes all rows of a table in one batch, if there are any, and leaves out those of others.
    pub fn take_rows(&mut self, table: TableIndex) -> Option<RowBatch> {
        self.take_row_batches().filter(|rows| rows.table() == table).reduce(|mut rows, more| {
            rows.append(&more);
            rows
        })
    }

    /// Takes the rows in batches of about [`BATCH_BYTES`], those of one table in their order: one watermark can fire a million
    /// rows.
    pub fn take_row_batches(&mut self) -> impl Iterator<Item = RowBatch> + '_ {
        self.full_rows.drain(..).chain(self.rows.take_all())
    }

    /// The bytes of rows waiting to be taken.
    pub fn row_bytes(&self) -> usize {
        self.full_rows.iter().map(|rows| rows.as_bytes().len()).sum::<usize>() + self.rows.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_group::hash_key;
    use crate::origin::Origin;
    use crate::time::EventTime;

    #[test]
    fn rows_come_in_batches_or_all_at_once() {
        let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
        let write = |collector: &mut Collector| {
            for n in 0..20_000 {
                collector.row(TableIndex::RESULT, 2).bigint(n).text(Some("some text"));
            }
        };
        write(&mut collector);
        let bytes = collector.row_bytes();
        let batches: Vec<_> = collector.take_row_batches().collect();
        assert!(batches.len() > 1 && batches.iter().all(|rows| rows.as_bytes().len() < BATCH_BYTES + 64));
        write(&mut collector);
        let all = collector.take_rows(TableIndex::RESULT).expect("rows");
        assert_eq!((all.rows(), all.as_bytes().len(), collector.row_bytes()), (20_000, bytes, 0));
        assert_eq!(all.as_bytes(), batches.iter().flat_map(|rows| rows.as_bytes()).copied().collect::<Vec<_>>());
    }

    #[test]
    fn rows_of_several_tables_stay_apart() {
        let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
        collector.row(TableIndex(2), 1).bigint(1);
        collector.row(TableIndex::RESULT, 1).bigint(2);
        collector.row(TableIndex(2), 1).bigint(3);
        let mut passed = RowBatch::of(TableIndex(1));
        collector.pass_on(passed.clone());
        passed.row(1).bigint(4);
        collector.pass_on(passed);
        let taken: Vec<_> = collector.take_row_batches().map(|rows| (rows.table().0, rows.rows())).collect();
        assert_eq!(taken, [(1, 1), (0, 1), (2, 2)]);
        assert_eq!(collector.row_bytes(), 0);
    }

    #[test]
    fn flood_of_side_rows_is_sampled_until_the_next_barrier() {
        let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
        let mut offer = |offered: u64| {
            let kept = (0..offered).filter(|_| {
                let row = collector.side_row(TableIndex(1), 1);
                row.is_some_and(|mut row| {
                    row.bigint(1);
                    true
                })
            });
            let kept = kept.count() as u64;
            collector.on_barrier();
            kept
        };
        assert_eq!(offer(SIDE_ROWS), SIDE_ROWS);
        assert_eq!(offer(SIDE_ROWS + 5 * SIDE_ROW_OF), SIDE_ROWS + 5);
    }

    #[test]
    fn events_since_a_mark_are_all_that_came_later_even_where_batches_filled() {
        let mut collector = Collector::new(MaxParallelism::DEFAULT, 3);
        let add = |collector: &mut Collector, keys: std::ops::Range<usize>| {
            for key in keys {
                let (text, origin) = (format!("key-{key}"), Origin::default());
                let (hash, key) = (hash_key(text.as_bytes()), text.as_bytes());
                collector.event(KeyedEvent { hash, time: EventTime(0), count: 1, key, origin });
            }
        };
        for later in [1, 3 * BATCH_EVENTS, 7 * BATCH_EVENTS] {
            add(&mut collector, 0..5000);
            let mark = collector.mark();
            assert_eq!(collector.events_since(&mark).count(), 0);
            add(&mut collector, 10_000..10_000 + later);
            let since: Vec<_> = collector.events_since(&mark).map(|(_, event)| event.key.to_vec()).collect();
            assert_eq!(since.len(), later);
            assert!(since.iter().all(|key| key.len() > b"key-9999".len()), "one came before");
            for (target, batch) in collector.take_all() {
                let owner = |event: KeyedEvent<'_>| {
                    event.hash.key_group(MaxParallelism::DEFAULT).subtask(MaxParallelism::DEFAULT, 3)
                };
                assert!(batch.iter().all(|event| owner(event) == target));
            }
        }
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
                origin: Origin::default(),
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
                origin: Origin::default(),
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
