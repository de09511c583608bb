use super::*;

const GAP: i64 = 10;

fn key(host: Option<&str>) -> Vec<u8> {
    let mut key = Vec::new();
    Key { ip: Some("1.2.3.4"), host }.encode(&mut key);
    key
}

fn rules(watermark: i64) -> Rules {
    let watermark = Watermark(watermark);
    Rules {
        gap_ms: GAP,
        limits: Limits::NONE,
        form: Form::Sql,
        last_section: 0,
        watermark,
        late: 0,
        open: 0,
        parts: Parts::Never,
    }
}

/// Events of one key as (section, time), and rows as (start, hits).
fn compared_for(key: &[u8], rules: Rules, events: &[(u16, i64)], rows: &[(i64, i64)]) -> Findings {
    let event = |&(section, ms): &(u16, i64)| Event { key, section, time: EventTime(ms), is_behind: true };
    let row_key = stored_key(key);
    let row = |&(ms, hits): &(i64, i64)| Row { key: &row_key, start: Some(EventTime(ms)), num_hits: Some(hits) };
    let mut findings = Findings::default();
    let mut events: Vec<Event<'_>> = events.iter().map(event).collect();
    compare(&rules, &mut events, &mut rows.iter().map(row).collect::<Vec<_>>(), &mut findings);
    findings
}

fn compared(rules: Rules, times: &[i64], rows: &[(i64, i64)]) -> Findings {
    let events: Vec<(u16, i64)> = times.iter().map(|&ms| (0, ms)).collect();
    compared_for(&key(Some("a")), rules, &events, rows)
}

/// Missing, duplicate, unexpected.
fn differences(findings: &Findings) -> [u64; 3] {
    [findings.missing, findings.duplicate, findings.unexpected]
}

const TIMES: [i64; 5] = [0, 10, 21, 22, 40];
const ROWS: [(i64, i64); 2] = [(0, 2), (21, 2)];

#[test]
fn a_gap_parts_sessions_and_the_watermark_closes_them() {
    let findings = compared(rules(31), &TIMES, &ROWS);
    assert_eq!(differences(&findings), [0, 0, 0]);
    assert_eq!((findings.closed, findings.closed_events, findings.equal), (2, 4, 2));
    assert_eq!((findings.open, findings.open_events), (1, 1), "the last one is open, and not expected");
    assert_eq!(differences(&compared(rules(30), &TIMES, &ROWS)), [0, 0, 1], "its last instant is 31");
    assert_eq!(differences(&compared(rules(i64::MAX), &TIMES, &ROWS)), [1, 0, 0]);
}

#[test]
fn whatever_is_changed_in_the_table_is_told() {
    let told = |rows: &[(i64, i64)]| compared(rules(31), &TIMES, rows);
    assert_eq!(differences(&told(&ROWS[1..])), [1, 0, 0]);
    assert_eq!(differences(&told(&[ROWS[0], ROWS[0], ROWS[1]])), [0, 1, 0]);
    assert_eq!(differences(&told(&[ROWS[0], (21, 3)])), [1, 0, 1], "other hits");
    assert_eq!(differences(&told(&[ROWS[0], (22, 2)])), [1, 0, 1], "another beginning, though one of an event");
    let first = &told(&[ROWS[0], (24, 2)]).first;
    let shown: Vec<_> = first.iter().map(|row| (row.kind, row.event_hour)).collect();
    let expected = [(DifferenceKind::Missing, Some(EventTime(21))), (DifferenceKind::Unexpected, Some(EventTime(24)))];
    assert_eq!(shown, expected);
    assert_eq!((first[0].ip.as_deref(), first[0].host.as_deref()), (Some("1.2.3.4"), Some("a")));
}

#[test]
fn rows_of_keys_without_events_are_unexpected_and_sessions_of_keys_without_rows_missing() {
    let keys = [key(Some("a")), key(Some("b")), key(Some("c"))];
    let mut events = vec![Event { key: &keys[1], section: 0, time: EventTime(0), is_behind: false }];
    let row = |key| Row { key, start: None, num_hits: None };
    let mut findings = Findings::default();
    compare(&rules(i64::MAX), &mut events, &mut [row(&keys[2]), row(&keys[0])], &mut findings);
    assert_eq!(differences(&findings), [1, 0, 2]);
}

