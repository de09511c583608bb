//! Events and rows by parts of their keys, so that they can be compared one part at a time: in memory while they are few, then
//! in temporary files, which have no name and are gone with the process.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

use job_sessionize::replay::{Event, Row, stored_key};
use std::borrow::Cow;
use stream_core::key_group::{KeyHash, hash_key};
use stream_core::time::EventTime;

/// Parts: as many as there may be open files beside a few others, by the usual limit of 1024.
const BUCKETS: usize = 256;
/// What is held in memory before all of it goes to files.
const HELD_BYTES: usize = 64 << 20;

/// Before each key: what it is, section, length of the key, time, hits.
const HEAD_BYTES: usize = 1 + 2 + 4 + 8 + 8;
const IS_BEHIND: u8 = 1;
const IS_ROW: u8 = 2;
const HAS_NO_START: u8 = 4;
const HAS_NO_HITS: u8 = 8;

/// All events and rows.
pub(super) struct Buckets {
    held: Vec<Vec<u8>>,
    held_bytes: usize,
    files: Vec<Option<File>>,
}

impl Buckets {
    /// None yet.
    pub(super) fn new() -> Self {
        Buckets { held: vec![Vec::new(); BUCKETS], held_bytes: 0, files: (0..BUCKETS).map(|_| None).collect() }
    }

    /// Adds an event. `hash` is that of its key.
    ///
    /// # Errors
    /// If a temporary file cannot be written.
    pub(super) fn add_event(&mut self, hash: KeyHash, event: Event<'_>) -> io::Result<()> {
        let hash = match stored_key(event.key) {
            Cow::Borrowed(_) => hash,
            Cow::Owned(stored) => hash_key(&stored),
        };
        let flags = if event.is_behind { IS_BEHIND } else { 0 };
        self.add(hash, flags, event.section, event.time.0, 0, event.key)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If a temporary file cannot be written.
    pub(super) fn add_row(&mut self, row: Row<'_>) -> io::Result<()> {
        let no_start = if row.start.is_none() { HAS_NO_START } else { 0 };
        let no_hits = if row.num_hits.is_none() { HAS_NO_HITS } else { 0 };
        let (start, num_hits) = (row.start.map_or(0, |start| start.0), row.num_hits.unwrap_or(0));
        self.add(hash_key(row.key), IS_ROW | no_start | no_hits, 0, start, num_hits, row.key)
    }

    /// Passes the parts one by one.
    ///
    /// # Errors
    /// If a temporary file cannot be read back.
    pub(super) fn for_each(self, mut on_part: impl FnMut(&mut [Event<'_>], &mut [Row<'_>])) -> io::Result<()> {
        for (held, file) in self.held.into_iter().zip(self.files) {
            let mut bytes = Vec::new();
            if let Some(mut file) = file {
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
            }
            bytes.extend_from_slice(&held);
            let (mut events, mut rows) = (Vec::new(), Vec::new());
            let mut rest = bytes.as_slice();
            while let Some((flags, section, time, hits, key)) = take(&mut rest) {
                if flags & IS_ROW == 0 {
                    events.push(Event { key, section, time: EventTime(time), is_behind: flags & IS_BEHIND > 0 });
                } else {
                    let start = (flags & HAS_NO_START == 0).then_some(EventTime(time));
                    rows.push(Row { key, start, num_hits: (flags & HAS_NO_HITS == 0).then_some(hits) });
                }
            }
            on_part(&mut events, &mut rows);
        }
        Ok(())
    }

    fn add(&mut self, hash: KeyHash, flags: u8, section: u16, time: i64, hits: i64, key: &[u8]) -> io::Result<()> {
        let bucket = &mut self.held[(hash.0 % BUCKETS as u64) as usize];
        let length = u32::try_from(key.len()).expect("a key is shorter than its message, which is below 4 GiB");
        bucket.push(flags);
        bucket.extend_from_slice(&section.to_le_bytes());
        bucket.extend_from_slice(&length.to_le_bytes());
        bucket.extend_from_slice(&time.to_le_bytes());
        bucket.extend_from_slice(&hits.to_le_bytes());
        bucket.extend_from_slice(key);
        self.held_bytes += HEAD_BYTES + key.len();
        if self.held_bytes >= HELD_BYTES { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        for (held, file) in self.held.iter_mut().zip(&mut self.files) {
            let file = match file {
                Some(file) => file,
                None => file.insert(tempfile::tempfile()?),
            };
            file.write_all(held)?;
            held.clear();
        }
        self.held_bytes = 0;
        Ok(())
    }
}

/// The next entry, if there is one.
fn take<'a>(rest: &mut &'a [u8]) -> Option<(u8, u16, i64, i64, &'a [u8])> {
    fn field<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        let (field, tail) = rest.split_first_chunk()?;
        *rest = tail;
        Some(*field)
    }
    let [flags] = field(rest)?;
    let section = u16::from_le_bytes(field(rest)?);
    let length = u32::from_le_bytes(field(rest)?) as usize;
    let (time, hits) = (i64::from_le_bytes(field(rest)?), i64::from_le_bytes(field(rest)?));
    let (key, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some((flags, section, time, hits, key))
}

#[cfg(test)]
mod tests {
    use job_sessionize::key::Key;

    use super::*;

    fn key(ip: &str) -> Vec<u8> {
        let mut key = Vec::new();
        Key { ip: Some(ip), host: None }.encode(&mut key);
        key
    }

    #[test]
    fn everything_comes_back_once_and_what_belongs_together_at_once_also_from_files() {
        for spills in [0, 1, 2] {
            let keys: Vec<Vec<u8>> = (0..1000).map(|n| key(&format!("a{n}\0"))).collect();
            let mut buckets = Buckets::new();
            for turn in 0..3 {
                for key in &keys {
                    let event = Event { key, section: 7, time: EventTime(turn), is_behind: turn == 1 };
                    buckets.add_event(hash_key(key), event).expect("a file");
                    let stored = stored_key(key);
                    let row = Row {
                        key: &stored,
                        start: (turn > 0).then_some(EventTime(turn)),
                        num_hits: (turn > 1).then_some(-1),
                    };
                    buckets.add_row(row).expect("a file");
                }
                if turn < spills {
                    buckets.spill().expect("files");
                }
            }
            let mut seen = 0;
            let each = |events: &mut [Event<'_>], rows: &mut [Row<'_>]| {
                events.sort_unstable();
                rows.sort_unstable();
                for (of_key, rows) in events.chunk_by(|a, b| a.key == b.key).zip(rows.chunk_by(|a, b| a.key == b.key)) {
                    assert!(of_key.iter().map(|e| (e.section, e.time.0, e.is_behind)).eq([
                        (7, 0, false),
                        (7, 1, true),
                        (7, 2, false)
                    ]));
                    assert!(rows.iter().map(|r| (r.start.map(|at| at.0), r.num_hits)).eq([
                        (None, None),
                        (Some(1), None),
                        (Some(2), Some(-1))
                    ]));
                    assert_eq!(stored_key(of_key[0].key), rows[0].key);
                    seen += 1;
                }
            };
            buckets.for_each(each).expect("files");
            assert_eq!(seen, 1000, "with {spills} of 3 turns in files");
        }
    }
}
