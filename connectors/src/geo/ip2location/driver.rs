//! Carries out what the rules of `calls` decide.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stream_runtime::clock::{Clock as _, SystemClock};
use stream_runtime::lookup::Answers;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

use super::http::Http;
use crate::geo::calls::{Calls, Effect, Event, Outcome, Tally};

/// How often the log is told of failures, at most.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The task behind one subtask's questions.
pub(super) struct Driver {
    calls: Calls,
    http: Http,
    /// The service, for the log.
    host: String,
    answers: Arc<dyn Answers>,
    clock: SystemClock,
    flights: JoinSet<Outcome>,
    /// What each flight asks.
    asks: BTreeMap<Id, String>,
    reported: Tally,
    reported_at: Option<Duration>,
}

impl Driver {
    pub(super) fn new(calls: Calls, http: Http, host: String, answers: Arc<dyn Answers>, clock: SystemClock) -> Self {
        Driver {
            calls,
            http,
            host,
            answers,
            clock,
            flights: JoinSet::new(),
            asks: BTreeMap::new(),
            reported: Tally::default(),
            reported_at: None,
        }
    }

    /// Until nobody asks any more; calls in flight are then given up.
    pub(super) async fn run(mut self, mut questions: mpsc::Receiver<String>) {
        loop {
            let wait = self.calls.wake_at().map(|at| at.saturating_sub(self.clock.monotonic()));
            let event = tokio::select! {
                biased;
                Some(returned) = self.flights.join_next_with_id() => self.returned(returned),
                question = questions.recv() => match question {
                    Some(ip) => Some(Event::Asked(ip)),
                    None => return,
                },
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => Some(Event::Tick),
            };
            let now = self.clock.monotonic();
            for effect in event.map(|event| self.calls.on(now, event)).unwrap_or_default() {
                self.carry_out(effect);
            }
            self.report(now);
        }
    }

    fn returned(&mut self, returned: Result<(Id, Outcome), tokio::task::JoinError>) -> Option<Event> {
        let (id, outcome) = match returned {
            Ok(returned) => returned,
            Err(error) => (error.id(), Outcome::Failed("the call panicked".to_owned())),
        };
        self.asks.remove(&id).map(|ip| Event::Returned { ip, outcome })
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Call(ip) => {
                let (http, asked) = (self.http.clone(), ip.clone());
                let flight = self.flights.spawn(async move { http.call(&asked).await });
                self.asks.insert(flight.id(), ip);
            }
            Effect::Answer(ip, answer) => self.answers.answer(ip.into_bytes(), answer),
        }
    }

    /// Tells the log how many look-ups failed, if any did, and why the last one.
    fn report(&mut self, now: Duration) {
        let tally = self.calls.tally();
        let is_due = self.reported_at.is_none_or(|at| now >= at + REPORT_EVERY);
        if tally.failed == self.reported.failed || !is_due {
            return;
        }
        let failed = tally.failed - self.reported.failed;
        let answered = tally.answered - self.reported.answered;
        let (host, reason) = (&self.host, self.calls.last_failure());
        tracing::warn!(%host, failed, answered, reason, "look-ups of locations failed: their events have `{{}}`");
        (self.reported, self.reported_at) = (tally, Some(now));
    }
}
