//! A file of events, for benchmarks and tests.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::WebEvents;

/// 2025-01-14T17:00:00Z, in ms since the Unix epoch.
const START_MS: i64 = 1_736_874_000_000;

/// The session gap that the pace is made for.
const GAP_MS: u64 = 300_000;

/// Below the watermark's delay of 15 s: no event is late.
const DISORDER_MS: u32 = 14_000;

/// One event in so many comes late by up to [`DISORDER_MS`].
const DISORDERED_ONE_IN: u32 = 4;

/// A visitor's next event is further away than the gap with probability e^-r, if r events are expected in a gap; a
/// fifth for r = ln 5 = 1.609: one session for every five events.
const EVENTS_PER_GAP_MILLI: u64 = 1609;

/// Written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What a file of events holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How many events.
    pub events: u64,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// How many visitors; many more than a fifth of `events` makes more sessions than one in five.
    pub ips: u32,
}

/// A file of events that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`; check that its folder exists and has space", .path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Writes the events to `path`, under a temporary name until it is whole. Returns its size in bytes.
///
/// # Errors
/// If it cannot be written.
pub fn generate(plan: &Plan, path: &Path) -> Result<u64, Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = File::create(&partial)
        .and_then(|mut file| write_all(plan, &mut file))
        .and_then(|bytes| fs::rename(&partial, path).map(|()| bytes));
    written.map_err(|source| {
        let _ = fs::remove_file(&partial);
        Error { path: path.to_owned(), source }
    })
}

fn write_all(plan: &Plan, out: &mut impl Write) -> io::Result<u64> {
    let mut events = WebEvents::new(plan.seed, plan.ips);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + 4096);
    let mut bytes = 0;
    for number in 0..plan.events {
        let at_ms = time_ms(plan, &mut events, number);
        events.write(at_ms, &mut chunk);
        if chunk.len() >= CHUNK_BYTES || number + 1 == plan.events {
            out.write_all(&chunk)?;
            bytes += chunk.len() as u64;
            chunk.clear();
        }
    }
    out.flush()?;
    Ok(bytes)
}

/// Evenly paced, so that `EVENTS_PER_GAP_MILLI / 1000` events of each visitor are expected in a gap.
fn time_ms(plan: &Plan, events: &mut WebEvents, number: u64) -> i64 {
    let pace = EVENTS_PER_GAP_MILLI * u64::from(plan.ips.max(1));
    let since_start = u128::from(number) * u128::from(GAP_MS) * 1000 / u128::from(pace);
    let disordered = events.below(DISORDERED_ONE_IN) == 0;
    let behind = if disordered { events.below(DISORDER_MS) } else { 0 };
    START_MS + i64::try_from(since_start).unwrap_or(i64::MAX / 2) - i64::from(behind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    fn bytes(plan: &Plan) -> Vec<u8> {
        let mut out = Vec::new();
        let size = write_all(plan, &mut out).unwrap();
        assert_eq!(size, out.len() as u64);
        out
    }

    /// FNV-1a over the bytes: a change of the generator changes every benchmark's input, and must be meant.
    fn hash(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn a_seed_gives_the_same_bytes_on_every_machine() {
        let plan = Plan { events: 10_000, seed: 42, ips: 500 };
        let bytes = bytes(&plan);
        assert_eq!((bytes.len(), hash(&bytes)), (4_474_330, 4_420_580_693_516_773_156));
    }

    #[test]
    fn another_seed_gives_other_visitors() {
        let plan = Plan { events: 100, seed: 1, ips: 50 };
        assert_ne!(bytes(&plan), bytes(&Plan { seed: 2, ..plan }));
    }

    #[test]
    fn every_fifth_event_begins_a_session_and_none_is_late() {
        let plan = Plan { events: 100_000, seed: 3, ips: 1000 };
        let text = String::from_utf8(bytes(&plan)).unwrap();
        let mut times: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
        let mut highest = i64::MIN;
        for line in text.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let at = ms_of_day(event["event_time"].as_str().unwrap());
            highest = highest.max(at);
            assert!(highest - at < 15_000, "{at} is {} ms behind", highest - at);
            let key = (event["ip"].to_string(), event["host"].to_string());
            times.entry(key).or_default().push(at);
        }
        let sessions: usize = times.into_values().map(count_sessions).sum();
        assert!((18_500..21_500).contains(&sessions), "{sessions} sessions");
        let size = text.len() / 100_000;
        assert!((400..500).contains(&size), "{size} bytes an event");
    }

    fn count_sessions(mut times: Vec<i64>) -> usize {
        times.sort_unstable();
        1 + times.windows(2).filter(|pair| pair[1] - pair[0] > GAP_MS as i64).count()
    }

    /// ms since the start of 2025-01, for files that end in that month.
    fn ms_of_day(text: &str) -> i64 {
        let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
        (((number(8..10) * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19)) * 1000 + number(20..23)
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_clear_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/events.jsonl");
        let error = generate(&Plan { events: 1, seed: 1, ips: 1 }, &path).unwrap_err();
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
        let good = dir.path().join("events.jsonl");
        generate(&Plan { events: 3, seed: 1, ips: 1 }, &good).unwrap();
        assert_eq!(fs::read_to_string(&good).unwrap().lines().count(), 3);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
