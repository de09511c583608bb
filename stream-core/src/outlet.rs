//! Outlets: places of their own for side tables, outside the sink, and the rule by which an epoch gets there once.
//!
//! A sink's ledger and an outlet cannot move together. So an outlet has a *register*, the id of the epoch that it took last, which
//! moves in the same step as the epoch's rows. An epoch goes to the outlets first and to the sink behind them; whoever dies
//! between the two finds by the register that it was there.
//!
//! Why a row is there once: the register only grows, whoever publishes holds it alone, and the first epoch of every attempt moves it,
//! rows or not. An attempt that begins before an epoch that the outlet has would give its rows a second time under ids whose
//! `prev` lies behind the register, which is [`Turn::Passed`]. Why none is missing: the ledger moves last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checkpoint::SealedEpoch;
use crate::ids::CheckpointId;
use crate::secret::Secret;

/// Where the rows of a side table go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutletSpec {
    /// `kafka://HOST:PORT[,…]/TOPIC`, `csv:PATH` or `jsonl:PATH`; without user and password.
    pub uri: String,
    /// Settings of the connector, for instance `security.protocol`.
    pub properties: BTreeMap<String, String>,
    /// Settings that must never be shown, for instance `sasl.password`.
    pub secrets: BTreeMap<String, Secret>,
}

/// What an outlet's register says of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is to be published.
    Due,
    /// It is there already.
    Published,
    /// The outlet has an epoch that those who sealed this one know nothing of: rows of it may be in this one, too.
    Passed(CheckpointId),
}

/// Whether an epoch's turn has come at an outlet whose register says `last`; `None` before the first, or once it was lost.
///
/// A register further back than the epoch's predecessor is as it should be: an epoch without rows need not move it.
pub fn turn(last: Option<CheckpointId>, epoch: &SealedEpoch) -> Turn {
    match last {
        Some(last) if last == epoch.epoch => Turn::Published,
        Some(last) if last > epoch.prev => Turn::Passed(last),
        _ => Turn::Due,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Accounts;
    use crate::ids::Token;
    use crate::table::RowCounts;

    #[test]
    fn an_epoch_is_due_until_the_outlet_has_it_or_one_that_it_does_not_follow() {
        let id = CheckpointId::new;
        let epoch = SealedEpoch {
            epoch: id(Token(5), 3),
            prev: id(Token(5), 2),
            files: Vec::new(),
            rows: RowCounts::default(),
            accounts: Accounts::default(),
            cut: None,
        };
        let register = |token, sequence| turn(Some(id(Token(token), sequence)), &epoch);
        assert_eq!(turn(None, &epoch), Turn::Due);
        assert_eq!(register(5, 2), Turn::Due);
        assert_eq!(register(4, 9), Turn::Due, "epochs without rows have not moved it since");
        assert_eq!(register(5, 3), Turn::Published);
        assert_eq!(register(5, 4), Turn::Passed(id(Token(5), 4)));
        let behind_an_older_one = SealedEpoch { prev: id(Token(4), 1), ..epoch };
        assert_eq!(turn(Some(id(Token(4), 2)), &behind_an_older_one), Turn::Passed(id(Token(4), 2)));
    }
}
