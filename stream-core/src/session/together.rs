//! Adding several events of one key at once: those that share an entry of their batch.
//!
//! `docs/design/0012-pre-aggregation.md` says why it comes to the same, and `tests/pre_aggregation.rs` holds it to that.

use super::{Added, Config, Fired, Limits, Windows};
use crate::event_batch::Together;
use crate::time::EventTime;

impl Windows {
    /// Whether events of one key, each of which but the first is within the gap of one before it, may be added together, by the time of
    /// the earliest of them; until the watermark moves.
    ///
    /// It is so if none of them can be late, nor fire a window by its coming: then each joins what those before it have made, in whatever
    /// order they come, and all of them join whatever window touches the whole. One that may be late must come by itself and in its turn,
    /// since it depends on what came before it whether it joins a window. Nobody but the windows knows: their watermark may be ahead of
    /// any source's. Where windows are limited the order of events decides where a session is parted, so nothing is added together.
    pub fn may_be_together(&self) -> impl Fn(EventTime) -> bool + use<> {
        let (Config { gap_ms, limits, .. }, watermark, by_clock) = (self.config, self.watermark, self.by_clock);
        let is_limited = limits != Limits::NONE;
        move |earliest| {
            let own_end = earliest.0.saturating_add(gap_ms);
            !is_limited && own_end - 1 > watermark.0 && earliest.0 > by_clock.0
        }
    }

    /// Adds an event, or several that [may be added together](Windows::may_be_together), as [`Windows::add`] does one.
    ///
    /// # Panics
    /// As there.
    pub fn add_together(&mut self, events: &Together<'_>, fire: impl FnMut(Fired<'_>)) -> Added {
        let first = self.store.first(events.event.hash, events.event.key);
        self.add_to(first, events, fire)
    }
}
