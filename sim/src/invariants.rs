//! What must hold; `docs/design/0002-exactly-once.md` says why it does.

use std::fmt;

/// An invariant that can be seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// The table has exactly what the ledger says, and the accounts balance.
    I1Conservation,
    /// At the end the table is what a batch over all records gives.
    I2Reference,
    /// The ledger moves from an epoch to the one that follows it.
    I5Chain,
    /// Nothing of an attempt whose token is not the ledger's becomes visible.
    I6Fencing,
    /// Barriers of one job's attempts have ids that only grow.
    I8Ids,
    /// A whole checkpoint continues the ledger.
    I9Retention,
    /// Open events behind a restore are those at the snapshot.
    I10Restore,
    /// A key group has one owner and a split one reader.
    I11Ownership,
    /// A watermark never goes back, and no event is late that kept within the delay.
    I12Time,
    /// After the last fault the job finishes.
    L2Progress,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
