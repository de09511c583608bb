//! Texts and times as Flink SQL writes them.

use std::time::Duration;

use crate::failure::Failure;

/// Units of durations and intervals, largest first: in ms, in Flink's settings, in SQL.
const UNITS: [(u64, &str, &str); 4] =
    [(86_400_000, "d", "DAY"), (3_600_000, "h", "HOUR"), (60_000, "min", "MINUTE"), (1000, "s", "SECOND")];
/// What an interval of one unit may have of it; more would need a precision of its own.
const MAX_OF_A_UNIT: u64 = 99;
/// The days that `DAY(3)` holds.
const MAX_DAYS: u64 = 999;

/// A text in quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", escaped(text))
}

/// What stands between the quotes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\'', "''")
}

/// The options of a table: what stands behind its columns.
pub(super) fn with(options: &[(&str, String)]) -> String {
    let lines: Vec<String> =
        options.iter().map(|(name, value)| format!("  {} = {}", literal(name), literal(value))).collect();
    format!("WITH (\n{}\n)", lines.join(",\n"))
}

/// A duration in a setting: `90 s`. Flink takes one unit.
pub(super) fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let unit = UNITS.iter().find(|(size, ..)| ms > 0 && ms.is_multiple_of(u128::from(*size)));
    unit.map_or_else(|| format!("{ms} ms"), |(size, name, _)| format!("{} {name}", ms / u128::from(*size)))
}

/// An interval in a query: of one unit where that says it, such as `INTERVAL '5' MINUTE`. None for more than [`MAX_DAYS`].
pub(super) fn interval(ms: u64) -> Option<String> {
    let of_one_unit = UNITS.iter().find(|(size, ..)| ms.is_multiple_of(*size) && ms / size <= MAX_OF_A_UNIT);
    if let Some((size, _, name)) = of_one_unit {
        return Some(format!("INTERVAL '{}' {name}", ms / size));
    }
    let [days, hours, minutes, seconds] = [86_400_000, 3_600_000, 60_000, 1000].map(|size| ms / size);
    let (hours, minutes, seconds, ms) = (hours % 24, minutes % 60, seconds % 60, ms % 1000);
    (days <= MAX_DAYS)
        .then(|| format!("INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}' DAY(3) TO SECOND(3)"))
}

/// For what [`interval`] cannot say.
pub(super) fn too_long(option: &str) -> Failure {
    Failure::usage(format!("{option}: Flink SQL has no interval above {MAX_DAYS} days: choose less"))
}
