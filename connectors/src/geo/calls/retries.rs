//! How many calls may be repeated: so many for each question, on the whole. A service that fails now and then is asked again; one
//! that fails for everybody does not get several times the load just then.

/// What each question adds, in hundredths of a call.
const ADDED: u32 = 50;
/// What can be saved up, likewise: a batch of events asks all its questions before the first call comes back.
const MOST: u32 = 1000 * 100;
/// What there is from the beginning: the first question may be the one.
const AT_FIRST: u32 = 10 * 100;

/// The budget of repeated calls.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    hundredths: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Retries { hundredths: AT_FIRST }
    }
}

impl Retries {
    /// A question came, which is called for once in any case.
    pub fn on_question(&mut self) {
        self.hundredths = (self.hundredths + ADDED).min(MOST);
    }

    /// Whether one more call may be repeated; it is then counted.
    pub fn take(&mut self) -> bool {
        let left = self.hundredths.checked_sub(100);
        self.hundredths = left.unwrap_or(self.hundredths);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_as_many_calls_are_repeated_as_there_are_questions() {
        let mut retries = Retries::default();
        let mut repeated = 0;
        for _ in 0..1000 {
            retries.on_question();
            // Each call fails, and all would be repeated.
            repeated += usize::from(retries.take()) + usize::from(retries.take());
        }
        assert_eq!(repeated, 10 + 500);
    }

    #[test]
    fn what_is_saved_up_has_a_bound() {
        let mut retries = Retries::default();
        (0..100_000).for_each(|_| retries.on_question());
        assert_eq!((0..2000).filter(|_| retries.take()).count(), 1000);
    }
}
