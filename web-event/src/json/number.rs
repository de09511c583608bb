//! Numbers inside an object or array that was declared as text: written again as Java writes them.

use std::fmt::Write as _;

/// Appends a number token as Jackson's tree writes it: whole numbers digit by digit, all others as a `double`.
pub(super) fn push_normalized(written: &str, out: &mut String) {
    if !written.contains(['.', 'e', 'E']) {
        out.push_str(if written == "-0" { "0" } else { written });
        return;
    }
    let value: f64 = written.parse().expect("what JSON calls a number parses as one");
    push_double(value, out);
}

/// `Double.toString`: at least one digit on each side of the point, and an exponent below 10⁻³ and from 10⁷ on. The digits are
/// the fewest that tell the value apart, as in Java 19 and later; older ones sometimes write one more.
fn push_double(value: f64, out: &mut String) {
    if value.is_infinite() {
        // No JSON number: Jackson puts it in quotes.
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
        return;
    }
    let size = value.abs();
    // A `String` cannot refuse to be written to.
    let _ = if size == 0.0 || (1e-3..1e7).contains(&size) {
        write!(out, "{value:?}")
    } else {
        let shortest = format!("{value:e}");
        let (digits, exponent) = shortest.split_once('e').expect("`{:e}` writes an exponent");
        if digits.contains('.') {
            write!(out, "{digits}E{exponent}")
        } else {
            // One digit would do. Java gives two, and of those the nearest: 4.9E-324, not 5.0E-324.
            write!(out, "{}", format!("{value:.1e}").replace('e', "E"))
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        for (written, expected) in [
            ("5", "5"),
            ("-0", "0"),
            ("-12", "-12"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("2.50", "2.5"),
            ("1e2", "100.0"),
            ("1E+3", "1000.0"),
            ("-0.0", "-0.0"),
            ("0e7", "0.0"),
            ("0.001", "0.001"),
            ("0.00099", "9.9E-4"),
            ("1.0E-7", "1.0E-7"),
            ("9999999.5", "9999999.5"),
            ("10000000.0", "1.0E7"),
            ("1.5e10", "1.5E10"),
            ("12345678.9", "1.23456789E7"),
            ("0.1000000000000000055511151231257827", "0.1"),
            ("4.9e-324", "4.9E-324"),
            ("1.7976931348623157e308", "1.7976931348623157E308"),
            ("1e400", "\"Infinity\""),
            ("-1e400", "\"-Infinity\""),
        ] {
            let mut out = String::new();
            push_normalized(written, &mut out);
            assert_eq!(out, expected, "{written}");
        }
    }
}
