//! What counters at two moments say of the time between: shares of time, and records a second.

use std::time::Duration;

use crate::view::{JobDetails, Subtask};

/// What a subtask did between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Percent of its time at work.
    pub(crate) busy: u64,
    /// Percent of its time waiting for its output to be taken.
    pub(crate) backpressured: u64,
    pub(crate) in_per_second: u64,
    pub(crate) out_per_second: u64,
}

/// The figures of each subtask of `now`, in its order; nothing for one that was not there before, or accounts for no time.
///
/// A subtask's own account of its time is what its records are divided by, and not the time between the looks: what a look
/// shows is as old as the last heartbeat.
pub(crate) fn between(before: &JobDetails, now: &JobDetails) -> Vec<Option<Figures>> {
    let is_same_run = before.job.id == now.job.id && before.attempt == now.attempt;
    let of_subtask = |now: &Subtask| {
        let is_it = |before: &&Subtask| (&before.stage, before.index) == (&now.stage, now.index);
        figures(before.subtasks.iter().find(is_it)?, now)
    };
    now.subtasks.iter().map(|subtask| if is_same_run { of_subtask(subtask) } else { None }).collect()
}

fn figures(before: &Subtask, now: &Subtask) -> Option<Figures> {
    let passed = |part: fn(&Subtask) -> u64| part(now).saturating_sub(part(before));
    let (busy, backpressured) = (passed(|s| s.busy_ms), passed(|s| s.backpressured_ms));
    let all_ms = busy + backpressured + passed(|s| s.idle_ms);
    let per_second = |records: u64| records.saturating_mul(1000).checked_div(all_ms);
    Some(Figures {
        busy: (busy * 100).checked_div(all_ms)?,
        backpressured: (backpressured * 100).checked_div(all_ms)?,
        in_per_second: per_second(passed(|s| s.records_in))?,
        out_per_second: per_second(passed(|s| s.records_out))?,
    })
}

/// Events that all sources together sent in a second; nothing before there are figures of any.
pub(crate) fn events_per_second(now: &JobDetails, figures: &[Option<Figures>]) -> Option<u64> {
    let sources = now.subtasks.iter().zip(figures).filter(|(subtask, _)| is_source(now, subtask));
    let rates: Vec<u64> = sources.filter_map(|(_, figures)| Some(figures.as_ref()?.out_per_second)).collect();
    (!rates.is_empty()).then(|| rates.iter().sum())
}

/// The subtasks of the first stage read the source.
fn is_source(details: &JobDetails, subtask: &Subtask) -> bool {
    details.subtasks.first().is_some_and(|first| first.stage == subtask.stage)
}

/// A number in at most five characters: `9999`, `12.3k`, `4.5M`.
pub(crate) fn compact(number: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if number < 10_000 {
        return number.to_string();
    }
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| number >= *unit).unwrap_or((1, ""));
    match number / unit {
        whole @ 100.. => format!("{whole}{name}"),
        whole => format!("{whole}.{}{name}", number % unit * 10 / unit),
    }
}

/// A size in at most six characters: `999B`, `1.0MiB`, `292KiB`.
pub(crate) fn compact_bytes(bytes: u64) -> String {
    // Counted in tenths, so that what is above 999 of a unit is 0.9 of the next.
    let mut unit = 0_u32;
    while bytes >> (10 * unit) >= 1000 {
        unit += 1;
    }
    let name = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].get(unit as usize).copied().unwrap_or_default();
    match bytes >> (10 * unit) {
        whole @ 0..10 if unit > 0 => {
            let tenths = ((u128::from(bytes) * 10) >> (10 * unit)) % 10;
            format!("{whole}.{tenths}{name}")
        }
        whole => format!("{whole}{name}"),
    }
}

/// A span in its two largest units, in at most six characters: `3m12s`, `2d4h`; milliseconds below a second, days alone from a hundred on.
pub(crate) fn short_span(span: Duration) -> String {
    let seconds = span.as_secs();
    let parts = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let Some(place) = parts.iter().position(|(unit, _)| seconds >= *unit) else {
        return format!("{}ms", span.as_millis());
    };
    let (unit, name) = parts[place];
    if seconds >= 100 * 86_400 {
        return format!("{}{name}", seconds / unit);
    }
    let rest = parts.get(place + 1).map(|(next, name)| (seconds % unit / next, name)).filter(|(count, _)| *count > 0);
    format!("{}{name}", seconds / unit) + &rest.map(|(count, name)| format!("{count}{name}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{sample_details, sample_subtask};

    #[test]
    fn shares_and_rates_are_of_the_time_that_the_subtask_accounts_for() {
        let before = sample_details();
        let mut now = sample_details();
        let source = &mut now.subtasks[0];
        (source.busy_ms, source.idle_ms, source.backpressured_ms) = (1 + 500, 2 + 300, 3 + 1200);
        (source.records_in, source.records_out) = (7 + 4000, 5 + 2000);
        let figures = between(&before, &now);
        let expected = Figures { busy: 25, backpressured: 60, in_per_second: 2000, out_per_second: 1000 };
        assert_eq!(figures, [Some(expected), None, None]);
        assert_eq!(events_per_second(&now, &figures), Some(1000));
    }

    #[test]
    fn another_attempt_has_nothing_to_be_compared_with() {
        let before = sample_details();
        let mut now = JobDetails { attempt: 2, ..sample_details() };
        now.subtasks[0].busy_ms = 5;
        assert_eq!(between(&before, &now), [None; 3]);
        assert_eq!(events_per_second(&now, &between(&before, &now)), None);

        let mut now = sample_details();
        now.subtasks.push(sample_subtask("window", 7));
        assert_eq!(between(&before, &now)[3], None, "it was not there before");
    }

    #[test]
    fn numbers_and_spans_are_short() {
        let numbers = [0, 9999, 10_000, 99_999, 123_456, 4_560_000, 7_000_000_000_000].map(compact);
        assert_eq!(numbers, ["0", "9999", "10.0k", "99.9k", "123k", "4.5M", "7.0T"]);
        let spans = [0, 999, 1000, 61_000, 3_600_000, 187_200_000].map(|ms| short_span(Duration::from_millis(ms)));
        assert_eq!(spans, ["0ms", "999ms", "1s", "1m1s", "1h", "2d4h"]);
        let sizes =
            [0, 999, 1023, 1024, 292 << 10, 1_034_240, 45 << 20, 1500 << 20, 9 << 40, u64::MAX].map(compact_bytes);
        assert_eq!(sizes, ["0B", "999B", "0.9KiB", "1.0KiB", "292KiB", "0.9MiB", "45MiB", "1.4GiB", "9.0TiB", "15EiB"]);
    }

    #[test]
    fn nothing_is_wider_than_its_column() {
        for power in 0..64 {
            for bytes in [(1_u64 << power) - 1, 1 << power, (1_u64 << power) / 1024 * 1000] {
                assert!(compact_bytes(bytes).len() <= 6, "{bytes}: {}", compact_bytes(bytes));
            }
        }
        let days = [1, 9, 10, 99, 100, 682, 20_000];
        for seconds in days.into_iter().flat_map(|days: u64| [days * 86_400 - 1, days * 86_400 + 40_000]) {
            let span = short_span(Duration::from_secs(seconds));
            assert!(span.len() <= 6, "{seconds}: {span}");
        }
    }
}
