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
mod firing;
mod limits;
mod look_up;
mod query;
mod record;
mod restore;
mod span;
mod store;
mod together;

use crate::event_batch::{KeyedEvent, Together};
use crate::key_group::{KeyGroupRange, MaxParallelism};
use crate::time::EventTime;
use crate::timers::Timers;
use crate::watermark::Watermark;
pub use changes::{Change, Restored, WindowId};
use firing::fired;
pub use limits::Limits;
pub use look_up::LookedUp;
use span::Span;
use store::{NO_TIMER, Store, Window};

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
    timers: Timers,
    due: Vec<(i64, u32)>,
    /// The ends and places of those that fire next.
    firing: Vec<(i64, u32)>,
    /// Used again for each event that has windows to join within limits.
    touching: Vec<(Window, u32)>,
    /// A key in a row, for whoever is told of its window.
    key: Vec<u8>,
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
            key: Vec::new(),
            open_events: 0,
            fired_events: 0,
        }
    }

    /// The same, for keys of which only the first so many bytes, as `head_bytes` says of each, are their own, and the rest is shared by many:
    /// it is kept once. This changes nothing but the memory. To be called before anything else.
    pub fn sharing_tails(mut self, head_bytes: fn(&[u8]) -> usize) -> Self {
        self.store.share_tails(head_bytes);
        self
    }

    /// Adds an event. `fire` is called only where late events are allowed for, for a window that has already fired, and where events are
    /// limited, for one that holds as many as it may.
    ///
    /// # Panics
    /// If the key's group is not of this subtask's range: it was routed wrongly.
    pub fn add(&mut self, event: KeyedEvent<'_>, fire: impl FnMut(Fired<'_>)) -> Added {
        let first = self.store.first(event.hash, event.key);
        self.add_to(first, &Together::alone(event), fire)
    }

    /// Adds events of the key whose first window is `first`.
    fn add_to(&mut self, first: Option<u32>, events: &Together<'_>, mut fire: impl FnMut(Fired<'_>)) -> Added {
        let Together { event, last } = events;
        let (start, count) = (event.time.0, u64::from(event.count));
        let mut joined = Span { start, end: last.0.saturating_add(self.config.gap_ms), count, reported: 0 };
        let is_limited = self.config.limits != Limits::NONE;
        let keeper = match first {
            None => None,
            Some(first) if is_limited => self.join_within_limits(first, &mut joined),
            Some(first) => self.join(first, &mut joined),
        };
        // Only a window that joined nothing can be late: those in the store are still kept by definition.
        if keeper.is_none() && (self.expires_at(joined.end) <= self.watermark.0 || start <= self.by_clock.0) {
            return Added::Late;
        }
        self.open_events = self.open_events.saturating_add(count);
        let timer_at = keeper.map_or(NO_TIMER, |keeper| keeper.timer_at);
        let mut window = Window { span: joined, timer_at, has_fired: false };
        let place = match keeper {
            Some(keeper) => keeper.place,
            None => self.store.insert(event.hash, event.key, first),
        };
        self.store.list(place);
        if joined.last_instant() <= self.watermark.0 {
            self.fire(place, event.key, &mut window, &mut fire);
        }
        // A timer comes up no later than the next thing that must happen to it.
        let next_at = self.next_at(&window);
        if window.timer_at == NO_TIMER || next_at < window.timer_at {
            window.timer_at = next_at;
            self.timers.set(next_at, place);
        }
        // It is kept until its end, so that older snapshots say no other; joined it is no more.
        if is_limited && joined.count >= self.config.limits.max_events && !window.has_fired {
            self.fire(place, event.key, &mut window, &mut fire);
        }
        self.store.put(place, &window);
        Added::Accepted
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

    /// Shows every window in state, in no particular order, as it would fire now: to look at, and to compare in tests.
    pub fn for_each(&self, mut show: impl FnMut(Fired<'_>)) {
        let mut buffer = Vec::new();
        for place in self.store.at_places(0..self.store.places()) {
            show(fired(self.store.joined_key(place, &mut buffer), &self.store.window(place).span));
        }
    }

    /// Joins `joined` with every window of the event's key that it overlaps or touches; returns the one that is to hold
    /// the result, with the others gone. Of one event at most two can be: windows in state are further apart than the gap.
    fn join(&mut self, first: u32, joined: &mut Span) -> Option<Keeper> {
        let mut keeper: Option<Keeper> = None;
        let mut next = Some(first);
        while let Some(place) = next {
            let window = self.store.window(place);
            next = self.store.next(place);
            if !window.span.touches(joined) || self.is_full(&window) {
                continue;
            }
            joined.absorb(window.span);
            match &keeper {
                None => {
                    self.store.will_change(first);
                    keeper = Some(Keeper { place, timer_at: window.timer_at });
                }
                Some(keeper) => self.store.absorb(keeper.place, place),
            }
        }
        keeper
    }

    /// Whether a window fired before its end, because it held as many events as it might: by the limits of now, or by those of the attempt
    /// that a savepoint is of.
    fn is_full(&self, window: &Window) -> bool {
        window.has_fired && window.span.last_instant() > self.watermark.0
    }
}

/// The window that an event joined.
#[derive(Clone, Copy)]
struct Keeper {
    place: u32,
    timer_at: i64,
}

#[cfg(test)]
mod tests;
