//! What a recovery was made up of, from the lines that the processes logged about the job.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// The steps from a kill to the commit, in their order.
pub(crate) const STEPS: [&str; 7] =
    ["DETECTED", "CANCELED", "PLANNED", "RESTORED", "TRIGGERED", "COMPLETED", "PUBLISHED"];

/// How long each step took; together, the recovery.
pub(crate) type Steps = [Duration; STEPS.len()];

/// What the new attempt said of its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Instants, in milliseconds since 1970: the failure is known; every task of the attempt before has ended; the new attempt has its
    /// token, its checkpoint and its slots; all its tasks run.
    pub(crate) instants_ms: [i64; 4],
    /// Attempts since the kill: 1 unless one failed, too.
    pub(crate) attempts: usize,
    /// Of all subtasks: the files that were read, in bytes, and the records in them.
    pub(crate) restored_bytes: u64,
    pub(crate) restored_records: u64,
    /// The longest that a subtask took to read them, and to build its tables.
    pub(crate) reading: Duration,
    pub(crate) rebuilding: Duration,
}

/// Reads it out of `jobctl logs --output json`, if the attempt that runs since the kill has said all of it. `windows` subtasks restore
/// something.
pub(crate) fn begun(lines: &[Value], killed_ms: i64, windows: usize) -> Result<Option<Begun>> {
    let mut begun = Begun::default();
    let mut planned = None;
    let mut restored = 0;
    for line in lines {
        let time_ms = line["time_ms"].as_i64().context("`time_ms` is missing")?;
        if time_ms < killed_ms {
            continue;
        }
        let field = |name: &str| line["fields"][name].as_str();
        let number = |name: &str| -> Result<u64> {
            let text = field(name).with_context(|| format!("`{name}` is missing: {line}"))?;
            text.parse().with_context(|| format!("`{name}` is no number: {line}"))
        };
        let is_of_attempt = planned.is_some() && field("attempt") == planned;
        match line["message"].as_str() {
            Some("job state changed") if field("state") == Some("failing") => begun.instants_ms[0] = time_ms,
            Some("job state changed") if field("state") == Some("restarting") => begun.instants_ms[1] = time_ms,
            Some("attempt planned") => {
                planned = field("attempt");
                begun = Begun { instants_ms: begun.instants_ms, attempts: begun.attempts + 1, ..Begun::default() };
                begun.instants_ms[2] = time_ms;
                restored = 0;
            }
            Some("state restored") if is_of_attempt => {
                restored += 1;
                begun.restored_bytes += number("bytes")?;
                begun.restored_records += number("records")?;
                begun.reading = begun.reading.max(Duration::from_millis(number("reading_ms")?));
                begun.rebuilding = begun.rebuilding.max(Duration::from_millis(number("rebuilding_ms")?));
            }
            Some("all tasks run") if is_of_attempt => begun.instants_ms[3] = time_ms,
            _ => {}
        }
    }
    Ok((restored == windows && begun.instants_ms.iter().all(|instant| *instant > 0)).then_some(begun))
}

/// The steps between these instants, of which clocks of several processes may show one a little before the one that it follows.
pub(crate) fn steps(killed_ms: i64, instants_ms: [i64; STEPS.len()]) -> Steps {
    let mut before = killed_ms;
    instants_ms.map(|instant| {
        let took = u64::try_from(instant - before).unwrap_or(0);
        before = before.max(instant);
        Duration::from_millis(took)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(time_ms: i64, message: &str, fields: &[(&str, &str)]) -> Value {
        let fields: serde_json::Map<String, Value> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        json!({ "time_ms": time_ms, "message": message, "fields": fields })
    }

    fn restored(time_ms: i64, attempt: &str, bytes: &str) -> Value {
        let fields =
            [("attempt", attempt), ("bytes", bytes), ("records", "7"), ("reading_ms", bytes), ("rebuilding_ms", "3")];
        line(time_ms, "state restored", &fields)
    }

    #[test]
    fn what_counts_is_the_attempt_that_runs_and_what_comes_behind_the_kill() {
        let state = |time_ms, state| line(time_ms, "job state changed", &[("state", state)]);
        let attempt = |time_ms, message, attempt| line(time_ms, message, &[("attempt", attempt)]);
        let mut lines = vec![
            attempt(90, "attempt planned", "1"),
            attempt(95, "all tasks run", "1"),
            state(101, "failing"),
            state(103, "restarting"),
            attempt(107, "attempt planned", "2"),
            restored(110, "2", "90"),
            state(120, "failing"),
            state(121, "restarting"),
            attempt(130, "attempt planned", "3"),
            restored(140, "3", "20"),
            restored(141, "2", "90"),
            restored(150, "3", "40"),
        ];
        assert_eq!(begun(&lines, 100, 2).expect("well-formed"), None, "they do not run yet");
        lines.push(attempt(151, "all tasks run", "3"));
        assert_eq!(begun(&lines, 100, 3).expect("well-formed"), None, "one is missing");
        let found = begun(&lines, 100, 2).expect("well-formed").expect("all is said");
        let ms = Duration::from_millis;
        let expected = Begun {
            instants_ms: [120, 121, 130, 151],
            attempts: 2,
            restored_bytes: 60,
            restored_records: 14,
            reading: ms(40),
            rebuilding: ms(3),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn steps_add_up_to_the_whole_even_if_a_clock_is_behind() {
        let ms = Duration::from_millis;
        let steps = steps(100, [103, 102, 110, 150, 151, 160, 170]);
        assert_eq!(steps, [ms(3), ms(0), ms(7), ms(40), ms(1), ms(9), ms(10)]);
        assert_eq!(steps.iter().sum::<Duration>(), ms(70));
    }
}
