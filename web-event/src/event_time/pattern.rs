//! Patterns of times, as Java's `DateTimeFormatter` follows them.
//!
//! As much of it as the patterns of the conformance cases need: the letters `y M d H m s S X`, quoted and other literals,
//! optional sections. Strict about widths, and "smart" about values: a day past the end of its month is the month's last,
//! 24:00:00.000 is the next midnight. Only ASCII digits count, and case matters. An offset must be well formed and is
//! then ignored, as Flink does.
//!
//! Tested by the conformance cases and by the examples below.

use super::calendar::{DAY_MS, days_from_civil, days_in_month};

/// A pattern that texts can be read by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    items: Vec<Item>,
    has_fallback: bool,
}

/// Why a text is no [`Pattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A letter, or a number of them, that is not supported.
    #[error("`{0}` repeated {1} times is not supported in a time pattern; use yyyy, MM, dd, HH, mm, ss, S… or X")]
    Letter(char, usize),
    /// Two numbers with nothing between them.
    #[error("two numbers follow each other in the time pattern; put a separator between them")]
    Adjacent,
    /// A quote or a bracket that is not closed, or closed twice.
    #[error("a quote or bracket of the time pattern has no counterpart")]
    Unbalanced,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Literal(char),
    Number { field: Field, width: Width },
    Fraction { least: usize, most: usize, has_point: bool },
    Offset,
    Optional(Vec<Item>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// Two digits, no sign.
    Two,
    /// Any number of digits, perhaps negative.
    Any,
    /// Four digits; with a plus sign, more.
    Year,
}

/// The longest number that Java reads.
const MOST_DIGITS: usize = 19;

impl Pattern {
    /// The pattern that such a text means to Java.
    ///
    /// # Errors
    ///
    /// The text uses something of Java's patterns that is not supported here, or is none.
    pub fn compile(pattern: &str) -> Result<Self, PatternError> {
        let mut rest = pattern;
        let items = compile_items(&mut rest)?;
        if rest.is_empty() { Ok(Self { items, has_fallback: true }) } else { Err(PatternError::Unbalanced) }
    }

    /// What `TO_TIMESTAMP` uses if it is given no pattern: `yyyy-[m]m-[d]d[ [h]h:[m]m:[s]s[.f{0,9}]]`, with no fallback.
    pub fn unstated() -> Self {
        let mut pattern = Self::compile("yyyy-[MM][M]-[dd][d][ [HH][H]:[mm][m]:[ss][s]]").expect("compiled by a test");
        if let Some(Item::Optional(time)) = pattern.items.last_mut() {
            time.push(Item::Fraction { least: 0, most: 9, has_point: true });
        }
        pattern.has_fallback = false;
        pattern
    }

    pub(super) fn has_fallback(&self) -> bool {
        self.has_fallback
    }

    /// The time in milliseconds, if the whole text follows the pattern and is a time.
    pub(super) fn read(&self, text: &str) -> Option<i64> {
        let mut fields = Fields::default();
        let rest = fields.read_all(&self.items, text)?;
        if rest.is_empty() { fields.resolve() } else { None }
    }
}

/// Takes items up to the end of the pattern or of the optional section.
fn compile_items(rest: &mut &str) -> Result<Vec<Item>, PatternError> {
    let mut items = Vec::new();
    while let Some(c) = rest.chars().next() {
        match c {
            ']' => break,
            '[' => {
                *rest = &rest[1..];
                items.push(Item::Optional(compile_items(rest)?));
                *rest = rest.strip_prefix(']').ok_or(PatternError::Unbalanced)?;
            }
            '\'' => {
                let end = rest[1..].find('\'').ok_or(PatternError::Unbalanced)? + 1;
                // Two quotes in a row mean one.
                let quoted = if end == 1 { "'" } else { &rest[1..end] };
                items.extend(quoted.chars().map(Item::Literal));
                *rest = &rest[end + 1..];
            }
            'a'..='z' | 'A'..='Z' => {
                let count = rest.chars().take_while(|&other| other == c).count();
                let item = compile_letters(c, count)?;
                let is_number = |item: &Item| matches!(item, Item::Number { .. } | Item::Fraction { .. });
                if is_number(&item) && items.last().is_some_and(is_number) {
                    return Err(PatternError::Adjacent);
                }
                items.push(item);
                *rest = &rest[count..];
            }
            _ => {
                items.push(Item::Literal(c));
                *rest = &rest[c.len_utf8()..];
            }
        }
    }
    Ok(items)
}

