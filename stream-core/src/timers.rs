//! Event-time timers: what is due when the watermark reaches a time.
//!
//! A calendar queue: timers lie unsorted in buckets of `BUCKET_MS`. Those of the time ahead of the watermark are a ring, where
//! setting a timer costs one push whatever the number of timers; what lies further off, or behind, is found by a search. Only
//! what falls due is looked at. A timer is never cancelled: whoever set it sees, when it comes up, whether it still means
//! anything.
//!
//! A timer carries a number of 32 bits and takes five bytes, since its bucket tells all of its time but the last.

use std::collections::{BTreeMap, VecDeque};

use crate::watermark::Watermark;

/// Timers that carry a number each.
#[derive(Debug)]
pub struct Timers {
    /// The buckets from `first` on, without those behind the last that holds anything.
    near: VecDeque<Bucket>,
    /// The bucket that the watermark was last seen in.
    first: i64,
    /// Those that were not near when their first timer was set.
    far: BTreeMap<i64, Bucket>,
    len: usize,
}

type Bucket = Vec<Timer>;

/// The number, the lowest byte first, and the milliseconds from the beginning of the bucket.
#[derive(Clone, Copy, Debug)]
struct Timer([u8; 5]);

/// Wide enough that a five-minute gap spans few thousand buckets, narrow enough that the one bucket which a watermark
/// cuts through, and which is looked through at each step, is small.
const BUCKET_MS: i64 = 64;

/// Timers that are taken together, so that what they are set for stays in the caches.
const AT_ONCE: usize = 1 << 11;

/// So many buckets are near: 70 minutes, more than a session's gap in most jobs. They take 1.5 MB at most.
const NEAR_BUCKETS: i64 = 1 << 16;

impl Timers {
    /// No timers.
    pub fn new() -> Self {
        Timers { near: VecDeque::new(), first: 0, far: BTreeMap::new(), len: 0 }
    }

    /// Sets a timer for the moment that the watermark reaches `at`.
    pub fn set(&mut self, at: i64, number: u32) {
        let timer = Timer::new(at.rem_euclid(BUCKET_MS) as u8, number);
        let bucket = self.bucket(at.div_euclid(BUCKET_MS));
        if bucket.len() == bucket.capacity() {
            // By half, not by as much again: there are as many timers as windows, and what is spare takes memory.
            bucket.reserve_exact((bucket.len() / 2).max(8));
        }
        bucket.push(timer);
        self.len += 1;
    }

    /// Moves the earliest timers with `at <= watermark` into `due`, as `(at, number)`, in no particular order: a few thousand, or as many as
    /// are in one bucket. Returns a time by which they are all due and behind which all others are; nothing once no more are due.
    pub fn take_due(&mut self, watermark: Watermark, due: &mut Vec<(i64, u32)>) -> Option<i64> {
        let (mut by, enough) = (None, due.len() + AT_ONCE);
        while due.len() < enough
            && let Some(end) = self.take_bucket(watermark, due)
        {
            by = Some(end);
        }
        by
    }

    /// The same of the earliest bucket.
    fn take_bucket(&mut self, watermark: Watermark, due: &mut Vec<(i64, u32)>) -> Option<i64> {
        let cut = watermark.0.div_euclid(BUCKET_MS);
        while self.first < cut && self.near.front().is_some_and(Vec::is_empty) {
            self.near.pop_front();
            self.first += 1;
        }
        if self.near.is_empty() {
            self.first = cut;
        }
        let is_near = self.first <= cut && self.near.front().is_some_and(|bucket| !bucket.is_empty());
        let near = is_near.then_some(self.first);
        let far = self.far.first_key_value().map(|(&number, _)| number).filter(|&number| number <= cut);
        let number = near.into_iter().chain(far).min()?;
        let end = if number < cut { number * BUCKET_MS + (BUCKET_MS - 1) } else { watermark.0 };
        let before = due.len();
        if near == Some(number)
            && let Some(bucket) = self.near.front_mut()
        {
            take(bucket, number, end, due);
        }
        if far == Some(number)
            && let Some(mut bucket) = self.far.first_entry()
        {
            take(bucket.get_mut(), number, end, due);
            if bucket.get().is_empty() {
                bucket.remove();
            }
        }
        self.len -= due.len() - before;
        (due.len() > before).then_some(end)
    }

    /// Gives back the ring if nothing is in it.
    pub fn shrink(&mut self) {
        if self.near.is_empty() {
            self.near = VecDeque::new();
        }
    }

