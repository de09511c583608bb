//! What happens to windows because time goes by: they fire, are kept for late events, and are forgotten.

use super::{Fired, Span, Windows};
use crate::session::store::Window;
use crate::time::EventTime;
use crate::watermark::Watermark;

impl Windows {
    /// The watermark rises to `watermark`: fires every window that has ended by then, in order of `end`, those of equal
    /// end in order of their keys; forgets what no event can join any more.
    pub fn advance(&mut self, watermark: Watermark, mut fire: impl FnMut(Fired<'_>)) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        // A few at a time, the earliest first: however many are due, they are sorted while they are in the caches.
        while let Some(by) = self.timers.take_due(watermark, &mut self.due) {
            self.on_due(by, &mut fire);
        }
    }

    /// Timers came up which are all that there are up to `by`.
    fn on_due(&mut self, by: i64, fire: &mut impl FnMut(Fired<'_>)) {
        let mut due = std::mem::take(&mut self.due);
        for (at, place) in due.drain(..) {
            // The timer may be a leftover: of a window that is gone, or of one that was set a nearer timer.
            let Some(window) = self.store.find(place).filter(|window| window.timer_at == at) else { continue };
            if !window.has_fired && window.span.last_instant() <= by {
                self.firing.push((window.span.end, place));
                self.store.forget_timer(place);
            } else {
                self.settle(place, window);
            }
        }
        self.due = due;
        let (store, mut firing) = (&self.store, std::mem::take(&mut self.firing));
        let order = |place| (store.key(place), store.window(place).span.order());
        firing.sort_unstable_by(|(end, place), (other_end, other)| {
            end.cmp(other_end).then_with(|| order(*place).cmp(&order(*other)))
        });
        let mut buffer = std::mem::take(&mut self.key);
        for (_, place) in firing.drain(..) {
            self.store.will_fire(place);
            let mut window = self.store.window(place);
            let key = self.store.joined_key(place, &mut buffer);
            fire(fired(key, &window.span));
            self.note_fired(place, &mut window);
            self.settle(place, window);
        }
        (self.key, self.firing) = (buffer, firing);
    }

    /// A window has no timer that counts any more: it has moved on, was fired, or is to be forgotten.
    fn settle(&mut self, place: u32, window: Window) {
        let next_at = self.next_at(&window);
        if window.has_fired && next_at <= self.watermark.0 {
            self.store.remove(place);
        } else {
            self.store.put(place, &Window { timer_at: next_at, ..window });
            self.timers.set(next_at, place);
        }
    }

    pub(super) fn fire(&mut self, place: u32, key: &[u8], window: &mut Window, fire: &mut impl FnMut(Fired<'_>)) {
        fire(fired(key, &window.span));
        self.note_fired(place, window);
    }

    /// A window was fired. Whoever says so has to put it back.
    fn note_fired(&mut self, place: u32, window: &mut Window) {
        let events = window.span.unreported();
        window.has_fired = true;
        window.span.reported = window.span.count;
        self.store.hide(place);
        self.open_events = self.open_events.saturating_sub(events);
        self.fired_events = self.fired_events.saturating_add(events);
    }

    /// When the watermark next means something to a window: at its last instant, and once fired at its expiry.
    pub(super) fn next_at(&self, window: &Window) -> i64 {
        if window.has_fired { self.expires_at(window.span.end) } else { window.span.last_instant() }
    }

    pub(super) fn expires_at(&self, end: i64) -> i64 {
        (end - 1).saturating_add(self.config.allowed_lateness_ms)
    }
}

/// A window as the outside sees it when it fires.
pub(super) fn fired<'a>(key: &'a [u8], span: &Span) -> Fired<'a> {
    Fired { key, start: EventTime(span.start), end: EventTime(span.end), count: span.count }
}
