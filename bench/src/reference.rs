//! The right answer, by the simplest program that can find it: every event of a visitor, sorted, parted where the gap is.
//!
//! Nothing of the product takes part: `serde_json` reads the events, the time is read here. A result is told by how many rows and hits
//! it has and by the sum of the hashes of its rows, which is the same in any order; what differs is looked up row by row only when it
//! does.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// The gap that everybody is told: a session goes on as long as the next event is not *more* than this behind.
pub(crate) const GAP_MS: i64 = 300_000;

/// How often progress is told, in events.
const TELL_EVERY: u64 = 1 << 14;
/// Rows that differ, shown at most.
const SHOWN: usize = 3;

/// What a table of sessions comes to, in whatever order its rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    pub(crate) rows: u64,
    pub(crate) hits: u64,
    sum: u128,
}

/// A session: when it began, in ms since 1970; of whom; with how many events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row<'a> {
    pub(crate) first_ms: i64,
    pub(crate) ip: &'a str,
    pub(crate) host: &'a str,
    pub(crate) hits: u64,
}

impl Digest {
    /// Takes in a row.
    pub(crate) fn add(&mut self, row: &Row<'_>) {
        let Row { first_ms, ip, host, hits } = row;
        self.rows += 1;
        self.hits += hits;
        self.sum = self.sum.wrapping_add(xxh3_128(format!("{first_ms}\0{ip}\0{host}\0{hits}").as_bytes()));
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions of {} events", self.rows, self.hits)
    }
}

#[derive(Deserialize)]
struct Event {
    ip: String,
    host: String,
    event_time: String,
}

/// Finds the sessions of the events, and writes them to a CSV file without a head.
///
/// # Errors
/// If an event cannot be read, or the file not be written.
pub(crate) fn compute(events: &Path, sessions: &Path, on_progress: &mut dyn FnMut(u64)) -> Result<Digest> {
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (line, number) in lines(events)?.zip(0_u64..) {
        let line = line?;
        let Event { ip, host, event_time } = serde_json::from_str(&line).with_context(|| line.clone())?;
        let at_ms = time_ms(&event_time).with_context(|| format!("`{event_time}` is no time"))?;
        times.entry(format!("{ip},{host}")).or_default().push(at_ms);
        if number % TELL_EVERY == 0 {
            on_progress(number);
        }
    }
    let out = File::create(sessions).with_context(|| format!("cannot write `{}`", sessions.display()))?;
    let (mut out, mut digest) = (BufWriter::new(out), Digest::default());
    for (key, mut times) in times {
        let (ip, host) = key.split_once(',').context("a key of two parts")?;
        times.sort_unstable();
        for session in times.chunk_by(|before, next| next - before <= GAP_MS) {
            let row = Row { first_ms: session[0], ip, host, hits: session.len() as u64 };
            digest.add(&row);
            writeln!(out, "{},{ip},{host},{}", time_text(row.first_ms), row.hits)?;
        }
    }
    out.flush()?;
    Ok(digest)
}

/// What a file of rows comes to: `event_hour,ip,host,num_hits`, with a head or without.
///
/// # Errors
/// If it is not there, or has other rows.
pub(crate) fn of_csv(file: &Path) -> Result<Digest> {
    let mut digest = Digest::default();
    each_row(file, &mut |row| digest.add(&row))?;
    Ok(digest)
}

/// Says what is wrong with rows that do not come to what they should.
///
/// # Errors
/// If they do not; and if a file cannot be read.
pub(crate) fn check(found: Digest, expected: Digest, files: Option<(&Path, &Path)>) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let different = files.map(|(found, expected)| different(found, expected)).transpose()?;
    let different = different.unwrap_or_default().join("; ");
    anyhow::bail!("wrong result: {found}, should be {expected}; {different}");
}

/// The first rows that are in one file and not in the other.
fn different(found: &Path, expected: &Path) -> Result<Vec<String>> {
    let mut counts: BTreeMap<(i64, String, u64), i32> = BTreeMap::new();
    for (file, step) in [(expected, 1), (found, -1)] {
        each_row(file, &mut |row| {
            let key = (row.first_ms, format!("{} {}", row.ip, row.host), row.hits);
            *counts.entry(key).or_default() += step;
        })?;
    }
    let differ: Vec<_> = counts.into_iter().filter(|(_, count)| *count != 0).collect();
    let told = differ.iter().take(SHOWN).map(|((first_ms, key, hits), count)| {
        let what = if *count > 0 { "missing" } else { "surplus" };
        format!("{what}: {} {key} {hits}", time_text(*first_ms))
    });
    Ok(std::iter::once(format!("{} rows differ", differ.len())).chain(told).collect())
}

