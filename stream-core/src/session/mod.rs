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
//! One rule is not Flink's: where the clock closed windows, because nobody had anything to read, an event behind that watermark
//! that joins no window is late, although its own window may not be over. It may belong to a window that was closed too early,
//! and must not open a second one beside it.
//!
//! Nor are limits ([`Limits`]), off unless set: a window that would be longer or larger is not joined.
//!
//! Every accepted event is counted once, as *open* or as *fired*: open until a window that holds it fires for the first time,
//! fired from then on. A fired window can be joined by late events so that it ends behind the watermark, where it has not
//! fired; still only its new events are open, those that it was fired with stay fired. So the number of fired events never
//! falls, and `accepted = open + fired` at every step. Each window therefore keeps how many of its events were reported.
//!
//! A key is opaque bytes here; rows, hosts and Kafka are not this module's business. State is organised by key group.
//! Tested by examples here, against a naive oracle (`tests/session_properties.rs`), and against Flink's own answers
//! (`job-sessionize/tests/conformance`); snapshots by `tests/snapshot_properties.rs`.

mod changes;
mod limits;
mod query;
mod record;
mod restore;
mod span;
mod store;

use crate::event_batch::KeyedEvent;
use crate::key_group::{KeyGroupRange, MaxParallelism};
use crate::time::EventTime;
use crate::timers::Timers;
use crate::watermark::Watermark;
pub use changes::{Change, Restored, WindowId};
pub use limits::Limits;
use span::Span;
use store::{Entry, SessionRef, Store};

/// What a session window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The inactivity after which a session ends, in milliseconds; at least 1.
    pub gap_ms: i64,
    /// How much longer, in event-time milliseconds, a fired window takes late events; 0 as in SQL.
    pub allowed_lateness_ms: i64,
    /// How long and how large a window may be.
    pub limits: Limits,
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
    /// See [`Windows::closed_by_clock`].
    by_clock: Watermark,
    store: Store,
    timers: Timers<SessionRef>,
    due: Vec<(i64, SessionRef)>,
    firing: Vec<SessionRef>,
    /// Used again for each event that has windows to join within limits.
    touching: Vec<SessionRef>,
    /// Events that no window was fired with yet.
    open_events: u64,
    /// Events that a window was fired with, from the beginning of this attempt.
    fired_events: u64,
}

impl Windows {
    /// No windows yet, for the keys of `range`.
    pub fn new(config: Config, range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Windows {
            config,
            watermark: Watermark::NONE,
            by_clock: Watermark::NONE,
            store: Store::new(range, max_parallelism),
            timers: Timers::new(),
            due: Vec::new(),
            firing: Vec::new(),
            touching: Vec::new(),
            open_events: 0,
            fired_events: 0,
        }
    }

