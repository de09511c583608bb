//! When a service is called, when again, and when not: the rules, without a clock, a socket or a task.
//!
//! ```text
//! asked ──► known to fail? cut off? would wait too long? ──yes──► answered: failed
//!               │ no
//!             queued ──(rate, connections)──► in flight ──► answered: found, nothing
//!               ▲                                 │ failed
//!               └── later, if the budget allows ──┘ else ──► answered: failed
//! ```
//!
//! A question is answered within its deadline, whatever the service does. A key is asked about by one call at a time. Time is
//! any monotonic one.
//!
//! | module | holds |
//! |---|---|
//! | [`rate`] | how often |
//! | [`retries`] | how many calls may be repeated |
//! | [`breaker`] | whether it makes sense at all |
//! | [`failures`] | what failed a moment ago |

pub mod breaker;
pub mod failures;
pub mod rate;
pub mod retries;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use stream_core::operator::Answer;

use breaker::Breaker;
use failures::Failures;
use rate::Rate;
use retries::Retries;

/// How often, how long, how many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Calls for each second.
    pub rate: f64,
    /// For one call.
    pub timeout: Duration,
    /// From a question to its answer.
    pub deadline: Duration,
    /// Calls in flight at once.
    pub connections: usize,
    /// Calls for one question, the first included.
    pub tries: u32,
}

impl Default for Limits {
    /// Modest: what a service gives to anybody who has a key.
    fn default() -> Self {
        Limits {
            rate: 20.0,
            timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(30),
            connections: 16,
            tries: 3,
        }
    }
}

/// The wait before a call is repeated for the first time; it doubles each time.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// How long a service may keep us away by its word.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause where it does not say how long.
const PAUSE: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants to know about a key.
    Asked(String),
    /// A call came back.
    Returned {
        /// What it asked.
        ip: String,
        /// What it came to.
        outcome: Outcome,
    },
    /// It is the time of [`Calls::wake_at`].
    Tick,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This is known.
    Found(String),
    /// Nothing is known.
    Nothing,
    /// It failed, for this reason. Again, it may not.
    Failed(String),
    /// Too many calls.
    Limited {
        /// When to come again.
        after: Option<Duration>,
    },
    /// No call will do better, for this reason, until somebody does something.
    Refused(String),
}

impl Outcome {
    /// That of a call that was answered.
    pub fn of(answer: Answer) -> Self {
        match answer {
            Answer::Found(text) => Outcome::Found(text),
            Answer::Nothing => Outcome::Nothing,
            Answer::Failed => Outcome::Failed(String::new()),
        }
    }
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the service about this; the outcome comes back as [`Event::Returned`].
    Call(String),
    /// Answer the question.
    Answer(String, Answer),
}

/// Questions by what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Found, or nothing to be found.
    pub answered: u64,
    /// Nobody could tell.
    pub failed: u64,
}

/// The questions of one subtask, and the calls for them.
#[derive(Debug)]
pub struct Calls {
    limits: Limits,
    open: BTreeMap<String, Question>,
    /// In the order in which they may be called.
    queue: VecDeque<String>,
    /// When those that failed may be called again.
    again: BTreeSet<(Duration, String)>,
    /// When each that is not answered must be.
    deadlines: BTreeSet<(Duration, String)>,
    in_flight: usize,
    rate: Rate,
    retries: Retries,
    breaker: Breaker,
    failures: Failures,
    tally: Tally,
    last_failure: String,
}

#[derive(Debug)]
struct Question {
    deadline: Duration,
    calls: u32,
    is_in_flight: bool,
    /// It was answered by its deadline, and its call is still in flight.
    is_given_up: bool,
}