fn each_row(file: &Path, on_row: &mut dyn FnMut(Row<'_>)) -> Result<()> {
    for (line, number) in lines(file)?.zip(1_u64..) {
        let line = line?;
        let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
        // A head's first field is the name of a column.
        if number == 1 && fields.first().is_some_and(|name| !name.starts_with(|c: char| c.is_ascii_digit())) {
            continue;
        }
        let row = row(&fields).with_context(|| format!("`{}`, line {number}: `{line}`", file.display()))?;
        on_row(row);
    }
    Ok(())
}

/// A row of its four fields as text.
///
/// # Errors
/// If it is none.
pub(crate) fn row<'a>(fields: &[&'a str]) -> Result<Row<'a>> {
    ensure!(fields.len() == 4, "{} fields", fields.len());
    let first_ms = time_ms(fields[0]).context("no time")?;
    Ok(Row { first_ms, ip: fields[1], host: fields[2], hits: fields[3].parse().context("no number of hits")? })
}

fn lines(file: &Path) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let opened = File::open(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    Ok(BufReader::with_capacity(1 << 20, opened).lines())
}

/// `2025-01-14T17:01:12.232Z`, also with a blank for the `T`, without the `Z`, with any number of digits of a second.
fn time_ms(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = match text.get(16..17) {
        Some(":") => number(17..19)?,
        _ => 0,
    };
    let digits = text.get(19..).unwrap_or("").trim_start_matches('.').trim_end_matches('Z');
    let ms = format!("{digits:0<3}").get(..3)?.parse::<i64>().ok()?;
    let minutes = (days_from_civil(year, month, day) * 24 + number(11..13)?) * 60 + number(14..16)?;
    Some((minutes * 60 + seconds) * 1000 + ms)
}

/// Howard Hinnant, "chrono-compatible low-level date algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The same back: `2025-01-14 17:01:12.232`.
pub(crate) fn time_text(ms: i64) -> String {
    let (days, ms) = (ms.div_euclid(86_400_000) + 719_468, ms.rem_euclid(86_400_000));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_read_in_everybodys_form_and_written_back() {
        let expected = 1_736_874_072_200;
        let same = ["2025-01-14T17:01:12.200Z", "2025-01-14 17:01:12.2", "2025-01-14 17:01:12.200000"];
        for text in same {
            assert_eq!(time_ms(text), Some(expected), "{text}");
        }
        assert_eq!(time_ms("2025-01-14 17:01"), Some(1_736_874_060_000));
        assert_eq!(time_ms("yesterday"), None);
        for ms in [0, 951_782_400_000, 1_735_689_599_999, 4_107_542_400_001] {
            assert_eq!(time_ms(&time_text(ms)), Some(ms), "{}", time_text(ms));
        }
    }

    #[test]
    fn sessions_touch_at_exactly_the_gap_and_part_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let event = |time: &str| format!(r#"{{"ip":"1.2.3.4","host":"a","event_time":"2025-01-14T17:{time}Z"}}"#);
        let events = ["05:00.000", "00:00.000", "10:00.001"].map(event).join("\n");
        let [from, to] = ["events", "sessions"].map(|name| dir.path().join(name));
        std::fs::write(&from, events).unwrap();
        let digest = compute(&from, &to, &mut |_| {}).unwrap();
        assert_eq!((digest.rows, digest.hits), (2, 3));
        let rows = std::fs::read_to_string(&to).unwrap();
        assert_eq!(rows, "2025-01-14 17:00:00.000,1.2.3.4,a,2\n2025-01-14 17:10:00.001,1.2.3.4,a,1\n");
        assert_eq!(of_csv(&to).unwrap(), digest);
    }

    #[test]
    fn one_hit_more_in_one_row_and_one_less_in_another_is_seen_and_shown() {
        let dir = tempfile::tempdir().unwrap();
        let [right, wrong, turned] = ["right", "wrong", "turned"].map(|name| dir.path().join(name));
        let rows = ["2025-01-14 17:00:00.000,1.2.3.4,a,2", "2025-01-14 17:00:00.000,1.2.3.5,a,1"];
        std::fs::write(&right, rows.join("\n")).unwrap();
        std::fs::write(&turned, format!("event_hour,ip,host,num_hits\n{}\n{}", rows[1], rows[0])).unwrap();
        std::fs::write(&wrong, rows.join("\n").replace("a,2", "b,1").replace("a,1", "a,2").replace("b,1", "a,1"))
            .unwrap();
        let expected = of_csv(&right).unwrap();
        assert_eq!(of_csv(&turned).unwrap(), expected);
        let found = of_csv(&wrong).unwrap();
        let error = check(found, expected, Some((&wrong, &right))).unwrap_err().to_string();
        assert!(error.contains("4 rows differ; surplus: 2025-01-14 17:00:00.000 1.2.3.4 a 1"), "{error}");
    }
}
