//! Numbers and times as text, for the file sinks.

use stream_core::time::EventTime;

const MS_PER_DAY: i64 = 86_400_000;

/// Writes times as `2025-01-14 17:01:12.232`, as `EventTime`'s `Display` does, and much faster: the text of a day is kept,
/// since the rows of a result lie close together in time.
#[derive(Debug, Default)]
pub(super) struct TimeText {
    day: Option<i64>,
    /// The day's date with the space behind it.
    date: String,
}

impl TimeText {
    /// Appends a time.
    pub(super) fn write(&mut self, time: EventTime, out: &mut Vec<u8>) {
        let day = time.0.div_euclid(MS_PER_DAY);
        if self.day != Some(day) {
            self.date = EventTime(time.0 - time.0.rem_euclid(1000)).to_string();
            self.date.truncate(self.date.len() - "17:01:12.232".len());
            self.day = Some(day);
        }
        let of_day = time.0.rem_euclid(MS_PER_DAY);
        out.extend_from_slice(self.date.as_bytes());
        out.extend_from_slice(&of_day_text(of_day));
    }
}

/// `hh:mm:ss.fff`
fn of_day_text(ms: i64) -> [u8; 12] {
    let digit = |value: i64| b'0' + (value % 10) as u8;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    [
        digit(hour / 10),
        digit(hour),
        b':',
        digit(minute / 10),
        digit(minute),
        b':',
        digit(second / 10),
        digit(second),
        b'.',
        digit(ms / 100),
        digit(ms / 10),
        digit(ms),
    ]
}

/// Appends bytes as PostgreSQL shows them: `\\x` and two hexadecimal digits for each.
pub(super) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

/// Appends an integer.
pub(super) fn write_integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_shown() {
        let (mut times, mut out) = (TimeText::default(), Vec::new());
        let spread = (-400_000..400_000).map(|step| step * 86_399_123 / 7);
        for ms in spread.chain([0, -1, 1, 1_736_874_072_232, 253_402_300_799_999, i64::MAX, i64::MIN / 2]) {
            out.clear();
            times.write(EventTime(ms), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), EventTime(ms).to_string());
        }
    }
}
