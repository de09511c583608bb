//! What Flink accepts beside any pattern: the texts of `java.sql.Date` and `java.sql.Timestamp`.
//!
//! `yyyy-[m]m-[d]d` or, with one blank, `yyyy-[m]m-[d]d h:m:s[.f{1,9}]`, after cutting blanks and control characters off both
//! ends. These old classes are generous: days past the month's end, hours, minutes and seconds of any size roll over;
//! numbers may be signed and in the digits of any script; and dates before 15 October 1582 are of the Julian calendar,
//! after which Flink takes the resulting year, month and day for one of today's calendar. The process's zone, in which Java
//! would read such a time, is taken to be UTC.
//!
//! From OpenJDK 17: `java.sql.Timestamp.valueOf`, `java.sql.Date.valueOf`, `java.util.Date.normalize`. Tested by the
//! conformance cases and the examples below.

use super::calendar::{DAY_MS, days_from_civil, days_from_julian, days_in_month, julian_from_days};

/// The day from which `java.util.Date` uses today's calendar: 15 October 1582.
const FIRST_GREGORIAN_DAY: i64 = -141_427;

/// The zeros of the decimal digits that are one UTF-16 unit long (Unicode 13, general category Nd).
const ZEROS: [u16; 37] = [
    0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0de6,
    0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
    0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

/// The time in milliseconds that the text states in one of these forms.
pub(super) fn read(text: &str) -> Option<i64> {
    let text = text.trim_matches(|c| c <= ' ');
    let (date, clock) = match text.split_once(' ') {
        Some((date, clock)) => (date, Clock::parse(clock)?),
        None => (text, Clock { second_of_day: 0, ms: 0 }),
    };
    let mut parts = date.splitn(3, '-');
    let year = parse_digits(parts.next()?, 4..=4)?;
    let month = parse_digits(parts.next()?, 1..=2)?;
    let day = parse_digits(parts.next()?, 1..=2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    to_iso(instant(year, month, day, clock.second_of_day * 1000)).map(|time| time + clock.ms)
}

struct Clock {
    /// Of any size and sign.
    second_of_day: i64,
    ms: i64,
}

impl Clock {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let hour = parse_int(parts.next()?)?;
        let minute = parse_int(parts.next()?)?;
        let seconds = parts.next()?;
        let (second, ms) = match seconds.split_once('.') {
            Some((second, fraction)) => (parse_int(second)?, milliseconds(fraction)?),
            None => (parse_int(seconds)?, 0),
        };
        Some(Self { second_of_day: (hour * 60 + minute) * 60 + second, ms })
    }
}

/// The first three digits of a fraction of up to nine; the rest must be digits too.
fn milliseconds(fraction: &str) -> Option<i64> {
    digit(fraction.chars().next()?)?;
    let count = u32::try_from(fraction.chars().count()).ok().filter(|count| (1..=9).contains(count))?;
    let nanos = parse_int(fraction)? * 10_i64.pow(9 - count);
    Some(nanos / 1_000_000)
}

/// The milliseconds `java.util.Date` holds for these fields.
fn instant(year: i64, month: i64, day: i64, time_ms: i64) -> i64 {
    let gregorian = days_from_civil(year, month, day) * DAY_MS + time_ms;
    let julian = days_from_julian(year, month, day) * DAY_MS + time_ms;
    let is_gregorian = |instant: i64| instant.div_euclid(DAY_MS) >= FIRST_GREGORIAN_DAY;
    // A year is first taken in its own calendar; if that leads into the time of the other, the other is right.
    let first_choice = if year >= 1582 { gregorian } else { julian };
    if is_gregorian(first_choice) { gregorian } else { julian }
}

/// The time of today's calendar that has the same year, month, day and clock as `java.util.Date` shows for this instant.
/// A year before the first is shown without its sign. None if there is no such day.
fn to_iso(instant: i64) -> Option<i64> {
    let (days, time_ms) = (instant.div_euclid(DAY_MS), instant.rem_euclid(DAY_MS));
    if days >= FIRST_GREGORIAN_DAY {
        return Some(instant);
    }
    let (year, month, day) = julian_from_days(days);
    let year = if year <= 0 { 1 - year } else { year };
    (day <= days_in_month(year, month)).then(|| days_from_civil(year, month, day) * DAY_MS + time_ms)
}

fn parse_digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<i64> {
    if !lengths.contains(&text.chars().count()) {
        return None;
    }
    parse_int(text)
}

/// `Integer.parseInt`.
fn parse_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (if text.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, text),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.chars().try_fold(0_i64, |value, c| {
        let value = value * 10 + sign * digit(c)?;
        i32::try_from(value).is_ok().then_some(value)
    })?;
    Some(value)
}

