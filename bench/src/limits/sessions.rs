//! The whole work by one thread and without an engine, as fast as we know how: records read and scanned, sessions in a flat hash table
//! that is asked for several keys at once, rows written at the end. No watermark, no checkpoint, nothing that could be moved or restored,
//! and all state until the end: what is left is the work itself.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use hashbrown::HashTable;
use web_event::event_time::to_timestamp;
use web_event::json::Projection;
use xxhash_rust::xxh3::xxh3_64;

use crate::reference::{GAP_MS, time_text};

const OUT_BYTES: usize = 1 << 20;

/// Events whose keys are looked up together, so that the processor waits for their memory at the same time.
const AT_ONCE: usize = 64;

/// A session: its first and last event, and how many.
#[derive(Clone, Copy)]
struct Session {
    first_ms: i64,
    last_ms: i64,
    hits: u64,
}

/// Who is in the table, by its number.
struct Visitor {
    hash: u64,
    /// `ip,host`, as it lies in [`State::keys`].
    key: Range<usize>,
    /// An event is nearly always of it.
    newest: Session,
    /// In no order, further apart than the gap.
    older: Vec<Session>,
}

/// An event that was read and not yet added.
struct Event {
    hash: u64,
    /// As it lies in [`Waiting::keys`].
    key: Range<usize>,
    at_ms: i64,
    /// Whose it is, if that was there when it was looked for.
    visitor: Option<usize>,
}

#[derive(Default)]
struct Waiting {
    events: Vec<Event>,
    keys: Vec<u8>,
}

#[derive(Default)]
struct State {
    table: HashTable<usize>,
    visitors: Vec<Visitor>,
    keys: Vec<u8>,
}

/// Writes the sessions of the events; how many events there were.
pub(super) fn write(events: &Path, sessions: &Path) -> Result<u64> {
    let mut fields = Projection::new(["ip", "host", "event_time"]);
    let (mut state, mut waiting) = (State::default(), Waiting::default());
    let mut count = 0;
    super::lines(events, |line| {
        let read = fields.decode(line, |[ip, host, time]| {
            let Some(((ip, host), at_ms)) = ip.zip(host).zip(time.and_then(to_timestamp)) else { return };
            waiting.push(ip, host, at_ms);
            count += 1;
        });
        if waiting.events.len() == AT_ONCE {
            state.add(&mut waiting);
        }
        read.context("a line is no event")
    })?;
    state.add(&mut waiting);
    let out = File::create(sessions).with_context(|| format!("cannot write `{}`", sessions.display()))?;
    let mut out = BufWriter::with_capacity(OUT_BYTES, out);
    for Visitor { key, newest, older, .. } in &state.visitors {
        for Session { first_ms, hits, .. } in older.iter().chain([newest]) {
            out.write_all(time_text(*first_ms).as_bytes())?;
            out.write_all(b",")?;
            out.write_all(&state.keys[key.clone()])?;
            writeln!(out, ",{hits}")?;
        }
    }
    out.flush()?;
    Ok(count)
}

impl Waiting {
    fn push(&mut self, ip: &str, host: &str, at_ms: i64) {
        let begin = self.keys.len();
        self.keys.extend_from_slice(ip.as_bytes());
        self.keys.push(b',');
        self.keys.extend_from_slice(host.as_bytes());
        let hash = xxh3_64(&self.keys[begin..]);
        self.events.push(Event { hash, key: begin..self.keys.len(), at_ms, visitor: None });
    }
}

impl State {
    /// Adds all that wait.
    fn add(&mut self, waiting: &mut Waiting) {
        for event in &mut waiting.events {
            event.visitor = self.find(event.hash, &waiting.keys[event.key.clone()]);
        }
        for Event { hash, key, at_ms, visitor } in waiting.events.drain(..) {
            let key = &waiting.keys[key];
            // One of the same key may have come first just now.
            match visitor.or_else(|| self.find(hash, key)) {
                Some(number) => self.visitors[number].add(at_ms),
                None => self.insert(hash, key, at_ms),
            }
        }
        waiting.keys.clear();
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |visitor: &Visitor| visitor.hash == hash && self.keys[visitor.key.clone()] == *key;
        self.table.find(hash, |&number| is_it(&self.visitors[number])).copied()
    }

    fn insert(&mut self, hash: u64, key: &[u8], at_ms: i64) {
        self.table.insert_unique(hash, self.visitors.len(), |&number| self.visitors[number].hash);
        let begin = self.keys.len();
        self.keys.extend_from_slice(key);
        let key = begin..self.keys.len();
        self.visitors.push(Visitor { hash, key, newest: Session::of(at_ms), older: Vec::new() });
    }
}

impl Session {
    fn of(at_ms: i64) -> Session {
        Session { first_ms: at_ms, last_ms: at_ms, hits: 1 }
    }

    fn touches(&self, other: &Session) -> bool {
        other.first_ms <= self.last_ms + GAP_MS && other.last_ms >= self.first_ms - GAP_MS
    }

    fn join(&mut self, other: Session) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.hits += other.hits;
    }
}

impl Visitor {
    fn add(&mut self, at_ms: i64) {
        let mut joined = Session::of(at_ms);
        let is_of_newest = self.newest.touches(&joined);
        if is_of_newest {
            joined.join(self.newest);
        }
        // Two that were apart may be one now.
        while let Some(index) = self.older.iter().position(|session| session.touches(&joined)) {
            joined.join(self.older.swap_remove(index));
        }
        if is_of_newest {
            self.newest = joined;
        } else if joined.last_ms > self.newest.last_ms {
            self.older.push(std::mem::replace(&mut self.newest, joined));
        } else {
            self.older.push(joined);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::reference;
    use localcluster::traffic::{self, Plan, Shape};

    #[test]
    fn its_sessions_are_those_of_the_naive_batch() {
        let dir = tempfile::tempdir().unwrap();
        let [events, naive, own] = ["events", "naive", "own"].map(|name| dir.path().join(name));
        for shape in Shape::ALL {
            traffic::generate(&Plan { events: 20_000, seed: 5, ips: 200, shape }, &events).unwrap();
            let expected = reference::compute(&events, &naive, &mut |_| {}).unwrap();
            assert_eq!(write(&events, &own).unwrap(), 20_000);
            reference::check(reference::of_csv(&own).unwrap(), expected, Some((&own, &naive))).unwrap();
        }
    }
}
