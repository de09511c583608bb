//! Questions about open sessions, which a running job answers without standing still: what is asked, what is answered, and
//! how a subtask finds it.
//!
//! Question and answer travel as JSON that only this job reads. With ip and host it is a look-up, else every session is looked
//! at, a slice between two batches of events.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};
use stream_core::key_group::hash_key;
use stream_core::operator::QueryError;
use stream_core::session::{Fired, Windows};

use crate::key::Key;

/// The most sessions in one answer.
pub const MAX_TOP: usize = 1000;

/// Which open sessions are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSessionsQuery {
    /// Those of this address only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Those of this host only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// At most so many, those with the most events; up to [`MAX_TOP`].
    pub top: usize,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenSession {
    /// Its events so far. First, so that sessions are ordered by it.
    pub events: u64,
    /// The client's address.
    pub ip: Option<String>,
    /// The host that was asked.
    pub host: Option<String>,
    /// The first event's time, in milliseconds since 1970 UTC.
    pub start_ms: i64,
    /// The last event's time.
    pub last_event_ms: i64,
    /// It ends once the watermark is here, unless an event comes before.
    pub closes_at_ms: i64,
}

impl OpenSessionsQuery {
    /// The question as it travels.
    ///
    /// # Panics
    /// Never: numbers and texts have a form in JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts have a form in JSON")
    }

    fn includes(&self, key: Key<'_>) -> bool {
        let is = |wanted: &Option<String>, actual: Option<&str>| wanted.is_none() || wanted.as_deref() == actual;
        is(&self.ip, key.ip) && is(&self.host, key.host)
    }
}

/// Reads the answers of all subtasks as one: the sessions with the most events first.
///
/// # Errors
/// If one is not an answer of this job.
pub fn merge(answers: impl IntoIterator<Item = impl AsRef<str>>, top: usize) -> Result<Vec<OpenSession>, QueryError> {
    let mut sessions = Vec::new();
    for answer in answers {
        let of_subtask: Vec<OpenSession> = serde_json::from_str(answer.as_ref())
            .map_err(|error| QueryError(format!("a subtask's answer cannot be read: {error}")))?;
        sessions.extend(of_subtask);
    }
    sessions.sort_by(|a, b| b.cmp(a));
    sessions.truncate(top);
    Ok(sessions)
}

/// One question while it is being answered.
#[derive(Debug)]
pub(crate) struct Search {
    query: OpenSessionsQuery,
    next_place: usize,
    /// The sessions found that have the most events, the one with the fewest on top.
    found: BinaryHeap<Reverse<OpenSession>>,
}

impl Search {
    /// Begins with a question.
    ///
    /// # Errors
    /// If it is none of this job's.
    pub(crate) fn new(query: &str) -> Result<Self, QueryError> {
        let query: OpenSessionsQuery = serde_json::from_str(query)
            .map_err(|error| QueryError(format!("not a question about open sessions: {error}")))?;
        if !(1..=MAX_TOP).contains(&query.top) {
            return Err(QueryError(format!("`{}` sessions were asked for: choose from 1 to {MAX_TOP}", query.top)));
        }
        Ok(Search { query, next_place: 0, found: BinaryHeap::new() })
    }

    /// Looks at up to `keys` more keys; whether that were the last.
    pub(crate) fn go_on(&mut self, windows: &Windows, gap_ms: i64, keys: usize) -> bool {
        if let OpenSessionsQuery { ip: Some(ip), host: Some(host), .. } = &self.query {
            let mut key = Vec::new();
            Key { ip: Some(ip), host: Some(host) }.encode(&mut key);
            windows.open_of_key(hash_key(&key), &key).for_each(|window| self.consider(window, gap_ms));
            return true;
        }
        let places = self.next_place..self.next_place.saturating_add(keys);
        self.next_place = places.end;
        windows.show_open(places, |window| self.consider(window, gap_ms));
        self.next_place >= windows.places()
    }

    /// The sessions found.
    pub(crate) fn answer(self) -> String {
        let found: Vec<OpenSession> = self.found.into_iter().map(|Reverse(session)| session).collect();
        serde_json::to_string(&found).expect("numbers and texts have a form in JSON")
    }

