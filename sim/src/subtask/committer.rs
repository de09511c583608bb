//! The committer: the real bookkeeping of epochs and the real rule of the ledger.

use job_sessionize::open_table;
use job_sessionize::pipeline::columns;
use stream_core::checkpoint::{Accounts, FileRef, LedgerEntry, SealedEpoch, Standing, TaskSnapshot, standing};
use stream_core::epochs::Epochs;
use stream_core::ids::{CheckpointId, TableIndex};
use stream_core::row::{Field, RowBatch};

use super::Context;
use super::inputs::Inputs;
use crate::input::SessionRow;
use crate::mail::{Deployment, Done, Item, Report};
use crate::postgres::Publish;
use crate::store::{Object, writer};
use crate::world::{OpenTable, Request};

/// Less than one chunk: rows are read back from the store as often as not.
const MEMORY_BUDGET: u64 = 60;
const RETRY_MS: i64 = 100;

pub(crate) struct Committer {
    inputs: Inputs,
    epochs: Epochs,
    state: State,
    /// What the ledger said last on a connection on which nothing has failed.
    session: Option<CheckpointId>,
    last_epoch: CheckpointId,
    retry_store_at: Option<i64>,
    are_inputs_over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Asking,
    /// It waits before it tries again.
    Pausing(i64),
}