#[test]
fn a_session_reaches_over_no_end_of_event_time() {
    let drained = Rules { last_section: 1, ..rules(-100) };
    let key = key(Some("a"));
    let findings = compared_for(&key, drained, &[(0, 0), (0, 5), (1, 6), (1, 7)], &[(0, 2)]);
    assert_eq!((differences(&findings), findings.open_events), ([0, 0, 0], 2));
}

#[test]
fn a_session_in_parts_is_taken_only_where_arrival_may_explain_it_and_all_events_are_there() {
    let times = [0, 8, 16, 24];
    let anywhere = Rules { parts: Parts::Anywhere, ..rules(100) };
    let findings = compared(anywhere, &times, &[(0, 2), (16, 2)]);
    assert_eq!((differences(&findings), findings.in_parts, findings.parts), ([0, 0, 0], 1, 2));
    assert_eq!(compared(Rules { parts: Parts::WhereBehind, ..anywhere }, &times, &[(0, 2), (16, 2)]).in_parts, 1);
    assert_eq!(differences(&compared(rules(100), &times, &[(0, 2), (16, 2)])), [1, 0, 2]);
    for (rows, why) in [
        (vec![(0, 2), (16, 1)], "an event less"),
        (vec![(0, 2), (16, 3)], "an event more"),
        (vec![(8, 2), (16, 2)], "the first event nowhere"),
        (vec![(0, 2), (17, 2)], "a beginning without an event"),
        (vec![(8, 4)], "one part, of all events, with another beginning"),
    ] {
        let findings = compared(anywhere, &times, &rows);
        assert!(findings.missing == 1 && findings.unexpected as usize == rows.len(), "{why}: {findings:?}");
    }
}

#[test]
fn late_events_may_be_missing_and_no_more() {
    let late = |late| Rules { late, parts: Parts::WhereBehind, ..rules(100) };
    let findings = compared(late(2), &[0, 8, 16, 24], &[(0, 1), (24, 1)]);
    assert_eq!((differences(&findings), findings.not_in_parts), ([0, 0, 0], 2));
    assert_eq!(differences(&compared(late(1), &[0, 8, 16, 24], &[(0, 1), (24, 1)])), [1, 0, 2]);
    let findings = compared(late(1), &[0, 50], &[(50, 1)]);
    assert_eq!((differences(&findings), findings.not_in_parts), ([0, 0, 0], 1), "all of a session was late");
}

#[test]
fn a_session_that_took_late_events_stands_there_with_each_number_of_them() {
    let rules = Rules { form: Form::DataStream, parts: Parts::WhereBehind, ..rules(100) };
    assert_eq!(differences(&compared(rules, &[0, 5, 9], &[(0, 2), (0, 3)])), [0, 0, 0]);
    assert_eq!(differences(&compared(rules, &[0, 5, 9], &[(0, 3), (0, 3)])), [0, 1, 0]);
    assert_eq!(differences(&compared(rules, &[0, 5, 9], &[(0, 3), (0, 4)])), [0, 0, 1]);
    assert_eq!(differences(&compared(rules, &[0, 5, 9], &[])), [1, 0, 0]);
}

#[test]
fn a_host_that_is_null_has_no_hits_and_a_nul_is_what_postgres_makes_of_it() {
    let findings = compared_for(&key(None), rules(100), &[(0, 0), (0, 1)], &[(0, 0)]);
    assert_eq!((differences(&findings), findings.closed_events), ([0, 0, 0], 2));
    let findings = compared_for(&key(Some("a\0b")), rules(100), &[(0, 0)], &[(0, 1)]);
    assert_eq!(differences(&findings), [0, 0, 0]);
    assert_eq!(stored_key(&key(Some("a\0b"))).as_ref(), key(Some("a\u{fffd}b")));
}

