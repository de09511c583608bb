//! Late events put into the sessions that they belong to: which rows of the table become which.
//!
//! Of a key with late events, everything that is closed is looked at once more: its rows, and its late events that are not
//! replayed yet. What touches is one session, as if all of it had come in time. So a late event extends a session, makes one of several,
//! or one of its own; and rows that stand in parts, because events came in another order than they happened, become one.
//!
//! **What waits.** An event is replayed once the published watermark `W` says that whatever could touch it directly has had its own window
//! closed: `t + 2·gap − 1 <= W`. An open session that began there and still goes on is not seen; its row, once it is closed, touches
//! what was replayed, and the next replay makes them one. So replays at any moments come to the same end
//! (`tests/late_replay.rs`).
//!
//! **What is not known.** A row without the session's last event (`--last-event`) says only that it lies from the start to at most
//! `num_hits − 1` gaps behind it. A late event is put where it *certainly* belongs: it touches the session wherever that ended, or
//! is apart from it wherever that ended. Any other is left.
//!
//! Pure. Where rows and events lie is the caller's: a place is only handed back.

use stream_core::time::EventTime;
use stream_core::watermark::Watermark;

#[cfg(test)]
mod tests;

/// How the job makes sessions, and how far the table shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The inactivity that ends a session, in milliseconds.
    pub gap_ms: i64,
    /// The watermark of the epoch that the table shows.
    pub published: Watermark,
}

/// A row of the table, or a late event that stands in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<P> {
    /// A closed session.
    Row {
        /// Where it lies.
        place: P,
        /// Its first event.
        start: EventTime,
        /// Its last event, if the table has it.
        last: Option<EventTime>,
        /// As it stands there.
        num_hits: i64,
    },
    /// An event that was late.
    Late {
        /// Where it lies.
        place: P,
        /// When it happened.
        time: EventTime,
    },
}

/// A session that the table is to show instead of what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction<P> {
    /// The number of its key.
    pub key: i64,
    /// Its first event.
    pub start: EventTime,
    /// Its last event, if that is known.
    pub last: Option<EventTime>,
    /// All of its hits.
    pub num_hits: i64,
    /// The rows that are parts of it; the first becomes the session, and without any it is a new row.
    pub rows: Vec<P>,
    /// The late events that are now in it.
    pub late: Vec<P>,
}

/// Late events that stay where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The table does not show yet all that they could belong to.
    pub too_recent: u64,
    /// Nobody knows whether they touch a session, since its row does not have its last event.
    pub undecided: u64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<P> {
    /// Sessions that change.
    pub corrections: Vec<Correction<P>>,
    /// Late events that are not in them.
    pub left: Left,
}

/// Goes over the spans of keys, in the order of their starts. It holds one session at a time, and what changes.
#[derive(Debug)]
pub struct Sweep<P> {
    rules: Rules,
    key: Option<i64>,
    session: Option<Session<P>>,
    /// How far the sessions before it may reach.
    reach: i64,
    outcome: Outcome<P>,
}

/// A session as far as it is put together. Its last event lies in `earliest..=latest`.
#[derive(Debug)]
struct Session<P> {
    start: i64,
    earliest: i64,
    latest: i64,
    num_hits: i64,
    rows: Vec<P>,
    late: Vec<P>,
}

impl<P> Sweep<P> {
    /// Nothing seen yet.
    pub fn new(rules: Rules) -> Self {
        let outcome = Outcome { corrections: Vec::new(), left: Left::default() };
        Sweep { rules, key: None, session: None, reach: i64::MIN, outcome }
    }

    /// The next span; those of a key come together, and in the order of their starts. `hits_of_event` is what an event of this
    /// key adds to `num_hits`: 1, or 0 where hits are not counted (`COUNT(host)` without a host).
    pub fn push(&mut self, key: i64, hits_of_event: i64, span: Span<P>) {
        if self.key != Some(key) {
            self.end_session();
            (self.key, self.reach) = (Some(key), i64::MIN);
        }
        match span {
            Span::Row { place, start, last, num_hits } => {
                let latest = last.map_or_else(|| self.latest_end(start, hits_of_event, num_hits), |last| last.0);
                let (start, earliest) = (start.0, last.map_or(start.0, |last| last.0));
                let (rows, late) = (vec![place], Vec::new());
                let row = Session { start, earliest, latest: latest.max(earliest), num_hits, rows, late };
                let touches = self
                    .session
                    .as_ref()
                    .is_some_and(|session| start.saturating_sub(session.earliest) <= self.rules.gap_ms);
                self.add(row, touches);
            }
            Span::Late { time, .. } if self.is_too_recent(time) => self.outcome.left.too_recent += 1,
            Span::Late { place, time } => match self.touches(time.0) {
                None => self.outcome.left.undecided += 1,
                Some(touches) => {
                    let at = time.0;
                    let (rows, late) = (Vec::new(), vec![place]);
                    let event = Session { start: at, earliest: at, latest: at, num_hits: hits_of_event, rows, late };
                    self.add(event, touches);
                }
            },
        }
    }

    /// All spans were seen.
    pub fn finish(mut self) -> Outcome<P> {
        self.end_session();
        self.outcome
    }

    /// Whether an event touches the session at hand; `None` if nobody knows, of that one or of one before it.
    fn touches(&self, at: i64) -> Option<bool> {
        let is_near = |end: i64| at.saturating_sub(end) <= self.rules.gap_ms;
        if self.reach > i64::MIN && is_near(self.reach) {
            return None;
        }
        let Some(session) = &self.session else { return Some(false) };
        (is_near(session.earliest) == is_near(session.latest)).then(|| is_near(session.earliest))
    }

    fn is_too_recent(&self, time: EventTime) -> bool {
        let gap_ms = self.rules.gap_ms;
        time.0.saturating_add(gap_ms).saturating_add(gap_ms - 1) > self.rules.published.0
    }

    /// The last event of a row that does not have it is at most here.
    fn latest_end(&self, start: EventTime, hits_of_event: i64, num_hits: i64) -> i64 {
        // It is closed.
        let closed = self.rules.published.0.saturating_sub(self.rules.gap_ms - 1);
        let gaps = if hits_of_event == 0 { i64::MAX } else { (num_hits - 1).max(0) };
        closed.min(start.0.saturating_add(gaps.saturating_mul(self.rules.gap_ms)))
    }

    fn add(&mut self, more: Session<P>, touches: bool) {
        match &mut self.session {
            Some(session) if touches => {
                session.earliest = session.earliest.max(more.earliest);
                session.latest = session.latest.max(more.latest);
                session.num_hits = session.num_hits.saturating_add(more.num_hits);
                session.rows.extend(more.rows);
                session.late.extend(more.late);
            }
            _ => {
                self.end_session();
                self.session = Some(more);
            }
        }
    }

    fn end_session(&mut self) {
        let Some((key, session)) = self.key.zip(self.session.take()) else { return };
        let Session { start, earliest, latest, num_hits, rows, late } = session;
        self.reach = self.reach.max(latest);
        if late.is_empty() && rows.len() == 1 {
            return;
        }
        let last = (earliest == latest).then_some(EventTime(latest));
        self.outcome.corrections.push(Correction { key, start: EventTime(start), last, num_hits, rows, late });
    }
}
