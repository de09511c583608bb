//! What a sink's ledger says to an attempt that wants to publish. A pure rule, shared by every sink that has a ledger.

use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::{CheckpointId, Nonce, Token};
use stream_runtime::connector::Grant;

/// Who may publish into a sink, and what was published last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The token of the attempt that took the sink over last.
    pub(crate) token: Token,
    /// Its nonce.
    pub(crate) nonce: Nonce,
    /// The epoch published last.
    pub(crate) last_epoch: CheckpointId,
}

/// What is to be done about an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
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
pub(crate) fn standing(entry: Option<Entry>, grant: &Grant, epoch: &SealedEpoch) -> Standing {
    let Some(entry) = entry else { return Standing::WentBack(CheckpointId::ROOT) };
    if entry.token < grant.token {
        Standing::WentBack(entry.last_epoch)
    } else if (entry.token, entry.nonce) != (grant.token, grant.nonce) {
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

/// For a ledger that cannot count by itself: the token that a claim is granted: above all that the ledger and the stored checkpoints know; `None` if there is none left.
#[cfg(feature = "file")]
pub(crate) fn next_token(in_ledger: Token, highest: Token) -> Option<Token> {
    let next = in_ledger.max(highest).0.checked_add(1)?;
    i32::try_from(next).is_ok().then_some(Token(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream_core::checkpoint::Accounts;
    use stream_core::ids::JobId;

    #[test]
    fn only_the_holder_of_token_and_nonce_publishes_and_only_what_follows() {
        let id = |sequence| CheckpointId::new(Token(5), sequence);
        let grant = Grant { job_id: JobId(1), token: Token(5), nonce: Nonce(7) };
        let epoch = SealedEpoch {
            epoch: id(3),
            prev: id(2),
            files: Vec::new(),
            rows: 0,
            accounts: Accounts::default(),
            cut: None,
        };
        let stands = |token, nonce, last_epoch| {
            standing(Some(Entry { token: Token(token), nonce: Nonce(nonce), last_epoch }), &grant, &epoch)
        };
        assert_eq!(stands(5, 7, id(2)), Standing::Due);
        assert_eq!(stands(5, 7, id(3)), Standing::Published);
        assert_eq!(stands(6, 8, id(2)), Standing::Fenced(Token(6)));
        assert_eq!(stands(5, 8, id(2)), Standing::Fenced(Token(5)), "a sink that was set back hands out a token twice");
        assert_eq!(stands(6, 8, id(3)), Standing::Fenced(Token(6)), "whoever is fenced is to end, published or not");
        assert_eq!(stands(5, 7, id(1)), Standing::WentBack(id(1)));
        assert_eq!(stands(4, 7, id(2)), Standing::WentBack(id(2)), "nobody has taken it over");
        assert_eq!(stands(5, 7, id(4)), Standing::Foreign(id(4)));
        assert_eq!(standing(None, &grant, &epoch), Standing::WentBack(CheckpointId::ROOT));
    }

    #[cfg(feature = "file")]
    #[test]
    fn a_token_is_above_every_one_that_is_known_and_fits_31_bits() {
        assert_eq!(next_token(Token(3), Token(0)), Some(Token(4)));
        assert_eq!(next_token(Token(3), Token(9)), Some(Token(10)), "the ledger was set back");
        assert_eq!(next_token(Token(0), Token(i32::MAX as u32)), None);
        assert_eq!(next_token(Token(u32::MAX), Token(0)), None);
    }
}
