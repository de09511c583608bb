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

/// Of the hot key are all events but one in so many.
const NOT_HOT_ONE_IN: u32 = 10;

/// [`Shape::HighCardinality`] has so many visitors for each four events: 88 of 100 events have no other of their visitor near them.
const VISITORS_FOR_FOUR_EVENTS: u64 = 15;

/// Of [`Shape::Backfill`]: a million events take more than four days.
const BACKFILL_VISITORS: u32 = 500;

/// What a file of events holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How many events.
    pub events: u64,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// How many visitors, of the shapes that leave it open; many more than a fifth of `events` makes more sessions than one in five.
    pub ips: u32,
    /// Who comes when.
    pub shape: Shape,
}

/// Who comes when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// All visitors alike; about every fifth event begins a session.
    Web,
    /// Nearly as many sessions as events, two thirds of them open at once, of as many visitors as that takes.
    HighCardinality,
    /// Nine of ten events are of one visitor, whose session never ends.
    HotKey,
    /// As [`Shape::Web`], but of so few visitors that event time goes by quickly.
    Backfill,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 4] = [Shape::Web, Shape::HighCardinality, Shape::HotKey, Shape::Backfill];

    /// As it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Shape::Web => "web",
            Shape::HighCardinality => "high-cardinality",
            Shape::HotKey => "hot-key",
            Shape::Backfill => "backfill",
        }
    }
}

impl Plan {
    fn visitors(&self) -> u32 {
        match self.shape {
            Shape::Web | Shape::HotKey => self.ips.max(1),
            Shape::HighCardinality => {
                u32::try_from(self.events * VISITORS_FOR_FOUR_EVENTS / 4).unwrap_or(u32::MAX).max(1)
            }
            Shape::Backfill => BACKFILL_VISITORS,
        }
    }

    /// Event time from the first event to this one, in ms.
    fn since_start_ms(&self, number: u64) -> i64 {
        let ms = match self.shape {
            // Two thirds of the events are within a gap.
            Shape::HighCardinality => {
                u128::from(number) * u128::from(GAP_MS) * 3 / (2 * u128::from(self.events.max(1)))
            }
            // So that `EVENTS_PER_GAP_MILLI / 1000` events of each visitor are expected in a gap.
            Shape::Web | Shape::HotKey | Shape::Backfill => {
                let pace = EVENTS_PER_GAP_MILLI * u64::from(self.visitors());
                u128::from(number) * u128::from(GAP_MS) * 1000 / u128::from(pace)
            }
        };
        i64::try_from(ms).unwrap_or(i64::MAX / 2)
    }
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
    generate_with(plan, path, &mut |_| {})
}

/// As [`generate`]; tells now and then how many events were written.
///
/// # Errors
/// If it cannot be written.
pub fn generate_with(plan: &Plan, path: &Path, on_progress: &mut dyn FnMut(u64)) -> Result<u64, Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = File::create(&partial)
        .and_then(|mut file| write_all(plan, &mut file, on_progress))
        .and_then(|bytes| fs::rename(&partial, path).map(|()| bytes));
    written.map_err(|source| {
        let _ = fs::remove_file(&partial);
        Error { path: path.to_owned(), source }
    })
}

fn write_all(plan: &Plan, out: &mut impl Write, on_progress: &mut dyn FnMut(u64)) -> io::Result<u64> {
    let mut events = WebEvents::new(plan.seed, plan.visitors());
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + 4096);
    let mut bytes = 0;
    for number in 0..plan.events {
        let at_ms = START_MS + plan.since_start_ms(number) - behind_ms(&mut events);
        if plan.shape == Shape::HotKey && events.below(NOT_HOT_ONE_IN) > 0 {
            events.write_of(0, at_ms, &mut chunk);
        } else {
            events.write(at_ms, &mut chunk);
        }
        if chunk.len() >= CHUNK_BYTES || number + 1 == plan.events {
            out.write_all(&chunk)?;
            bytes += chunk.len() as u64;
            chunk.clear();
            on_progress(number + 1);
        }
    }
    out.flush()?;
    Ok(bytes)
}

