//! Postgres: the ledger's row, the table, transactions that hold the row until they commit, and a standby that lags.

use std::collections::BTreeMap;

use stream_core::checkpoint::{Accounts, LedgerEntry, SealedEpoch};
use stream_core::ids::{CheckpointId, Nonce, Token};

use crate::input::SessionRow;
use crate::invariants::Invariant;

/// The ledger's row.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Of the attempt that took the sink over last.
    pub token: Token,
    /// Likewise.
    pub nonce: Nonce,
    /// What was published last.
    pub last_epoch: CheckpointId,
    /// The accounts at its cut.
    pub accounts: Accounts,
    /// Rows of all epochs.
    pub rows_total: u64,
}

/// What is sent in the last message of a publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The sender's.
    pub token: Token,
    /// The sender's.
    pub nonce: Nonce,
    /// The epoch.
    pub epoch: SealedEpoch,
    /// Its rows, which were copied before.
    pub rows: Vec<SessionRow>,
    /// Its changes of the table of open sessions, in their order: an id with its events, or without where it is gone.
    pub changes: Vec<(i64, Option<i64>)>,
    /// Whether there is such a table.
    pub has_open_table: bool,
}

/// What was there before a commit; of the rows, how many.
#[derive(Debug)]
struct Before {
    ledger: Ledger,
    rows: usize,
    open: BTreeMap<i64, i64>,
}

/// The database.
#[derive(Debug)]
pub struct Postgres {
    /// Committed.
    pub ledger: Ledger,
    /// Committed.
    pub rows: Vec<SessionRow>,
    /// Committed: the events of each open session, by its id.
    pub open: BTreeMap<i64, i64>,
    /// Each commit: when, and what was there before it.
    history: Vec<(i64, Before)>,
    /// Who holds the ledger's row, and until when.
    pub holder: Option<(u64, i64)>,
    /// Until when it does not answer.
    pub down_until: i64,
}

impl Postgres {
    /// With an empty table, and a ledger that nobody has taken.
    pub fn new() -> Self {
        let (rows, open, history) = (vec![], BTreeMap::new(), vec![]);
        Postgres { ledger: Ledger::default(), rows, open, history, holder: None, down_until: 0 }
    }

    /// What a publisher reads.
    pub fn entry(&self) -> LedgerEntry {
        let Ledger { token, nonce, last_epoch, .. } = self.ledger;
        LedgerEntry { token, nonce, last_epoch }
    }

    /// `ledger.token = GREATEST(ledger.token, highest) + 1`, with a new nonce.
    pub fn fence(&mut self, now: i64, highest: Token, nonce: Nonce) -> LedgerEntry {
        self.remember(now);
        self.ledger.token = Token(self.ledger.token.max(highest).0 + 1);
        self.ledger.nonce = nonce;
        self.entry()
    }

    /// Whether `gapwise_publish` finds its row.
    pub fn matches(&self, publish: &Publish, checks_token: bool, checks_prev: bool) -> bool {
        let is_holder = (self.ledger.token, self.ledger.nonce) == (publish.token, publish.nonce);
        (is_holder || !checks_token) && (self.ledger.last_epoch == publish.epoch.prev || !checks_prev)
    }

    /// Rows and ledger, at once.
    pub fn commit(&mut self, now: i64, publish: Publish) -> Result<(), (Invariant, String)> {
        self.remember(now);
        self.ledger.last_epoch = publish.epoch.epoch;
        self.ledger.accounts = publish.epoch.accounts;
        self.ledger.rows_total += publish.epoch.rows.result;
        self.rows.extend(publish.rows);
        for (id, events) in publish.changes {
            self.open.remove(&id);
            self.open.extend(events.map(|events| (id, events)));
        }
        let open: i64 = self.open.values().sum();
        if publish.has_open_table && open.unsigned_abs() != self.ledger.accounts.open {
            let what = format!("epoch {}: {open} events are shown as open", self.ledger.last_epoch);
            return Err((Invariant::I1Conservation, format!("{what}, {} are", self.ledger.accounts.open)));
        }
        let in_sessions: i64 = self.rows.iter().map(|row| row.2).sum();
        let Ledger { accounts, rows_total, last_epoch, .. } = &self.ledger;
        if in_sessions.unsigned_abs() != accounts.in_sessions || *rows_total != self.rows.len() as u64 {
            let said = format!("epoch {last_epoch}: {accounts:?}, {rows_total} rows");
            let there = format!("{in_sessions} events in {} rows", self.rows.len());
            return Err((Invariant::I1Conservation, format!("the ledger says {said}; there are {there}")));
        }
        if !accounts.balance() {
            return Err((Invariant::I1Conservation, format!("epoch {last_epoch}: {accounts:?} do not balance")));
        }
        Ok(())
    }

    fn remember(&mut self, now: i64) {
        let before = Before { ledger: self.ledger.clone(), rows: self.rows.len(), open: self.open.clone() };
        self.history.push((now, before));
    }

    /// A standby takes over that has what was committed until `at`; whether anything was lost.
    pub fn fail_over(&mut self, at: i64) -> bool {
        let mut has_lost = false;
        while let Some((_, before)) = self.history.pop_if(|(time, _)| *time > at) {
            self.ledger = before.ledger;
            self.rows.truncate(before.rows);
            self.open = before.open;
            has_lost = true;
        }
        has_lost
    }
}

impl Default for Postgres {
    fn default() -> Self {
        Self::new()
    }
}
