//! Event time and processing time, kept apart by type.
//!
//! Both count milliseconds since 1970-01-01T00:00:00.000 UTC in 64 signed bits, as Flink's `TIMESTAMP(3)` and its
//! timestamps do. Arithmetic saturates: a record from the year 292278994 is odd, but it must not wrap around.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When an event happened, by the record's own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

/// The machine's time, as its clock told it; it may touch results only through idleness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl EventTime {
    /// The time `ms` milliseconds later (earlier if negative), held at the ends of the range.
    #[must_use]
    pub const fn saturating_add_ms(self, ms: i64) -> Self {
        EventTime(self.0.saturating_add(ms))
    }
}

impl Timestamp {
    /// The time `span` later, held at the end of the range.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Timestamp(self.0.saturating_add(millis(span)))
    }

    /// The time passed since `earlier`; zero if that is not in the past.
    #[must_use]
    pub fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }
}

/// A duration's whole milliseconds, held at the largest 64-bit value.
pub fn millis(span: Duration) -> i64 {
    span.as_millis().try_into().unwrap_or(i64::MAX)
}

/// As Flink and Postgres show a `TIMESTAMP(3)`: `2025-01-14 17:01:12.232`.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_civil(f, self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_civil(f, self.0)
    }
}

/// The text is not `yyyy-mm-dd hh:mm:ss[.fff]`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time such as `2025-01-14 17:01:12.232`")]
pub struct ParseTimeError(String);

/// Reads what [`EventTime`]'s `Display` shows, and ISO 8601 in UTC (`2025-01-14T17:01:12Z`); the fraction may be left out.
impl FromStr for EventTime {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_civil(text).map(EventTime).ok_or_else(|| ParseTimeError(text.to_owned()))
    }
}

const MS_PER_DAY: i64 = 86_400_000;

fn write_civil(f: &mut fmt::Formatter<'_>, ms: i64) -> fmt::Result {
    let (year, month, day) = civil_from_days(ms.div_euclid(MS_PER_DAY));
    let of_day = ms.rem_euclid(MS_PER_DAY);
    let (hour, minute, second, milli) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    let sign = if year < 0 { "-" } else { "" };
    let year = year.unsigned_abs();
    write!(f, "{sign}{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milli:03}")
}

fn parse_civil(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| digits(part, 2, 4));
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(|part| digits(part, 2, 2));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let milli = digits(fraction, 1, 3)? * 10_i64.pow(3 - u32::try_from(fraction.len()).ok()?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let days = days_from_civil(year, month, day);
    (in_range && civil_from_days(days) == (year, month, day))
        .then(|| days * MS_PER_DAY + hour * 3_600_000 + minute * 60_000 + second * 1000 + milli)
}

fn digits(text: &str, min: usize, max: usize) -> Option<i64> {
    let is_number = (min..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`] (same source, `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_times_as_postgres_does() {
        assert_eq!(EventTime(0).to_string(), "1970-01-01 00:00:00.000");
        assert_eq!(EventTime(-1).to_string(), "1969-12-31 23:59:59.999");
        assert_eq!(EventTime(1_736_874_072_232).to_string(), "2025-01-14 17:01:12.232");
        assert_eq!(EventTime(253_402_300_799_999).to_string(), "9999-12-31 23:59:59.999");
        assert_eq!(EventTime(-62_135_596_800_000).to_string(), "0001-01-01 00:00:00.000");
    }

    #[test]
    fn every_day_of_four_centuries_reads_back() {
        for day in -200_000..200_000 {
            let time = EventTime(day * MS_PER_DAY + 12_345_678);
            if let Ok(read) = time.to_string().parse::<EventTime>() {
                assert_eq!(read, time);
            } else {
                assert!(time.to_string().starts_with('-') || time.to_string().len() > 23, "{time}");
            }
        }
    }

    #[test]
    fn refuses_days_and_hours_that_are_not() {
        for text in
            ["2025-02-29 00:00:00", "2025-13-01 00:00:00", "2025-01-01 24:00:00", "2025-01-01", "now", "2025-1-1 0:0:0"]
        {
            assert!(text.parse::<EventTime>().is_err(), "{text}");
        }
        assert_eq!("1970-01-02T00:00:00.5Z".parse(), Ok(EventTime(MS_PER_DAY + 500)));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(EventTime(i64::MAX - 1).saturating_add_ms(5), EventTime(i64::MAX));
        assert_eq!(EventTime(i64::MIN + 1).saturating_add_ms(-5), EventTime(i64::MIN));
        assert_eq!(Timestamp(5).saturating_since(Timestamp(9)), Duration::ZERO);
    }
}
