//! The tumbling windows of a subtask: how many events each key has in each, and what fires when.
//!
//! Windows of one size lie end to end from 1970 on, so that all keys have the same ones. The rules are Flink's
//! (`TimeWindow.getWindowStartWithOffset`, `WindowOperator.isWindowLate`, `EventTimeTrigger`); with `wm` the watermark and `L` the
//! allowed lateness:
//!
//! * An event at `t` is in the window that begins at `t` rounded down to a multiple of the size, before 1970 too.
//! * It is late, and changes nothing, if that window's last instant has `end − 1 + L <= wm`.
//! * A window fires when the watermark reaches `end − 1`; with lateness it is kept until `end − 1 + L`, and a key in it fires again
//!   at once for each late event of its own, with its whole new count.
//! * A watermark that does not rise is ignored.
//!
//! **Heads.** A key begins with a *head*, which decides where it lives, such as the host of `(host, referrer)`. What fires is each
//! key's count and, behind those of one head, their sum: two results of one count. So an event is looked up once and kept once, is
//! late for both or for neither, and the two never disagree.
//!
//! Nothing of a window is stored but its counts. Whether it has fired, and when it goes, the watermark says; so there are neither
//! timers nor flags, and a clock that closed windows changes no rule: an event is in its own window whoever closed the one before.
//!
//! Every accepted event is counted once, as *open* until its window fires and as *fired* from then on.
//!
//! Tested by examples here, and against a naive oracle with snapshots, crashes and rescaling at random (`tests/tumbling_properties.rs`).

mod record;
mod restore;
mod store;

use crate::event_batch::KeyedEvent;
use crate::key_group::{KeyGroupRange, MaxParallelism};
pub use crate::session::Added;
use crate::time::EventTime;
use crate::watermark::Watermark;
use store::Store;

/// What a tumbling window is, and what is counted in it.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// From one window to the next, in milliseconds; at least 1.
    pub size_ms: i64,
    /// How much longer, in event-time milliseconds, a fired window takes late events; 0 as in SQL.
    pub allowed_lateness_ms: i64,
    /// The head of a key, of which alone its hash is. It is the key's beginning, and no head is the beginning of another one.
    pub head: fn(&[u8]) -> &[u8],
}

/// A count as it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired<'a> {
    /// Whose.
    pub of: Of<'a>,
    /// The window's first instant.
    pub start: EventTime,
    /// How many events.
    pub count: u64,
}

/// Whose count it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of<'a> {
    /// A key's.
    Key(&'a [u8]),
    /// That of all keys with this head.
    Head(&'a [u8]),
}

/// The counts of one subtask's key groups in the windows that are kept.
#[derive(Debug)]
pub struct Windows {
    config: Config,
    watermark: Watermark,
    store: Store,
    /// Events in windows that have not fired.
    open_events: u64,
    /// Events in windows that have fired, from the beginning of this attempt.
    fired_events: u64,
}

impl Config {
    /// The first instant of the window that holds a time; it also names the window.
    fn start(&self, time: EventTime) -> i64 {
        time.0.saturating_sub(time.0.rem_euclid(self.size_ms))
    }

    fn last_instant(&self, start: i64) -> i64 {
        start.saturating_add(self.size_ms - 1)
    }

    fn expires_at(&self, start: i64) -> i64 {
        self.last_instant(start).saturating_add(self.allowed_lateness_ms)
    }
}

impl Windows {
    /// No counts yet, for the keys of `range`.
    pub fn new(config: Config, range: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        let store = Store::new(config.head, range, max_parallelism);
        Windows { config, watermark: Watermark::NONE, store, open_events: 0, fired_events: 0 }
    }

    /// Adds an event, of which the hash is its key's head's. `fire` is called only where late events are allowed for: for a window
    /// that has already fired.
    ///
    /// # Panics
    /// If the key's group is not of this subtask's range: it was routed wrongly.
    pub fn add(&mut self, event: &KeyedEvent<'_>, mut fire: impl FnMut(Fired<'_>)) -> Added {
        let start = self.config.start(event.time);
        if self.config.expires_at(start) <= self.watermark.0 {
            return Added::Late;
        }
        let events = u64::from(event.count);
        let has_fired = self.has_fired(start);
        let count = self.store.add(start, event.hash, event.key, events, has_fired);
        if has_fired {
            self.fired_events = self.fired_events.saturating_add(events);
            fire(Fired { of: Of::Key(event.key), start: EventTime(start), count });
            let head = (self.config.head)(event.key);
            fire(Fired { of: Of::Head(head), start: EventTime(start), count: self.store.sum(start, head) });
        } else {
            self.open_events = self.open_events.saturating_add(events);
        }
        Added::Accepted
    }

    /// The watermark rises to `watermark`: fires every window that has ended by then, in their order, and of each the counts in the
    /// order of the keys; forgets the windows that no event can be in any more.
    pub fn advance(&mut self, watermark: Watermark, mut fire: impl FnMut(Fired<'_>)) {
        if watermark <= self.watermark {
            return;
        }
        let before = std::mem::replace(&mut self.watermark, watermark);
        let has_ended = |start: &i64| self.config.last_instant(*start) <= watermark.0;
        let had_ended = |start: &i64| self.config.last_instant(*start) <= before.0;
        let due: Vec<i64> = self.store.windows().skip_while(had_ended).take_while(has_ended).collect();
        for start in due {
            let events = self.store.fire(start, &mut fire);
            self.open_events = self.open_events.saturating_sub(events);
            self.fired_events = self.fired_events.saturating_add(events);
        }
        let has_expired = |start: &i64| self.config.expires_at(*start) <= watermark.0;
        let expired: Vec<i64> = self.store.windows().take_while(has_expired).collect();
        expired.into_iter().for_each(|start| self.store.forget(start));
    }

    /// Whether the window of an event of this time has not fired.
    pub fn is_open(&self, time: EventTime) -> bool {
        !self.has_fired(self.config.start(time))
    }

    /// The watermark that the windows have seen.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// The number of counts in state: of each key in each window.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of events in windows that have not fired.
    pub fn events(&self) -> u64 {
        self.open_events
    }

    /// The number of events in windows that have fired, each counted once; from 0 also behind a restore.
    pub fn fired_events(&self) -> u64 {
        self.fired_events
    }

    /// Every key's count in every window, in no particular order: to look at, and to compare in tests.
    pub fn iter(&self) -> impl Iterator<Item = Fired<'_>> {
        self.store.iter()
    }

    fn has_fired(&self, start: i64) -> bool {
        self.config.last_instant(start) <= self.watermark.0
    }
}

#[cfg(test)]
mod tests;