impl Calls {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Calls {
            limits,
            open: BTreeMap::new(),
            queue: VecDeque::new(),
            again: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            in_flight: 0,
            rate: Rate::new(limits.rate),
            retries: Retries::default(),
            breaker: Breaker::default(),
            failures: Failures::default(),
            tally: Tally::default(),
            last_failure: String::new(),
        }
    }

    /// What is to be done now that this happened.
    pub fn on(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Asked(ip) => self.on_asked(now, ip, &mut effects),
            Event::Returned { ip, outcome } => self.on_returned(now, ip, outcome, &mut effects),
            Event::Tick => {}
        }
        self.expire(now, &mut effects);
        self.call_again(now);
        self.call(now, &mut effects);
        effects
    }

    /// When there is something to be done, if nothing happens before.
    pub fn wake_at(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let again = self.again.first().map(|(at, _)| *at);
        let may_call = !self.queue.is_empty() && self.in_flight < self.connections();
        let call = may_call.then(|| self.rate.next());
        [deadline, again, call].into_iter().flatten().min()
    }

    /// What came of the questions so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Why the last one failed.
    pub fn last_failure(&self) -> &str {
        &self.last_failure
    }

    fn on_asked(&mut self, now: Duration, ip: String, effects: &mut Vec<Effect>) {
        if let Some(question) = self.open.get(&ip) {
            // Otherwise its answer will be this question's, too.
            if question.is_given_up {
                self.fail_as_before(ip, effects);
            }
            return;
        }
        if self.failures.contains(now, &ip) || self.breaker.is_open(now) {
            return self.fail_as_before(ip, effects);
        }
        let deadline = now + self.limits.deadline;
        if self.rate.next_behind(now, self.queue.len()) > deadline {
            return self.fail(ip, "more is asked than the rate allows", effects);
        }
        self.retries.on_question();
        self.deadlines.insert((deadline, ip.clone()));
        self.queue.push_back(ip.clone());
        self.open.insert(ip, Question { deadline, calls: 0, is_in_flight: false, is_given_up: false });
    }

    fn on_returned(&mut self, now: Duration, ip: String, outcome: Outcome, effects: &mut Vec<Effect>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(question) = self.open.get_mut(&ip) else { return };
        question.is_in_flight = false;
        let Question { deadline, calls, is_given_up, .. } = *question;
        if is_given_up {
            self.open.remove(&ip);
        }
        let is_waited_for = !is_given_up;
        match outcome {
            Outcome::Found(text) => {
                self.breaker.on_success();
                self.answer(ip, Answer::Found(text), is_waited_for, effects);
            }
            Outcome::Nothing => {
                self.breaker.on_success();
                self.answer(ip, Answer::Nothing, is_waited_for, effects);
            }
            Outcome::Failed(reason) => {
                self.breaker.on_failure(now);
                let at = now + FIRST_RETRY * 2_u32.saturating_pow(calls.saturating_sub(1));
                let may_again = is_waited_for && calls < self.limits.tries && at < deadline;
                if self.breaker.is_open(now) {
                    self.last_failure = reason;
                    self.cut_off(now, effects);
                } else if may_again && self.retries.take() {
                    self.again.insert((at, ip));
                } else if is_waited_for {
                    self.failures.add(now, &ip);
                    self.fail(ip, &reason, effects);
                }
            }
            Outcome::Limited { after } => {
                self.rate.pause(now + after.unwrap_or(PAUSE).min(LONGEST_PAUSE));
                match (is_waited_for, self.rate.next() < deadline) {
                    (true, true) => self.queue.push_front(ip),
                    (true, false) => self.fail(ip, "it says that it was called too often", effects),
                    (false, _) => {}
                }
            }
            Outcome::Refused(reason) => {
                self.breaker.open(now);
                self.last_failure = reason;
                self.cut_off(now, effects);
            }
        }
    }

    /// The service is gone: whoever waits for a call is told at once. Calls in flight may still bring something.
    fn cut_off(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.queue.clear();
        self.again.clear();
        let waiting = self.open.iter().filter(|(_, question)| !question.is_in_flight && !question.is_given_up);
        let waiting: Vec<String> = waiting.map(|(ip, _)| ip.clone()).collect();
        let reason = std::mem::take(&mut self.last_failure);
        for ip in waiting {
            self.failures.add(now, &ip);
            self.fail(ip, &reason, effects);
        }
        self.last_failure = reason;
    }

    fn expire(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some(ip) = pop_due(&mut self.deadlines, now) {
            let Some(question) = self.open.get_mut(&ip) else { continue };
            if question.is_in_flight {
                question.is_given_up = true;
                "it does not answer in time".clone_into(&mut self.last_failure);
                self.fail_as_before(ip, effects);
            } else {
                self.queue.retain(|queued| *queued != ip);
                self.again.retain(|(_, waiting)| *waiting != ip);
                self.fail(ip, "its turn does not come in time", effects);
            }
        }
    }

    fn call_again(&mut self, now: Duration) {
        while let Some(ip) = pop_due(&mut self.again, now) {
            self.queue.push_back(ip);
        }
    }

    fn call(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while self.in_flight < self.connections() && !self.queue.is_empty() && self.rate.take(now) {
            let Some(ip) = self.queue.pop_front() else { return };
            let Some(question) = self.open.get_mut(&ip) else { continue };
            question.is_in_flight = true;
            question.calls += 1;
            self.in_flight += 1;
            self.breaker.on_call();
            effects.push(Effect::Call(ip));
        }
    }

    /// After it was cut off, one call at a time feels the way.
    fn connections(&self) -> usize {
        if self.breaker.is_probing() { 1 } else { self.limits.connections.max(1) }
    }

    fn answer(&mut self, ip: String, answer: Answer, is_waited_for: bool, effects: &mut Vec<Effect>) {
        if is_waited_for {
            self.forget(&ip);
            self.tally.answered += 1;
            effects.push(Effect::Answer(ip, answer));
        }
    }

    fn fail(&mut self, ip: String, reason: &str, effects: &mut Vec<Effect>) {
        self.forget(&ip);
        reason.clone_into(&mut self.last_failure);
        self.fail_as_before(ip, effects);
    }

    /// For a reason that was told before.
    fn fail_as_before(&mut self, ip: String, effects: &mut Vec<Effect>) {
        self.tally.failed += 1;
        effects.push(Effect::Answer(ip, Answer::Failed));
    }

    fn forget(&mut self, ip: &str) {
        if let Some(question) = self.open.remove(ip) {
            self.deadlines.remove(&(question.deadline, ip.to_owned()));
        }
    }
}

fn pop_due(times: &mut BTreeSet<(Duration, String)>, now: Duration) -> Option<String> {
    let is_due = times.first().is_some_and(|(at, _)| *at <= now);
    if is_due { times.pop_first().map(|(_, ip)| ip) } else { None }
}