    /// The number of timers set and not yet due, those that mean nothing any more included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bucket(&mut self, number: i64) -> &mut Bucket {
        let ahead = number - self.first;
        if !(0..NEAR_BUCKETS).contains(&ahead) {
            return self.far.entry(number).or_default();
        }
        let ahead = ahead as usize;
        if ahead >= self.near.len() {
            self.near.resize_with(ahead + 1, Vec::new);
        }
        &mut self.near[ahead]
    }
}

/// Moves what is due by `end` out of the bucket of this number.
fn take(bucket: &mut Bucket, number: i64, end: i64, due: &mut Vec<(i64, u32)>) {
    let begin = number * BUCKET_MS;
    if end - begin == BUCKET_MS - 1 {
        due.extend(std::mem::take(bucket).into_iter().map(|timer| (begin + timer.after_ms(), timer.number())));
    } else {
        let is_due = |timer: &mut Timer| begin + timer.after_ms() <= end;
        due.extend(bucket.extract_if(.., is_due).map(|timer| (begin + timer.after_ms(), timer.number())));
    }
}

impl Timer {
    fn new(after_ms: u8, number: u32) -> Self {
        let [a, b, c, d] = number.to_le_bytes();
        Timer([a, b, c, d, after_ms])
    }

    fn number(self) -> u32 {
        let [a, b, c, d, _] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    fn after_ms(self) -> i64 {
        self.0[4].into()
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gives_what_a_sorted_list_would(
            rounds in prop::collection::vec((prop::collection::vec(distance(), 0..20), distance()), 0..20),
            start in prop_oneof![Just(0), Just(1_736_874_000_000), Just(-600)],
        ) {
            let mut timers = Timers::new();
            let (mut watermark, mut number) = (start, 0);
            let mut expected: Vec<(i64, u32)> = Vec::new();
            for (distances, step) in rounds {
                for distance in distances {
                    timers.set(watermark + distance, number);
                    expected.push((watermark + distance, number));
                    number += 1;
                }
                // A watermark may also stand still, or be one that was passed already.
                watermark += step.max(-100);
                let mut due = Vec::new();
                let mut by = i64::MIN;
                loop {
                    let before = due.len();
                    let end = timers.take_due(Watermark(watermark), &mut due);
                    prop_assert!(due[before..].iter().all(|(at, _)| by < *at && *at <= end.unwrap_or(by)));
                    let Some(end) = end else { break };
                    by = end;
                }
                due.sort_unstable();
                let mut expected_due: Vec<_> = expected.extract_if(.., |(at, _)| *at <= watermark).collect();
                expected_due.sort_unstable();
                prop_assert_eq!(due, expected_due);
                prop_assert_eq!(timers.len(), expected.len());
            }
        }
    }

    /// Near, a gap away, further away than what is near, and behind.
    fn distance() -> impl Strategy<Value = i64> {
        let near = NEAR_BUCKETS * BUCKET_MS;
        prop_oneof![4 => -100..500_i64, 4 => 0..400_000_i64, 1 => near - 100..near + 100, 1 => -near..3 * near]
    }

    #[test]
    fn ring_is_given_back_as_time_goes_by() {
        let mut timers = Timers::new();
        let mut due = Vec::new();
        assert_eq!(timers.take_due(Watermark(0), &mut due), None);
        for at in 0..1_000_000 {
            timers.set(at + 300_000, 7);
            while timers.take_due(Watermark(at), &mut due).is_some() {}
            due.clear();
        }
        assert!(timers.far.is_empty() && timers.near.len() < 5_000, "{} buckets", timers.near.len());
        while timers.take_due(Watermark(10_000_000), &mut due).is_some() {}
        assert_eq!((timers.len(), timers.near.len()), (0, 0));
    }

    #[test]
    fn the_ends_of_time_are_ordinary_times() {
        let mut timers = Timers::new();
        timers.set(i64::MAX, u32::MAX);
        timers.set(i64::MIN, 1);
        let mut due = Vec::new();
        assert_eq!(timers.take_due(Watermark::NONE, &mut due), Some(i64::MIN));
        assert_eq!(due, [(i64::MIN, 1)]);
        assert_eq!(timers.take_due(Watermark::END, &mut due), Some(i64::MAX));
        assert_eq!(due, [(i64::MIN, 1), (i64::MAX, u32::MAX)]);
        assert_eq!(timers.take_due(Watermark::END, &mut due), None);
    }
}
