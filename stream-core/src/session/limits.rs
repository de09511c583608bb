//! Sessions that never end by themselves: how long one may be, and how many events it may hold.
//!
//! Windows join only as long as the result is within the limits. So a session that goes on beyond them stands there in parts, each of which
//! is a window like any other, and a session that stays below them is what it would be without, in whatever order its events
//! come: none of its parts is ever refused. `docs/design/0008-limits-of-sessions.md` has the rule and what follows from it.

use super::store::SessionRef;
use super::{Span, Windows};
use crate::event_batch::KeyedEvent;

/// The limits of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first event to the last it is less than this, in milliseconds; at least 1.
    pub max_span_ms: i64,
    /// It holds at most so many events; at least 1. With the last of them it fires at once.
    pub max_events: u64,
}

impl Limits {
    /// As long and as large as it becomes, as in Flink.
    pub const NONE: Limits = Limits { max_span_ms: i64::MAX, max_events: u64::MAX };

    /// Whether a window is allowed, whose end is `gap_ms` behind its last event.
    pub(super) fn allow(&self, span: &Span, gap_ms: i64) -> bool {
        let lasts_ms = span.end.saturating_sub(gap_ms).saturating_sub(span.start);
        lasts_ms < self.max_span_ms && span.count <= self.max_events
    }
}

impl Windows {
    /// As `join`, within the limits: the windows that the event touches are taken in the order of their starts, each if the result is
    /// allowed. The order does not depend on how they lie in the store, which a restore changes.
    pub(super) fn join_within_limits(&mut self, event: &KeyedEvent<'_>, joined: &mut Span) -> Option<SessionRef> {
        let first = self.store.first(event.hash, event.key)?;
        let mut next = Some(first);
        while let Some(session) = next {
            if self.store.get(session).span.touches(joined) && !self.is_full(session) {
                self.touching.push(session);
            }
            next = self.store.next(session);
        }
        let store = &self.store;
        self.touching.sort_unstable_by_key(|&session| store.get(session).span.order());
        let mut keeper: Option<SessionRef> = None;
        for place in 0..self.touching.len() {
            let session = self.touching[place];
            let mut both = *joined;
            both.absorb(self.store.get(session).span);
            if !self.config.limits.allow(&both, self.config.gap_ms) {
                continue;
            }
            *joined = both;
            match keeper {
                None => {
                    self.store.will_change(first);
                    keeper = Some(session);
                }
                Some(keeper) => self.store.absorb(keeper, session),
            }
        }
        self.touching.clear();
        keeper
    }
}