fn compile_letters(letter: char, count: usize) -> Result<Item, PatternError> {
    let field = match letter {
        'y' if count == 4 => return Ok(Item::Number { field: Field::Year, width: Width::Year }),
        'S' if count <= 9 => return Ok(Item::Fraction { least: count, most: count, has_point: false }),
        'X' if count == 1 => return Ok(Item::Offset),
        'M' => Field::Month,
        'd' => Field::Day,
        'H' => Field::Hour,
        'm' => Field::Minute,
        's' => Field::Second,
        _ => return Err(PatternError::Letter(letter, count)),
    };
    let width = match count {
        1 => Width::Any,
        2 => Width::Two,
        _ => return Err(PatternError::Letter(letter, count)),
    };
    Ok(Item::Number { field, width })
}

/// What a text has said so far.
#[derive(Debug, Clone, Copy, Default)]
struct Fields {
    numbers: [Option<i64>; 6],
    nanos: Option<i64>,
}

impl Fields {
    /// Follows the items, and returns the rest of the text.
    fn read_all<'t>(&mut self, items: &[Item], text: &'t str) -> Option<&'t str> {
        items.iter().try_fold(text, |rest, item| self.read(item, rest))
    }

    fn read<'t>(&mut self, item: &Item, text: &'t str) -> Option<&'t str> {
        match *item {
            Item::Literal(c) => text.strip_prefix(c),
            Item::Number { field, width } => {
                let (value, rest) = number(width, text)?;
                // The same field twice must say the same; that is how `[MM][M]` works.
                let known = self.numbers[field as usize].get_or_insert(value);
                (*known == value).then_some(rest)
            }
            Item::Fraction { least, most, has_point } => {
                let digits = match text.strip_prefix('.') {
                    Some(digits) if has_point => digits,
                    _ if has_point => return (least == 0).then_some(text),
                    _ => text,
                };
                let count = leading_digits(digits, most);
                if count < least {
                    return None;
                }
                let value: i64 = format!("{:0<9}", &digits[..count]).parse().ok()?;
                self.nanos = Some(value);
                Some(&digits[count..])
            }
            Item::Offset => offset(text),
            Item::Optional(ref items) => {
                let before = *self;
                Some(self.read_all(items, text).unwrap_or_else(|| {
                    *self = before;
                    text
                }))
            }
        }
    }

    /// The time of these fields; what was not said is 1970, the first, or zero.
    fn resolve(&self) -> Option<i64> {
        let said = |field: Field| self.numbers[field as usize];
        let year = said(Field::Year).unwrap_or(1970);
        let month = said(Field::Month).unwrap_or(1);
        let day = said(Field::Day).unwrap_or(1);
        let is_date = (1..=999_999_999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !is_date {
            return None;
        }
        let last_day = days_in_month(year, month);
        if day > last_day && said(Field::Year).is_none() {
            return None;
        }
        let hour = said(Field::Hour).unwrap_or(0);
        let minute = said(Field::Minute).unwrap_or(0);
        let second = said(Field::Second).unwrap_or(0);
        let nanos = self.nanos.unwrap_or(0);
        let is_end_of_day = (hour, minute, second, nanos) == (24, 0, 0, 0);
        let is_clock = (0..=23).contains(&hour) && (0..=59).contains(&minute) && (0..=59).contains(&second);
        if !is_clock && !is_end_of_day {
            return None;
        }
        let time_ms = ((hour * 60 + minute) * 60 + second) * 1000 + nanos / 1_000_000;
        days_from_civil(year, month, day.min(last_day)).checked_mul(DAY_MS)?.checked_add(time_ms)
    }
}

