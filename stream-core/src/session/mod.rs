//! The session windows of every key of a subtask: add, merge, fire, late.
//!
//! The rules are those that Flink 2.2 was measured to follow, in SQL (no lateness) and in the DataStream API
//! (`EventTimeSessionWindows` with `allowedLateness`). In short, with `wm` the watermark and `L` the allowed lateness:
//!
//! * An event at `t` opens `[t, t + gap)`, which joins every window of its key that it overlaps **or touches**.
//! * It is late, and changes nothing, if the joined window has `end − 1 + L <= wm`.
//! * A window fires when the watermark reaches `end − 1`; with lateness it is kept until `end − 1 + L` and fires again at
//!   once for each late event that joins it.
//! * A watermark that does not rise is ignored.
//!
//! A key is opaque bytes here; rows, hosts and Kafka are not this module's business. State is organised by key group.
//! Tested by examples here, against a naive oracle (`tests/session_properties.rs`), and against Flink's own answers
//! (`job-sessionize/tests/conformance`).

mod store;

use crate::event_batch::KeyedEvent;
use crate::key_group::{KeyGroupRange, MaxParallelism};
use crate::time::EventTime;
use crate::timers::Timers;
use crate::watermark::Watermark;
use store::{Entry, SessionRef, Store};

/// What a session window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The inactivity after which a session ends, in milliseconds; at least 1.
    pub gap_ms: i64,
    /// How much longer, in event-time milliseconds, a fired window takes late events; 0 as in SQL.
    pub allowed_lateness_ms: i64,
}

/// A window as it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired<'a> {
    /// Whose session it is.
    pub key: &'a [u8],
    /// The first event's time.
    pub start: EventTime,
    /// The last event's time plus the gap; the window's last instant is 1 ms earlier.
    pub end: EventTime,
    /// How many events it holds.
    pub count: u64,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is in a window.
    Accepted,
    /// Its window has ended: nothing changed.
    Late,
}

/// The open session windows of one subtask's key groups.
#[derive(Debug)]
pub struct Windows {
    config: Config,
    watermark: Watermark,
    store: Store,
    timers: Timers<SessionRef>,
    due: Vec<(i64, SessionRef)>,
    firing: Vec<SessionRef>,
    /// Events in windows in state.
    events: u64,
}

impl Windows {
    /// No windows yet, for the keys of `range`.
    pub fn new(config: Config, range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Windows {
            config,
            watermark: Watermark::NONE,
            store: Store::new(range, max_parallelism),
            timers: Timers::new(),
            due: Vec::new(),
            firing: Vec::new(),
            events: 0,
        }
    }