impl Committer {
    pub(crate) fn new(deployment: &Deployment) -> Self {
        Committer {
            inputs: Inputs::new(deployment.parallelism as usize),
            epochs: Epochs::new(true, MEMORY_BUDGET, deployment.pending.clone()),
            state: State::Idle,
            session: None,
            last_epoch: deployment.restored.as_ref().map_or(CheckpointId::ROOT, |manifest| manifest.checkpoint),
            retry_store_at: None,
            are_inputs_over: false,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.are_inputs_over && self.epochs.are_published()
    }

    pub(crate) fn on_tick(&mut self, at: &mut Context<'_>) {
        if self.retry_store_at.is_some_and(|retry_at| at.world.now >= retry_at) {
            self.store_chunks(at);
        }
        if matches!(self.state, State::Pausing(until) if at.world.now >= until) {
            self.state = State::Idle;
        }
        self.publish_next(at);
    }

    pub(crate) fn on_item(&mut self, input: usize, item: Item, at: &mut Context<'_>) {
        self.inputs.push(input, item);
        self.process(at);
    }

    pub(crate) fn abort(&mut self, checkpoint: CheckpointId, at: &mut Context<'_>) {
        self.inputs.abort(checkpoint);
        self.process(at);
    }

    pub(crate) fn orphan(&mut self, at: &mut Context<'_>) {
        self.inputs.orphan();
        self.process(at);
    }

    pub(crate) fn on_complete(
        &mut self,
        checkpoint: CheckpointId,
        prev: CheckpointId,
        accounts: Accounts,
        at: &mut Context<'_>,
    ) {
        self.epochs.complete(checkpoint, prev, accounts, None);
        self.publish_next(at);
    }

    fn process(&mut self, at: &mut Context<'_>) {
        while let Some((input, item)) = self.inputs.pop() {
            let aligned = match item {
                Item::Rows(rows) => {
                    self.epochs.gather(rows);
                    None
                }
                Item::Progress(_) => None,
                Item::Barrier(barrier) => self.inputs.on_barrier(input, barrier),
                Item::End => {
                    let (aligned, is_last) = self.inputs.on_end(input);
                    self.are_inputs_over = is_last;
                    if is_last && !self.inputs.has_seen_last() {
                        at.failure = Some("ended before the last barrier".to_owned());
                    }
                    aligned
                }
                Item::Events(_) => unreachable!("no events come to the committer"),
            };
            if let Some(barrier) = aligned {
                self.epochs.seal(barrier);
                self.last_epoch = barrier.checkpoint;
                self.store_chunks(at);
                self.acknowledge(at);
            }
        }
    }

    fn store_chunks(&mut self, at: &mut Context<'_>) {
        self.retry_store_at = None;
        for (ticket, rows) in self.epochs.take_unstored() {
            let attempt = at.attempt;
            let writer = writer(at.deployment.token, at.deployment.nonce);
            let name = format!("rows/{writer}/{}/{ticket:08}", self.last_epoch);
            let file = FileRef { name: name.clone(), bytes: rows.as_bytes().len() as u64, checksum: 0 };
            let answer =
                Box::new(move |result: Result<(), String>| Done::RowsStored(attempt, ticket, result.map(|()| file)));
            at.world.put(at.pid, name, Object::Rows(RowBatch::clone(&rows)), answer);
        }
    }

    pub(crate) fn on_stored(&mut self, ticket: u64, result: Result<FileRef, String>, at: &mut Context<'_>) {
        if result.is_err() {
            self.retry_store_at = Some(at.world.now + 10 * RETRY_MS);
        }
        if let Some((checkpoint, reason)) = self.epochs.on_stored(ticket, result) {
            at.reports.push(Report::Declined(checkpoint, reason));
        }
        self.acknowledge(at);
    }

    fn acknowledge(&mut self, at: &mut Context<'_>) {
        for part in self.epochs.take_acknowledged() {
            let snapshot = TaskSnapshot::Sink { files: part.files, rows: part.rows };
            at.reports.push(Report::Acknowledged(part.epoch, snapshot));
        }
    }

    /// On a connection that is known to stand before the epoch it is sent; else the ledger is asked first.
    fn publish_next(&mut self, at: &mut Context<'_>) {
        let Some(ready) = self.epochs.next_ready().filter(|_| self.state == State::Idle) else { return };
        self.state = State::Asking;
        let epoch = ready.epoch.clone();
        let attempt = at.attempt;
        if self.session != Some(epoch.prev) {
            let answer = Box::new(move |result| Done::Looked(attempt, result));
            return at.world.ask_postgres(at.pid, Request::Look(answer));
        }
        self.send(epoch, at);
    }

    fn send(&mut self, epoch: SealedEpoch, at: &mut Context<'_>) {
        let ready = self.epochs.next_ready().expect("it is being published");
        let (mut rows, mut changes) = (Vec::new(), Vec::new());
        let mut read = |batch: &RowBatch| match batch.table() {
            TableIndex::RESULT => read_rows(batch, &mut rows),
            _ => read_changes(batch, &mut changes),
        };
        for piece in &ready.pieces {
            match (&piece.rows, &piece.file) {
                (Some(batch), _) => read(batch),
                (None, Some(file)) => match at.world.store.read(&file.name) {
                    Some(Object::Rows(batch)) => read(batch),
                    _ => return at.failure = Some(format!("`{}` is gone", file.name)),
                },
                (None, None) => unreachable!("rows leave memory only once they are stored"),
            }
        }
        let attempt = at.attempt;
        let (token, nonce) = (at.deployment.token, at.deployment.nonce);
        let has_open_table = at.world.wiring.open_table != OpenTable::Absent;
        let publish = Publish { token, nonce, epoch, rows, changes, has_open_table };
        let answer = Box::new(move |result| Done::Published(attempt, result));
        at.world.ask_postgres(at.pid, Request::Publish(Box::new(publish), answer));
    }

    pub(crate) fn on_looked(&mut self, result: Result<LedgerEntry, String>, at: &mut Context<'_>) {
        let Some(epoch) = self.epochs.next_ready().map(|ready| ready.epoch.clone()) else { return };
        let Ok(entry) = result else { return self.pause(at) };
        match standing(Some(entry), at.deployment.token, at.deployment.nonce, &epoch) {
            Standing::Due => self.send(epoch, at),
            Standing::Published => self.on_visible(at),
            // Without the rule its publisher would not look, either.
            Standing::Fenced(_) if !at.world.wiring.checks_token => self.send(epoch, at),
            Standing::Fenced(_) | Standing::WentBack(_) | Standing::Foreign(_) => {
                at.failure = Some(format!("the ledger is at {entry:?}"));
            }
        }
    }

    pub(crate) fn on_published(&mut self, result: Result<bool, String>, at: &mut Context<'_>) {
        match result {
            Ok(true) => self.on_visible(at),
            Ok(false) | Err(_) => {
                self.session = None;
                self.pause(at);
            }
        }
    }

    fn on_visible(&mut self, at: &mut Context<'_>) {
        let Some(epoch) = self.epochs.next_ready().map(|ready| ready.epoch.epoch) else { return };
        self.session = Some(epoch);
        self.epochs.on_published();
        self.state = State::Idle;
        at.reports.push(Report::Published(epoch));
        self.publish_next(at);
    }

    fn pause(&mut self, at: &mut Context<'_>) {
        self.state = State::Pausing(at.world.now + RETRY_MS);
    }
}

fn read_rows(batch: &RowBatch, rows: &mut Vec<SessionRow>) {
    let columns = columns();
    let mut reader = batch.reader(&columns);
    loop {
        let mut row = (0, String::new(), 0);
        let is_row = reader.next_row(|index, field| match field {
            Field::Timestamp(time) => row.0 = time.0,
            Field::Text(text) if index == 1 => row.1 = text.as_str().to_owned(),
            Field::Text(text) => row.1 = format!("{}|{}", row.1, text.as_str()),
            Field::BigInt(hits) => row.2 = hits,
            Field::Null | Field::Bytes(_) => {}
        });
        if !is_row.expect("our own rows") {
            return;
        }
        rows.push(row);
    }
}

/// What changed of the table of open sessions.
fn read_changes(batch: &RowBatch, changes: &mut Vec<(i64, Option<i64>)>) {
    let columns = open_table::columns();
    let mut reader = batch.reader(&columns);
    loop {
        let (mut id, mut events) = (None, None);
        let is_row = reader.next_row(|index, field| match (index, field) {
            (0, Field::BigInt(number)) => id = Some(number),
            (6, Field::BigInt(hits)) => events = Some(hits),
            _ => {}
        });
        if !is_row.expect("our own rows") {
            return;
        }
        changes.push((id.expect("no savepoint is begun with"), events));
    }
}
