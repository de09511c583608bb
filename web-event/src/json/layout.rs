//! Which field comes next: the one that came there in the record before.
//!
//! Between two values stand a comma, a name, a colon and perhaps blanks, and in the records of one producer they are
//! nearly always the same bytes. They are remembered as they were read, and where the same bytes come again at the same
//! place they are known to mean the same: one comparison instead of a walk over each token and a search among the names.
//! What differs is read by the grammar, and remembered in its turn. So a wrong guess costs little, and no guess can change
//! what is read: what such bytes mean depends on nothing but themselves.

/// What is compared at once. Longer ones are not remembered.
const LEAD_BYTES: usize = 32;
const WORDS: usize = LEAD_BYTES / 8;
/// Fields beyond so many are read by the grammar.
const MOST_FIELDS: usize = 64;

/// The fields of the record before.
#[derive(Debug)]
pub(super) struct Layout {
    leads: Vec<Lead>,
}

/// What leads to a value: all from the end of the value before (or the opening brace) to its first byte.
#[derive(Debug, Clone, Copy)]
struct Lead {
    words: [u64; WORDS],
    /// Set where `words` count.
    mask: [u64; WORDS],
    len: usize,
    /// Which of the wanted fields it names.
    wanted: Option<usize>,
}

impl Layout {
    pub(super) const fn new() -> Self {
        Self { leads: Vec::new() }
    }

    /// How many fields are remembered.
    #[cfg(test)]
    pub(super) fn fields(&self) -> usize {
        self.leads.len()
    }

    /// If `rest` begins as the field of this number did: how long that is, and the wanted field that it names.
    #[inline(always)]
    pub(super) fn expect(&self, nth: usize, rest: &[u8]) -> Option<(usize, Option<usize>)> {
        let lead = self.leads.get(nth)?;
        let words = words(rest.first_chunk()?);
        let mut differs = 0;
        for ((word, known), mask) in words.iter().zip(lead.words).zip(lead.mask) {
            differs |= (word ^ known) & mask;
        }
        (differs == 0).then_some((lead.len, lead.wanted))
    }

    /// Takes the first `len` bytes of `rest` to be what leads to the value of this field. Not remembered is what is too long,
    /// nor what comes behind such a field.
    pub(super) fn learn(&mut self, nth: usize, rest: &[u8], len: usize, wanted: Option<usize>) {
        let Some(chunk) = rest.first_chunk() else { return };
        if len > LEAD_BYTES || nth >= MOST_FIELDS {
            return;
        }
        let mut mask = [0; LEAD_BYTES];
        mask[..len].fill(0xff);
        let lead = Lead { words: words(chunk), mask: words(&mask), len, wanted };
        if let Some(known) = self.leads.get_mut(nth) {
            *known = lead;
        } else if nth == self.leads.len() {
            self.leads.push(lead);
        }
    }
}

#[inline(always)]
fn words(bytes: &[u8; LEAD_BYTES]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}