#[test]
fn the_first_differences_are_listed_in_order_and_all_are_counted() {
    let times: Vec<i64> = (0..50).map(|n| n * 100).collect();
    let findings = compared(rules(i64::MAX), &times, &[]);
    assert_eq!((findings.missing, findings.first.len()), (50, LISTED_DIFFERENCES));
    assert!(findings.first.iter().map(|row| row.event_hour.map(|at| at.0)).eq((0..20).map(|n| Some(n * 100))));
}

#[test]
fn a_session_that_reaches_a_limit_is_parted_by_the_rule() {
    let limited = |max_span_ms, max_events, watermark| Rules {
        limits: Limits { max_span_ms, max_events },
        parts: Parts::WhereBehind,
        ..rules(watermark)
    };
    let times = [0, 8, 16, 24, 32];
    for (rules, rows) in [
        (limited(20, u64::MAX, 100), vec![(0, 3), (24, 2)]),
        (limited(i64::MAX, 2, 100), vec![(0, 2), (16, 2), (32, 1)]),
        // The last part is open; one that is full never is.
        (limited(20, u64::MAX, 40), vec![(0, 3)]),
        (limited(i64::MAX, 2, 0), vec![(0, 2), (16, 2)]),
        (limited(i64::MAX, 5, 0), vec![(0, 5)]),
    ] {
        let findings = compared(rules, &times, &rows);
        assert_eq!((differences(&findings), findings.in_parts), ([0, 0, 0], 0), "{rules:?}");
        assert_eq!(findings.equal, rows.len() as u64, "{rules:?}");
        let events: i64 = rows.iter().map(|row| row.1).sum();
        assert_eq!(findings.closed_events, events.unsigned_abs(), "{rules:?}");
    }
}

#[test]
fn other_parts_are_explained_by_another_order_as_long_as_they_hold_its_events() {
    let limits = Limits { max_span_ms: 20, max_events: 3 };
    let rules = Rules { limits, parts: Parts::WhereBehind, ..rules(100) };
    let times = [0, 8, 16, 24, 32];
    let findings = compared(rules, &times, &[(0, 1), (8, 3), (32, 1)]);
    assert_eq!((differences(&findings), findings.in_parts, findings.parts), ([0, 0, 0], 1, 3));
    assert!(compared(rules, &times, &[(0, 1), (8, 3)]).differences() > 0, "one is gone");
    assert!(compared(rules, &times, &[(0, 4), (32, 1)]).differences() > 0, "one has more hits than it may");
    assert!(compared(rules, &times, &[(0, 1), (9, 3), (32, 1)]).differences() > 0, "one begins with no event");
    let findings = compared(Rules { parts: Parts::Never, ..rules }, &times, &[(0, 1), (8, 3), (32, 1)]);
    assert_eq!(differences(&findings), [2, 0, 3], "by the rule it is two");
}

#[test]
fn an_open_session_lacks_no_more_events_than_are_open_or_late() {
    let limits = Limits { max_span_ms: 20, max_events: 3 };
    let open = |late, open| Rules { limits, late, open, parts: Parts::WhereBehind, ..rules(0) };
    let times = [0, 8, 16, 24, 32];
    // By the rule (0, 3); in another order 8, 16 and 24 were full first.
    let other = [(8, 3)];
    for rules in [open(0, 2), open(1, 1), open(2, 0)] {
        let findings = compared(rules, &times, &other);
        assert_eq!((differences(&findings), findings.in_no_row), ([0, 0, 0], 2), "{rules:?}");
        assert_eq!(findings.not_in_parts, 0, "what an open session lacks need not be late");
    }
    assert_eq!(differences(&compared(open(0, 1), &times, &other)), [1, 0, 1], "a row with an event is gone");
    // The same without limits.
    let unlimited = |open| Rules { limits: Limits::NONE, open, parts: Parts::WhereBehind, ..rules(0) };
    assert_eq!(differences(&compared(unlimited(3), &times, &[(0, 2)])), [0, 0, 0]);
    assert_eq!(differences(&compared(unlimited(2), &times, &[(0, 2)])), [0, 0, 1]);
    assert_eq!(compared(unlimited(5), &times, &[]).in_no_row, 5);
}
