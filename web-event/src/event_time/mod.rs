//! The text of an event's time, as `TO_TIMESTAMP(text, pattern)` of Flink 2.2 SQL reads it.
//!
//! The digits are taken as they stand: a `TIMESTAMP(3)` has no zone, and the `Z` of the job's pattern is only a letter that
//! must be there. So a time is a count of milliseconds since 1970-01-01T00:00:00.000 *of the written clock*, in the
//! calendar of today carried back before 1582 (ISO 8601).
//!
//! Three readers, tried in turn: plain arithmetic on the 24 bytes that nearly every event has; the pattern with the odd
//! cases that Java's `DateTimeFormatter` allows ([`Pattern`]); and what Flink falls back to, `java.sql.Timestamp`
//! (`fallback`). Each later one agrees with the earlier ones where both read a text; a test holds the first to that.
//!
//! Deliberately absent: writing times, zones, clocks. Years too large for 64-bit milliseconds are refused, where Java would
//! silently wrap around.

mod calendar;
mod fallback;
mod pattern;

pub use pattern::{Pattern, PatternError};

use std::sync::LazyLock;

use calendar::{DAY_MS, days_from_civil, days_in_month};

/// The pattern of the web events.
pub const WEB_EVENT_PATTERN: &str = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'";

static WEB_EVENT: LazyLock<Pattern> =
    LazyLock::new(|| Pattern::compile(WEB_EVENT_PATTERN).expect("the pattern is one of those that the tests compile"));

/// The time of a web event in milliseconds since 1970-01-01T00:00:00.000, or none (SQL NULL) if the text is no time:
/// [`to_timestamp_with`] the [`WEB_EVENT_PATTERN`].
///
/// ```
/// use web_event::event_time::to_timestamp;
///
/// assert_eq!(to_timestamp("1970-01-02T00:00:00.001Z"), Some(86_400_001));
/// assert_eq!(to_timestamp("1970-01-02"), Some(86_400_000));
/// assert_eq!(to_timestamp("1970-01-02T00:00:00Z"), None);
/// ```
#[inline]
pub fn to_timestamp(text: &str) -> Option<i64> {
    match text.as_bytes().try_into().ok().and_then(from_usual_form) {
        Some(ms) => Some(ms),
        None => to_timestamp_with(text, &WEB_EVENT),
    }
}

/// The time that `text` states by the pattern or, where the text does not follow it, by the forms `yyyy-[m]m-[d]d` and
/// `yyyy-[m]m-[d]d h:m:s[.f]` that Flink always accepts beside it.
#[cold]
pub fn to_timestamp_with(text: &str, pattern: &Pattern) -> Option<i64> {
    match pattern.read(text) {
        None if pattern.has_fallback() => fallback::read(text),
        time => time,
    }
}

/// What a text of the usual form has at each place: a digit for a 0, and every other byte itself.
const FORM: [u64; 3] = words(b"0000-00-00T00:00:00.000Z");
/// How far each byte may be from that of the form before the sum of both reaches the highest bit.
const SLACK: [u64; 3] = slack(b"0000-00-00T00:00:00.000Z");
/// The highest bit of each of eight bytes.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The time written `2025-08-01T11:30:00.123Z`, if all is in its ordinary range; none says only that others must look.
///
/// Eight bytes at a time: a byte less that of the form is a digit's value, and ten times itself plus its neighbour that
/// of two digits.
#[inline]
fn from_usual_form(text: &[u8; 24]) -> Option<i64> {
    let text = words(text);
    let mut values = [0; 3];
    let mut exceeds = 0;
    for (nth, value) in values.iter_mut().enumerate() {
        *value = text[nth] ^ FORM[nth];
        // A carry out of a byte comes only from one that has the highest bit itself.
        exceeds |= *value | value.wrapping_add(SLACK[nth]);
    }
    if exceeds & HIGH != 0 {
        return None;
    }
    let pairs = values.map(|word| word * 10 + (word >> 8));
    let byte = |words: [u64; 3], at: usize| (words[at / 8] >> (at % 8 * 8) & 0xff).cast_signed();
    let two = |at: usize| byte(pairs, at);
    let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
    let (hour, minute, second) = (two(11), two(14), two(17));
    let is_ordinary = year >= 1
        && (1..=12).contains(&month)
        && day >= 1
        && day <= days_in_month(year, month)
        && hour <= 23
        && minute <= 59
        && second <= 59;
    if !is_ordinary {
        return None;
    }
    let time_ms = ((hour * 60 + minute) * 60 + second) * 1000 + byte(values, 20) * 100 + two(21);
    Some(days_from_civil(year, month, day) * DAY_MS + time_ms)
}

const fn words(text: &[u8; 24]) -> [u64; 3] {
    let (chunks, _) = text.as_chunks::<8>();
    [u64::from_le_bytes(chunks[0]), u64::from_le_bytes(chunks[1]), u64::from_le_bytes(chunks[2])]
}

const fn slack(form: &[u8; 24]) -> [u64; 3] {
    let mut slack = [0; 24];
    let mut at = 0;
    while at < form.len() {
        slack[at] = if form[at] == b'0' { 0x7f - 9 } else { 0x7f };
        at += 1;
    }
    words(&slack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_form_needs_every_byte_in_its_place() {
        let good = b"2025-08-01T11:30:00.123Z";
        assert_eq!(from_usual_form(good), Some(1_754_047_800_123));
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut text = *good;
                text[at] = byte;
                let is_same_kind = byte == good[at] || (byte.is_ascii_digit() && good[at].is_ascii_digit());
                assert!(is_same_kind || from_usual_form(&text).is_none(), "byte {byte} at {at}");
            }
        }
    }

    #[test]
    fn usual_form_agrees_with_the_pattern_on_every_day_and_leaves_it_the_rest() {
        for year in ["0001", "0004", "0100", "1582", "1900", "1970", "2000", "2024", "2025", "2100", "9999", "0000"] {
            for month in 0..=13 {
                for day in 0..=32 {
                    let text = format!("{year}-{month:02}-{day:02}T23:59:59.999Z");
                    let slow = WEB_EVENT.read(&text);
                    assert_eq!(to_timestamp(&text), slow, "{text}");
                    if let Some(fast) = text.as_bytes().try_into().ok().and_then(from_usual_form) {
                        assert_eq!(Some(fast), slow, "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn clock_is_read_within_its_ranges() {
        for (time, expected) in [
            ("00:00:00.000", Some(0)),
            ("23:59:59.999", Some(86_399_999)),
            ("24:00:00.000", Some(86_400_000)),
            ("24:00:00.001", None),
            ("24:00:01.000", None),
            ("25:00:00.000", None),
            ("12:60:00.000", None),
            ("23:59:60.000", None),
            ("01:02:03.004", Some(3_723_004)),
        ] {
            assert_eq!(to_timestamp(&format!("1970-01-01T{time}Z")), expected, "{time}");
        }
    }

    #[test]
    fn day_past_the_end_of_a_month_is_its_last_unless_the_fallback_reads_it() {
        assert_eq!(to_timestamp("2025-02-30T00:00:00.000Z"), to_timestamp("2025-02-28T00:00:00.000Z"));
        assert_eq!(to_timestamp("2025-02-30"), to_timestamp("2025-03-02T00:00:00.000Z"));
    }
}
