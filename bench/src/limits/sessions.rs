//! The whole work by one thread and without an engine: records read and scanned, sessions in a hash table, rows written at the end. No
//! watermark, no checkpoint, nothing that could be moved or restored, and all state until the end: what is left is the work itself.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use hashbrown::HashTable;
use web_event::event_time::to_timestamp;
use web_event::json::Projection;
use xxhash_rust::xxh3::xxh3_64;

use crate::reference::{GAP_MS, time_text};

const OUT_BYTES: usize = 1 << 20;

/// A session: its first and last event, and how many.
#[derive(Clone, Copy)]
struct Session {
    first_ms: i64,
    last_ms: i64,
    hits: u64,
}

/// In no order, further apart than the gap.
type Sessions = Vec<Session>;

/// Who is in the table, by its number.
struct Visitor {
    /// `ip,host`.
    key: Box<[u8]>,
    hash: u64,
    sessions: Sessions,
}

/// Writes the sessions of the events; how many events there were.
pub(super) fn write(events: &Path, sessions: &Path) -> Result<u64> {
    let mut fields = Projection::new(["ip", "host", "event_time"]);
    let (mut table, mut visitors) = (HashTable::<usize>::new(), Vec::<Visitor>::new());
    let (mut key, mut count) = (Vec::new(), 0);
    super::lines(events, |line| {
        let read = fields.decode(line, |[ip, host, time]| {
            let Some(((ip, host), at_ms)) = ip.zip(host).zip(time.and_then(to_timestamp)) else { return };
            key.clear();
            key.extend_from_slice(ip.as_bytes());
            key.push(b',');
            key.extend_from_slice(host.as_bytes());
            count += 1;
            let hash = xxh3_64(&key);
            if let Some(&number) = table.find(hash, |&number| *visitors[number].key == *key) {
                add(&mut visitors[number].sessions, at_ms);
            } else {
                table.insert_unique(hash, visitors.len(), |&number| visitors[number].hash);
                visitors.push(Visitor { key: key.as_slice().into(), hash, sessions: vec![Session::of(at_ms)] });
            }
        });
        read.context("a line is no event")
    })?;
    let out = File::create(sessions).with_context(|| format!("cannot write `{}`", sessions.display()))?;
    let mut out = BufWriter::with_capacity(OUT_BYTES, out);
    for Visitor { key, sessions, .. } in &visitors {
        for Session { first_ms, hits, .. } in sessions {
            out.write_all(time_text(*first_ms).as_bytes())?;
            out.write_all(b",")?;
            out.write_all(key)?;
            writeln!(out, ",{hits}")?;
        }
    }
    out.flush()?;
    Ok(count)
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

/// The newest stands last, and an event is nearly always its.
fn add(sessions: &mut Sessions, at_ms: i64) {
    let mut joined = Session::of(at_ms);
    if let Some(index) = sessions.iter().rposition(|session| session.touches(&joined)) {
        joined.join(sessions.swap_remove(index));
        // Two that were apart may be one now.
        while let Some(index) = sessions.iter().position(|session| session.touches(&joined)) {
            joined.join(sessions.swap_remove(index));
        }
    }
    sessions.push(joined);
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
