#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use stream_core::checkpoint::Accounts;
use stream_core::ids::{CheckpointId, Token};
use stream_core::outlet::{Turn, turn};
use stream_runtime::connector::ConnectorErrorKind;

use super::*;
use crate::rows::EpochRows;

const LATE: TableIndex = TableIndex(1);
const BAD: TableIndex = TableIndex(2);

/// What is left when a process dies.
#[derive(Debug, Default)]
struct Left {
    /// `place epoch: rows`, in the order in which they became visible.
    published: Vec<String>,
    sink: CheckpointId,
    outlet: Option<CheckpointId>,
    is_fenced: bool,
    sink_fails: bool,
}

type World = Arc<Mutex<Left>>;

struct MemorySink(World);

struct MemoryOutlet(World);

fn rows_of(chunks: &mut dyn FnMut() -> Result<Option<Arc<RowBatch>>, PublishError>) -> Result<String, PublishError> {
    let mut shown = Vec::new();
    while let Some(chunk) = chunks()? {
        shown.push(format!("{}x{}", chunk.table().0, chunk.rows()));
    }
    Ok(shown.join(" "))
}

impl Publisher for MemorySink {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<Published, PublishError> {
        let mut rows = EpochRows::new(epoch, rows);
        let rows = rows_of(&mut || rows.next())?;
        let mut left = self.0.lock().unwrap();
        if left.sink_fails {
            return Err(PublishError::Passing(ConnectorError::new(ConnectorErrorKind::Unreachable, "away")));
        }
        left.sink = epoch.epoch;
        left.published.push(format!("sink {}: {rows}", epoch.epoch));
        Ok(Published::Now)
    }

    fn is_due(&mut self, epoch: &SealedEpoch) -> Result<bool, PublishError> {
        let left = self.0.lock().unwrap();
        if left.is_fenced { Err(PublishError::Fenced { token: Token(9) }) } else { Ok(left.sink == epoch.prev) }
    }

    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl Outlet for MemoryOutlet {
    fn publish(&mut self, epoch: &SealedEpoch, rows: &mut dyn RowChunks) -> Result<(), PublishError> {
        let rows = rows_of(&mut || Ok(rows.next_chunk()?))?;
        let mut left = self.0.lock().unwrap();
        if turn(left.outlet, epoch) == Turn::Due {
            left.outlet = Some(epoch.epoch);
            left.published.push(format!("outlet {}: {rows}", epoch.epoch));
        }
        Ok(())
    }
}

struct Chunks {
    all: Vec<RowBatch>,
    at: usize,
}

impl RowChunks for Chunks {
    fn next_chunk(&mut self) -> Result<Option<Arc<RowBatch>>, StoreError> {
        self.at += 1;
        Ok(self.all.get(self.at - 1).cloned().map(Arc::new))
    }

    fn rewind(&mut self) {
        self.at = 0;
    }
}

/// Two rows of the result and one bad record in two pieces, and so many late events.
fn chunks(late: u64) -> Chunks {
    let batch = |table, rows| {
        let mut batch = RowBatch::of(table);
        for _ in 0..rows {
            batch.row(0);
        }
        batch
    };
    let late = (0..late).map(|_| batch(LATE, 1));
    let all = [batch(TableIndex::RESULT, 2)].into_iter().chain(late).chain([batch(BAD, 1)]).collect();
    Chunks { all, at: 0 }
}

fn epoch(token: u32, sequence: u32, prev: CheckpointId, late: u64) -> SealedEpoch {
    let mut rows = stream_core::table::RowCounts::of_result(2);
    rows.add(LATE, late);
    rows.add(BAD, 1);
    let epoch = CheckpointId::new(Token(token), sequence);
    SealedEpoch { epoch, prev, files: Vec::new(), rows, accounts: Accounts::default(), cut: None }
}

/// A publisher of a new attempt, whose late events have an outlet.
fn attempt(world: &World) -> WithOutlets {
    let outlet: Box<dyn Outlet> = Box::new(MemoryOutlet(Arc::clone(world)));
    WithOutlets::new(Box::new(MemorySink(Arc::clone(world))), [(LATE, outlet)])
}

fn published(world: &World) -> Vec<String> {
    std::mem::take(&mut world.lock().unwrap().published)
}

#[test]
fn rows_go_to_their_outlet_first_and_the_others_to_the_sink() {
    let world = World::default();
    let mut publisher = attempt(&world);
    let first = epoch(1, 1, CheckpointId::ROOT, 2);
    assert_eq!(publisher.publish(&first, &mut chunks(2)).expect("published"), Published::Now);
    assert_eq!(published(&world), ["outlet 1.1: 1x1 1x1", "sink 1.1: 0x2 2x1"]);
}

#[test]
fn who_died_between_the_two_leaves_an_epoch_that_the_outlet_does_not_get_again() {
    let world = World::default();
    let first = epoch(1, 1, CheckpointId::ROOT, 1);
    world.lock().unwrap().sink_fails = true;
    attempt(&world).publish(&first, &mut chunks(1)).expect_err("the sink is away");
    assert_eq!(published(&world), ["outlet 1.1: 1x1"]);
    world.lock().unwrap().sink_fails = false;
    attempt(&world).publish(&first, &mut chunks(1)).expect("published");
    assert_eq!(published(&world), ["sink 1.1: 0x2 2x1"]);
    let again = attempt(&world).publish(&first, &mut chunks(1)).expect("it is there");
    assert_eq!((again, published(&world)), (Published::Already, Vec::new()));
}

#[test]
fn an_epoch_without_rows_is_the_outlets_business_only_if_it_is_the_first_of_an_attempt() {
    let world = World::default();
    let mut publisher = attempt(&world);
    let first = epoch(1, 1, CheckpointId::ROOT, 0);
    let second = epoch(1, 2, first.epoch, 0);
    publisher.publish(&first, &mut chunks(0)).expect("published");
    publisher.publish(&second, &mut chunks(0)).expect("published");
    assert_eq!(published(&world), ["outlet 1.1: ", "sink 1.1: 0x2 2x1", "sink 1.2: 0x2 2x1"]);
}

#[test]
fn an_attempt_that_was_replaced_brings_nothing_to_an_outlet() {
    let world = World::default();
    world.lock().unwrap().is_fenced = true;
    let error = attempt(&world).publish(&epoch(1, 1, CheckpointId::ROOT, 1), &mut chunks(1)).expect_err("fenced");
    assert!(matches!(error, PublishError::Fenced { .. }), "{error}");
    assert_eq!(published(&world), [""; 0]);
}

#[test]
fn rows_that_are_gone_keep_an_epoch_from_outlet_and_sink() {
    let world = World::default();
    let error =
        attempt(&world).publish(&epoch(1, 1, CheckpointId::ROOT, 3), &mut chunks(2)).expect_err("a row is gone");
    assert!(error.to_string().contains("sealed with 3 rows for table 1, its files have 2"), "{error}");
    assert_eq!(published(&world), [""; 0]);
}
