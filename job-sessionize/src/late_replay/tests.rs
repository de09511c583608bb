use super::*;

const GAP_MS: i64 = 20;

fn sweep(published: i64, spans: &[Span<u8>]) -> Outcome<u8> {
    let mut sweep = Sweep::new(Rules { gap_ms: GAP_MS, published: Watermark(published) });
    spans.iter().for_each(|&span| sweep.push(1, 1, span));
    sweep.finish()
}

fn row(place: u8, start: i64, last: Option<i64>, num_hits: i64) -> Span<u8> {
    Span::Row { place, start: EventTime(start), last: last.map(EventTime), num_hits }
}

fn late(place: u8, time: i64) -> Span<u8> {
    Span::Late { place, time: EventTime(time) }
}

/// Start, last event and hits of a session that changes, its rows and its late events.
type Told<'a> = (i64, Option<i64>, i64, &'a [u8], &'a [u8]);

/// What changes, and how many events are too recent and undecided.
fn told(outcome: &Outcome<u8>) -> (Vec<Told<'_>>, u64, u64) {
    let corrections = outcome.corrections.iter().map(|c| {
        let last = c.last.map(|last| last.0);
        (c.start.0, last, c.num_hits, c.rows.as_slice(), c.late.as_slice())
    });
    (corrections.collect(), outcome.left.too_recent, outcome.left.undecided)
}

#[test]
fn event_extends_a_session_on_either_side_at_one_gap_and_not_beyond() {
    let outcome = sweep(1000, &[late(9, 80), row(1, 100, Some(150), 3), late(8, 170)]);
    assert_eq!(told(&outcome), (vec![(80, Some(170), 5, &[1][..], &[9, 8][..])], 0, 0));
    let outcome = sweep(1000, &[late(9, 79), row(1, 100, Some(150), 3), late(8, 171)]);
    let own: Vec<Told<'_>> = vec![(79, Some(79), 1, &[], &[9]), (171, Some(171), 1, &[], &[8])];
    assert_eq!(told(&outcome), (own, 0, 0));
}

#[test]
fn event_between_two_sessions_makes_them_one_and_what_is_apart_stays_as_it_is() {
    let outcome = sweep(1000, &[row(1, 0, Some(0), 1), row(2, 50, Some(60), 2), late(9, 75), row(3, 90, Some(90), 1)]);
    assert_eq!(told(&outcome), (vec![(50, Some(90), 4, &[2, 3][..], &[9][..])], 0, 0));
}

#[test]
fn event_waits_until_all_that_could_touch_it_has_had_its_window_closed() {
    let spans = [late(9, 100)];
    assert_eq!(told(&sweep(138, &spans)), (vec![], 1, 0));
    let own: Vec<Told<'_>> = vec![(100, Some(100), 1, &[], &[9])];
    assert_eq!(told(&sweep(139, &spans)), (own, 0, 0));
}

#[test]
fn without_the_last_event_an_event_is_put_only_where_it_certainly_belongs() {
    let row = row(1, 100, None, 3);
    // One gap behind the start it belongs to the session wherever that ends; behind three gaps it does not.
    assert_eq!(told(&sweep(1000, &[row, late(9, 120)])), (vec![(100, None, 4, &[1][..], &[9][..])], 0, 0));
    let own: Vec<Told<'_>> = vec![(161, Some(161), 1, &[], &[9])];
    assert_eq!(told(&sweep(1000, &[row, late(9, 161)])), (own, 0, 0));
    for at in [121, 160] {
        assert_eq!(told(&sweep(1000, &[row, late(9, at)])), (vec![], 0, 1), "at {at}");
    }
    // A session of one hit ends where it begins.
    let single = Span::Row { place: 1, start: EventTime(100), last: None, num_hits: 1 };
    assert_eq!(sweep(1000, &[single, late(9, 121)]).left.undecided, 0);
    // Nor can a closed one reach far up to the watermark.
    let long = Span::Row { place: 1, start: EventTime(100), last: None, num_hits: 100 };
    assert_eq!(told(&sweep(180, &[long, late(9, 141)])), (vec![], 0, 1));
}

#[test]
fn a_session_of_which_nobody_knows_where_it_ends_is_in_doubt_also_behind_the_next_one() {
    let outcome = sweep(1000, &[row(1, 0, None, 9), row(2, 50, Some(50), 1), late(9, 60)]);
    assert_eq!(told(&outcome), (vec![], 0, 1));
}

#[test]
fn hits_that_are_not_counted_stay_uncounted() {
    let mut sweep = Sweep::new(Rules { gap_ms: GAP_MS, published: Watermark(1000) });
    sweep.push(1, 0, row(1, 100, Some(100), 0));
    sweep.push(1, 0, late(9, 110));
    let corrections = sweep.finish().corrections;
    assert_eq!((corrections[0].num_hits, corrections[0].late.as_slice()), (0, &[9][..]));
}

#[test]
fn keys_are_strangers() {
    let mut sweep = Sweep::new(Rules { gap_ms: GAP_MS, published: Watermark(1000) });
    sweep.push(1, 1, row(1, 100, None, 50));
    sweep.push(2, 1, late(9, 110));
    let outcome = sweep.finish();
    assert_eq!((outcome.corrections[0].key, outcome.corrections[0].rows.len()), (2, 0));
}

#[test]
fn times_at_the_ends_of_the_range_do_not_wrap() {
    let spans = [row(1, i64::MIN, None, i64::MAX), late(9, i64::MIN + 5), row(2, i64::MAX, Some(i64::MAX), 1)];
    assert_eq!(told(&sweep(i64::MAX, &spans)).0, vec![(i64::MIN, None, i64::MAX, &[1][..], &[9][..])]);
}