    fn consider(&mut self, window: Fired<'_>, gap_ms: i64) {
        let is_full = self.found.len() == self.query.top;
        let fewest = self.found.peek().map_or(0, |Reverse(session)| session.events);
        if is_full && window.count < fewest {
            return;
        }
        let key = Key::decode(window.key).expect("every key in a window was encoded by this job's decoder");
        if !self.query.includes(key) {
            return;
        }
        self.found.push(Reverse(OpenSession {
            events: window.count,
            ip: key.ip.map(str::to_owned),
            host: key.host.map(str::to_owned),
            start_ms: window.start.0,
            last_event_ms: window.end.0.saturating_sub(gap_ms),
            closes_at_ms: window.end.0 - 1,
        }));
        if is_full {
            self.found.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stream_core::event_batch::KeyedEvent;
    use stream_core::key_group::{KeyGroupRange, MaxParallelism};
    use stream_core::origin::Origin;
    use stream_core::session::{Config, Limits};
    use stream_core::time::EventTime;
    use stream_core::watermark::Watermark;

    use super::*;

    const GAP_MS: i64 = 1000;

    fn windows(events: &[(u8, u8, i64)]) -> Windows {
        let max = MaxParallelism::DEFAULT;
        let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: 0, limits: Limits::NONE };
        let mut windows = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        let mut key = Vec::new();
        for &(ip, host, time) in events {
            Key { ip: Some(&ip.to_string()), host: Some(&host.to_string()) }.encode(&mut key);
            let event = KeyedEvent {
                hash: hash_key(&key),
                time: EventTime(time),
                count: 1,
                key: &key,
                origin: Origin::default(),
            };
            windows.add(event, |_| ());
        }
        windows
    }

    fn ask(windows: &Windows, query: &OpenSessionsQuery, keys: usize) -> Vec<OpenSession> {
        let mut search = Search::new(&query.to_json()).expect("a question");
        while !search.go_on(windows, GAP_MS, keys) {}
        merge([search.answer()], query.top).expect("an answer")
    }

    fn query(ip: Option<&str>, host: Option<&str>, top: usize) -> OpenSessionsQuery {
        OpenSessionsQuery { ip: ip.map(str::to_owned), host: host.map(str::to_owned), top }
    }

    #[test]
    fn session_is_told_with_its_start_last_event_and_end() {
        let windows = windows(&[(1, 2, 500), (1, 2, 0), (3, 2, 0)]);
        let session = OpenSession {
            events: 2,
            ip: Some("1".to_owned()),
            host: Some("2".to_owned()),
            start_ms: 0,
            last_event_ms: 500,
            closes_at_ms: 1499,
        };
        assert_eq!(ask(&windows, &query(Some("1"), Some("2"), 1), 1), [session]);
        assert!(ask(&windows, &query(Some("1"), Some("3"), 1), 1).is_empty());
    }

    #[test]
    fn closed_session_is_not_open_even_if_it_still_takes_late_events() {
        let max = MaxParallelism::DEFAULT;
        let config = Config { gap_ms: GAP_MS, allowed_lateness_ms: GAP_MS, limits: Limits::NONE };
        let mut kept = Windows::new(config, KeyGroupRange { start: 0, end: max.get() }, max);
        let mut key = Vec::new();
        Key { ip: Some("1"), host: Some("2") }.encode(&mut key);
        let (hash, origin) = (hash_key(&key), Origin::default());
        kept.add(KeyedEvent { hash, time: EventTime(0), count: 1, key: &key, origin }, |_| ());
        kept.advance(Watermark(GAP_MS), |_| ());
        assert_eq!(kept.len(), 1);
        assert!(ask(&kept, &query(None, None, 10), 10).is_empty());
        assert!(ask(&kept, &query(Some("1"), Some("2"), 10), 10).is_empty());
    }

    #[test]
    fn question_that_asks_for_none_or_for_too_many_is_refused() {
        for top in [0, MAX_TOP + 1] {
            let refused = Search::new(&query(None, None, top).to_json()).map(drop);
            assert_eq!(refused, Err(QueryError(format!("`{top}` sessions were asked for: choose from 1 to 1000"))));
        }
        assert!(Search::new("{\"top\":1,\"ipp\":\"1\"}").is_err());
    }

    proptest! {
        /// Against sorting all there are.
        #[test]
        fn top_sessions_are_those_with_the_most_events(
            events in proptest::collection::vec((0_u8..5, 0_u8..5, 0_i64..10_000), 0..200),
            ip in proptest::option::of(0_u8..5),
            host in proptest::option::of(0_u8..5),
            top in 1_usize..20,
            keys in 1_usize..30,
        ) {
            let windows = windows(&events);
            let (ip, host) = (ip.map(|n| n.to_string()), host.map(|n| n.to_string()));
            let mut expected = Vec::new();
            windows.for_each(|window| {
                let key = Key::decode(window.key).expect("own key");
                let is_wanted = ip.as_deref().is_none_or(|ip| key.ip == Some(ip))
                    && host.as_deref().is_none_or(|host| key.host == Some(host));
                expected.extend(is_wanted.then(|| OpenSession {
                    events: window.count,
                    ip: key.ip.map(str::to_owned),
                    host: key.host.map(str::to_owned),
                    start_ms: window.start.0,
                    last_event_ms: window.end.0 - GAP_MS,
                    closes_at_ms: window.end.0 - 1,
                }));
            });
            expected.sort_by(|a, b| b.cmp(a));
            expected.truncate(top);
            let query = query(ip.as_deref(), host.as_deref(), top);
            prop_assert_eq!(ask(&windows, &query, keys), expected);
        }
    }
}
