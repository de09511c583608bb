use super::*;

const MS: Duration = Duration::from_millis(1);

fn limits() -> Limits {
    Limits { rate: 1000.0, ..Limits::default() }
}

fn asked(ip: &str) -> Event {
    Event::Asked(ip.to_owned())
}

fn returned(ip: &str, outcome: Outcome) -> Event {
    Event::Returned { ip: ip.to_owned(), outcome }
}

fn failed() -> Outcome {
    Outcome::Failed("500".to_owned())
}

fn call(ip: &str) -> Effect {
    Effect::Call(ip.to_owned())
}

fn answer(ip: &str, answer: Answer) -> Effect {
    Effect::Answer(ip.to_owned(), answer)
}

/// Asks about so many ips; how many were called for at once.
fn ask_many(calls: &mut Calls, now: Duration, ips: std::ops::Range<u32>) -> usize {
    let effects = ips.flat_map(|ip| calls.on(now, asked(&ip.to_string())));
    effects.filter(|effect| matches!(effect, Effect::Call(_))).count()
}

#[test]
fn question_is_called_for_once_and_answered_once() {
    let mut calls = Calls::new(limits());
    assert_eq!(calls.on(MS, asked("a")), [call("a")]);
    assert_eq!(calls.on(MS, asked("a")), [], "one flight for both");
    let found = Outcome::Found("A".to_owned());
    assert_eq!(calls.on(MS * 2, returned("a", found)), [answer("a", Answer::Found("A".to_owned()))]);
    assert_eq!(calls.wake_at(), None, "nothing is left");
    assert_eq!(calls.on(MS * 3, asked("b")), [call("b")]);
    assert_eq!(calls.on(MS * 4, returned("b", Outcome::Nothing)), [answer("b", Answer::Nothing)]);
    assert_eq!(calls.tally(), Tally { answered: 2, failed: 0 });
}

#[test]
fn failed_call_is_repeated_later_and_later_and_then_remembered_as_failed() {
    let mut calls = Calls::new(limits());
    calls.on(MS, asked("a"));
    assert_eq!(calls.on(MS * 10, returned("a", failed())), []);
    assert_eq!(calls.wake_at(), Some(MS * 210));
    assert_eq!(calls.on(MS * 209, Event::Tick), []);
    assert_eq!(calls.on(MS * 210, Event::Tick), [call("a")]);
    assert_eq!(calls.on(MS * 220, returned("a", failed())), []);
    assert_eq!(calls.on(MS * 620, Event::Tick), [call("a")]);
    assert_eq!(calls.on(MS * 630, returned("a", failed())), [answer("a", Answer::Failed)]);
    assert_eq!((calls.tally(), calls.last_failure()), (Tally { answered: 0, failed: 1 }, "500"));
    assert_eq!(calls.on(MS * 700, asked("a")), [answer("a", Answer::Failed)], "without a call");
    assert_eq!(calls.on(MS * 21_000, asked("a")), [call("a")], "it may have recovered");
}

#[test]
fn no_more_calls_are_in_flight_than_there_are_connections_nor_more_made_than_the_rate_allows() {
    let mut calls = Calls::new(limits());
    assert_eq!(ask_many(&mut calls, MS, 0..100), 16);
    assert_eq!(calls.on(MS * 2, returned("0", Outcome::Nothing)), [answer("0", Answer::Nothing), call("16")]);
    let mut calls = Calls::new(Limits { rate: 10.0, ..Limits::default() });
    assert_eq!(ask_many(&mut calls, MS, 0..100), 2);
    assert_eq!(calls.wake_at(), Some(MS * 101));
    assert_eq!(calls.on(MS * 101, Event::Tick), [call("2")]);
}

#[test]
fn question_whose_turn_would_come_too_late_fails_at_once() {
    let deadline = Duration::from_secs(1);
    let mut calls = Calls::new(Limits { rate: 10.0, deadline, ..Limits::default() });
    let effects: Vec<Effect> = (0..20).flat_map(|ip| calls.on(MS, asked(&ip.to_string()))).collect();
    let failures = effects.iter().filter(|effect| matches!(effect, Effect::Answer(_, Answer::Failed))).count();
    assert_eq!((effects.len() - failures, failures), (2, 8), "2 are called, 10 wait their turn, 8 would wait too long");
    assert_eq!(calls.last_failure(), "more is asked than the rate allows");
}

#[test]
fn deadline_answers_what_is_stuck_in_flight_and_its_late_answer_is_nobodys() {
    let deadline = Duration::from_secs(3);
    let mut calls = Calls::new(Limits { deadline, ..limits() });
    calls.on(MS, asked("a"));
    assert_eq!(calls.wake_at(), Some(MS * 3001));
    assert_eq!(calls.on(MS * 3001, Event::Tick), [answer("a", Answer::Failed)]);
    assert_eq!(calls.on(MS * 3002, asked("a")), [answer("a", Answer::Failed)], "its call is still in flight");
    assert_eq!(calls.on(MS * 3003, returned("a", Outcome::Nothing)), []);
    assert_eq!(calls.on(MS * 3004, asked("a")), [call("a")]);
    assert_eq!(calls.tally(), Tally { answered: 0, failed: 2 });
}

