//! How many sessions a file of events holds, counted in the plainest way there is: sort each visitor's times, look for
//! gaps. The demo waits for that many rows; no streaming is involved, so it also is a second opinion.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
struct Event {
    ip: String,
    host: String,
    event_time: String,
}

/// A file of events that cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The sessions of all events in a file of JSON lines; `gap_ms` in ms. Lines that are no events do not count.
///
/// # Errors
/// If the file cannot be read.
pub fn count_in_file(path: &Path, gap_ms: i64) -> Result<usize, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    Ok(count(&text, gap_ms))
}

fn count(text: &str, gap_ms: i64) -> usize {
    let mut times: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
    for event in text.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        if let Some(at_ms) = web_event::event_time::to_timestamp(&event.event_time) {
            times.entry((event.ip, event.host)).or_default().push(at_ms);
        }
    }
    times.into_values().map(|times| sessions(times, gap_ms)).sum()
}

/// Two events exactly one gap apart share a session: their windows touch.
fn sessions(mut times: Vec<i64>, gap_ms: i64) -> usize {
    times.sort_unstable();
    1 + times.windows(2).filter(|pair| pair[1] - pair[0] > gap_ms).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_must_be_exceeded_to_end_a_session() {
        assert_eq!(sessions(vec![300_000, 0], 300_000), 1);
        assert_eq!(sessions(vec![0, 300_001, 600_000], 300_000), 2);
    }

    #[test]
    fn visitors_count_apart_and_rubbish_does_not() {
        let at =
            |ip, host, time| format!("{{\"ip\":\"{ip}\",\"host\":\"{host}\",\"event_time\":\"2025-01-14T{time}Z\"}}\n");
        let text = at("1.1.1.1", "a", "17:00:00.000")
            + &at("1.1.1.1", "b", "17:00:00.000")
            + &at("1.1.1.1", "a", "17:05:00.001")
            + &at("1.1.1.1", "a", "noon")
            + "rubbish\n";
        assert_eq!(count(&text, 300_000), 3);
    }

    #[test]
    fn the_demo_has_the_sessions_that_flink_found() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let expected = std::fs::read_to_string(project.join("demo/expected_sessions.csv")).unwrap_or_default();
        let counted = count_in_file(&project.join("demo/events.jsonl"), 300_000).unwrap_or_default();
        assert_eq!(counted, expected.lines().count() - 1);
    }
}