    /// Adds an event. `fire` is called only where late events are allowed for: for a window that has already fired.
    ///
    /// # Panics
    /// If the key's group is not of this subtask's range: it was routed wrongly.
    pub fn add(&mut self, event: KeyedEvent<'_>, fire: impl FnMut(Fired<'_>)) -> Added {
        let start = event.time.0;
        let mut joined = Span { start, end: start.saturating_add(self.config.gap_ms), count: u64::from(event.count) };
        let Some(keeper) = self.join(&event, &mut joined) else {
            // Only a window that joined nothing can be late: those in the store are still kept by definition.
            if self.expires_at(joined.end) <= self.watermark.0 {
                return Added::Late;
            }
            self.events = self.events.saturating_add(u64::from(event.count));
            let session = self.store.insert(event.hash, event.key, Entry::new(joined));
            self.settle(session, fire);
            return Added::Accepted;
        };
        self.events = self.events.saturating_add(u64::from(event.count));
        self.store.get_mut(keeper).span = joined;
        self.settle(keeper, fire);
        Added::Accepted
    }

    /// The watermark rises to `watermark`: fires every window that has ended by then, in order of `end`, those of equal
    /// end in order of their keys; forgets what no event can join any more.
    pub fn advance(&mut self, watermark: Watermark, mut fire: impl FnMut(Fired<'_>)) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        self.timers.take_due(watermark, &mut self.due);
        for (at, session) in std::mem::take(&mut self.due) {
            // The timer may be a leftover: of a window joined to another, or of one that was set a nearer timer.
            let Some(entry) = self.store.find_mut(session).filter(|entry| entry.timer_at == at) else { continue };
            entry.timer_at = Entry::NO_TIMER;
            if !entry.has_fired && entry.span.last_instant() <= watermark.0 {
                self.firing.push(session);
            } else {
                self.settle_after_timer(session);
            }
        }
        let store = &self.store;
        self.firing.sort_unstable_by(|&a, &b| {
            (store.get(a).span.end, store.key(a)).cmp(&(store.get(b).span.end, store.key(b)))
        });
        for session in std::mem::take(&mut self.firing) {
            fire(self.store.fired(session));
            self.store.get_mut(session).has_fired = true;
            self.settle_after_timer(session);
        }
    }

    /// The watermark that the windows have seen.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// The number of windows in state.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether no window is in state.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of events in windows in state.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Joins `joined` with every window of the event's key that it overlaps or touches; returns the one that is to hold
    /// the result, with the others gone. At most two can be: windows in state are further apart than the gap.
    fn join(&mut self, event: &KeyedEvent<'_>, joined: &mut Span) -> Option<SessionRef> {
        let mut keeper: Option<SessionRef> = None;
        let mut next = self.store.first(event.hash, event.key);
        while let Some(session) = next {
            let entry = self.store.get(session);
            next = entry.next();
            if !entry.span.touches(joined) {
                continue;
            }
            joined.absorb(entry.span);
            match keeper {
                None => keeper = Some(session),
                Some(_) => self.store.remove(session),
            }
        }
        keeper
    }

    /// After a window changed by an event: fires it at once if its end has passed (an allowed late event), and makes sure
    /// that a timer will come up no later than the next thing that must happen to it.
    fn settle(&mut self, session: SessionRef, mut fire: impl FnMut(Fired<'_>)) {
        let has_ended = self.store.get(session).span.last_instant() <= self.watermark.0;
        self.store.get_mut(session).has_fired = has_ended;
        if has_ended {
            fire(self.store.fired(session));
        }
        let next_at = self.next_at(session);
        let entry = self.store.get_mut(session);
        if entry.timer_at == Entry::NO_TIMER || next_at < entry.timer_at {
            entry.timer_at = next_at;
            self.timers.set(next_at, session);
        }
    }

    /// After a window's timer came up: the window has moved on, was fired, or is to be forgotten.
    fn settle_after_timer(&mut self, session: SessionRef) {
        let next_at = self.next_at(session);
        if next_at <= self.watermark.0 {
            self.events = self.events.saturating_sub(self.store.get(session).span.count);
            self.store.remove(session);
        } else {
            self.store.get_mut(session).timer_at = next_at;
            self.timers.set(next_at, session);
        }
    }

    /// When the watermark next means something to a window: at its last instant, and once fired at its expiry.
    fn next_at(&self, session: SessionRef) -> i64 {
        let entry = self.store.get(session);
        if entry.has_fired { self.expires_at(entry.span.end) } else { entry.span.last_instant() }
    }

    fn expires_at(&self, end: i64) -> i64 {
        (end - 1).saturating_add(self.config.allowed_lateness_ms)
    }
}

/// A window's bounds and count.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: i64,
    end: i64,
    count: u64,
}

impl Span {
    /// Overlapping or touching, Flink's `TimeWindow.intersects`.
    fn touches(&self, other: &Span) -> bool {
        self.start <= other.end && self.end >= other.start
    }

    fn absorb(&mut self, other: Span) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.count = self.count.saturating_add(other.count);
    }

    fn last_instant(&self) -> i64 {
        self.end - 1
    }
}

#[cfg(test)]
mod tests;
