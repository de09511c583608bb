//! What a ledger that cannot count by itself needs.

use stream_core::ids::Token;

/// For a ledger that cannot count by itself: the token that a claim is granted: above all that the ledger and the stored checkpoints know; `None` if there is none left.
pub(crate) fn next_token(in_ledger: Token, highest: Token) -> Option<Token> {
    let next = in_ledger.max(highest).0.checked_add(1)?;
    i32::try_from(next).is_ok().then_some(Token(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_above_every_one_that_is_known_and_fits_31_bits() {
        assert_eq!(next_token(Token(3), Token(0)), Some(Token(4)));
        assert_eq!(next_token(Token(3), Token(9)), Some(Token(10)), "the ledger was set back");
        assert_eq!(next_token(Token(0), Token(i32::MAX as u32)), None);
        assert_eq!(next_token(Token(u32::MAX), Token(0)), None);
    }
}