/// A number at the start of the text, as Java's `NumberPrinterParser` reads it strictly.
fn number(width: Width, text: &str) -> Option<(i64, &str)> {
    let (is_negative, has_plus, digits) = match text.as_bytes().first()? {
        b'-' if width != Width::Two => (true, false, &text[1..]),
        b'+' if width == Width::Year => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let (least, most) = match width {
        Width::Two => (2, 2),
        Width::Any => (1, MOST_DIGITS),
        Width::Year => (4, MOST_DIGITS),
    };
    let mut count = leading_digits(digits, most);
    if count < least {
        return None;
    }
    let mut value: u64 = digits[..count].parse().ok()?;
    if i64::try_from(value).is_err() {
        count -= 1;
        value /= 10;
    }
    let value = i64::try_from(value).ok()?;
    if is_negative {
        return (value != 0).then_some((-value, &digits[count..]));
    }
    // A plus sign and a fifth digit go together.
    if width == Width::Year && has_plus != (count > 4) {
        return None;
    }
    Some((value, &digits[count..]))
}

/// `Z`, or a sign with two digits of hours and perhaps two of minutes.
fn offset(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some(rest);
    }
    let digits = text.strip_prefix(['+', '-'])?;
    let two = |at: usize| (leading_digits(digits.get(at..)?, 2) == 2).then(|| digits[at..at + 2].parse().ok())?;
    let hours: u32 = two(0)?;
    let minutes: Option<u32> = two(2).filter(|&minutes| minutes <= 59);
    if hours * 60 + minutes.unwrap_or(0) > 18 * 60 {
        return None;
    }
    Some(&digits[if minutes.is_some() { 4 } else { 2 }..])
}

fn leading_digits(text: &str, most: usize) -> usize {
    text.bytes().take(most).take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn year_of_more_than_four_digits_has_a_plus_sign() {
        assert_eq!(number(Width::Year, "2025-"), Some((2025, "-")));
        assert_eq!(number(Width::Year, "+10000-"), Some((10000, "-")));
        assert_eq!(number(Width::Year, "-0001-"), Some((-1, "-")));
        for none in ["10000", "+2025", "-0000", "202", ""] {
            assert_eq!(number(Width::Year, none), None, "{none}");
        }
    }

    #[test]
    fn year_beyond_64_bit_milliseconds_is_refused() {
        let pattern = Pattern::compile("yyyy").unwrap();
        assert!(pattern.read("+292000000").is_some());
        for none in ["+293000000", "+999999999", "+1000000000", "+9999999999999999999"] {
            assert_eq!(pattern.read(none), None, "{none}");
        }
    }

    #[test]
    fn offset_is_checked_and_ignored() {
        let pattern = Pattern::compile("yyyyX").unwrap();
        for good in ["1970Z", "1970+00", "1970-0500", "1970+18", "1970-1800"] {
            assert_eq!(pattern.read(good), Some(0), "{good}");
        }
        for none in ["1970", "1970z", "1970+5", "1970+00:00", "1970+1801", "1970+24", "1970+0060"] {
            assert_eq!(pattern.read(none), None, "{none}");
        }
    }

    #[test]
    fn unstated_pattern_takes_one_or_two_digits_and_any_fraction() {
        let pattern = Pattern::unstated();
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("1970-1-1 0:0:1", Some(1000)),
            ("1970-01-01 00:00:00.", Some(0)),
            ("1970-01-01 00:00:00.123456789", Some(123)),
            ("1970-01-01 00:00:00.1234567890", None),
            ("1970-001-01", None),
            // `[MM][M]` reads 01 and then 1, and both say January.
            ("1970-011-01", Some(0)),
        ] {
            assert_eq!(pattern.read(text), expected, "{text}");
        }
    }

    #[test]
    fn optional_section_leaves_nothing_behind_if_it_fails() {
        let pattern = Pattern::compile("yyyy[-dd:]-MM").unwrap();
        let february = 31 * DAY_MS;
        assert_eq!(pattern.read("1970-02"), Some(february));
        assert_eq!(pattern.read("1970-03:-02"), Some(february + 2 * DAY_MS));
    }

    #[test]
    fn patterns_beyond_the_supported_ones_are_refused() {
        assert_eq!(Pattern::compile("yyyyMMdd"), Err(PatternError::Adjacent));
        assert_eq!(Pattern::compile("EEE"), Err(PatternError::Letter('E', 3)));
        assert_eq!(Pattern::compile("yyyy[-MM"), Err(PatternError::Unbalanced));
        assert_eq!(Pattern::compile("yyyy]"), Err(PatternError::Unbalanced));
        assert_eq!(Pattern::compile("'T"), Err(PatternError::Unbalanced));
        let quote = Pattern::compile("''yyyy").unwrap();
        assert_eq!(quote.read("'1970"), Some(0));
    }
}
