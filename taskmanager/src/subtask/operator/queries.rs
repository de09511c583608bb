//! Questions about an operator's state: answered one after the other, a slice between two batches, so that they cost the events
//! next to nothing.

use std::collections::VecDeque;

use stream_core::operator::{Operator, QueryError};

use crate::subtask::event::{Change, Teller};

/// Keys looked at between two batches. Looking costs less than copying, of which as many are done at once.
const SLICE_KEYS: usize = 512;
/// Questions that may wait. People ask them; who asks more is told so.
const WAITING: usize = 16;

/// The questions of one operator subtask.
pub(super) struct Queries {
    /// With their numbers; the first is being answered.
    queries: VecDeque<(u64, String)>,
    is_begun: bool,
    teller: Teller,
}

impl Queries {
    /// None yet.
    pub(super) fn new(teller: Teller) -> Self {
        Queries { queries: VecDeque::new(), is_begun: false, teller }
    }

    /// One more.
    pub(super) fn ask(&mut self, number: u64, query: String) {
        if self.queries.len() == WAITING {
            let reason = format!("{WAITING} questions are waiting here: ask again in a moment");
            return self.answer(number, Err(QueryError(reason)));
        }
        self.queries.push_back((number, query));
    }

    /// Whether any is to be answered.
    pub(super) fn is_answering(&self) -> bool {
        !self.queries.is_empty()
    }

    /// Goes on with the answer to the first, if there is one.
    pub(super) fn continue_answering(&mut self, operator: &mut dyn Operator) {
        let Some((number, query)) = self.queries.front() else { return };
        let number = *number;
        let result = if self.is_begun { Ok(()) } else { operator.begin_query(query) };
        self.is_begun = true;
        let result = match result {
            Ok(()) => operator.continue_query(SLICE_KEYS).map(Ok),
            Err(error) => Some(Err(error)),
        };
        if let Some(result) = result {
            self.queries.pop_front();
            self.is_begun = false;
            self.answer(number, result);
        }
    }

    fn answer(&self, query: u64, result: Result<String, QueryError>) {
        self.teller.tell(Change::Answered { query, result });
    }
}
