//! How often is looked, and which lines of the log are wanted.

use std::time::Duration;

use stream_core::log_line::Level;
use stream_core::time::{EventTime, Timestamp, millis};
use stream_runtime::duration;

use super::Given;
use crate::args;
use crate::failure::Failure;

/// How often a person sees something new.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// Looking more often shows nothing new: taskmanagers tell their counters twice a second.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// What `jobctl logs` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogsRequest {
    pub(crate) job: String,
    pub(crate) is_followed: bool,
    /// Nothing that was logged before.
    pub(crate) since: Option<Timestamp>,
    /// Nothing below.
    pub(crate) level: Option<Level>,
}

/// The time between two looks.
///
/// # Errors
/// If it is no duration, or too short.
pub(crate) fn interval(typed: Option<&String>) -> Result<Duration, Failure> {
    let Some(text) = typed else { return Ok(DEFAULT_INTERVAL) };
    let given = Given { text: text.clone(), name: "--interval".to_owned() };
    let interval = given.duration()?;
    if interval < SHORTEST_INTERVAL {
        let least = duration::show(SHORTEST_INTERVAL);
        return Err(given.not("an interval to look at", &format!("choose at least `{least}`")));
    }
    Ok(interval)
}

/// Which lines of the log are wanted, at `now`.
///
/// # Errors
/// If a value cannot be.
pub(crate) fn logs(args: &args::Logs, now: Timestamp) -> Result<LogsRequest, Failure> {
    let given = |name: &str, typed: &Option<String>| {
        typed.as_ref().map(|text| Given { text: text.clone(), name: name.to_owned() })
    };
    let since = given("--since", &args.since).map(|given| since(&given, now)).transpose()?;
    let level = given("--level", &args.level).map(|given| {
        let unknown = || given.not("a level", "write `debug`, `info`, `warn` or `error`");
        given.text.parse().map_err(|_| unknown())
    });
    Ok(LogsRequest { job: args.job.job.clone(), is_followed: args.follow, since, level: level.transpose()? })
}

/// So long ago, or a time in UTC.
fn since(given: &Given, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(ago) = duration::parse(&given.text) {
        return Ok(Timestamp(now.0.saturating_sub(millis(ago))));
    }
    let time: EventTime = given.text.parse().map_err(|_| {
        given.not("a time", "write so long ago as `10m`, or a time in UTC such as `2025-01-14T17:01:12Z`")
    })?;
    Ok(Timestamp(time.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_736_874_072_232);

    fn args(since: Option<&str>, level: Option<&str>) -> args::Logs {
        let job = args::JobName { job: "sessionize".to_owned() };
        args::Logs { job, follow: false, since: since.map(str::to_owned), level: level.map(str::to_owned) }
    }

    #[test]
    fn since_is_a_span_or_a_time() {
        let since = |text| logs(&args(Some(text), None), NOW).map(|request| request.since.map(|at| at.0));
        assert_eq!(since("10m"), Ok(Some(NOW.0 - 600_000)));
        assert_eq!(since("2025-01-14T17:01:12Z"), Ok(Some(1_736_874_072_000)));
        let refused = since("yesterday").expect_err("no time");
        let remedy = "write so long ago as `10m`, or a time in UTC such as `2025-01-14T17:01:12Z`";
        assert_eq!(refused.message, format!("--since: `yesterday` is not a time: {remedy}"));
    }

    #[test]
    fn levels_are_words() {
        let level = |text| logs(&args(None, Some(text)), NOW).map(|request| request.level);
        assert_eq!(level("warn"), Ok(Some(Level::Warn)));
        let refused = level("loud").expect_err("no level");
        assert_eq!(refused.message, "--level: `loud` is not a level: write `debug`, `info`, `warn` or `error`");
    }

    #[test]
    fn interval_has_a_least() {
        assert_eq!(interval(None), Ok(DEFAULT_INTERVAL));
        assert_eq!(interval(Some(&"250ms".to_owned())), Ok(Duration::from_millis(250)));
        let refused = interval(Some(&"1ms".to_owned())).expect_err("too short");
        assert_eq!(refused.message, "--interval: `1ms` is not an interval to look at: choose at least `100ms`");
    }
}
