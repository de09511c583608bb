//! What failed a moment ago, and would most likely fail again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long a failure is remembered: short beside the life of a visit, long beside a call.
const REMEMBERED: Duration = Duration::from_secs(20);
/// How many are: the oldest fall out.
const MOST: usize = 10_000;

/// The keys of which nobody could tell.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    until: BTreeMap<String, Duration>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Duration, String)>,
}

impl Failures {
    /// Remembers one.
    pub fn add(&mut self, now: Duration, ip: &str) {
        let until = now + REMEMBERED;
        self.until.insert(ip.to_owned(), until);
        self.order.push_back((until, ip.to_owned()));
        while self.order.len() > MOST || self.order.front().is_some_and(|(until, _)| *until <= now) {
            let Some((until, ip)) = self.order.pop_front() else { break };
            // One that failed again meanwhile has a later time.
            if self.until.get(&ip) == Some(&until) {
                self.until.remove(&ip);
            }
        }
    }

    /// Whether it failed a moment ago.
    pub fn contains(&self, now: Duration, ip: &str) -> bool {
        self.until.get(ip).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_forgotten_after_a_while_and_beyond_a_bound() {
        let second = Duration::from_secs(1);
        let mut failures = Failures::default();
        failures.add(second, "a");
        failures.add(second * 15, "a");
        assert!(failures.contains(second * 34, "a") && !failures.contains(second * 35, "a"));
        (0..MOST).for_each(|ip| failures.add(second * 16, &ip.to_string()));
        assert!(!failures.contains(second * 16, "a") && failures.contains(second * 16, "0"));
        assert_eq!((failures.until.len(), failures.order.len()), (MOST, MOST));
        failures.add(second * 60, "b");
        assert_eq!((failures.until.len(), failures.order.len()), (1, 1));
    }
}
