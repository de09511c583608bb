//! Durations as users write them: `5m`, `90s`, `1h30m`, `250ms`, `0`.

use std::time::Duration;

/// A text that is not a duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write for instance `5m`, `90s`, `1h30m` or `250ms`")]
pub struct ParseDurationError(String);

/// Reads a duration: whole numbers with the units `ms`, `s`, `m`, `h`, `d`, the largest unit first, or `0`.
///
/// # Errors
/// If the text is anything else (a bare number, a sign, a fraction, an unknown unit, units out of order), or too long
/// for 64-bit milliseconds.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    parse_parts(text)
        .filter(|&ms| i64::try_from(ms).is_ok())
        .map(Duration::from_millis)
        .ok_or_else(|| ParseDurationError(text.to_owned()))
}

/// Shows a duration in the form that [`parse`] reads: `1h30m`.
pub fn show(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, ms) in UNITS {
        let amount = rest / u128::from(ms);
        rest %= u128::from(ms);
        if amount > 0 {
            text += &format!("{amount}{unit}");
        }
    }
    if text.is_empty() { "0".to_owned() } else { text }
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

fn parse_parts(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let (_, ms) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*ms)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_users_write() {
        for (text, ms) in [
            ("5m", 300_000),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0", 0),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn shows_what_it_reads() {
        for text in ["5m", "1m30s", "1h30m", "250ms", "0", "1d2h3m4s5ms"] {
            assert_eq!(show(parse(text).expect("valid")), text);
        }
    }

    #[test]
    fn refuses_the_rest_and_says_how_to_write_it() {
        for text in
            ["", "5", "-5m", "5 m", "5min", "1.5h", "m", "5m5m", "30m1h", "99999999999999999999s", "9999999999999999d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            parse("5min").expect_err("no such unit").to_string(),
            "`5min` is not a duration: write for instance `5m`, `90s`, `1h30m` or `250ms`"
        );
    }
}
