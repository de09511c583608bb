//! A fail point that is armed: how it is spelled, when it strikes, and how.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::{Point, VARIABLE};

/// A signal to a process may be taken by another of its threads first; until all of them stand still this one waits.
const STRUCK_WITHIN: Duration = Duration::from_millis(200);

/// A fail point, and how often it has been reached.
#[derive(Debug)]
pub struct Armed {
    point: Point,
    /// Whose arrivals count; anybody's if `None`.
    subject: Option<String>,
    /// The arrival that it strikes at, counted from 1.
    time: NonZeroU64,
    /// Whether it stops the process rather than kill it.
    is_pause: bool,
    arrivals: AtomicU64,
}

/// A value that arms nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{VARIABLE} is `{given}`: {problem}; write POINT[@SUBJECT][:TIME][:pause], with one of these points: {}",
    Point::ALL.map(Point::name).join(", ")
)]
pub struct Invalid {
    given: String,
    problem: String,
}

impl Armed {
    /// Strikes if this is the arrival that it waits for.
    pub(super) fn reach(&self, point: Point, subject: &str) {
        if !self.is_struck_by(point, subject) {
            return;
        }
        let arrival = self.time;
        if self.is_pause {
            tracing::error!(arrival, subject, "fail point `{}`: this process stops itself", point.name());
            strike(Signal::STOP);
            tracing::error!(arrival, subject, "fail point `{}`: this process goes on", point.name());
        } else {
            tracing::error!(arrival, subject, "fail point `{}`: this process kills itself", point.name());
            strike(Signal::KILL);
        }
    }

    fn is_struck_by(&self, point: Point, subject: &str) -> bool {
        let is_it = point == self.point && self.subject.as_deref().is_none_or(|its_own| its_own == subject);
        is_it && self.arrivals.fetch_add(1, Ordering::Relaxed) + 1 == self.time.get()
    }
}

/// Sends a signal to this process, and waits until it was taken.
fn strike(signal: Signal) {
    // It cannot fail: a process may signal itself, and this pid is its own.
    let _ = kill_process(getpid(), signal);
    std::thread::park_timeout(STRUCK_WITHIN);
}

impl FromStr for Armed {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = |problem: String| Invalid { given: text.to_owned(), problem };
        let mut parts = text.split(':');
        let place = parts.next().unwrap_or_default();
        let (name, subject) = match place.split_once('@') {
            Some((_, "")) => return Err(invalid("the subject is empty".to_owned())),
            Some((name, subject)) => (name, Some(subject.to_owned())),
            None => (place, None),
        };
        let point = Point::ALL.into_iter().find(|point| point.name() == name);
        let point = point.ok_or_else(|| invalid(format!("there is no fail point `{name}`")))?;
        let mut armed = Armed { point, subject, time: NonZeroU64::MIN, is_pause: false, arrivals: AtomicU64::new(0) };
        let mut rest = parts.peekable();
        if let Some(time) = rest.next_if(|part| *part != "pause") {
            armed.time = time.parse().map_err(|_| invalid(format!("`{time}` is not a number from 1")))?;
        }
        if let Some(action) = rest.next() {
            armed.is_pause = action == "pause";
            if !armed.is_pause {
                return Err(invalid(format!("`{action}` is neither a time nor `pause`")));
            }
        }
        match rest.next() {
            Some(surplus) => Err(invalid(format!("`{surplus}` is one part too many"))),
            None => Ok(armed),
        }
    }
}

impl fmt::Display for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.point.name())?;
        if let Some(subject) = &self.subject {
            write!(f, "@{subject}")?;
        }
        write!(f, ":{}{}", self.time, if self.is_pause { ":pause" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_what_is_armed() {
        for (written, told) in [
            ("rows-sent", "rows-sent:1"),
            ("rows-sent:7", "rows-sent:7"),
            ("rows-sent:pause", "rows-sent:1:pause"),
            ("object-stored@state:2:pause", "object-stored@state:2:pause"),
            ("alignment-begun@window[0]", "alignment-begun@window[0]:1"),
        ] {
            assert_eq!(written.parse::<Armed>().unwrap().to_string(), told);
        }
    }

    #[test]
    fn anything_else_is_refused_by_a_word_that_lists_the_points() {
        for (wrong, problem) in [
            ("", "there is no fail point ``"),
            ("rows_sent", "there is no fail point `rows_sent`"),
            ("rows-sent@", "the subject is empty"),
            ("rows-sent:0", "`0` is not a number from 1"),
            ("rows-sent:often", "`often` is not a number from 1"),
            ("rows-sent:1:stop", "`stop` is neither"),
            ("rows-sent:1:pause:2", "`2` is one part too many"),
        ] {
            let said = wrong.parse::<Armed>().unwrap_err().to_string();
            assert!(said.contains(problem), "{said}");
            assert!(Point::ALL.iter().all(|point| said.contains(point.name())), "{said}");
        }
    }

    #[test]
    fn it_is_struck_once_by_the_arrival_of_its_subject_that_was_asked_for() {
        let armed: Armed = "object-stored@state:2".parse().unwrap();
        assert!(!armed.is_struck_by(Point::ObjectStored, "state"));
        assert!(!armed.is_struck_by(Point::ObjectStored, "rows"));
        assert!(!armed.is_struck_by(Point::ObjectWritten, "state"));
        assert!(armed.is_struck_by(Point::ObjectStored, "state"));
        assert!(!armed.is_struck_by(Point::ObjectStored, "state"));
        let anybody: Armed = "object-stored:2".parse().unwrap();
        assert!(!anybody.is_struck_by(Point::ObjectStored, "state"));
        assert!(anybody.is_struck_by(Point::ObjectStored, "rows"));
    }

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let mut names = Point::ALL.map(Point::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')), "{names:?}");
    }
}
