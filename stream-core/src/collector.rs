//! Where a job's code puts what it makes: keyed events, routed to the subtask that owns their key, or result rows.

mod recent;

use crate::event_batch::{EventBatch, KeyedEvent};
use crate::ids::{SubtaskIndex, TableIndex};
use crate::key_group::{KeyHash, MaxParallelism};
use crate::row::{RowBatch, RowWriter};
use crate::table::{RowCounts, TableBatches};
use recent::Recent;

/// Gathers output by target subtask until the edge takes it. Full batches are set aside as they fill, so that one
/// large input cannot make one huge batch.
#[derive(Debug)]
pub struct Collector {
    max_parallelism: MaxParallelism,
    open: Vec<EventBatch>,
    /// Of each open batch, once a session's event came.
    recent: Vec<Recent>,
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

/// Events in a full batch: enough that the cost of handing it on vanishes, few enough to stay in the caches.
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
            recent: Vec::new(),
            full: Vec::new(),
            rows: TableBatches::default(),
            full_rows: Vec::new(),
            side_rows: RowCounts::default(),
        }
    }

    /// Where it is now, for [`Collector::events_since`]. Allocates: not for every record.
    pub fn mark(&mut self) -> Mark {
        // An event that shared an entry from before would not be seen.
        self.recent.iter_mut().for_each(Recent::forget);
        Mark { full: self.full.len(), open: self.open.iter().map(EventBatch::len).collect() }
    }

    /// The events that were added since the mark, with their targets. None may have been taken out since.
    pub fn events_since(&self, mark: &Mark) -> impl Iterator<Item = (SubtaskIndex, KeyedEvent<'_>)> {
        let filled = self.full.get(mark.full..).unwrap_or_default();
        (0_u32..).map(SubtaskIndex).zip(self.open.iter().zip(&mark.open)).flat_map(move |(target, (open, &before))| {
            let filled = filled.iter().filter(move |(of, _)| *of == target).map(|(_, batch)| batch);
            // Of the first batch only those behind the mark.
            let firsts = std::iter::once(before).chain(std::iter::repeat(0));
            let batches = filled.chain([open]).zip(firsts);
            batches.flat_map(|(batch, first)| batch.iter_behind(first)).map(move |event| (target, event))
        })
    }

    /// Adds an event for the subtask that owns its key.
    #[inline]
    pub fn event(&mut self, event: KeyedEvent<'_>) {
        let target = self.target(event.hash);
        let batch = &mut self.open[target];
        if let Some(recent) = self.recent.get_mut(target) {
            recent.note(event.hash, batch.len());
        }
        batch.push(event);
        self.set_aside_if_full(target);
    }

    /// The same, of a job whose operator adds it to a session window of this gap, and takes events of one key together where it can
    /// ([`EventBatch::together`]): so it shares the entry of the event of its key before it, if they are within the gap.
    #[inline]
    pub fn session_event(&mut self, event: KeyedEvent<'_>, gap_ms: i64) {
        let target = self.target(event.hash);
        let batch = &mut self.open[target];
        match self.recent.get_mut(target) {
            Some(recent) if recent.is_on() => {
                if !batch.try_follow(recent.entry(event.hash), &event, gap_ms) {
                    recent.note(event.hash, batch.len());
                    batch.push(event);
                }
            }
            Some(_) => batch.push(event),
            None => self.begin_looking(target, event),
        }
        self.set_aside_if_full(target);
    }

    /// The first event of a session. What came before it has no place in the table, and so nothing follows it.
    #[cold]
    fn begin_looking(&mut self, target: usize, event: KeyedEvent<'_>) {
        self.recent.resize_with(self.open.len(), Recent::new);
        self.recent[target].note(event.hash, self.open[target].len());
        self.open[target].push(event);
    }

    #[inline]
    fn target(&self, hash: KeyHash) -> usize {
        match self.open.len() {
            1 => 0,
            targets => {
                let targets = u32::try_from(targets).expect("as many as a 32-bit parallelism");
                hash.key_group(self.max_parallelism).subtask(self.max_parallelism, targets).0 as usize
            }
        }
    }

    #[inline]
    fn set_aside_if_full(&mut self, target: usize) {
        let batch = &self.open[target];
        if batch.len() + batch.followers() >= BATCH_EVENTS || batch.bytes() >= BATCH_BYTES {
            self.set_aside(target);
        }
    }

    #[cold]
    fn set_aside(&mut self, target: usize) {
        let batch = &mut self.open[target];
        if let Some(recent) = self.recent.get_mut(target) {
            recent.on_batch(batch.len() + batch.followers(), batch.followers());
        }
        // Room at once: columns that double as they fill are copied as often again as they are written. But not for what
        // one huge event made.
        let is_usual = batch.bytes() < 2 * BATCH_BYTES;
        let next = if is_usual { batch.another() } else { EventBatch::default() };
        let full = std::mem::replace(batch, next);
        self.full.push((SubtaskIndex(u32::try_from(target).expect("as many as a 32-bit parallelism")), full));
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
        for (recent, batch) in self.recent.iter_mut().zip(&self.open) {
            recent.on_batch(batch.len() + batch.followers(), batch.followers());
        }
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
mod tests;