    /// Adds an event. `fire` is called only where late events are allowed for, for a window that has already fired, and where events are
    /// limited, for one that holds as many as it may.
    ///
    /// # Panics
    /// If the key's group is not of this subtask's range: it was routed wrongly.
    pub fn add(&mut self, event: KeyedEvent<'_>, mut fire: impl FnMut(Fired<'_>)) -> Added {
        let start = event.time.0;
        let end = start.saturating_add(self.config.gap_ms);
        let mut joined = Span { start, end, count: u64::from(event.count), reported: 0 };
        let is_limited = self.config.limits != Limits::NONE;
        let keeper = match is_limited {
            false => self.join(&event, &mut joined),
            true => self.join_within_limits(&event, &mut joined),
        };
        let session = match keeper {
            Some(keeper) => {
                self.store.set_span(keeper, joined);
                keeper
            }
            // Only a window that joined nothing can be late: those in the store are still kept by definition.
            None if self.expires_at(joined.end) <= self.watermark.0 || start <= self.by_clock.0 => return Added::Late,
            None => self.store.insert(event.hash, event.key, Entry::new(joined)),
        };
        self.open_events = self.open_events.saturating_add(u64::from(event.count));
        self.settle(session, &mut fire);
        // It is kept until its end, so that older snapshots say no other; joined it is no more.
        if is_limited && joined.count >= self.config.limits.max_events && !self.store.get(session).has_fired {
            self.fire(session, &mut fire);
        }
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
            let order = |session| (store.get(session).span.end, store.key(session), store.get(session).span.order());
            order(a).cmp(&order(b))
        });
        for session in std::mem::take(&mut self.firing) {
            self.store.will_fire(session);
            self.fire(session, &mut fire);
            self.settle_after_timer(session);
        }
    }

    /// The watermark was made by the clock up to here: what comes behind it and joins no window is late.
    pub fn closed_by_clock(&mut self, by_clock: Watermark) {
        self.by_clock = self.by_clock.max(by_clock);
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

    /// The number of events that no window was fired with yet.
    pub fn events(&self) -> u64 {
        self.open_events
    }

    /// The number of events that a window was fired with, each counted once; from 0 also behind a restore.
    pub fn fired_events(&self) -> u64 {
        self.fired_events
    }

    /// Every window in state, in no particular order, as it would fire now: to look at, and to compare in tests.
    pub fn iter(&self) -> impl Iterator<Item = Fired<'_>> {
        self.store.iter()
    }

    /// Joins `joined` with every window of the event's key that it overlaps or touches; returns the one that is to hold
    /// the result, with the others gone. At most two can be: windows in state are further apart than the gap.
    fn join(&mut self, event: &KeyedEvent<'_>, joined: &mut Span) -> Option<SessionRef> {
        let mut keeper: Option<SessionRef> = None;
        let first = self.store.first(event.hash, event.key)?;
        let mut next = Some(first);
        while let Some(session) = next {
            let span = self.store.get(session).span;
            next = self.store.next(session);
            if !span.touches(joined) || self.is_full(session) {
                continue;
            }
            joined.absorb(span);
            match keeper {
                None => {
                    self.store.will_change(first);
                    keeper = Some(session);
                }
                Some(keeper) => self.store.absorb(keeper, session),
            }
        }
        keeper
    }

    /// Whether a window fired before its end, because it held as many events as it might: by the limits of now, or by those of the attempt
    /// that a savepoint is of.
    fn is_full(&self, session: SessionRef) -> bool {
        let entry = self.store.get(session);
        entry.has_fired && entry.span.last_instant() > self.watermark.0
    }

    /// After a window changed by an event: fires it at once if its end has passed (an allowed late event), and makes sure
    /// that a timer will come up no later than the next thing that must happen to it.
    fn settle(&mut self, session: SessionRef, fire: &mut impl FnMut(Fired<'_>)) {
        if self.store.get(session).span.last_instant() <= self.watermark.0 {
            self.fire(session, fire);
        } else {
            self.store.get_mut(session).has_fired = false;
        }
        let timer_at = self.store.get(session).timer_at;
        if timer_at == Entry::NO_TIMER || self.next_at(session) < timer_at {
            self.set_timer(session);
        }
    }

    /// After a window's timer came up: the window has moved on, was fired, or is to be forgotten.
    fn settle_after_timer(&mut self, session: SessionRef) {
        if self.next_at(session) <= self.watermark.0 {
            self.store.remove(session);
        } else {
            self.set_timer(session);
        }
    }

    fn fire(&mut self, session: SessionRef, fire: &mut impl FnMut(Fired<'_>)) {
        fire(self.store.fired(session));
        let entry = self.store.get_mut(session);
        let events = entry.span.unreported();
        entry.has_fired = true;
        entry.span.reported = entry.span.count;
        self.store.hide(session);
        self.open_events = self.open_events.saturating_sub(events);
        self.fired_events = self.fired_events.saturating_add(events);
    }

    fn set_timer(&mut self, session: SessionRef) {
        let next_at = self.next_at(session);
        self.store.get_mut(session).timer_at = next_at;
        self.timers.set(next_at, session);
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

#[cfg(test)]
mod tests;