#[test]
fn deadline_answers_what_still_waits_for_its_next_try() {
    let deadline = Duration::from_millis(250);
    let mut calls = Calls::new(Limits { deadline, ..limits() });
    calls.on(MS, asked("a"));
    assert_eq!(calls.on(MS * 2, returned("a", failed())), []);
    calls.on(MS * 202, Event::Tick);
    assert_eq!(
        calls.on(MS * 203, returned("a", failed())),
        [answer("a", Answer::Failed)],
        "the next try would be too late"
    );
}

#[test]
fn service_that_limits_is_left_alone_as_long_as_it_says() {
    let mut calls = Calls::new(limits());
    calls.on(MS, asked("a"));
    let limited = Outcome::Limited { after: Some(Duration::from_secs(2)) };
    assert_eq!(calls.on(MS * 10, returned("a", limited.clone())), []);
    assert_eq!(calls.on(MS * 11, asked("b")), []);
    assert_eq!(calls.wake_at(), Some(MS * 2010));
    assert_eq!(calls.on(MS * 2010, Event::Tick), [call("a"), call("b")], "in their order");
    let for_long = Outcome::Limited { after: Some(Duration::from_secs(50)) };
    assert_eq!(calls.on(MS * 2020, returned("a", for_long)), [answer("a", Answer::Failed)]);
    assert_eq!(calls.on(MS * 2021, asked("c")), [answer("c", Answer::Failed)], "its turn would come too late");
    assert_eq!(calls.on(MS * 2022, returned("b", Outcome::Nothing)), [answer("b", Answer::Nothing)]);
}

#[test]
fn service_that_is_gone_is_not_called_and_nobody_waits_for_it() {
    let mut calls = Calls::new(Limits { tries: 1, ..limits() });
    assert_eq!(ask_many(&mut calls, MS, 0..100), 16);
    let mut answers = Vec::new();
    for ip in 0..52 {
        answers.extend(calls.on(MS * 2, returned(&ip.to_string(), failed())));
    }
    // Each failure had freed a connection for one more until the 52nd, which cut all off that was not in flight.
    let failures = answers.iter().filter(|effect| matches!(effect, Effect::Answer(..))).count();
    let called = answers.len() - failures;
    assert_eq!((failures, called), (100 - 15, 51));
    assert_eq!(calls.on(MS * 3, asked("x")), [answer("x", Answer::Failed)]);
    for ip in 52..67 {
        assert_eq!(calls.on(MS * 3, returned(&ip.to_string(), failed())), [answer(&ip.to_string(), Answer::Failed)]);
    }
    assert_eq!(calls.wake_at(), None);
    let later = Duration::from_secs(30);
    assert_eq!(calls.on(later, asked("y")), [call("y")]);
    assert_eq!(calls.on(later, asked("z")), [], "one at a time feels the way");
    assert_eq!(calls.on(later, returned("y", Outcome::Nothing)), [answer("y", Answer::Nothing), call("z")]);
    assert_eq!(ask_many(&mut calls, later, 200..240), 15);
}

#[test]
fn key_that_is_refused_cuts_off_at_once() {
    let mut calls = Calls::new(Limits { rate: 10.0, ..Limits::default() });
    assert_eq!(ask_many(&mut calls, MS, 0..4), 2);
    let refused = Outcome::Refused("401".to_owned());
    let effects = calls.on(MS * 2, returned("0", refused));
    assert_eq!(effects, ["0", "2", "3"].map(|ip| answer(ip, Answer::Failed)));
    assert_eq!((calls.last_failure(), calls.tally().failed), ("401", 3));
}

#[test]
fn budget_keeps_a_service_that_fails_from_being_called_several_times_as_often() {
    let mut calls = Calls::new(limits());
    let mut made = 0;
    let mut now = MS;
    for ip in 0..400 {
        let ip = ip.to_string();
        now += Duration::from_secs(1);
        let mut effects = calls.on(now, asked(&ip));
        while effects == [call(&ip)] {
            made += 1;
            // Two of three fail: not enough to be cut off.
            let outcome = if made % 3 == 0 { Outcome::Nothing } else { failed() };
            effects = calls.on(now, returned(&ip, outcome));
            if effects.is_empty() {
                now += Duration::from_millis(900);
                effects = calls.on(now, Event::Tick);
            }
        }
    }
    assert!((590..=615).contains(&made), "{made} calls for 400 questions");
}
