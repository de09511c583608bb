//! Postgres: the ledger's row, the table, transactions that hold the row until they commit, and a standby that lags.

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
}

/// The database.
#[derive(Debug)]
pub struct Postgres {
    /// Committed.
    pub ledger: Ledger,
    /// Committed.
    pub rows: Vec<SessionRow>,
    /// Each commit: when, the ledger before it, the number of rows before it.
    history: Vec<(i64, Ledger, usize)>,
    /// Who holds the ledger's row, and until when.
    pub holder: Option<(u64, i64)>,
    /// Until when it does not answer.
    pub down_until: i64,
}

impl Postgres {
    /// With an empty table, and a ledger that nobody has taken.
    pub fn new() -> Self {
        Postgres { ledger: Ledger::default(), rows: vec![], history: vec![], holder: None, down_until: 0 }
    }

    /// What a publisher reads.
    pub fn entry(&self) -> LedgerEntry {
        let Ledger { token, nonce, last_epoch, .. } = self.ledger;
        LedgerEntry { token, nonce, last_epoch }
    }

    /// `ledger.token = GREATEST(ledger.token, highest) + 1`, with a new nonce.
    pub fn fence(&mut self, now: i64, highest: Token, nonce: Nonce) -> LedgerEntry {
        self.history.push((now, self.ledger.clone(), self.rows.len()));
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
        self.history.push((now, self.ledger.clone(), self.rows.len()));
        self.ledger.last_epoch = publish.epoch.epoch;
        self.ledger.accounts = publish.epoch.accounts;
        self.ledger.rows_total += publish.epoch.rows.result;
        self.rows.extend(publish.rows);
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

    /// A standby takes over that has what was committed until `at`; whether anything was lost.
    pub fn fail_over(&mut self, at: i64) -> bool {
        let mut has_lost = false;
        while let Some((_, ledger, rows)) = self.history.pop_if(|(time, ..)| *time > at) {
            self.ledger = ledger;
            self.rows.truncate(rows);
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