fn digit(c: char) -> Option<i64> {
    let unit = u16::try_from(u32::from(c)).ok()?;
    let below = ZEROS.partition_point(|&zero| zero <= unit);
    let zero = ZEROS[below.checked_sub(1)?];
    Some(i64::from(unit - zero)).filter(|&value| value <= 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(year: i64, month: i64, day: i64) -> Option<i64> {
        Some(days_from_civil(year, month, day) * DAY_MS)
    }

    #[test]
    fn days_and_clock_roll_over() {
        assert_eq!(read("2025-02-30"), iso(2025, 3, 2));
        assert_eq!(read("2025-1-1 25:61:61.5"), iso(2025, 1, 2).map(|day| day + 7_321_500));
        assert_eq!(read("2025-01-01 -1:00:00"), iso(2025, 1, 1).map(|day| day - 3_600_000));
    }

    #[test]
    fn forms_are_kept_to() {
        for none in [
            "",
            "2025",
            "2025-01",
            "2025-01-",
            "2025-01-01-",
            "25-01-01",
            "12025-01-01",
            "2025-001-01",
            "2025-13-01",
            "2025-00-01",
            "2025-01-32",
            "2025-01-00",
            "-025-01-01",
            "2025-01-01 ",
            "2025-01-01 00:00",
            "2025-01-01 00:00:",
            "2025-01-01 00:00:00.",
            "2025-01-01 00:00:00.1234567891",
            "2025-01-01 00:00:00.-1",
            "2025-01-01  00:00:00",
            "2025-01-01 :00:00",
            "2025-01-01T00:00:00",
            "2025-01-01 99999999999:00:00",
        ] {
            let expected = if none == "2025-01-01 " { iso(2025, 1, 1) } else { None };
            assert_eq!(read(none), expected, "{none:?}");
        }
    }

    #[test]
    fn digits_of_any_script_and_signs_count() {
        assert_eq!(read("２０２５-０１-٠١"), iso(2025, 1, 1));
        assert_eq!(read("2025-+1-01"), iso(2025, 1, 1));
        assert_eq!(read("𝟐𝟎𝟐𝟓-01-01"), None);
    }

    #[test]
    fn calendar_changes_in_october_1582() {
        assert_eq!(read("1582-10-15"), iso(1582, 10, 15));
        assert_eq!(read("1582-10-14"), iso(1582, 10, 24));
        assert_eq!(read("1582-10-05"), iso(1582, 10, 15));
        assert_eq!(read("1582-10-04"), iso(1582, 10, 4));
        assert_eq!(read("1582-10-04 24:00:00"), iso(1582, 10, 15));
        assert_eq!(read("1582-02-30"), iso(1582, 3, 2));
    }

    #[test]
    fn early_dates_keep_their_written_fields() {
        assert_eq!(read("0001-01-01"), iso(1, 1, 1));
        assert_eq!(read("1400-02-30"), iso(1400, 3, 1), "1400 is a leap year of the Julian calendar");
        assert_eq!(read("1400-02-29"), None, "a day that today's calendar does not have");
    }

    #[test]
    fn digit_table_is_sorted_and_apart() {
        assert!(ZEROS.windows(2).all(|pair| pair[0] + 10 <= pair[1]));
    }
}
