//! The port to what operators look up: a database in a file, a service somewhere.

use stream_core::operator::Answer;

/// Answers the questions of one operator subtask. Called and used on the subtask's plain thread, which it never holds up.
pub trait Lookup: Send {
    /// Asks about a key. The answer comes at once, or later into the [`Answers`] that this was opened with: in any order, one
    /// for each question, and within a time that the look-up's settings bound. Safe to repeat.
    fn ask(&mut self, key: &[u8]) -> Option<Answer>;

    /// Whether answers may from now on differ from those given before the last call.
    fn has_changed(&mut self) -> bool;
}

/// Where answers go that take their time.
pub trait Answers: Send + Sync {
    /// The answer to a question. One that comes when nobody listens any more is lost, and nobody misses it.
    fn answer(&self, key: Vec<u8>, answer: Answer);
}

/// For a job without look-ups: nothing is known of anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLookup;

impl Lookup for NoLookup {
    fn ask(&mut self, _key: &[u8]) -> Option<Answer> {
        Some(Answer::Nothing)
    }

    fn has_changed(&mut self) -> bool {
        false
    }
}
