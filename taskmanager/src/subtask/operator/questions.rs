//! The questions of one operator subtask on their way out, and the answers that come back at once. Those that take their
//! time come by mail.

use stream_core::collector::Collector;
use stream_core::operator::Operator;
use stream_runtime::lookup::Lookup;

/// Asks for an operator.
pub(super) struct Questions {
    lookup: Box<dyn Lookup>,
}

impl Questions {
    /// Asks there.
    pub(super) fn new(lookup: Box<dyn Lookup>) -> Self {
        Questions { lookup }
    }

    /// Asks what the operator wants to know.
    pub(super) fn ask(&mut self, operator: &mut dyn Operator, out: &mut Collector) {
        if self.lookup.has_changed() {
            operator.forget_answers();
        }
        for key in operator.take_questions() {
            if let Some(answer) = self.lookup.ask(&key) {
                operator.on_answer(&key, answer, out);
            }
        }
    }
}
