//! What a sink's ledger says to an attempt that wants to publish. A pure rule, shared by every sink that has a ledger.

use super::SealedEpoch;
use crate::ids::{CheckpointId, Nonce, Token};

/// Who may publish into a sink, and what was published last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The token of the attempt that took the sink over last.
    pub token: Token,
    /// Its nonce.
    pub nonce: Nonce,
    /// The epoch published last.
    pub last_epoch: CheckpointId,
}

/// What is to be done about an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its turn has come.
    Due,
    /// It is visible already.
    Published,
    /// Another attempt has taken the sink over.
    Fenced(Token),
    /// The sink has forgotten what this attempt had published, or that it ever took the sink over.
    WentBack(CheckpointId),
    /// The sink is at an epoch that this attempt knows nothing of.
    Foreign(CheckpointId),
}

/// Where an epoch stands. A lower token than ours can only be that of a sink that was set back: nobody has taken it over.
pub fn standing(entry: Option<LedgerEntry>, token: Token, nonce: Nonce, epoch: &SealedEpoch) -> Standing {
    let Some(entry) = entry else { return Standing::WentBack(CheckpointId::ROOT) };
    if entry.token < token {
        Standing::WentBack(entry.last_epoch)
    } else if (entry.token, entry.nonce) != (token, nonce) {
        Standing::Fenced(entry.token)
    } else if entry.last_epoch == epoch.epoch {
        Standing::Published
    } else if entry.last_epoch == epoch.prev {
        Standing::Due
    } else if entry.last_epoch < epoch.prev {
        Standing::WentBack(entry.last_epoch)
    } else {
        Standing::Foreign(entry.last_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Accounts;
    use crate::table::RowCounts;

    #[test]
    fn only_the_holder_of_token_and_nonce_publishes_and_only_what_follows() {
        let id = |sequence| CheckpointId::new(Token(5), sequence);
        let epoch = SealedEpoch {
            epoch: id(3),
            prev: id(2),
            files: Vec::new(),
            rows: RowCounts::of_result(0),
            accounts: Accounts::default(),
            cut: None,
        };
        let stands = |token, nonce, last_epoch| {
            standing(
                Some(LedgerEntry { token: Token(token), nonce: Nonce(nonce), last_epoch }),
                Token(5),
                Nonce(7),
                &epoch,
            )
        };
        assert_eq!(stands(5, 7, id(2)), Standing::Due);
        assert_eq!(stands(5, 7, id(3)), Standing::Published);
        assert_eq!(stands(6, 8, id(2)), Standing::Fenced(Token(6)));
        assert_eq!(stands(5, 8, id(2)), Standing::Fenced(Token(5)), "a sink that was set back hands out a token twice");
        assert_eq!(stands(6, 8, id(3)), Standing::Fenced(Token(6)), "whoever is fenced is to end, published or not");
        assert_eq!(stands(5, 7, id(1)), Standing::WentBack(id(1)));
        assert_eq!(stands(4, 7, id(2)), Standing::WentBack(id(2)), "nobody has taken it over");
        assert_eq!(stands(5, 7, id(4)), Standing::Foreign(id(4)));
        assert_eq!(standing(None, Token(5), Nonce(7), &epoch), Standing::WentBack(CheckpointId::ROOT));
    }
}