fn behind_ms(events: &mut WebEvents) -> i64 {
    let is_disordered = events.below(DISORDERED_ONE_IN) == 0;
    if is_disordered { events.below(DISORDER_MS).into() } else { 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    fn bytes(plan: &Plan) -> Vec<u8> {
        let mut out = Vec::new();
        let size = write_all(plan, &mut out, &mut |_| {}).unwrap();
        assert_eq!(size, out.len() as u64);
        out
    }

    /// FNV-1a over the bytes: a change of the generator changes every benchmark's input, and must be meant.
    fn hash(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn a_seed_gives_the_same_bytes_on_every_machine() {
        let plan = Plan { events: 10_000, seed: 42, ips: 500, shape: Shape::Web };
        let bytes = bytes(&plan);
        assert_eq!((bytes.len(), hash(&bytes)), (4_474_330, 4_420_580_693_516_773_156));
    }

    #[test]
    fn another_seed_gives_other_visitors() {
        let plan = Plan { events: 100, seed: 1, ips: 50, shape: Shape::Web };
        assert_ne!(bytes(&plan), bytes(&Plan { seed: 2, ..plan }));
    }

    #[test]
    fn every_fifth_event_begins_a_session_and_none_is_late() {
        let plan = Plan { events: 100_000, seed: 3, ips: 1000, shape: Shape::Web };
        let text = String::from_utf8(bytes(&plan)).unwrap();
        let sessions = Sessions::of(&text);
        assert!((18_500..21_500).contains(&sessions.count), "{} sessions", sessions.count);
        let size = text.len() / 100_000;
        assert!((400..500).contains(&size), "{size} bytes an event");
    }

    #[test]
    fn shapes_are_what_they_are_called() {
        let sessions = |shape| {
            let plan = Plan { events: 100_000, seed: 3, ips: 1000, shape };
            Sessions::of(&String::from_utf8(bytes(&plan)).unwrap())
        };
        let many = sessions(Shape::HighCardinality);
        assert!((86_000..91_000).contains(&many.count), "{} sessions", many.count);
        let hot = sessions(Shape::HotKey);
        assert!((89_500..90_700).contains(&hot.longest), "{} of 100000 events are of one key", hot.longest);
        let wide = sessions(Shape::Backfill);
        assert_eq!(wide.span_ms / 3_600_000, 10);
        assert!((18_500..22_000).contains(&wide.count), "{} sessions", wide.count);
    }

    struct Sessions {
        count: usize,
        /// The most events of a key.
        longest: usize,
        span_ms: i64,
    }

    impl Sessions {
        /// Checks too that no event is late.
        fn of(text: &str) -> Sessions {
            let mut times: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
            let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
            for line in text.lines() {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                let at = ms_of_year(event["event_time"].as_str().unwrap());
                highest = highest.max(at);
                lowest = lowest.min(at);
                assert!(highest - at < 15_000, "{at} is {} ms behind", highest - at);
                let key = (event["ip"].to_string(), event["host"].to_string());
                times.entry(key).or_default().push(at);
            }
            let longest = times.values().map(Vec::len).max().unwrap();
            Sessions { count: times.into_values().map(count_sessions).sum(), longest, span_ms: highest - lowest }
        }
    }

    fn count_sessions(mut times: Vec<i64>) -> usize {
        times.sort_unstable();
        1 + times.windows(2).filter(|pair| pair[1] - pair[0] > GAP_MS as i64).count()
    }

    /// ms since the start of 2025, for files that end before May.
    fn ms_of_year(text: &str) -> i64 {
        const DAYS_BEFORE: [i64; 4] = [0, 31, 59, 90];
        let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
        let days = DAYS_BEFORE[(number(5..7) - 1) as usize] + number(8..10) - 1;
        (((days * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19)) * 1000 + number(20..23)
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_clear_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/events.jsonl");
        let error = generate(&Plan { events: 1, seed: 1, ips: 1, shape: Shape::Web }, &path).unwrap_err();
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
        let good = dir.path().join("events.jsonl");
        generate(&Plan { events: 3, seed: 1, ips: 1, shape: Shape::Web }, &good).unwrap();
        assert_eq!(fs::read_to_string(&good).unwrap().lines().count(), 3);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
