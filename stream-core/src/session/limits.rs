//! Sessions that never end by themselves: how long one may be, and how many events it may hold.
//!
//! Windows join only as long as the result is within the limits. So a session that goes on beyond them stands there in parts, each of which
//! is a window like any other, and a session that stays below them is what it would be without, in whatever order its events
//! come: none of its parts is ever refused. `docs/design/0008-limits-of-sessions.md` has the rule and what follows from it.

use super::{Keeper, Span, Windows};

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
    pub(super) fn join_within_limits(&mut self, first: u32, joined: &mut Span) -> Option<Keeper> {
        let mut touching = std::mem::take(&mut self.touching);
        let mut next = Some(first);
        while let Some(place) = next {
            let window = self.store.window(place);
            if window.span.touches(joined) && !self.is_full(&window) {
                touching.push((window, place));
            }
            next = self.store.next(place);
        }
        touching.sort_unstable_by_key(|(window, _)| window.span.order());
        let mut keeper: Option<Keeper> = None;
        for (window, place) in touching.drain(..) {
            let mut both = *joined;
            both.absorb(window.span);
            if !self.config.limits.allow(&both, self.config.gap_ms) {
                continue;
            }
            *joined = both;
            match &keeper {
                None => {
                    self.store.will_change(first);
                    keeper = Some(Keeper { place, timer_at: window.timer_at });
                }
                Some(keeper) => self.store.absorb(keeper.place, place),
            }
        }
        self.touching = touching;
        keeper
    }
}
